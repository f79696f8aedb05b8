//! The three handlers of a connection. Each connection has a state of its own; what outlives them is in [`Bot`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dreamsocket::typed::{Connection, Message};
use dreamsocket::{Action, BoxError, Closed, Position, Selector, SendError, continue_connection};

use crate::answers::answer;
use crate::protocol::{Ask, Said, Told};

/// What all connections share, one after the other.
pub(crate) struct Bot {
    name: String,
    room: String,
    stay: Mutex<Stay>,
}

#[derive(Default)]
struct Stay {
    /// When the bot was first in the room, in milliseconds since 1970. What was said before is not for it.
    since: Option<u64>,
    /// Behind the last message that was heard: where the next connection goes on.
    place: Option<Position>,
}

impl Bot {
    pub(crate) fn new(name: String, room: String) -> Self {
        let stay = Mutex::default();
        Self { name, room, stay }
    }

    fn stay(&self) -> MutexGuard<'_, Stay> {
        self.stay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to say to this, if anything. Never to itself, or two lines could keep it talking for ever.
    fn answer(&self, said: &Said, now: u64) -> Option<String> {
        let is_for_it = self.stay().since.is_some_and(|since| said.at >= since);
        (is_for_it && said.name != self.name)
            .then(|| answer(&said.text, now))
            .flatten()
    }
}

pub(crate) async fn on_init(
    connection: &Connection<Ask>,
    bot: &Bot,
) -> Result<((), Option<Selector>), SendError> {
    let (room, since) = (bot.room.clone(), bot.stay().place);
    tracing::info!(room, reconnects = connection.reconnects(), "entering");
    connection.send(&Ask::Enter { room, since }).await?;
    Ok(((), None))
}

pub(crate) async fn on_message(
    (): &mut (),
    message: Message<Told>,
    connection: &Connection<Ask>,
    bot: &Bot,
) -> Result<Action, BoxError> {
    match message {
        Message::Received(Told::Entered { at }) => {
            bot.stay().since.get_or_insert(at);
        }
        Message::Received(Told::Said(said)) => {
            let now = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
            if let Some(text) = bot.answer(&said, now) {
                let room = bot.room.clone();
                connection.send(&Ask::Say { room, text }).await?;
            }
            // Behind the answer: what was heard and could not be answered is heard again.
            bot.stay().place = said.position;
        }
        Message::Received(Told::Missed { count }) => tracing::warn!(?count, "missed messages"),
        Message::Received(Told::Refused { reason }) => tracing::warn!(reason, "refused"),
        Message::Undecodable(why) => tracing::warn!(%why, "not understood"),
        Message::Received(Told::Other) | Message::Missed(_) | Message::ConnectionClosed(_) => {}
        Message::Custom(never) => match never {},
    }
    Ok(continue_connection())
}

pub(crate) async fn on_close((): (), closed: Closed, bot: &Bot) {
    tracing::info!(room = bot.room, code = u16::from(closed.code), "closed");
}

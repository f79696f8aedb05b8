//! The chat: an upgrade, and the three handlers of a connection. `/chat?user=Ada` connects; from then on the client sends
//! a [`Command`], and is told ([`Tell`]) what happens in its rooms and what concerns it alone. What is said goes to connections by
//! itself; the rest comes by way of `on_message`.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Instant;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use dreamsocket::typed::{self, Connection, Message};
use dreamsocket::{
    Action, BoxError, ChannelOptions, Close, CloseCode, CodedTopic, Forward, Member, Position,
    Selector, Topic, WatchOptions, continue_connection, continue_connection_adding,
    continue_connection_removing,
};
use serde::Deserialize;

use crate::event::{Command, Present, Said, Tell, Typing, encode, missed, now};
use crate::limits::{KEPT, MOST_ROOMS, check_message, check_name};
use crate::pace::Pace;
use crate::shared::Shared;

/// What the whole program has.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) shared: Shared,
    pub(crate) pace: NonZeroU32,
}

#[derive(Deserialize)]
pub(crate) struct Who {
    #[serde(default)]
    user: String,
}

/// Everything that the handlers need.
struct Dependencies {
    name: String,
    app: App,
}

/// The state of one connection: its rooms, by their names, and how fast it may go on.
struct Chat {
    rooms: HashMap<String, Stay>,
    pace: Pace,
}

/// A room that the connection is in. The member leaves when it is dropped, whatever drops it.
struct Stay {
    said: Topic<Said>,
    typing: Topic<Typing>,
    _forward: Forward,
    _member: Member<String, String>,
}

/// What a command comes to: the next step, or the refusal.
type Answer = Result<Action<Tell>, Tell>;

pub(crate) async fn chat(
    Query(who): Query<Who>,
    State(app): State<App>,
    request: Request,
) -> Response {
    let name = who.user.trim().to_owned();
    let dependencies = Dependencies { name, app };
    typed::upgrade_websocket(request, dependencies, on_init, on_message, on_close)
}

async fn on_init(
    _: &Connection<Tell>,
    Dependencies { name, app }: &Dependencies,
) -> Result<(Chat, Option<Selector<Tell>>), BoxError> {
    check_name("name", name).map_err(|reason| Close::new(CloseCode::POLICY, reason))?;
    let chat = Chat {
        rooms: HashMap::new(),
        pace: Pace::new(app.pace, Instant::now()),
    };
    Ok((chat, None))
}

async fn on_message(
    state: &mut Chat,
    message: Message<Command, Tell>,
    connection: &Connection<Tell>,
    dependencies: &Dependencies,
) -> Result<Action<Tell>, BoxError> {
    match message {
        Message::Received(command) => {
            slow_down(&mut state.pace, connection).await?;
            let action = match obey(state, command, connection, dependencies).await? {
                Ok(action) => action,
                Err(refused) => {
                    connection.send(&refused).await?;
                    continue_connection()
                }
            };
            return Ok(action);
        }
        Message::Undecodable(why) => {
            slow_down(&mut state.pace, connection).await?;
            let reason = format!("The server does not understand this page: {why}.");
            let room = None;
            connection.send(&Tell::Refused { reason, room }).await?;
        }
        Message::Custom(tell) => connection.send(&tell).await?,
        // More people came and went than wait in a channel.
        Message::Missed(missed) => {
            let room = missed.source.into_owned();
            let people = dependencies.app.shared.people.people(room.as_str());
            let people = people.into_iter().map(Present::from).collect();
            connection.send(&Tell::People { room, people }).await?;
        }
        Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close(state: Chat, dependencies: &Dependencies) {
    // Dropping the state leaves its rooms, and tells whoever is there.
    let rooms = state.rooms.len();
    tracing::debug!(name = %dependencies.name, rooms, "left");
}

/// Lets a client that is too fast wait, and says so. Nothing of it is read meanwhile, so TCP holds it back.
async fn slow_down(pace: &mut Pace, connection: &Connection<Tell>) -> Result<(), BoxError> {
    let wait = pace.take(Instant::now());
    if !wait.is_zero() {
        let millis = u64::try_from(wait.as_millis())?;
        connection.send(&Tell::Slowed { wait: millis }).await?;
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

async fn obey(
    state: &mut Chat,
    command: Command,
    connection: &Connection<Tell>,
    dependencies: &Dependencies,
) -> Result<Answer, BoxError> {
    let done = match command {
        Command::Enter { room, since } => {
            let name = room.trim();
            if let Err(reason) = check_enter(state, name) {
                let room = Some(room);
                return Ok(Err(Tell::Refused { reason, room }));
            }
            let action = enter(state, name.to_owned(), since, connection, dependencies).await?;
            return Ok(Ok(action));
        }
        Command::Leave { room } => {
            state.rooms.remove(&room);
            return Ok(Ok(continue_connection_removing(room)));
        }
        Command::Say { room, text } => say(state, room, text.trim(), dependencies),
        Command::Typing { room } => type_in(state, room, dependencies),
    };
    let refused = |reason| Tell::Refused { reason, room: None };
    Ok(done.map(|()| continue_connection()).map_err(refused))
}

fn check_enter(state: &Chat, room: &str) -> Result<(), String> {
    check_name("room", room)?;
    if !state.rooms.contains_key(room) && state.rooms.len() >= MOST_ROOMS {
        return Err(format!("At most {MOST_ROOMS} rooms at a time; leave one."));
    }
    Ok(())
}

/// Enters a room: what is said there is forwarded from now on; who comes and goes and who types are one source, under the
/// room's name.
async fn enter(
    state: &mut Chat,
    room: String,
    since: Option<Position>,
    connection: &Connection<Tell>,
    Dependencies { name: user, app }: &Dependencies,
) -> Result<Action<Tell>, BoxError> {
    let said = app.shared.said.topic(&*room);
    let typing = app.shared.typing.topic(&*room);
    // In this order: the list has the client itself, and the channel whatever changes after the list.
    let people = &app.shared.people;
    let member = people.enter(&*room, user.clone(), room.clone());
    // Who first watches a room on this node is told of the people of other nodes a moment later, as if they had just come.
    let first_watch = people.watch(&*room);
    app.shared.when_people_are_known(&room).await;
    let latest = WatchOptions::new().latest_per_person();
    let (people, changes) = people.watch_with(&*room, latest);
    drop(first_watch);
    let who_types = ChannelOptions::new().latest_per_key(|typing: &Typing| typing.name.clone());
    // Under keys, since both come under the room's name.
    let typists = Selector::new().select_map(typing.subscribe_with(who_types), Tell::Typing);
    let changes = Selector::new().select_map(changes, Tell::from);
    let source = Selector::new()
        .select_as("typing", typists)
        .select_as("people", changes);
    let entered = Tell::Entered {
        room: room.clone(),
        at: now(),
    };
    connection.send(&entered).await?;
    let people = Tell::People {
        room: room.clone(),
        people: people.into_iter().map(Present::from).collect(),
    };
    connection.send(&people).await?;

    let unheard = match since {
        Some(position) => ChannelOptions::new().since(position),
        None => ChannelOptions::new().last(KEPT),
    };
    let coded = CodedTopic::new(said.clone(), encode);
    let forward = connection.forward(coded.subscribe_with(unheard), missed);
    let stay = Stay {
        said,
        typing,
        _forward: forward,
        _member: member,
    };
    state.rooms.insert(room.clone(), stay);
    Ok(continue_connection_adding(
        Selector::new().select_as(room, source),
    ))
}

fn say(state: &Chat, room: String, text: &str, dependencies: &Dependencies) -> Result<(), String> {
    check_message(text)?;
    let stay = stay(state, &room)?;
    if text.is_empty() {
        return Ok(());
    }
    let said = Said {
        room,
        name: dependencies.name.clone(),
        text: text.to_owned(),
        at: now(),
    };
    stay.said
        .publish(said)
        .map_err(|error| format!("The message was not sent: {error}."))?;
    Ok(())
}

fn type_in(state: &Chat, room: String, dependencies: &Dependencies) -> Result<(), String> {
    let stay = stay(state, &room)?;
    let name = dependencies.name.clone();
    // Nobody is told that somebody types while the others cannot be reached: that is no loss.
    let _ = stay.typing.publish(Typing { room, name });
    Ok(())
}

/// A room that the client is in.
fn stay<'a>(state: &'a Chat, room: &str) -> Result<&'a Stay, String> {
    let stay = state.rooms.get(room);
    stay.ok_or_else(|| "You are not in this room.".to_owned())
}

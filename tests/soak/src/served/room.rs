//! `/room?room=…&name=…`: what one says, all in the room hear, and who comes and goes. Whoever falls behind is told.

use axum::extract::{Query, Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, BoxError, Connection, Member, Message, PresenceEvent, Selector, Topic,
    continue_connection, upgrade_websocket,
};

use super::App;

/// What happens in a room.
#[derive(Clone)]
pub(super) enum Event {
    Said { name: String, number: String },
    Came(String),
    Went(String),
}

impl From<PresenceEvent<String, ()>> for Event {
    fn from(event: PresenceEvent<String, ()>) -> Self {
        let name = event.person().key().clone();
        match event {
            PresenceEvent::Left(_) => Self::Went(name),
            _ => Self::Came(name),
        }
    }
}

pub(super) struct Who {
    app: App,
    room: String,
    name: String,
}

/// Somebody in a room. The member leaves when it is dropped, whatever drops it.
struct Stay {
    topic: Topic<Event>,
    _member: Member<String, ()>,
}

/// The query: the room, and the name.
type Names = Query<std::collections::HashMap<String, String>>;

pub(super) async fn room(
    State(app): State<App>,
    Query(mut names): Names,
    request: Request,
) -> Response {
    let mut take = |key| names.remove(key).unwrap_or_default();
    let who = Who {
        app,
        room: take("room"),
        name: take("name"),
    };
    upgrade_websocket(request, who, on_init, on_message, on_close)
}

async fn on_init(_: &Connection, who: &Who) -> (Stay, Option<Selector<Event>>) {
    let topic = who.app.rooms.topic(who.room.as_str());
    let said = topic.subscribe();
    let people = &who.app.people;
    let member = people.enter(who.room.as_str(), who.name.clone(), ());
    let (_, changes) = people.watch(who.room.as_str());
    let selector = Selector::new()
        .select_as("said", said)
        .select_as("people", Selector::new().select_map(changes, Event::from));
    who.app.note_begun();
    let stay = Stay {
        topic,
        _member: member,
    };
    (stay, Some(selector))
}

async fn on_message(
    stay: &mut Stay,
    message: Message<Event>,
    connection: &Connection,
    who: &Who,
) -> Result<Action<Event>, BoxError> {
    match message {
        Message::Text(number) => {
            let (name, number) = (who.name.clone(), number.as_str().to_owned());
            stay.topic.publish(Event::Said { name, number })?;
        }
        Message::Custom(event) => {
            let line = match event {
                Event::Said { name, number } => format!("said {name} {number}"),
                Event::Came(name) => format!("came {name}"),
                Event::Went(name) => format!("went {name}"),
            };
            connection.send_text(line).await?;
        }
        Message::Missed(missed) => {
            let count = missed.count.unwrap_or_default();
            let line = format!("missed {} {count}", missed.source);
            connection.send_text(line).await?;
        }
        Message::Binary(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close(_: Stay, who: &Who) {
    who.app.note_ended();
}

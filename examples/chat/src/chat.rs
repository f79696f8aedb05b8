//! The chat: an upgrade, and the three handlers of a connection. `/chat?user=Ada&room=lobby` enters a room; each text
//! from the client is said in it, and what the client is told is an [`Event`] of the room or a [`Notice`] of its own.

use axum::extract::{Query, Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, BoxError, Broadcaster, Close, CloseCode, Connection, Message, Selector, Topic,
    continue_connection, upgrade_websocket,
};
use serde::Deserialize;

use crate::event::{Event, Notice, now};
use crate::people::{People, Seat};

/// Characters of a name, of a person as of a room.
const LONGEST_NAME: usize = 32;
/// Characters of a message.
const LONGEST_MESSAGE: usize = 2_000;

/// What the whole program shares.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) rooms: Broadcaster<Event>,
    pub(crate) people: People,
}

#[derive(Deserialize)]
pub(crate) struct Who {
    #[serde(default)]
    user: String,
    #[serde(default)]
    room: String,
}

/// Everything that the handlers need.
struct Dependencies {
    user: String,
    room: Topic<Event>,
    people: People,
}

/// The state of one connection.
struct Chat {
    id: String,
    seat: Seat,
}

pub(crate) async fn chat(
    Query(who): Query<Who>,
    State(app): State<App>,
    request: Request,
) -> Response {
    let dependencies = Dependencies {
        user: who.user,
        room: app.rooms.topic(who.room),
        people: app.people,
    };
    upgrade_websocket(request, dependencies, on_init, on_message, on_close)
}

async fn on_init(
    connection: &Connection,
    Dependencies { user, room, people }: &Dependencies,
) -> Result<(Chat, Option<Selector<Event>>), BoxError> {
    check_name("name", user)?;
    check_name("room", room.name())?;
    let id = connection.id().to_string();

    // In this order: whoever comes from here on is an event, and whoever was there before is in the welcome.
    let events = room.subscribe();
    let welcome = Notice::Welcome {
        you: id.clone(),
        people: people.in_room(room.name()),
    };
    connection.send_json(&welcome).await?;
    let seat = people.enter(room.name(), &id, user);
    room.publish(Event::Joined {
        id: id.clone(),
        name: user.clone(),
        at: now(),
    })?;

    Ok((Chat { id, seat }, Some(Selector::from(events))))
}

async fn on_message(
    state: &mut Chat,
    message: Message<Event>,
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<Action<Event>, BoxError> {
    match message {
        Message::Text(text) => {
            if let Err(reason) = say(state, text.trim(), dependencies) {
                connection.send_json(&Notice::Refused { reason }).await?;
            }
        }
        Message::Custom(event) => connection.send_json(&event).await?,
        Message::Missed(missed) => {
            let count = missed.count;
            let people = dependencies.people.in_room(dependencies.room.name());
            connection
                .send_json(&Notice::Missed { count, people })
                .await?;
        }
        Message::Binary(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close(state: Chat, dependencies: &Dependencies) {
    let Chat { id, seat } = state;
    drop(seat);
    let left = Event::Left {
        id,
        name: dependencies.user.clone(),
        at: now(),
    };
    if let Err(error) = dependencies.room.publish(left) {
        tracing::warn!(%error, "nobody was told that somebody left");
    }
}

/// Says a text in the room, or tells why not.
fn say(state: &Chat, text: &str, dependencies: &Dependencies) -> Result<(), String> {
    let length = text.chars().count();
    if length == 0 {
        return Ok(());
    }
    if length > LONGEST_MESSAGE {
        return Err(format!(
            "At most {LONGEST_MESSAGE} characters; this message has {length}."
        ));
    }
    let (from, name) = (state.id.clone(), dependencies.user.clone());
    let said = Event::Said {
        from,
        name,
        text: text.to_owned(),
        at: now(),
    };
    dependencies
        .room
        .publish(said)
        .map_err(|error| format!("The message was not sent: {error}."))?;
    Ok(())
}

/// Closes with 1008 and a reason that the page shows, unless the name may be used.
fn check_name(what: &str, name: &str) -> Result<(), Close> {
    let length = name.chars().count();
    let problem = if name.trim().is_empty() {
        format!("Choose a {what}.")
    } else if length > LONGEST_NAME {
        format!("At most {LONGEST_NAME} characters; this {what} has {length}.")
    } else if name.chars().any(char::is_control) {
        format!("This {what} has a character that cannot be shown.")
    } else {
        return Ok(());
    };
    Err(Close::new(CloseCode::POLICY, problem))
}

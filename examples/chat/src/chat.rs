//! The chat: an upgrade, and the three handlers of a connection. `/chat?user=Ada` connects; from then on the client sends
//! a [`Command`], and is told what happens in its rooms ([`Event`]) and what concerns it alone ([`Notice`]).

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Instant;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, BoxError, Broadcaster, Close, CloseCode, Connection, Member, Message, Selector, Topic,
    continue_connection, continue_connection_adding, continue_connection_removing,
    upgrade_websocket,
};
use serde::Deserialize;

use crate::event::{Command, Event, Notice, People, Present, now};
use crate::limits::{MOST_ROOMS, check_message, check_name};
use crate::pace::Pace;

/// What the whole program shares.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) rooms: Broadcaster<Event>,
    pub(crate) people: People,
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
    topic: Topic<Event>,
    _member: Member<String, String>,
}

/// What a command comes to: the next step, and perhaps a word about it; or why nothing was done.
type Answer = Result<(Action<Event>, Option<Notice>), String>;

pub(crate) async fn chat(
    Query(who): Query<Who>,
    State(app): State<App>,
    request: Request,
) -> Response {
    let name = who.user.trim().to_owned();
    let dependencies = Dependencies { name, app };
    upgrade_websocket(request, dependencies, on_init, on_message, on_close)
}

async fn on_init(
    _: &Connection,
    Dependencies { name, app }: &Dependencies,
) -> Result<(Chat, Option<Selector<Event>>), BoxError> {
    check_name("name", name).map_err(|reason| Close::new(CloseCode::POLICY, reason))?;
    let chat = Chat {
        rooms: HashMap::new(),
        pace: Pace::new(app.pace, Instant::now()),
    };
    Ok((chat, None))
}

async fn on_message(
    state: &mut Chat,
    message: Message<Event>,
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<Action<Event>, BoxError> {
    match message {
        Message::Text(text) => {
            slow_down(&mut state.pace, connection).await?;
            let (action, notice) = obey(state, &text, dependencies)
                .unwrap_or_else(|reason| (continue_connection(), Some(Notice::Refused { reason })));
            if let Some(notice) = notice {
                connection.send_json(&notice).await?;
            }
            return Ok(action);
        }
        Message::Custom(event) => connection.send_json(&event).await?,
        Message::Missed(missed) => {
            let (room, count) = (missed.source.into_owned(), missed.count);
            let people = dependencies.app.people.people(&room);
            let people = people.into_iter().map(Present::from).collect();
            let notice = Notice::Missed {
                room,
                count,
                people,
            };
            connection.send_json(&notice).await?;
        }
        Message::Binary(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close(state: Chat, dependencies: &Dependencies) {
    // Dropping the state leaves its rooms, and tells whoever is there.
    let rooms = state.rooms.len();
    tracing::debug!(name = %dependencies.name, rooms, "left");
}

/// Lets a client that is too fast wait, and says so. Nothing of it is read meanwhile, so TCP holds it back.
async fn slow_down(pace: &mut Pace, connection: &Connection) -> Result<(), BoxError> {
    let wait = pace.take(Instant::now());
    if !wait.is_zero() {
        let millis = u64::try_from(wait.as_millis())?;
        connection
            .send_json(&Notice::Slowed { wait: millis })
            .await?;
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

fn obey(state: &mut Chat, text: &str, dependencies: &Dependencies) -> Answer {
    let command = serde_json::from_str(text)
        .map_err(|error| format!("The server does not understand this page: {error}."))?;
    match command {
        Command::Enter { room } => return enter(state, room.trim(), dependencies),
        Command::Leave { room } => {
            state.rooms.remove(&room);
            return Ok((continue_connection_removing(room), None));
        }
        Command::Say { room, text } => say(state, room, text.trim(), dependencies)?,
        Command::Typing { room } => {
            let name = dependencies.name.clone();
            publish(state, &room.clone(), Event::Typing { room, name })?;
        }
    }
    Ok((continue_connection(), None))
}

/// Enters a room: what is said there and who comes and goes are one source from now on, under the room's name.
fn enter(state: &mut Chat, name: &str, Dependencies { name: user, app }: &Dependencies) -> Answer {
    check_name("room", name)?;
    let room = name.to_owned();
    if !state.rooms.contains_key(&room) && state.rooms.len() >= MOST_ROOMS {
        return Err(format!("At most {MOST_ROOMS} rooms at a time; leave one."));
    }
    let topic = app.rooms.topic(name);
    let said = topic.subscribe();
    // In this order: the list has the client itself, and the channel whatever changes after the list.
    let member = app.people.enter(name, user.clone(), room.clone());
    let (people, changes) = app.people.watch(name);
    let source = Selector::new()
        .select_as("said", said)
        .select_as("people", Selector::new().select_map(changes, Event::from));
    state.rooms.insert(
        room.clone(),
        Stay {
            topic,
            _member: member,
        },
    );
    let people = people.into_iter().map(Present::from).collect();
    let action = continue_connection_adding(Selector::new().select_as(room.clone(), source));
    Ok((action, Some(Notice::Entered { room, people })))
}

fn say(state: &Chat, room: String, text: &str, dependencies: &Dependencies) -> Result<(), String> {
    check_message(text)?;
    if text.is_empty() {
        return Ok(());
    }
    let (name, text) = (dependencies.name.clone(), text.to_owned());
    let at = now();
    publish(
        state,
        &room.clone(),
        Event::Said {
            room,
            name,
            text,
            at,
        },
    )
}

/// Publishes in a room that the client is in.
fn publish(state: &Chat, room: &str, event: Event) -> Result<(), String> {
    let stay = state.rooms.get(room).ok_or("You are not in this room.")?;
    let published = stay.topic.publish(event);
    published.map_err(|error| format!("The message was not sent: {error}."))?;
    Ok(())
}

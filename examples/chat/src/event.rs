//! What goes over the wire, as JSON: a [`Command`] of the client, what was [`Said`] and other [`Event`]s of a room, a
//! [`Notice`] to one client. What is said and who types travels between nodes, too.

use std::time::SystemTime;

use dreamsocket::{
    BoxError, Missed, OnMissed, Person, Position, Prepared, Presence, PresenceEvent,
};
use serde::{Deserialize, Serialize};

/// Who is in which room. People are told apart by their names. What is shown of them is where they are, since a
/// [`PresenceEvent`] tells who and not where.
pub(crate) type People = Presence<String, String>;

/// What a client asks for.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Command {
    /// `since` is the position of the last message that the client has of this room, if it has any.
    Enter {
        room: String,
        since: Option<Position>,
    },
    Leave {
        room: String,
    },
    Say {
        room: String,
        text: String,
    },
    Typing {
        room: String,
    },
}

/// What somebody said in a room, as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) room: String,
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) at: u64,
}

/// Somebody is writing: of no use to whoever was not there.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Typing {
    pub(crate) room: String,
    pub(crate) name: String,
}

/// What else happens in a room, told to everybody in it.
#[derive(Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Event {
    Typing(Typing),
    Joined {
        room: String,
        name: String,
        at: u64,
    },
    /// Somebody who is there has opened or closed another tab.
    Tabs {
        room: String,
        name: String,
        tabs: usize,
    },
    Left {
        room: String,
        name: String,
        at: u64,
    },
}

/// What concerns one connection, told to it alone.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Notice {
    /// The client is in the room. What it has not heard comes behind this; all of it was said before `at`.
    Entered { room: String, at: u64 },
    /// Who is in the room: after it was entered, and when a client was so slow that it missed who came and went.
    People { room: String, people: Vec<Present> },
    /// This many messages of the room are missing here, or nobody knows how many.
    Missed { room: String, count: Option<u64> },
    /// The client is too fast: what it sent waits this many milliseconds before it is looked at.
    Slowed { wait: u64 },
    /// What the client sent was not done.
    Refused { reason: String },
}

/// Somebody in a room.
#[derive(Serialize)]
pub(crate) struct Present {
    name: String,
    tabs: usize,
}

impl From<Person<String, String>> for Present {
    fn from(person: Person<String, String>) -> Self {
        Self {
            name: person.key().clone(),
            tabs: person.connections(),
        }
    }
}

impl From<PresenceEvent<String, String>> for Event {
    fn from(change: PresenceEvent<String, String>) -> Self {
        let (room, name) = (
            change.person().value().clone(),
            change.person().key().clone(),
        );
        let at = now();
        match change {
            PresenceEvent::Joined(_) => Self::Joined { room, name, at },
            PresenceEvent::Left(_) => Self::Left { room, name, at },
            PresenceEvent::Updated(person) => Self::Tabs {
                room,
                name,
                tabs: person.connections(),
            },
        }
    }
}

/// What was said, as it goes to every connection on this node: made once for all of them.
#[derive(Serialize)]
#[serde(tag = "type", rename = "said")]
struct Told<'a> {
    #[serde(flatten)]
    said: &'a Said,
    /// Where a client that comes back goes on.
    position: Option<Position>,
}

pub(crate) fn encode(said: &Said, position: Option<Position>) -> Result<Prepared, BoxError> {
    Ok(Prepared::json(&Told { said, position })?)
}

/// What is sent in the place of messages that a client has missed.
pub(crate) fn missed(missed: Missed) -> OnMissed {
    let (room, count) = (missed.source.into_owned(), missed.count);
    let notice = Prepared::json(&Notice::Missed { room, count });
    notice.map_or(OnMissed::End, OnMissed::Notice)
}

/// Milliseconds since 1970, as JavaScript counts time.
pub(crate) fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

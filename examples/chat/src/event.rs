//! What goes over the wire, as JSON: a [`Command`] of the client, an [`Event`] of a room, a [`Notice`] to one client.

use std::time::SystemTime;

use dreamsocket::{Person, Presence, PresenceEvent};
use serde::{Deserialize, Serialize};

/// Who is in which room. People are told apart by their names. What is shown of them is where they are, since a
/// [`PresenceEvent`] tells who and not where.
pub(crate) type People = Presence<String, String>;

/// What a client asks for.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Command {
    Enter { room: String },
    Leave { room: String },
    Say { room: String, text: String },
    Typing { room: String },
}

/// What happens in a room, told to everybody in it.
#[derive(Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Event {
    Said {
        room: String,
        name: String,
        text: String,
        at: u64,
    },
    Typing {
        room: String,
        name: String,
    },
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
    /// The client is in the room, with these people.
    Entered { room: String, people: Vec<Present> },
    /// The client was so slow that this many events of the room passed it by; who is there now.
    Missed {
        room: String,
        count: Option<u64>,
        people: Vec<Present>,
    },
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

/// Milliseconds since 1970, as JavaScript counts time.
pub(crate) fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

//! What goes over the wire, as JSON: a [`Command`] of the client, and what it is told, [`Tell`]. What is [`Said`] and who is
//! [`Typing`] travels between nodes, too.
//!
//! The page's client is made from these types: `cargo run -p chat --features schema --example protocol` writes page/chat.js,
//! its types and the AsyncAPI document anew.

use std::time::SystemTime;

use dreamsocket::{
    BoxError, Missed, OnMissed, Person, Position, Prepared, Presence, PresenceEvent,
};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who is in which room. People are told apart by their names. What is shown of them is where they are, since a
/// [`PresenceEvent`] tells who and not where.
pub(crate) type People = Presence<String, String>;

/// What a client asks for.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Command {
    /// `since` is the position of the last message that the client has of this room, if it has any.
    Enter {
        room: String,
        #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
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
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub(crate) struct Said {
    pub(crate) room: String,
    pub(crate) name: String,
    pub(crate) text: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
}

/// Somebody is writing: of no use to whoever was not there.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub(crate) struct Typing {
    pub(crate) room: String,
    pub(crate) name: String,
}

/// What a client is told. Times are milliseconds since 1970.
#[derive(Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Tell {
    /// To everybody in the room. The position is where a client that comes back goes on.
    Said {
        #[serde(flatten)]
        said: Said,
        #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
        position: Option<Position>,
    },
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
    /// The client is in the room. What it has not heard comes behind this; all of it was said before `at`.
    Entered {
        room: String,
        at: u64,
    },
    /// Who is in the room: after it was entered, and when a client was so slow that it missed who came and went.
    People {
        room: String,
        people: Vec<Present>,
    },
    /// This many messages of the room are missing here, or nobody knows how many.
    Missed {
        room: String,
        count: Option<u64>,
    },
    /// The client is too fast: what it sent waits this many milliseconds before it is looked at.
    Slowed {
        wait: u64,
    },
    /// What the client sent was not done. A room is named if it cannot be entered.
    Refused {
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
    },
}

/// Somebody in a room.
#[derive(Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
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

impl From<PresenceEvent<String, String>> for Tell {
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
pub(crate) fn encode(said: &Said, position: Option<Position>) -> Result<Prepared, BoxError> {
    let said = said.clone();
    Ok(Prepared::json(&Tell::Said { said, position })?)
}

/// What is sent in the place of messages that a client has missed.
pub(crate) fn missed(missed: Missed) -> OnMissed {
    let (room, count) = (missed.source.into_owned(), missed.count);
    let notice = Prepared::json(&Tell::Missed { room, count });
    notice.map_or(OnMissed::End, OnMissed::Notice)
}

/// Milliseconds since 1970, as JavaScript counts time.
pub(crate) fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

//! What the client is told, as JSON: an [`Event`] of its room, or a [`Notice`] of its own.

use std::time::SystemTime;

use serde::Serialize;

use crate::people::Person;

/// What happens in a room, told to everybody in it.
#[derive(Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Event {
    Joined {
        id: String,
        name: String,
        at: u64,
    },
    Said {
        from: String,
        name: String,
        text: String,
        at: u64,
    },
    Left {
        id: String,
        name: String,
        at: u64,
    },
}

/// What concerns one connection, told to it alone.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Notice {
    /// The first message: who the client is, and who was there before it.
    Welcome { you: String, people: Vec<Person> },
    /// The client was so slow that this many events passed it by; who is there now.
    Missed {
        count: Option<u64>,
        people: Vec<Person>,
    },
    /// What the client sent was not said.
    Refused { reason: String },
}

/// Milliseconds since 1970, as JavaScript counts time.
pub(crate) fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

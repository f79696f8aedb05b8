//! What of the chat's protocol a bot needs; the whole is in `examples/chat/src/event.rs`, and the tests speak with that one.

use dreamsocket::Position;
use serde::{Deserialize, Serialize};

/// What the bot asks for.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Ask {
    /// `since` is where it was when it was last in the room.
    Enter {
        room: String,
        since: Option<Position>,
    },
    Say {
        room: String,
        text: String,
    },
}

/// What the bot is told.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Told {
    /// The bot is in the room. What it has not heard comes behind this; all of it was said before `at`.
    Entered {
        at: u64,
    },
    Said(Said),
    /// So many messages are missing here.
    Missed {
        count: Option<u64>,
    },
    Refused {
        reason: String,
    },
    /// Who comes and goes, who types, and whatever a later chat may tell.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(crate) struct Said {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) position: Option<Position>,
}

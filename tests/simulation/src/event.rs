//! What happens in a simulated world, as it is told to the oracle and printed in a transcript. Plain data.

use std::fmt;

use dreamsocket::Cause;

use crate::frames::Print;

/// Which end of a connection; both kinds run the library's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Server,
    Client,
}

/// What a frame was, without the whole of its payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Seen {
    Head(String),
    Message(Print, String),
    Ping(Print),
    Pong(Print),
    Close(Option<u16>),
    Broken,
}

/// What a handler is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Given {
    Message(Print, String),
    /// A message of a source that somebody feeds.
    Fed {
        source: u32,
        number: u64,
    },
    /// A message of a topic.
    Said {
        topic: u32,
        number: u64,
    },
    Missed {
        source: String,
        count: Option<u64>,
    },
    Closed(End),
}

/// How a connection ended, as the library says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct End {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) is_clean: bool,
    pub(crate) cause: Cause,
}

/// What a handler returned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Returned {
    Continue,
    Replace(Vec<u32>),
    Add(Vec<u32>),
    Remove(String),
    Stop(u16),
    /// An error that closes with this code.
    Error(u16),
}

/// What came of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Accepted,
    Closed,
    Timeout,
    Full,
    /// The future was dropped.
    GivenUp,
}

/// What is not to wait for the peer (L10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Close(u16),
    ClosedAfterClose,
    Ping,
}

/// What a channel does when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Policy {
    DropOldest,
    DropNewest,
    LatestPerKey,
    End,
}

/// What a source of a selector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A channel that another task feeds.
    Fed,
    /// A stream with so many messages, all of which are there.
    Torrent(u64),
    /// A timer, whose messages are not counted.
    Timer,
    Topic {
        topic: u32,
        capacity: usize,
        policy: Policy,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    // The wire, below the session.
    Opened {
        role: Role,
        client: u32,
    },
    Read(usize),
    /// Nothing more can be read; whether that is an error.
    ReadEnd(bool),
    In(Seen),
    Wrote(usize),
    /// The transport holds what was written until it is flushed, as TLS does.
    Held,
    Flushed,
    Out(Seen),
    Blocked,
    WriteFailed,
    Shut,
    /// The session has let go of the transport; whether something could have been read.
    Gone {
        is_unread: bool,
    },

    // The handlers.
    Init,
    /// The sources of its selector, or nothing if there is no state.
    InitDone(Option<Vec<u32>>),
    Begun(Given),
    Done(Returned),
    /// A handler's future was dropped before its end; whether by its own panic.
    Dropped {
        by_panic: bool,
    },
    OnClose {
        end: End,
        version: u64,
    },
    OnCloseDone,

    // Handles.
    Send {
        id: u32,
        print: Print,
        waits: bool,
    },
    Sent {
        id: u32,
        fate: Fate,
        buffered: usize,
    },
    Called {
        call: Call,
        polls: u32,
    },
    ClosedSeen,

    // Selectors and topics.
    Source {
        id: u32,
        key: Option<String>,
        kind: Kind,
    },
    Fed {
        source: u32,
        number: u64,
    },
    SourcePanics,
    /// A topic is forwarded; whether the connection ends where it has a gap.
    Forward {
        id: u32,
        topic: u32,
        ends: bool,
        mark: usize,
    },
    Unforward {
        id: u32,
    },
    Published {
        topic: u32,
        number: u64,
        key: u8,
        local: usize,
    },
    /// A topic of prepared messages.
    FeedPublished {
        topic: u32,
        number: u64,
    },

    // The world.
    Drain,
    DrainAwaited,
    ServerEnded {
        clean: usize,
        cut: usize,
    },
    Crashed,
    Note(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(count) => write!(f, "  <- {count} bytes"),
            Self::Wrote(count) => write!(f, "  -> {count} bytes"),
            Self::In(seen) => write!(f, "  <- {seen}"),
            Self::Out(seen) => write!(f, "  -> {seen}"),
            Self::Begun(given) => write!(f, "on_message {given:?}"),
            Self::Done(returned) => write!(f, "on_message returns {returned:?}"),
            Self::Note(note) => f.write_str(note),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(line) => f.write_str(line),
            Self::Message(print, head) => write!(f, "message {head:?} ({} bytes)", print.length),
            Self::Ping(print) => write!(f, "ping ({} bytes)", print.length),
            Self::Pong(print) => write!(f, "pong ({} bytes)", print.length),
            Self::Close(code) => write!(f, "close {code:?}"),
            Self::Broken => f.write_str("what breaks the protocol"),
        }
    }
}

//! Forwarding: a topic's messages go to a connection's outbox without running its `on_message` (S3).
//!
//! The channel stays the queue, with its bound and its policy; the session takes a message out of it when there is room,
//! and only then. Here are the handle and what the session is given; the session does the rest.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dreamsocket_broadcaster::{Channel, Missed};

use crate::connection::Connection;
use crate::prepared::Prepared;

/// What a forwarded channel's gap becomes; returned by the `on_missed` of
/// [`Connection::forward`](crate::Connection::forward).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OnMissed {
    /// This message is sent in the gap's place.
    Notice(Prepared),
    /// The connection is closed with 1013.
    End,
}

/// Keeps a channel forwarded to a connection; made by [`Connection::forward`](crate::Connection::forward).
///
/// Dropping it ends the forwarding and unsubscribes. It does not keep the connection open, and forwarding ends with the
/// connection, too.
#[must_use = "dropping it ends the forwarding"]
pub struct Forward {
    connection: Connection,
    is_stopped: Arc<AtomicBool>,
}

impl Forward {
    pub(crate) fn start(
        connection: Connection,
        channel: Channel<Prepared>,
        on_missed: fn(Missed) -> OnMissed,
    ) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        connection.shared.outbox.forward(Forwarding {
            channel,
            on_missed,
            held: None,
            is_stopped: Arc::clone(&is_stopped),
        });
        Self {
            connection,
            is_stopped,
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // The outbox's lock orders the flag before the session's look at it.
        self.connection.shared.outbox.nudge();
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

/// A channel that the session takes messages out of.
#[derive(Debug)]
pub(crate) struct Forwarding {
    pub(crate) channel: Channel<Prepared>,
    pub(crate) on_missed: fn(Missed) -> OnMissed,
    /// The message that was taken and for which there was no room.
    pub(crate) held: Option<Prepared>,
    is_stopped: Arc<AtomicBool>,
}

impl Forwarding {
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

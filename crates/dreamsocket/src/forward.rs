//! Forwarding: a topic's messages go to a connection's outbox without running its `on_message` (S3).
//!
//! The channel stays the queue, with its bound and its policy; the session takes a message out of it when there is room,
//! and only then. Here are the handle and what the session is given; the session does the rest.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use dreamsocket_broadcaster::{Delivery, End, Missed};

use crate::coded::{Frames, Source};
use crate::connection::{Connection, Shared};
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
        Frames(channel): Frames,
        on_missed: fn(Missed) -> OnMissed,
    ) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        connection.shared.outbox.forward(Forwarding {
            channel,
            on_missed,
            held: None,
            is_stopped: Arc::clone(&is_stopped),
            is_behind: false,
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
    channel: Source,
    on_missed: fn(Missed) -> OnMissed,
    /// The message that was taken and for which there was no room.
    held: Option<Prepared>,
    is_stopped: Arc<AtomicBool>,
    /// Messages that were sent before are still queued, and go first.
    is_behind: bool,
}

/// What comes out of a forwarded channel.
pub(crate) enum Forwarded {
    Message(Prepared),
    /// Nobody can publish to it any more.
    Ended,
    /// The connection is to be closed with 1013.
    Lagged,
    /// `on_missed` panicked.
    Panicked(Box<dyn Any + Send>),
}

impl Forwarding {
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    pub(crate) const fn is_behind(&self) -> bool {
        self.is_behind
    }

    pub(crate) const fn set_behind(&mut self, is_behind: bool) {
        self.is_behind = is_behind;
    }

    /// The next message: the one that is held, or the channel's.
    pub(crate) fn poll_message(
        &mut self,
        shared: &Shared,
        context: &mut Context<'_>,
    ) -> Poll<Forwarded> {
        if let Some(message) = self.held.take() {
            return Poll::Ready(Forwarded::Message(message));
        }
        let delivery = ready!(self.channel.poll_recv(context));
        Poll::Ready(match delivery {
            Some(Delivery::Message(message)) => Forwarded::Message(message),
            Some(Delivery::Missed(missed)) => {
                shared.note_missed(&missed);
                let on_missed = self.on_missed;
                match catch_unwind(AssertUnwindSafe(|| on_missed(missed))) {
                    Ok(OnMissed::Notice(notice)) => Forwarded::Message(notice),
                    Ok(OnMissed::End) => Forwarded::Lagged,
                    Err(payload) => Forwarded::Panicked(payload),
                }
            }
            None if self.channel.end() == Some(End::Lagged) => Forwarded::Lagged,
            None => Forwarded::Ended,
        })
    }

    /// Keeps a message for which there is no room.
    pub(crate) fn hold(&mut self, message: Prepared) {
        self.held = Some(message);
    }

    /// Whether there is a message for which there was no room or no time yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.held.is_some() || self.channel.waiting() > 0
    }

    /// Whether the channel has ended because it lagged; else the task is woken when it does.
    pub(crate) fn poll_lagged(&mut self, context: &mut Context<'_>) -> bool {
        self.channel.poll_end(context) == Poll::Ready(End::Lagged)
    }
}

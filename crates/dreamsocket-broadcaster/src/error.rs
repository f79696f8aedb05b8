//! What can go wrong, by call. No error holds a message: what was not sent is not copied into logs.

use std::error::Error;
use std::fmt;

/// Why a message was not published.
///
/// The engine of [`Broadcaster::new`](crate::Broadcaster::new) cannot fail, and it is the only one so far: no value of
/// this type can exist. It is `#[non_exhaustive]`, so code that handles it stays right when an engine that can fail is
/// chosen: one whose broker is away, or whose confirmation does not come in the time that the engine gives it, after
/// which nobody knows whether the message was published.
#[derive(Debug)]
#[non_exhaustive]
pub enum PublishError {}

impl fmt::Display for PublishError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Error for PublishError {}

/// Why [`Channel::try_recv`](crate::Channel::try_recv) had nothing to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// Nothing waits now.
    Empty,
    /// Nothing waits and nothing will come: [`Channel::end`](crate::Channel::end) says why.
    Ended,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no message is waiting in the channel",
            Self::Ended => "the channel has ended",
        })
    }
}

impl Error for TryRecvError {}

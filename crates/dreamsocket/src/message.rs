//! What a handler is given: [`Message`], and [`Closed`] with its [`Cause`]. Pure types, no input or output.

use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;
use dreamsocket_broadcaster::Missed;
use dreamsocket_protocol::{CloseCode, Text};

/// One thing that happened on a connection.
///
/// `C` is the type of the application's own messages, which reach the connection through a
/// [`Selector`](crate::Selector). Exhaustive on purpose: no variant comes later, so a `match` stays complete.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the contract says that no variant comes later"
)]
pub enum Message<C = Infallible> {
    /// A whole text message from the peer, checked to be UTF-8.
    Text(Text),
    /// A whole binary message from the peer.
    Binary(Bytes),
    /// A message from the application.
    Custom(C),
    /// A gap in a source of the selector, in the place where the lost messages would have been.
    Missed(Missed),
    /// The connection is closed: the last message, delivered once. Sends give
    /// [`SocketClosed`](crate::SendError::SocketClosed), and what the handler returns is ignored.
    ConnectionClosed(Closed),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The code of the close frame that ended the connection: the peer's, or ours if we closed first.
    ///
    /// [`CloseCode::NO_STATUS`] (1005) for a close frame without a code, [`CloseCode::ABNORMAL`] (1006) for a peer that
    /// was lost (RFC 6455 §7.1.5).
    pub code: CloseCode,
    /// The reason in that close frame, empty if there was none.
    pub reason: Text,
    /// Whether both sides sent their close frame (RFC 6455 §7.1.4).
    pub clean: bool,
    /// What led to it. The first cause stands.
    pub cause: Cause,
}

impl Closed {
    /// A value for tests of handlers.
    #[must_use]
    pub fn new(
        code: impl Into<CloseCode>,
        reason: impl Into<Text>,
        clean: bool,
        cause: Cause,
    ) -> Self {
        Self {
            code: code.into(),
            reason: reason.into(),
            clean,
            cause,
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The peer sent a close frame.
    Peer,
    /// A handler returned [`stop_connection`](crate::stop_connection), or a task called
    /// [`Connection::close`](crate::Connection::close).
    Stopped,
    /// A handler returned an error.
    Failed,
    /// A handler panicked.
    Panicked,
    /// The peer went away without a close frame, or did not answer the heartbeat.
    Lost,
    /// The peer broke the protocol (1002 or 1007).
    Protocol,
    /// The peer went past a bound (1009), or past an idle or life time.
    Limit,
    /// The peer does not read what it is sent (1013).
    Lagged,
    /// The hub is shutting down (1001).
    Drained,
    /// A handler took longer than its timeout.
    TimedOut,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer => "peer",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Lost => "lost",
            Self::Protocol => "protocol",
            Self::Limit => "limit",
            Self::Lagged => "lagged",
            Self::Drained => "drained",
            Self::TimedOut => "timed out",
        })
    }
}

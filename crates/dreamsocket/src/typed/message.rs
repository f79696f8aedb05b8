//! What a typed handler is given. Pure types.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use dreamsocket_broadcaster::Missed;

use crate::error::BoxError;
use crate::message::Closed;
use crate::typed::format::Payload;

/// One thing that happened on a connection with typed messages.
///
/// `In` is what the peer sends, `C` the type of the application's own messages. Exhaustive on purpose: no variant comes
/// later, so a `match` stays complete.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "as with the plain message, no variant comes later"
)]
pub enum Message<In, C = Infallible> {
    /// A whole message from the peer, decoded.
    Received(In),
    /// A whole message from the peer that is no `In`; under
    /// [`OnUndecodable::Tell`](crate::OnUndecodable::Tell), the default, only.
    Undecodable(Undecodable),
    /// A message from the application.
    Custom(C),
    /// A gap in a source of the selector, in the place where the lost messages would have been.
    Missed(Missed),
    /// The connection is closed: the last message, delivered once.
    ConnectionClosed(Closed),
}

/// A message that could not be decoded.
///
/// Its `Display` says why in words that are fit for the peer and the log: the format, and the place if it is known. It has
/// nothing of the message in it. [`Error::source`] is the format's own error, which may quote the message.
pub struct Undecodable {
    reason: String,
    source: BoxError,
    payload: Payload,
}

impl Undecodable {
    pub(crate) fn new(reason: String, source: BoxError, payload: Payload) -> Self {
        Self {
            reason,
            source,
            payload,
        }
    }

    /// The message as it came.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Without the message and what may quote it.
impl fmt::Debug for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecodable")
            .field("reason", &self.reason)
            .field("bytes", &self.payload.as_bytes().len())
            .finish_non_exhaustive()
    }
}

impl Error for Undecodable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

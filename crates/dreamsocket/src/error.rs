//! What can go wrong for an application: [`SendError`], and [`Close`], the error that chooses a close code.
//!
//! Apart from the session, which only needs one thing from here: what an error that a handler returned means
//! for the close ([`Verdict`]). It knows nothing of sockets, queues or handlers.

use std::error::Error;
use std::fmt;

use dreamsocket_protocol::{CloseCode, Text};

/// The error that handlers may return: anything that implements [`Error`], boxed.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// Why a message was not accepted into a connection's outbox.
///
/// Nothing of a refused message was or will be sent. Returned from a handler (with `?`),
/// [`Timeout`](Self::Timeout) closes the connection with 1013 and [`SocketClosed`](Self::SocketClosed) changes
/// nothing, since the connection is closing already.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closing or closed.
    SocketClosed,
    /// The outbox stayed full for [`Config::send_timeout`](crate::Config::send_timeout): the peer does not read.
    Timeout(#[doc(hidden)] TimeoutCarrier),
    /// The outbox is full, and the call was one that never waits (`try_send_*`, `ping`).
    Full,
    /// The value could not be written as JSON.
    #[cfg(feature = "json")]
    Json(serde_json::Error),
    /// The value could not be written in the connection's [format](crate::typed::Format).
    #[cfg(feature = "json")]
    Unencodable(BoxError),
}

impl SendError {
    pub(crate) const TIMEOUT: Self = Self::Timeout(TimeoutCarrier(()));

    /// Whether this is [`SendError::SocketClosed`].
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::SocketClosed)
    }

    /// Whether this is [`SendError::Timeout`].
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SocketClosed => f.write_str("the connection is closing or closed"),
            Self::Timeout(_) => f.write_str("the outbox stayed full for the whole send timeout"),
            Self::Full => f.write_str("the outbox is full"),
            #[cfg(feature = "json")]
            Self::Json(_) => f.write_str("the message could not be written as JSON"),
            #[cfg(feature = "json")]
            Self::Unencodable(_) => f.write_str("the message could not be encoded"),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Timeout(carrier) => Some(carrier),
            #[cfg(feature = "json")]
            Self::Json(error) => Some(error),
            #[cfg(feature = "json")]
            Self::Unencodable(error) => Some(&**error),
            Self::SocketClosed | Self::Full => None,
        }
    }
}

/// An error that chooses the close code and the reason that the peer gets.
///
/// Return it from `on_init` or `on_message`, bare or inside an error of your own: it is found anywhere along
/// [`Error::source`], so thiserror's `#[from]` and `#[error(transparent)]` and anyhow, with context or without, all keep it.
///
/// ```
/// use dreamsocket::{Action, BoxError, Close, CloseCode, continue_connection};
///
/// fn check(text: &str) -> Result<Action, BoxError> {
///     if text.len() > 2_000 {
///         return Err(Close::new(CloseCode::POLICY, "at most 2,000 bytes").into());
///     }
///     Ok(continue_connection())
/// }
/// # assert!(check("short").is_ok());
/// ```
///
/// A code that must not be sent (RFC 6455 §7.4) closes with 1011 and is logged as an error; a reason longer than 123
/// bytes is cut at a character.
#[derive(Debug)]
pub struct Close {
    carrier: CloseCarrier,
}

impl Close {
    /// An error that closes the connection with `code` and `reason`.
    pub fn new(code: impl Into<CloseCode>, reason: impl Into<Text>) -> Self {
        Self {
            carrier: CloseCarrier {
                code: code.into(),
                reason: reason.into(),
            },
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CloseCarrier { code, reason } = &self.carrier;
        if reason.is_empty() {
            write!(f, "close with {code}")
        } else {
            write!(f, "close with {code}: {}", reason.as_str())
        }
    }
}

impl Error for Close {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.carrier)
    }
}

/// What [`Close`] is found by. A wrapper that is `transparent` passes `source()` on and hides the [`Close`] itself, so
/// the loop looks for this private type, which stands behind it.
#[derive(Debug)]
struct CloseCarrier {
    code: CloseCode,
    reason: Text,
}

impl fmt::Display for CloseCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.code)
    }
}

impl Error for CloseCarrier {}

/// What [`SendError::Timeout`] is found by, for the same reason.
#[doc(hidden)]
#[derive(Debug)]
#[expect(
    unnameable_types,
    reason = "private; it stands in a public variant so that nobody makes one"
)]
pub struct TimeoutCarrier(());

impl fmt::Display for TimeoutCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer does not read")
    }
}

impl Error for TimeoutCarrier {}

/// What an error that a handler returned means for the close.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The application chose the code.
    Close(CloseCode, Text),
    /// A send of ours timed out: the peer lags.
    Lagged,
    /// Anything else.
    Failed,
}

impl Verdict {
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(CloseCarrier { code, reason }) = error.downcast_ref() {
                return Self::Close(*code, reason.clone());
            }
            if error.is::<TimeoutCarrier>() {
                return Self::Lagged;
            }
            next = error.source();
        }
        Self::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Wrapped {
        #[error("wrapped")]
        From(#[from] Close),
        #[error(transparent)]
        Transparent(Close),
        #[error("sending")]
        Send(#[from] SendError),
    }

    fn check(error: impl Into<BoxError>, expected: &Verdict) {
        assert_eq!(&Verdict::of(&*error.into()), expected);
    }

    #[test]
    fn a_close_is_found_however_it_is_wrapped() {
        let close = || Close::new(4001, "out");
        let expected = Verdict::Close(CloseCode::from(4001), Text::from("out"));
        check(close(), &expected);
        check(Wrapped::from(close()), &expected);
        check(Wrapped::Transparent(close()), &expected);
        check(anyhow::Error::new(close()), &expected);
        check(
            anyhow::Error::new(close()).context("while chatting"),
            &expected,
        );
        check(anyhow::Error::new(Wrapped::Transparent(close())), &expected);
    }

    #[test]
    fn a_timeout_is_found_however_it_is_wrapped() {
        check(SendError::TIMEOUT, &Verdict::Lagged);
        check(Wrapped::from(SendError::TIMEOUT), &Verdict::Lagged);
        check(anyhow::Error::new(SendError::TIMEOUT), &Verdict::Lagged);
        check(
            anyhow::Error::new(SendError::TIMEOUT).context("while chatting"),
            &Verdict::Lagged,
        );
    }

    #[test]
    fn anything_else_is_a_failure() {
        check(SendError::SocketClosed, &Verdict::Failed);
        check("no such room", &Verdict::Failed);
        check(std::io::Error::other("disk"), &Verdict::Failed);
    }
}

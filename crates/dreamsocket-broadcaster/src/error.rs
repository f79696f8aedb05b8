//! What can go wrong, by call. No error holds a message: what was not sent is not copied into logs.

use std::error::Error;
use std::fmt;

/// Why a message was not published.
///
/// The engine of [`Broadcaster::new`](crate::Broadcaster::new) cannot fail. Those that reach other machines can, and each
/// variant is theirs. After all of them but [`Unconfirmed`](Self::Unconfirmed) nobody gets the message, neither here nor
/// elsewhere.
#[derive(Debug)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no connection to the broker now. With `RemoteOptions::queue_while_away` messages wait for it instead.
    Away,
    /// So much waits already to be sent: the broker is slower than this process publishes, or away.
    Full {
        /// What may wait, in bytes: see `RemoteOptions::max_queue`.
        limit: usize,
    },
    /// The encoded message is too large.
    TooLarge {
        /// How large it may be, in bytes: see `RemoteOptions::max_message`, or what the broker takes if that is less.
        limit: usize,
        /// How large it is.
        got: usize,
    },
    /// The topic's name is too long for a broker. Nobody can publish to it, so nothing can be missed there.
    NameTooLong {
        /// How long it may be, in bytes.
        limit: usize,
        /// How long it is.
        got: usize,
    },
    /// The message's `Serialize` failed, or the encoding cannot write what it asks for.
    Unencodable(Box<dyn Error + Send + Sync>),
    /// The broker has not confirmed the message in time, or the connection was lost before it did, or it refused this or another
    /// one of this node's messages meanwhile. Nobody knows whether it was published.
    Unconfirmed,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("there is no connection to the broker"),
            Self::Full { limit } => {
                write!(f, "{limit} bytes wait already to be sent to the broker")
            }
            Self::TooLarge { limit, got } => {
                write!(
                    f,
                    "the message has {got} bytes, more than the {limit} allowed"
                )
            }
            Self::NameTooLong { limit, got } => {
                write!(
                    f,
                    "the topic's name has {got} bytes, more than the {limit} allowed"
                )
            }
            Self::Unencodable(_) => f.write_str("the message could not be encoded"),
            Self::Unconfirmed => f.write_str("the broker has not confirmed the message"),
        }
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unencodable(error) => Some(&**error),
            Self::Away
            | Self::Full { .. }
            | Self::TooLarge { .. }
            | Self::NameTooLong { .. }
            | Self::Unconfirmed => None,
        }
    }
}

/// Why there is no connection to a broker, and so no broadcaster, or no presence.
///
/// Its [`source`](Error::source) is the client crate's error.
#[cfg(any(feature = "nats", feature = "redis"))]
#[derive(Debug)]
pub struct BrokerError(Box<dyn Error + Send + Sync>);

#[cfg(any(feature = "nats", feature = "redis"))]
impl BrokerError {
    pub(crate) fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }

    #[cfg(feature = "nats")]
    pub(crate) fn boxed(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(error)
    }
}

#[cfg(any(feature = "nats", feature = "redis"))]
impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("could not connect to the broker")
    }
}

#[cfg(any(feature = "nats", feature = "redis"))]
impl Error for BrokerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_is_wrong_and_what_would_be_right() {
        let check = |error: PublishError, text| {
            assert_eq!(error.to_string(), text);
            let has_source = matches!(error, PublishError::Unencodable(_));
            assert_eq!(error.source().is_some(), has_source);
        };
        check(PublishError::Away, "there is no connection to the broker");
        check(
            PublishError::Full { limit: 5 },
            "5 bytes wait already to be sent to the broker",
        );
        check(
            PublishError::TooLarge { limit: 5, got: 6 },
            "the message has 6 bytes, more than the 5 allowed",
        );
        check(
            PublishError::NameTooLong { limit: 5, got: 6 },
            "the topic's name has 6 bytes, more than the 5 allowed",
        );
        check(
            PublishError::Unencodable("a map's keys are no strings".into()),
            "the message could not be encoded",
        );
        check(
            PublishError::Unconfirmed,
            "the broker has not confirmed the message",
        );
        assert_eq!(
            TryRecvError::Empty.to_string(),
            "no message is waiting in the channel"
        );
        assert_eq!(TryRecvError::Ended.to_string(), "the channel has ended");
    }
}

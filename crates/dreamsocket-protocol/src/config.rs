//! What a caller decides before the first byte: the role and the limits. Plain data; the rules that
//! read it live in the decoder and the assembler.

/// Which end of the connection an [`Engine`](crate::Engine) plays.
///
/// A client masks its frames and refuses masked ones; a server does the opposite (RFC 6455 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "RFC 6455 knows two roles and no more"
)]
pub enum Role {
    /// The end that opened the connection.
    Client,
    /// The end that accepted it.
    Server,
}

/// How much a peer may make the engine hold, checked on the declared length, before any of it is
/// buffered.
///
/// A message or frame that would pass a limit is a violation that closes with 1009.
///
/// ```
/// use dreamsocket_protocol::Limits;
///
/// let limits = Limits::new().with_max_message(64 * 1024);
/// assert_eq!(limits.max_message, 64 * 1024);
/// assert_eq!(limits.max_frame, 1024 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// The largest message, in bytes of payload. 1 MiB unless set.
    ///
    /// Each fragment of a fragmented message is charged at least [`MIN_FRAGMENT_CHARGE`] bytes
    /// against it, so that a message of a million empty fragments is refused as well.
    pub max_message: usize,
    /// The largest single data frame, in bytes of payload. 1 MiB unless set.
    pub max_frame: usize,
}

/// What a fragment costs at least, in bytes, when it's charged against [`Limits::max_message`].
pub const MIN_FRAGMENT_CHARGE: usize = 64;

const DEFAULT_MAX: usize = 1024 * 1024;

impl Limits {
    /// The default limits: 1 MiB for a message and for a frame.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_message: DEFAULT_MAX,
            max_frame: DEFAULT_MAX,
        }
    }

    /// Sets the largest message, in bytes of payload.
    #[must_use]
    pub const fn with_max_message(self, max_message: usize) -> Self {
        Self {
            max_message,
            ..self
        }
    }

    /// Sets the largest single data frame, in bytes of payload.
    #[must_use]
    pub const fn with_max_frame(self, max_frame: usize) -> Self {
        Self { max_frame, ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

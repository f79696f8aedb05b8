//! What can go wrong on an open connection, split by who is to blame: [`Violation`] is the peer's
//! fault and never a `Result` that could be dropped; the others are the caller's. No payload is in
//! any of them. The opening handshake has its own errors beside its functions.

use crate::close::CloseCode;

/// A rule of the protocol that the peer broke, or a limit it passed.
///
/// It ends the connection: the engine has queued the Close frame with [`close_code`](Self::close_code), unless one was queued
/// or sent before, and takes nothing more from the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit was set that no extension gave a meaning (RFC 6455 §5.2).
    #[error("reserved bits {bits:#05b} are set, but no extension was agreed on that uses them")]
    ReservedBits {
        /// RSV1, RSV2 and RSV3 as the upper, middle and lower of three bits.
        bits: u8,
    },
    /// An opcode that RFC 6455 reserves (§5.2).
    #[error("opcode {opcode:#x} is not defined")]
    UnknownOpcode {
        /// The opcode, 3–7 or 11–15.
        opcode: u8,
    },
    /// A control frame without FIN (RFC 6455 §5.5).
    #[error("a control frame (opcode {opcode:#x}) is fragmented")]
    FragmentedControl {
        /// The control frame's opcode.
        opcode: u8,
    },
    /// A control frame of more than 125 bytes (RFC 6455 §5.5).
    #[error("a control frame (opcode {opcode:#x}) is longer than 125 bytes")]
    ControlTooLong {
        /// The control frame's opcode.
        opcode: u8,
    },
    /// A client's frame was not masked (RFC 6455 §5.1).
    #[error("a client's frame is not masked")]
    UnmaskedFrame,
    /// A server's frame was masked (RFC 6455 §5.1).
    #[error("a server's frame is masked")]
    MaskedFrame,
    /// A length that a shorter form could have said (RFC 6455 §5.2).
    #[error("length {length} is not in its shortest form")]
    NonMinimalLength {
        /// The length as declared.
        length: u64,
    },
    /// A 64-bit length whose top bit is set (RFC 6455 §5.2).
    #[error("length {length} has the top bit set")]
    LengthTopBit {
        /// The length as declared.
        length: u64,
    },
    /// A continuation frame while no message was unfinished (RFC 6455 §5.4).
    #[error("a continuation frame continues no message")]
    UnexpectedContinuation,
    /// A new message before the last one was finished (RFC 6455 §5.4).
    #[error("a new message begins inside a fragmented one")]
    UnfinishedMessage,
    /// Text that is not UTF-8 (RFC 6455 §8.1).
    #[error("a text message is not UTF-8")]
    InvalidUtf8,
    /// A compressed message that can't be inflated: it is no DEFLATE (RFC 1951), ends inside a block, or is made of more
    /// streams than any sender has a reason for.
    #[error("a compressed message cannot be inflated")]
    InvalidDeflate,
    /// A Close frame with a payload of one byte (RFC 6455 §5.5.1).
    #[error("a close frame has half a code")]
    TruncatedCloseCode,
    /// A Close frame with a code that may not be on the wire (RFC 6455 §7.4).
    #[error("close code {code} may not be sent")]
    ForbiddenCloseCode {
        /// The code as received.
        code: CloseCode,
    },
    /// A Close frame whose reason is not UTF-8 (RFC 6455 §5.5.1).
    #[error("a close frame's reason is not UTF-8")]
    InvalidCloseReason,
    /// A data frame that is larger than [`Limits::max_frame`](crate::Limits::max_frame).
    #[error("a frame of {got} bytes is over the limit of {limit}")]
    FrameTooBig {
        /// The limit.
        limit: usize,
        /// The length that the frame declared.
        got: u64,
    },
    /// A message that is larger than [`Limits::max_message`](crate::Limits::max_message).
    #[error("a message of at least {got} bytes is over the limit of {limit}")]
    MessageTooBig {
        /// The limit.
        limit: usize,
        /// What the message was charged so far, with the frame that broke the limit; or to how many bytes it was inflated
        /// when it was given up.
        got: u64,
    },
}

impl Violation {
    /// The code of the Close frame that answers it: 1002, 1007 or 1009.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate | Self::InvalidCloseReason => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } => CloseCode::TOO_BIG,
            Self::ReservedBits { .. }
            | Self::UnknownOpcode { .. }
            | Self::FragmentedControl { .. }
            | Self::ControlTooLong { .. }
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::NonMinimalLength { .. }
            | Self::LengthTopBit { .. }
            | Self::UnexpectedContinuation
            | Self::UnfinishedMessage
            | Self::TruncatedCloseCode
            | Self::ForbiddenCloseCode { .. } => CloseCode::PROTOCOL,
        }
    }
}

/// A Close frame that may not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClose {
    /// The code may not be on the wire: see [`CloseCode::is_sendable`].
    #[error("close code {code} may not be sent")]
    Code {
        /// The code as given.
        code: CloseCode,
    },
    /// The reason has more than 123 bytes.
    #[error("a close reason of {got} bytes is over the limit of 123")]
    ReasonTooLong {
        /// Its length in bytes.
        got: usize,
    },
}

/// A ping that was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// The payload has more than 125 bytes.
    #[error("a ping payload of {got} bytes is over the limit of 125")]
    TooLong {
        /// Its length in bytes.
        got: usize,
    },
    /// As many control frames are waiting as may wait: encode them first.
    #[error("{limit} control frames are waiting already")]
    TooMany {
        /// How many may wait.
        limit: usize,
    },
    /// The Close frame has been encoded; nothing may follow it.
    #[error("a close frame was sent already")]
    Closed,
}

/// A message that was not encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The Close frame has been encoded; nothing may follow it.
    #[error("a close frame was sent already")]
    Closed,
    /// A client can't send a payload by reference: it has to be masked.
    #[error("a client's payload has to be masked")]
    MaskRequired,
    /// Compression was not agreed on, so that no message may be compressed (RFC 6455 §5.2, RFC 7692 §6).
    #[error("compression was not agreed on")]
    NotAgreed,
}

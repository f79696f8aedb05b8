//! The Close frame: its codes, its payload, and the rules on both (RFC 6455 §5.5.1 and §7.4). When
//! one is sent is the engine's business.

use crate::error::{InvalidClose, Violation};
use crate::text::Text;
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// The longest reason, in bytes: a control frame's 125 less the code's two.
pub const MAX_CLOSE_REASON: usize = 123;

/// Why a connection is closed: the number in a Close frame (RFC 6455 §7.4).
///
/// Any `u16` makes one; [`is_sendable`](Self::is_sendable) says whether it may be on the wire.
///
/// ```
/// use dreamsocket_protocol::CloseCode;
///
/// assert_eq!(CloseCode::from(1000), CloseCode::NORMAL);
/// assert!(CloseCode::from(4000).is_sendable());
/// assert!(!CloseCode::ABNORMAL.is_sendable());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that this end can't take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: the Close frame had no code. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that is not what its kind promises, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: against this end's policy.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too big to take.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client needs an extension that the server did not agree to.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: an unexpected condition on this end.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: overloaded; try again later (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response upstream (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);

    /// Whether the code may be in a Close frame, in either direction.
    ///
    /// True for 1000–1003, 1007–1014 and 3000–4999. The rest is reserved for local use (1005, 1006,
    /// 1015), undefined (1004, 1016–2999) or out of range.
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// What a Close frame says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CloseFrame {
    /// The code; `None` if the frame was empty. If there, it's sendable.
    pub code: Option<CloseCode>,
    /// The reason: at most 123 bytes, empty without a code.
    pub reason: Text,
}

impl CloseFrame {
    /// A frame without code and reason.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// A frame with a code alone, which the caller knows to be sendable.
    pub(crate) fn bare(code: CloseCode) -> Self {
        Self {
            code: Some(code),
            reason: Text::default(),
        }
    }

    /// A frame with a code and a reason, which may be empty.
    ///
    /// # Errors
    ///
    /// [`InvalidClose`] if the code may not be sent or the reason is longer than
    /// [`MAX_CLOSE_REASON`].
    pub fn new(code: CloseCode, reason: &str) -> Result<Self, InvalidClose> {
        if !code.is_sendable() {
            return Err(InvalidClose::Code { code });
        }
        if reason.len() > MAX_CLOSE_REASON {
            return Err(InvalidClose::ReasonTooLong { got: reason.len() });
        }
        Ok(Self {
            code: Some(code),
            reason: Text::from(reason),
        })
    }

    /// Reads a peer's payload.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Violation> {
        let Some((&code, reason)) = payload.split_first_chunk::<2>() else {
            return match payload {
                [] => Ok(Self::empty()),
                _ => Err(Violation::TruncatedCloseCode),
            };
        };
        let code = CloseCode(u16::from_be_bytes(code));
        if !code.is_sendable() {
            return Err(Violation::ForbiddenCloseCode { code });
        }
        let reason = Text::try_from(Bytes::copy_from_slice(reason))
            .map_err(|_| Violation::InvalidCloseReason)?;
        Ok(Self {
            code: Some(code),
            reason,
        })
    }

    /// The payload on the wire.
    pub(crate) fn to_payload(&self) -> BytesMut {
        let mut payload = BytesMut::new();
        if let Some(code) = self.code {
            payload.put_u16(code.0);
            payload.put_slice(self.reason.as_bytes());
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_codes_of_the_registry_are_sendable() {
        let sendable: Vec<u16> = (0..=u16::MAX)
            .filter(|&code| CloseCode::from(code).is_sendable())
            .collect();
        let mut expected: Vec<u16> = vec![1000, 1001, 1002, 1003];
        expected.extend(1007..=1014);
        expected.extend(3000..=4999);
        assert_eq!(sendable, expected);
        assert_eq!(CloseCode::TOO_BIG.to_string(), "1009");
    }

    #[test]
    fn a_payload_survives_the_round_trip() {
        let ours = CloseFrame::new(CloseCode::from(4000), "bye ✓").unwrap();
        assert_eq!(CloseFrame::parse(&ours.to_payload()), Ok(ours));
        assert_eq!(CloseFrame::empty().to_payload(), "");
        assert_eq!(CloseFrame::parse(b""), Ok(CloseFrame::empty()));
    }

    #[test]
    fn a_peers_bad_payload_is_a_violation() {
        let check = |payload: &[u8], violation| {
            assert_eq!(CloseFrame::parse(payload), Err(violation));
        };
        check(b"\x03", Violation::TruncatedCloseCode);
        let code = CloseCode::NO_STATUS;
        check(b"\x03\xed", Violation::ForbiddenCloseCode { code });
        check(b"\x03\xe8\xff", Violation::InvalidCloseReason);
    }

    #[test]
    fn our_bad_close_is_an_error() {
        assert_eq!(
            CloseFrame::new(CloseCode::ABNORMAL, ""),
            Err(InvalidClose::Code {
                code: CloseCode::ABNORMAL
            })
        );
        let reason = "x".repeat(124);
        assert_eq!(
            CloseFrame::new(CloseCode::NORMAL, &reason),
            Err(InvalidClose::ReasonTooLong { got: 124 })
        );
        assert!(CloseFrame::new(CloseCode::NORMAL, &reason[1..]).is_ok());
    }
}

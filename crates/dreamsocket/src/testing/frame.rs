//! [`Frame`]: one frame of a client, right or wrong on purpose, and its bytes.
//!
//! Apart from the engine, which encodes nothing that RFC 6455 forbids: a test must be able to.

use bytes::Bytes;
use dreamsocket_protocol::{CloseCode, MaskKey};

/// One frame as a client sends it: for fragments, for several frames in one segment, and for what a bad peer does.
///
/// ```
/// use dreamsocket::testing::Frame;
///
/// // A text in two fragments, with a ping between them.
/// let frames = [
///     Frame::text("Hel").unfinished(),
///     Frame::ping("still there?"),
///     Frame::continuation("lo"),
/// ];
/// # let _ = frames;
/// // What a server has to refuse.
/// let unmasked = Frame::text("hello").unmasked();
/// let invalid = Frame::text(vec![0xff]);
/// # let _ = (unmasked, invalid);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a frame does nothing until it is sent"]
pub struct Frame {
    is_final: bool,
    /// RSV1 to RSV3, as a number below 8.
    reserved: u8,
    opcode: u8,
    mask: Option<MaskKey>,
    payload: Bytes,
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

impl Frame {
    /// A frame of any opcode, also of those that RFC 6455 reserves; only its lowest four bits count.
    pub fn new(opcode: u8, payload: impl Into<Bytes>) -> Self {
        Self {
            is_final: true,
            reserved: 0,
            opcode: opcode & 0x0F,
            mask: Some([0x37, 0xFA, 0x21, 0x3D]),
            payload: payload.into(),
        }
    }

    /// A whole text message, or its first fragment. The payload need not be UTF-8.
    pub fn text(payload: impl Into<Bytes>) -> Self {
        Self::new(TEXT, payload)
    }

    /// A whole binary message, or its first fragment.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::new(BINARY, payload)
    }

    /// The last fragment of a message; a middle one with [`unfinished`](Self::unfinished).
    pub fn continuation(payload: impl Into<Bytes>) -> Self {
        Self::new(CONTINUATION, payload)
    }

    /// A ping.
    pub fn ping(payload: impl Into<Bytes>) -> Self {
        Self::new(PING, payload)
    }

    /// A pong.
    pub fn pong(payload: impl Into<Bytes>) -> Self {
        Self::new(PONG, payload)
    }

    /// A close frame with any code and reason.
    pub fn close(code: impl Into<CloseCode>, reason: &str) -> Self {
        let mut payload = u16::from(code.into()).to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        Self::new(CLOSE, payload)
    }

    /// A close frame with any payload; an empty one is a close frame without a code.
    pub fn close_with_payload(payload: impl Into<Bytes>) -> Self {
        Self::new(CLOSE, payload)
    }

    /// More fragments follow.
    pub const fn unfinished(mut self) -> Self {
        self.is_final = false;
        self
    }

    /// Without a mask, which a server must refuse.
    pub const fn unmasked(mut self) -> Self {
        self.mask = None;
        self
    }

    /// With the reserved bits RSV1 (4), RSV2 (2) and RSV3 (1).
    pub const fn with_reserved_bits(mut self, bits: u8) -> Self {
        self.reserved = bits & 0x07;
        self
    }

    /// The frame on the wire (RFC 6455 §5.2).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = self.payload.len();
        let mut bytes = Vec::with_capacity(14 + length);
        bytes.push(u8::from(self.is_final) << 7 | self.reserved << 4 | self.opcode);
        let mask_bit = u8::from(self.mask.is_some()) << 7;
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(length @ ..=125), _) => bytes.push(mask_bit | length),
            (_, Ok(length)) => {
                bytes.push(mask_bit | 126);
                bytes.extend(length.to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let key = self.mask.unwrap_or_default();
        if self.mask.is_some() {
            bytes.extend(key);
        }
        bytes.extend(
            self.payload
                .iter()
                .zip(key.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        bytes
    }

    pub(super) const fn is_close(&self) -> bool {
        self.opcode == CLOSE
    }

    /// Its kind in words, and its payload, for the transcript.
    pub(super) fn describe(&self) -> (String, &[u8]) {
        let mut kind = match self.opcode {
            CONTINUATION => "continuation".to_owned(),
            TEXT => "text".to_owned(),
            BINARY => "binary".to_owned(),
            CLOSE => "close".to_owned(),
            PING => "ping".to_owned(),
            PONG => "pong".to_owned(),
            other => format!("opcode {other:#x}"),
        };
        if !self.is_final {
            kind.push_str(", unfinished");
        }
        if self.mask.is_none() {
            kind.push_str(", unmasked");
        }
        if self.reserved != 0 {
            kind.push_str(", with reserved bits");
        }
        (kind, &self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_rfc() {
        // RFC 6455 §5.7.
        assert_eq!(
            Frame::text("Hello").to_bytes(),
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        );
        assert_eq!(Frame::text("Hello").unmasked().to_bytes(), b"\x81\x05Hello");
        assert_eq!(
            Frame::text("Hel").unfinished().unmasked().to_bytes(),
            b"\x01\x03Hel"
        );
        let long = Frame::binary(vec![0; 256]).unmasked().to_bytes();
        assert_eq!(&long[..4], b"\x82\x7e\x01\x00");
        let longer = Frame::binary(vec![0; 65_536]).unmasked().to_bytes();
        assert_eq!(&longer[..10], b"\x82\x7f\0\0\0\0\0\x01\0\0");
        assert_eq!(
            Frame::close(1000, "bye").unmasked().to_bytes(),
            b"\x88\x05\x03\xe8bye"
        );
        assert_eq!(
            Frame::new(0xB, "")
                .with_reserved_bits(4)
                .unmasked()
                .to_bytes(),
            b"\xcb\x00"
        );
    }
}

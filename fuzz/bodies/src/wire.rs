//! Frames as RFC 6455 §5.2 draws them, written and read without a rule or a limit: what the bodies compare with, and what
//! the seeds are made of.

use bytes::BytesMut;
use dreamsocket_protocol::{Engine, Event, MaskKey};

/// A frame as its bytes say, allowed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the parts of a frame")]
pub struct RawFrame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    /// The mask, if there is one.
    pub key: Option<MaskKey>,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
    /// How many bytes the frame takes.
    pub size: usize,
}

impl RawFrame {
    /// The frame at the front of the bytes; `None` if it is not whole.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[first, second], mut rest) = bytes.split_first_chunk()?;
        let length: u64 = match second & 0x7f {
            126 => {
                let (&length, behind) = rest.split_first_chunk()?;
                rest = behind;
                u16::from_be_bytes(length).into()
            }
            127 => {
                let (&length, behind) = rest.split_first_chunk()?;
                rest = behind;
                u64::from_be_bytes(length)
            }
            short => short.into(),
        };
        let key = if second & 0x80 == 0 {
            None
        } else {
            let (&key, behind) = rest.split_first_chunk()?;
            rest = behind;
            Some(key)
        };
        let (payload, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        Some(Self {
            first,
            key,
            payload: key.map_or_else(|| payload.to_vec(), |key| mask(payload, key)),
            size: bytes.len() - behind.len(),
        })
    }

    /// The frames that these bytes are.
    ///
    /// # Panics
    ///
    /// If there is something behind the last one.
    #[must_use]
    pub fn parse_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let frame = Self::parse(bytes).expect("whole frames");
            bytes = &bytes[frame.size..];
            frames.push(frame);
        }
        frames
    }

    /// The opcode.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// Whether it is a part of a message that has, or will have, others.
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.opcode() == 0 || (self.opcode() < 8 && self.first & 0x80 == 0)
    }
}

/// The bytes of a frame, its length in the shortest form.
#[must_use]
pub fn frame(first: u8, key: Option<MaskKey>, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if key.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(mask_bit | short as u8),
        medium @ 126..0x1_0000 => {
            bytes.push(mask_bit | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(mask_bit | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(key.into_iter().flatten());
    bytes.extend(key.map_or_else(|| payload.to_vec(), |key| mask(payload, key)));
    bytes
}

/// RFC 6455 §5.3 as it is written: `transformed[i] = original[i] XOR key[i MOD 4]`.
#[must_use]
pub fn mask(payload: &[u8], key: MaskKey) -> Vec<u8> {
    let bytes = payload.iter().enumerate();
    bytes.map(|(i, byte)| byte ^ key[i % 4]).collect()
}

/// All events that there are in what was read.
pub(crate) fn drain(engine: &mut Engine, buffer: &mut BytesMut) -> Vec<Event> {
    std::iter::from_fn(|| engine.handle_input(buffer)).collect()
}

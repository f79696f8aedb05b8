//! The frame header on the wire (RFC 6455 §5.2): parsed, checked and encoded. Pure; it holds the
//! rules that one header breaks by itself, not those that need the frames before it.

use crate::error::Violation;
use crate::mask::MaskKey;
use bytes::BytesMut;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

const FIN: u8 = 0x80;
pub(crate) const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// RFC 7692 §6: set on the first frame of a message that is compressed.
const RSV1: u8 = 0x40;

/// The opcodes that RFC 6455 §11.8 registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpCode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl OpCode {
    fn parse(opcode: u8) -> Result<Self, Violation> {
        match opcode {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            _ => Err(Violation::UnknownOpcode { opcode }),
        }
    }

    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A header that is allowed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) fin: bool,
    pub(crate) opcode: OpCode,
    /// Whether the message that it begins is compressed.
    pub(crate) compressed: bool,
    pub(crate) mask: Option<MaskKey>,
    /// The payload's length: at most 2^63 - 1, and 125 for a control frame.
    pub(crate) length: u64,
}

impl FrameHeader {
    /// Whether the frame is a part of a message that has, or will have, others.
    pub(crate) fn is_fragment(&self) -> bool {
        !self.opcode.is_control() && (!self.fin || self.opcode == OpCode::Continuation)
    }
}

/// What the front of a buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A whole header, and its size.
    Whole(FrameHeader, usize),
    /// The beginning of one, which needs at least so many bytes more.
    Partial(usize),
}

/// Reads the header at the front of `bytes`.
///
/// Each rule is checked as soon as its bytes are there, in the order of the bytes: how they are
/// split can't decide which of two broken rules is named.
///
/// `allows_compressed` says whether compression was agreed on: then RSV1 is allowed where a message begins.
pub(crate) fn parse_header(
    bytes: &[u8],
    must_be_masked: bool,
    allows_compressed: bool,
) -> Result<Parsed, Violation> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Parsed::Partial(2));
    };
    let reserved = (first >> 4) & 0b111;
    let begins_message = matches!(first & 0x0f, 0x1 | 0x2);
    let compressed = match reserved {
        0 => false,
        0b100 if allows_compressed && begins_message => true,
        bits => return Err(Violation::ReservedBits { bits }),
    };
    let fin = first & FIN != 0;
    let opcode = OpCode::parse(first & 0x0f)?;
    if opcode.is_control() && !fin {
        return Err(Violation::FragmentedControl {
            opcode: opcode as u8,
        });
    }

    let Some((&second, rest)) = rest.split_first() else {
        return Ok(Parsed::Partial(1));
    };
    match (second & MASKED != 0, must_be_masked) {
        (false, true) => return Err(Violation::UnmaskedFrame),
        (true, false) => return Err(Violation::MaskedFrame),
        _ => {}
    }
    let short = second & !MASKED;
    if opcode.is_control() && usize::from(short) > MAX_CONTROL_PAYLOAD {
        return Err(Violation::ControlTooLong {
            opcode: opcode as u8,
        });
    }

    let size = header_size(short, must_be_masked);
    let partial = Ok(Parsed::Partial(size.saturating_sub(bytes.len())));
    let (length, rest) = match short {
        LENGTH_16 => {
            let Some((&length, rest)) = rest.split_first_chunk::<2>() else {
                return partial;
            };
            let length = u64::from(u16::from_be_bytes(length));
            if length < u64::from(LENGTH_16) {
                return Err(Violation::NonMinimalLength { length });
            }
            (length, rest)
        }
        LENGTH_64 => {
            let Some((&length, rest)) = rest.split_first_chunk::<8>() else {
                return partial;
            };
            let length = u64::from_be_bytes(length);
            if length > i64::MAX.unsigned_abs() {
                return Err(Violation::LengthTopBit { length });
            }
            if length <= u64::from(u16::MAX) {
                return Err(Violation::NonMinimalLength { length });
            }
            (length, rest)
        }
        _ => (u64::from(short), rest),
    };

    let mask = if must_be_masked {
        let Some(&key) = rest.first_chunk::<4>() else {
            return partial;
        };
        Some(key)
    } else {
        None
    };
    let header = FrameHeader {
        fin,
        opcode,
        compressed,
        mask,
        length,
    };
    Ok(Parsed::Whole(header, size))
}

fn header_size(short: u8, masked: bool) -> usize {
    match (short, masked) {
        (LENGTH_16, false) => 4,
        (LENGTH_16, true) => 8,
        (LENGTH_64, false) => 10,
        (LENGTH_64, true) => 14,
        (_, false) => 2,
        (_, true) => 6,
    }
}

/// The longest payload whose length is in a header's second byte.
pub(crate) const MAX_SHORT: usize = 125;

/// Appends the header of an unfragmented frame of up to [`MAX_SHORT`] bytes, neither compressed nor masked.
#[inline]
pub(crate) fn encode_short_header(opcode: OpCode, length: u8, output: &mut BytesMut) {
    output.extend_from_slice(&[FIN | opcode as u8, length]);
}

/// Appends the header of an unfragmented frame.
#[inline]
pub(crate) fn encode_header(
    opcode: OpCode,
    compressed: bool,
    mask: Option<MaskKey>,
    length: usize,
    output: &mut BytesMut,
) {
    let masked = if mask.is_some() { MASKED } else { 0 };
    let reserved = if compressed { RSV1 } else { 0 };
    let first = FIN | reserved | opcode as u8;
    // Each form goes in one piece: every append looks for room.
    if let Ok(short @ ..LENGTH_16) = u8::try_from(length) {
        output.extend_from_slice(&[first, masked | short]);
    } else if let Ok(length) = u16::try_from(length) {
        let [a, b] = length.to_be_bytes();
        output.extend_from_slice(&[first, masked | LENGTH_16, a, b]);
    } else {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        output.extend_from_slice(&[first, masked | LENGTH_64]);
        output.extend_from_slice(&length.to_be_bytes());
    }
    if let Some(key) = mask {
        output.extend_from_slice(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The header of RFC 6455 §5.2, field by field.
    fn encode_naive(
        fin: bool,
        reserved: u8,
        opcode: u8,
        key: Option<MaskKey>,
        length: u64,
    ) -> Vec<u8> {
        let mut bits = String::new();
        bits += if fin { "1" } else { "0" };
        bits += &format!("{reserved:03b}{opcode:04b}");
        bits += if key.is_some() { "1" } else { "0" };
        bits += &match length {
            0..=125 => format!("{length:07b}"),
            126..=0xffff => format!("{:07b}{length:016b}", 126),
            _ => format!("{:07b}{length:064b}", 127),
        };
        let mut bytes: Vec<u8> = bits
            .as_bytes()
            .chunks(8)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
            .collect();
        bytes.extend(key.into_iter().flatten());
        bytes
    }

    /// A length near one of the borders between the forms, or any.
    fn length() -> impl Strategy<Value = u64> {
        prop_oneof![0..130u64, 0xfff0..0x1_0010u64, 0..=i64::MAX.unsigned_abs()]
    }

    proptest! {
        #[test]
        fn a_header_is_parsed_as_the_naive_twin_writes_it(
            fin: bool,
            opcode in prop_oneof![Just(OpCode::Continuation), Just(OpCode::Text), Just(OpCode::Binary)],
            mask: Option<MaskKey>,
            compressed: bool,
            length in length(),
        ) {
            let bytes = encode_naive(fin, 0, opcode as u8, mask, length);
            let compressed = compressed && opcode != OpCode::Continuation;
            let bytes = if compressed {
                encode_naive(fin, 0b100, opcode as u8, mask, length)
            } else {
                bytes
            };
            let header = FrameHeader { fin, opcode, compressed, mask, length };
            prop_assert_eq!(
                parse_header(&bytes, mask.is_some(), true),
                Ok(Parsed::Whole(header, bytes.len()))
            );
            for end in 0..bytes.len() {
                // Each prefix asks for more, and never for more than the header has.
                let Ok(Parsed::Partial(missing)) = parse_header(&bytes[..end], mask.is_some(), true) else {
                    return Err(TestCaseError::fail("a prefix is no header"));
                };
                prop_assert!(missing > 0 && end + missing <= bytes.len());
            }
        }

        #[test]
        fn a_header_is_written_as_the_naive_twin_writes_it(
            opcode in prop_oneof![Just(OpCode::Text), Just(OpCode::Ping)],
            compressed: bool,
            mask: Option<MaskKey>,
            length in length(),
        ) {
            let mut output = BytesMut::new();
            encode_header(opcode, compressed, mask, usize::try_from(length).unwrap(), &mut output);
            let reserved = if compressed { 0b100 } else { 0 };
            prop_assert_eq!(&output[..], encode_naive(true, reserved, opcode as u8, mask, length));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, must_be_masked: bool, allows_compressed: bool) {
            if let Ok(Parsed::Whole(header, size)) = parse_header(&bytes, must_be_masked, allows_compressed) {
                prop_assert!(size <= bytes.len());
                prop_assert_eq!(header.mask.is_some(), must_be_masked);
            }
        }
    }

    #[test]
    fn rsv1_is_for_the_first_frame_of_a_message_once_compression_was_agreed_on() {
        for (first, allowed) in [
            (0xc1, true),
            (0xc2, true),
            (0x41, true),
            (0xc0, false),
            (0x40, false),
            (0xc8, false),
            (0xc9, false),
            (0xca, false),
            (0xd1, false),
            (0xe2, false),
        ] {
            let parsed = parse_header(&[first, 0], false, true);
            assert_eq!(parsed.is_ok(), allowed, "{first:#x}");
            assert!(parse_header(&[first, 0], false, false).is_err());
        }
    }

    #[test]
    fn a_rule_is_checked_as_soon_as_its_bytes_are_there() {
        let check = |bytes: &[u8], violation| {
            for end in 0..bytes.len() {
                assert!(matches!(
                    parse_header(&bytes[..end], false, false),
                    Ok(Parsed::Partial(_))
                ));
            }
            assert_eq!(parse_header(bytes, false, false), Err(violation));
        };
        check(&[0xc1], Violation::ReservedBits { bits: 0b100 });
        check(&[0x93], Violation::ReservedBits { bits: 0b001 });
        check(&[0x83], Violation::UnknownOpcode { opcode: 3 });
        check(&[0x8b], Violation::UnknownOpcode { opcode: 11 });
        check(&[0x09], Violation::FragmentedControl { opcode: 9 });
        check(&[0x81, 0x80], Violation::MaskedFrame);
        check(&[0x89, 126], Violation::ControlTooLong { opcode: 9 });
        check(&[0x88, 127], Violation::ControlTooLong { opcode: 8 });
        check(
            &[0x81, 126, 0, 125],
            Violation::NonMinimalLength { length: 125 },
        );
        check(
            &[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            Violation::NonMinimalLength { length: 0xffff },
        );
        check(
            &[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            Violation::LengthTopBit { length: 1 << 63 },
        );
    }
}

//! Bytes to frames, resumable at any byte. It unmasks in the caller's buffer what has come, enforces
//! the frame limit before anything is buffered, and steps over what is not wanted any more. What a
//! frame means, and what its payload holds, is for others.

use crate::config::Role;
use crate::engine::{MAX_COPIED_MESSAGE, MessageKind};
use crate::error::Violation;
use crate::frame::{FrameHeader, MASKED, Parsed, parse_header};
use crate::mask::apply_mask;
use bytes::{Buf, Bytes, BytesMut};

/// The position in the peer's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoder {
    /// What the mask's bit in a header must be: 0x80 from a client, 0 from a server.
    mask_bit: u8,
    /// Whether compression was agreed on.
    allows_compressed: bool,
    max_frame: usize,
    /// Set once our Close is on its way: data frames are parsed, to find their end, and dropped.
    discards_data: bool,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Between two frames, or inside a header that needs `missing` more bytes at least.
    Header { missing: usize },
    /// Inside a payload.
    Payload(Payload),
    /// Inside the payload of a dropped data frame.
    Discard { remaining: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Payload {
    header: FrameHeader,
    /// The header's length: within `max_frame`, or a control frame's 125.
    length: usize,
    /// How much of it has been unmasked.
    unmasked: usize,
    /// How much of it has left the buffer. What is unmasked and not taken is the buffer's front.
    taken: usize,
}

impl Decoder {
    pub(crate) fn new(role: Role, max_frame: usize) -> Self {
        Self {
            mask_bit: match role {
                Role::Server => MASKED,
                Role::Client => 0,
            },
            allows_compressed: false,
            max_frame,
            discards_data: false,
            state: State::Header { missing: 0 },
        }
    }

    pub(crate) fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// From here on messages may be marked as compressed.
    pub(crate) fn allow_compressed(&mut self) {
        self.allows_compressed = true;
    }

    /// The usual case in one step: a data frame of a message by itself, not compressed and not longer than `max_message`,
    /// that is whole and has a short header (up to 64 KiB). `None` says that it's another case, and leaves all as it was.
    #[inline]
    pub(crate) fn take_whole_message(
        &mut self,
        buffer: &mut BytesMut,
        max_message: usize,
    ) -> Option<(MessageKind, Bytes)> {
        if !matches!(self.state, State::Header { .. }) || self.discards_data {
            return None;
        }
        let (&mut [first, second], rest) = buffer.split_first_chunk_mut::<2>()?;
        let kind = match first {
            0x81 => MessageKind::Text,
            0x82 => MessageKind::Binary,
            _ => return None,
        };
        // The mask's bit is as it must be, or the length is too large for any of the cases.
        let (length, rest, size) = match second ^ self.mask_bit {
            short @ 0..=125 => (usize::from(short), rest, 2_usize),
            126 => {
                let (&mut length, rest) = rest.split_first_chunk_mut::<2>()?;
                match u16::from_be_bytes(length) {
                    ..126 => return None,
                    length => (usize::from(length), rest, 4),
                }
            }
            _ => return None,
        };
        if length > max_message || length > self.max_frame {
            return None;
        }
        let (key, payload, size) = if self.mask_bit == 0 {
            (None, rest.get_mut(..length)?, size)
        } else {
            let (&mut key, rest) = rest.split_first_chunk_mut::<4>()?;
            (Some(key), rest.get_mut(..length)?, size.saturating_add(4))
        };
        self.state = State::Header { missing: 0 };
        if length > MAX_COPIED_MESSAGE {
            if let Some(key) = key {
                apply_mask(payload, key, 0);
            }
            buffer.advance(size);
            return Some((kind, buffer.split_to(length).freeze()));
        }
        // Unmasked where it is copied to: the other way round the copy waits for what was just written.
        let mut copy = Box::<[u8]>::from(&*payload);
        if let Some(key) = key {
            apply_mask(&mut copy, key, 0);
        }
        buffer.advance(size.saturating_add(length));
        Some((kind, Bytes::from(copy)))
    }

    /// The header of the frame that has begun and not ended.
    pub(crate) fn header(&self) -> Option<FrameHeader> {
        match &self.state {
            State::Payload(payload) => Some(payload.header),
            State::Header { .. } | State::Discard { .. } => None,
        }
    }

    /// Begins the next frame, if its header is whole. Frames that are to be dropped are.
    pub(crate) fn read_header(
        &mut self,
        buffer: &mut BytesMut,
    ) -> Result<Option<FrameHeader>, Violation> {
        loop {
            if let State::Discard { remaining } = &mut self.state {
                let here =
                    usize::try_from(*remaining).map_or(buffer.len(), |n| n.min(buffer.len()));
                buffer.advance(here);
                *remaining = remaining.saturating_sub(here as u64);
                if *remaining > 0 {
                    return Ok(None);
                }
            }
            let (header, size) =
                match parse_header(buffer, self.mask_bit != 0, self.allows_compressed)? {
                    Parsed::Whole(header, size) => (header, size),
                    Parsed::Partial(missing) => {
                        let missing = if buffer.is_empty() { 0 } else { missing };
                        self.state = State::Header { missing };
                        return Ok(None);
                    }
                };
            buffer.advance(size);
            if self.discards_data && !header.opcode.is_control() {
                self.state = State::Discard {
                    remaining: header.length,
                };
                continue;
            }
            self.state = State::Payload(Payload {
                header,
                length: self.check_limit(&header)?,
                unmasked: 0,
                taken: 0,
            });
            return Ok(Some(header));
        }
    }

    fn check_limit(&self, header: &FrameHeader) -> Result<usize, Violation> {
        match usize::try_from(header.length) {
            Ok(length) if header.opcode.is_control() || length <= self.max_frame => Ok(length),
            _ => Err(Violation::FrameTooBig {
                limit: self.max_frame,
                got: header.length,
            }),
        }
    }

    /// Unmasks what has come of the frame's payload since the last call, and returns it. It stays
    /// in the buffer.
    pub(crate) fn unmask_new<'a>(&mut self, buffer: &'a mut BytesMut) -> &'a [u8] {
        let State::Payload(payload) = &mut self.state else {
            return &[];
        };
        let begin = payload.unmasked.saturating_sub(payload.taken);
        let end = payload
            .length
            .saturating_sub(payload.taken)
            .min(buffer.len());
        let Some(new) = buffer.get_mut(begin..end) else {
            return &[];
        };
        if let Some(key) = payload.header.mask {
            apply_mask(new, key, payload.unmasked);
        }
        payload.unmasked = payload.unmasked.saturating_add(new.len());
        new
    }

    /// Whether the whole payload has been unmasked.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(&self.state, State::Payload(payload) if payload.unmasked == payload.length)
    }

    /// What is unmasked and not taken yet: the front of the buffer.
    pub(crate) fn peek<'a>(&self, buffer: &'a BytesMut) -> &'a [u8] {
        buffer.get(..self.untaken(buffer)).unwrap_or_default()
    }

    /// Takes what is unmasked out of the buffer, without a copy. The frame ends if it was whole.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> BytesMut {
        let taken = buffer.split_to(self.untaken(buffer));
        self.note_taken();
        taken
    }

    /// As [`take`](Self::take), for bytes that were copied.
    pub(crate) fn skip(&mut self, buffer: &mut BytesMut) {
        buffer.advance(self.untaken(buffer));
        self.note_taken();
    }

    /// Never more than the buffer has, even if the caller took from it what it should not have.
    fn untaken(&self, buffer: &BytesMut) -> usize {
        match &self.state {
            State::Payload(payload) => payload
                .unmasked
                .saturating_sub(payload.taken)
                .min(buffer.len()),
            State::Header { .. } | State::Discard { .. } => 0,
        }
    }

    fn note_taken(&mut self) {
        if let State::Payload(payload) = &mut self.state {
            payload.taken = payload.unmasked;
            if payload.taken == payload.length {
                self.state = State::Header { missing: 0 };
            }
        }
    }

    /// Drops data frames from here on, with the rest of the one that is being received.
    pub(crate) fn discard_data(&mut self) {
        self.discards_data = true;
        if let State::Payload(payload) = &self.state
            && !payload.header.opcode.is_control()
        {
            self.state = State::Discard {
                remaining: payload.length.saturating_sub(payload.taken) as u64,
            };
        }
    }

    /// Forgets the frame in progress: nothing more is read.
    pub(crate) fn reset(&mut self) {
        self.state = State::Header { missing: 0 };
    }

    /// How many more bytes the frame in progress needs at least.
    pub(crate) fn bytes_wanted(&self) -> usize {
        match &self.state {
            State::Header { missing } => *missing,
            State::Payload(payload) => payload.length.saturating_sub(payload.unmasked),
            State::Discard { remaining } => usize::try_from(*remaining).unwrap_or(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> Decoder {
        Decoder::new(Role::Client, 1 << 40)
    }

    #[test]
    fn what_is_wanted_is_counted_down() {
        let mut decoder = decoder();
        let mut buffer = BytesMut::new();
        let mut check = |bytes: &[u8], wanted| {
            buffer.extend_from_slice(bytes);
            if decoder.header().is_none() {
                decoder.read_header(&mut buffer).unwrap();
            }
            decoder.unmask_new(&mut buffer);
            assert_eq!(decoder.bytes_wanted(), wanted, "{bytes:?}");
        };
        check(&[], 0);
        check(&[0x82], 1);
        check(&[126], 2);
        check(&[1], 1);
        check(&[2], 258);
        check(&[0; 200], 58);
        check(&[0; 58], 0);
    }

    #[test]
    fn a_declared_length_reserves_nothing() {
        let mut decoder = decoder();
        let mut buffer = BytesMut::from(&b"\x82\x7f\0\0\0\x01\0\0\0\0part"[..]);
        let capacity = buffer.capacity();
        assert!(decoder.read_header(&mut buffer).unwrap().is_some());
        assert_eq!(decoder.unmask_new(&mut buffer), b"part");
        assert_eq!(decoder.bytes_wanted(), (1 << 32) - 4);
        assert!(buffer.capacity() <= capacity);
    }

    #[test]
    fn discarding_keeps_no_data_and_finds_the_next_control_frame() {
        let mut decoder = decoder();
        let mut buffer = BytesMut::from(&b"\x82\x05ab"[..]);
        decoder.read_header(&mut buffer).unwrap();
        decoder.unmask_new(&mut buffer);
        decoder.discard_data();
        // The part of the payload that had come goes too.
        assert_eq!(decoder.read_header(&mut buffer), Ok(None));
        assert!(buffer.is_empty());
        assert_eq!(decoder.bytes_wanted(), 3);
        assert_eq!(decoder.peek(&buffer), b"");
        assert_eq!(decoder.unmask_new(&mut buffer), b"");
        buffer.extend_from_slice(b"cde\x81\x01x\x00\x00\x89\x00");
        let header = decoder.read_header(&mut buffer).unwrap().unwrap();
        assert!(header.opcode.is_control());
    }

    #[test]
    fn what_is_no_whole_message_is_left_as_it_was() {
        let take = |bytes: &[u8]| {
            let mut decoder = decoder();
            let mut buffer = BytesMut::from(bytes);
            let taken = decoder.take_whole_message(&mut buffer, 1000);
            if taken.is_none() {
                assert_eq!(buffer, bytes);
                assert!(decoder == self::decoder());
            }
            taken.map(|(kind, payload)| (kind, payload.len(), buffer.len()))
        };
        let long = |first, length: u16, there: usize| {
            let [a, b] = length.to_be_bytes();
            [&[first, 126, a, b][..], &vec![b'x'; there]].concat()
        };
        assert_eq!(take(b"\x82\x02ab"), Some((MessageKind::Binary, 2, 0)));
        assert_eq!(take(b"\x81\x00\x89"), Some((MessageKind::Text, 0, 1)));
        let whole = Some((MessageKind::Text, 1000, 1));
        assert_eq!(take(&long(0x81, 1000, 1001)), whole);
        // Not whole, in the header or behind it.
        for bytes in [&b"\x82"[..], b"\x82\x02a", b"\x82\x7e\x01"] {
            assert_eq!(take(bytes), None, "{bytes:x?}");
        }
        assert_eq!(take(&long(0x82, 200, 199)), None);
        // Masked, a length that is too long for its form, or too large a message.
        assert_eq!(take(b"\x82\x82abcdab"), None);
        assert_eq!(take(&long(0x82, 125, 125)), None);
        assert_eq!(take(&long(0x82, 1001, 1001)), None);
        assert_eq!(take(b"\x82\x7f\0\0\0\0\0\0\0\0"), None);
        // A fragment, a continuation, a compressed message, a control frame, an opcode that is none.
        for first in [0x02, 0x80, 0xc2, 0x89, 0x83] {
            assert_eq!(take(&[first, 1, b'x']), None, "{first:x}");
        }
    }

    #[test]
    fn a_buffer_that_lost_bytes_makes_nothing_panic() {
        let mut decoder = decoder();
        let mut buffer = BytesMut::from(&b"\x82\x05abc"[..]);
        decoder.read_header(&mut buffer).unwrap();
        decoder.unmask_new(&mut buffer);
        buffer.clear();
        assert_eq!(decoder.unmask_new(&mut buffer), b"");
        assert!(!decoder.is_whole());
        assert_eq!(decoder.take(&mut buffer), "");
    }
}

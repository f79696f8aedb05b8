//! Bytes to frames, resumable at any byte. It unmasks in the caller's buffer what has come, enforces
//! the frame limit before anything is buffered, and steps over what is not wanted any more. What a
//! frame means, and what its payload holds, is for others.

use crate::config::Role;
use crate::engine::MessageKind;
use crate::error::Violation;
use crate::frame::{FrameHeader, Parsed, parse_header};
use crate::mask::apply_mask;
use bytes::{Buf, Bytes, BytesMut};

/// The longest payload whose length is in a header's second byte.
pub(crate) const MAX_SMALL: usize = 125;

/// The position in the peer's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoder {
    must_be_masked: bool,
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
            must_be_masked: role == Role::Server,
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

    /// The usual case in one step: a small data frame that is whole, in the buffer and by itself.
    /// `None` says that it's another case, and leaves all as it was.
    #[inline]
    pub(crate) fn take_small_message(
        &mut self,
        buffer: &mut BytesMut,
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
        let length = usize::from(second & 0x7f);
        if length > MAX_SMALL || length > self.max_frame {
            return None;
        }
        let (payload, size) = match (second & 0x80 != 0, self.must_be_masked) {
            (true, true) => {
                let (&mut key, rest) = rest.split_first_chunk_mut::<4>()?;
                let payload = rest.get_mut(..length)?;
                apply_mask(payload, key, 0);
                (payload, length.saturating_add(6))
            }
            (false, false) => (rest.get_mut(..length)?, length.saturating_add(2)),
            _ => return None,
        };
        let payload = Bytes::copy_from_slice(payload);
        buffer.advance(size);
        self.state = State::Header { missing: 0 };
        Some((kind, payload))
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
                match parse_header(buffer, self.must_be_masked, self.allows_compressed)? {
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
        buffer.extend_from_slice(b"cde\x81\x01x\x00\x00\x89\x00");
        let header = decoder.read_header(&mut buffer).unwrap().unwrap();
        assert!(header.opcode.is_control());
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

//! The frames of RFC 6455, as much of them as a load generator needs: a masked one out, and whole ones in.
//!
//! Written apart from the library that is measured, so that neither can hide the other's mistake.

use std::io::{Read as _, Write as _};

use anyhow::{Result, bail, ensure};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// Any key but zero does; the one of RFC 6455 §5.7. The servers have to unmask with it all the same.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// What is between the opcode and the payload.
fn header(first: u8, length: usize, masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    if length < 126 {
        bytes.push(bit | length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        bytes.push(bit | 126);
        bytes.extend(length.to_be_bytes());
    } else {
        bytes.push(bit | 127);
        bytes.extend((length as u64).to_be_bytes());
    }
    bytes
}

/// XORs with [`MASK`], which also takes it off again.
pub fn mask(payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(MASK.iter().cycle()) {
        *byte ^= key;
    }
}

/// A whole message as a client sends it.
#[must_use]
pub fn masked(opcode: u8, compressed: bool, payload: &[u8]) -> Vec<u8> {
    let first = 0x80 | opcode | if compressed { 0x40 } else { 0 };
    let mut frame = header(first, payload.len(), true);
    frame.extend(MASK);
    let start = frame.len();
    frame.extend(payload);
    mask(&mut frame[start..]);
    frame
}

/// A whole message as a server sends it.
#[must_use]
pub fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(0x80 | opcode, payload.len(), false);
    frame.extend(payload);
    frame
}

/// Compresses as RFC 7692 §7.2.1 says: raw DEFLATE, flushed, without the last four bytes.
pub fn deflate(payload: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(payload)?;
    encoder.flush()?;
    let mut bytes = encoder.get_ref().clone();
    ensure!(
        bytes.ends_with(&[0, 0, 0xff, 0xff]),
        "a flush ends in an empty block"
    );
    bytes.truncate(bytes.len() - 4);
    Ok(bytes)
}

/// Undoes [`deflate`].
pub fn inflate(payload: &[u8]) -> Result<Vec<u8>> {
    // The empty block that was left out, and one that ends the stream.
    let tail: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];
    let mut bytes = Vec::new();
    DeflateDecoder::new(payload.chain(&tail[..])).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A frame that came.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub opcode: u8,
    pub compressed: bool,
    pub last: bool,
    pub payload: &'a [u8],
}

/// Puts frames together from whatever the socket gives. For what is small: a frame is held until it is whole.
#[derive(Debug, Default)]
pub struct FrameReader {
    held: Vec<u8>,
}

impl FrameReader {
    /// Takes bytes in and gives each frame that is whole now. Frames may be masked, which those of [`MASK`] are.
    pub fn read(
        &mut self,
        bytes: &[u8],
        mut on_frame: impl FnMut(Frame<'_>) -> Result<()>,
    ) -> Result<()> {
        self.held.extend(bytes);
        let mut at = 0;
        while let Some((start, end)) = extent(&self.held[at..])? {
            let (first, second) = (self.held[at], self.held[at + 1]);
            let payload = &mut self.held[at + start..at + end];
            if second & 0x80 != 0 {
                mask(payload);
            }
            on_frame(Frame {
                opcode: first & 0x0f,
                compressed: first & 0x40 != 0,
                last: first & 0x80 != 0,
                payload,
            })?;
            at += end;
        }
        self.held.drain(..at);
        Ok(())
    }
}

/// Where the payload of a frame begins and ends, when all of it is there.
fn extent(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let &[_, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    let (size, length) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            if length > 1 << 30 {
                bail!("a frame of {length} bytes came");
            }
            (10, length as usize)
        }
        (126 | 127, _) => return Ok(None),
        (length, _) => (2, usize::from(length)),
    };
    let start = size + if second & 0x80 != 0 { 4 } else { 0 };
    let end = start + length;
    Ok((bytes.len() >= end).then_some((start, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_round_trip(size: usize, chunk: usize) {
        let payload: Vec<u8> = (0..size).map(|i| i as u8).collect();
        for (frame, overhead) in [
            (masked(BINARY, false, &payload), 4),
            (unmasked(BINARY, &payload), 0),
        ] {
            let length_field = match size {
                0..126 => 0,
                126..65536 => 2,
                _ => 8,
            };
            assert_eq!(frame.len(), 2 + length_field + overhead + size);
            let mut bytes = frame.clone();
            bytes.extend(&frame);
            let mut reader = FrameReader::default();
            let mut seen = 0;
            for part in bytes.chunks(chunk) {
                reader
                    .read(part, |frame| {
                        assert_eq!(
                            (frame.opcode, frame.compressed, frame.last),
                            (BINARY, false, true)
                        );
                        assert_eq!(frame.payload, payload);
                        seen += 1;
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(seen, 2, "{size} bytes in parts of {chunk}");
        }
    }

    #[test]
    fn frames_come_back_whole_from_any_parts() {
        for size in [0, 1, 125, 126, 65535, 65536] {
            for chunk in [1, 7, 4096, usize::MAX] {
                check_round_trip(size, chunk);
            }
        }
    }

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6455 §5.7: a single-frame masked text message.
        let hello = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(masked(TEXT, false, b"Hello"), hello);
        assert_eq!(unmasked(TEXT, b"Hello"), b"\x81\x05Hello");
    }

    #[test]
    fn compression_comes_back() {
        // RFC 7692 §7.2.3.1.
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&hello).unwrap(), b"Hello");
        assert_eq!(inflate(&deflate(b"Hello").unwrap()).unwrap(), b"Hello");
        assert_eq!(masked(TEXT, true, &hello)[0], 0xc1);
    }

    #[test]
    fn huge_lengths_are_refused() {
        let bytes = [0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0];
        assert!(FrameReader::default().read(&bytes, |_| Ok(())).is_err());
    }
}

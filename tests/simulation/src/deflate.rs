//! permessage-deflate (RFC 7692) as far as a bystander and a client of one's own making need it.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What ends a message's data, and is left out on the wire (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// How much room is made at once.
const CHUNK: usize = 4 * 1024;

/// Inflates the messages of one direction, one after the other. A sender that keeps no context is understood as well.
#[derive(Debug)]
pub(crate) struct Inflater(Decompress);

impl Inflater {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(false))
    }

    /// The message, unless it is wrong or has more bytes than that.
    pub(crate) fn inflate(&mut self, payload: &[u8], limit: usize) -> Option<Vec<u8>> {
        let input = [payload, &TAIL].concat();
        let (mut output, mut taken) = (Vec::new(), 0);
        loop {
            output.reserve(CHUNK);
            let before = self.0.total_in();
            let left = input.get(taken..).unwrap_or_default();
            let status = self
                .0
                .decompress_vec(left, &mut output, FlushDecompress::Sync)
                .ok()?;
            taken += usize::try_from(self.0.total_in() - before).ok()?;
            if output.len() > limit {
                return None;
            }
            if status == Status::StreamEnd {
                self.0.reset(false);
                return Some(output);
            }
            if taken == input.len() && output.len() < output.capacity() {
                return Some(output);
            }
        }
    }
}

/// Deflates a message by itself.
pub(crate) fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::fast(), false);
    let mut output = Vec::with_capacity(payload.len() + CHUNK);
    // There is room enough for what can't be made smaller, so that one call does.
    let _ = compress.compress_vec(payload, &mut output, FlushCompress::Sync);
    let length = output.len().saturating_sub(TAIL.len());
    output.truncate(length);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deflated_is_inflated() {
        let mut inflater = Inflater::new();
        for payload in [&b"hello hello hello"[..], b"", &[7; 50_000]] {
            let inflated = inflater.inflate(&deflate(payload), 60_000);
            assert_eq!(inflated.as_deref(), Some(payload));
        }
        assert_eq!(inflater.inflate(&deflate(&[7; 50_000]), 49_999), None);
    }
}

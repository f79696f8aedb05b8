//! One message through DEFLATE (RFC 1951, RFC 7692 §7.2), by compressors that are borrowed from the thread. Pure but for the
//! memory that is used again: nothing of a message is left in it for the next.

use crate::error::Violation;
use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::cell::RefCell;

/// RFC 7692 §7.2.1: the end of a flush, which a sender leaves out and a receiver puts back.
const FLUSHED: &[u8] = &[0x00, 0x00, 0xff, 0xff];

/// [`FLUSHED`], and an empty final block behind it: what came before ended a block if and only if this ends the stream, by
/// either of its parts.
const FLUSHED_AND_ENDED: &[u8] = &[0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// How many compressors a thread keeps, one for each window and level that is in use: at most 4, of 330 KiB at most.
const KEPT: usize = 4;

/// The largest scratch buffer that is kept, in bytes.
const KEPT_SCRATCH: usize = 64 * 1024;

/// How many streams a message may consist of beside its first: so many, and one more for as many bytes.
const SPARE_STREAMS: usize = 4;
const BYTES_PER_STREAM: usize = 4 * 1024;

/// How much memory is asked for at the least when a message is inflated, in bytes.
const SMALLEST_STEP: usize = 512;

thread_local! {
    static COMPRESSORS: RefCell<Vec<Pooled>> = const { RefCell::new(Vec::new()) };
    static INFLATER: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// A compressor between two messages.
struct Pooled {
    level: u8,
    window_bits: u8,
    compress: Compress,
    scratch: Vec<u8>,
}

impl Pooled {
    fn take(level: u8, window_bits: u8) -> Self {
        let kept = COMPRESSORS.with_borrow_mut(|kept| {
            let place = kept
                .iter()
                .position(|pooled| pooled.level == level && pooled.window_bits == window_bits)?;
            Some(kept.remove(place))
        });
        kept.unwrap_or_else(|| Self {
            level,
            window_bits,
            compress: Compress::new_with_window_bits(
                Compression::new(u32::from(level)),
                false,
                window_bits,
            ),
            scratch: Vec::new(),
        })
    }

    /// Keeps it for the next message, unless the last one found no room: zlib-rs 0.6.8 has what is left of that count towards
    /// its buffer even after a reset, and panics when that is full.
    fn give_back(mut self) {
        if self.scratch.len() == self.scratch.capacity() {
            return;
        }
        self.scratch.clear();
        self.scratch.shrink_to(KEPT_SCRATCH);
        COMPRESSORS.with_borrow_mut(|kept| {
            if kept.len() >= KEPT {
                // The one that was not used for the longest time.
                kept.remove(0);
            }
            kept.push(self);
        });
    }

    fn run(&mut self, window: &[u8], payload: &[u8]) -> Option<Bytes> {
        self.compress.reset();
        if !window.is_empty() {
            self.compress.set_dictionary(window).ok()?;
        }
        self.scratch.clear();
        self.scratch.reserve(most(payload.len()));
        let status = self
            .compress
            .compress_vec(payload, &mut self.scratch, FlushCompress::Sync)
            .ok()?;
        // zlib.h: as long as there is room left, the flush is complete.
        let is_whole = status == Status::Ok
            && self.compress.total_in() == payload.len() as u64
            && self.scratch.len() < self.scratch.capacity();
        let compressed = self.scratch.strip_suffix(FLUSHED)?;
        // RFC 7692 §7.2.3.6: an empty message is one byte, which is not less.
        (is_whole && compressed.len() < payload.len()).then(|| Bytes::copy_from_slice(compressed))
    }
}

/// The most that a message becomes which does not get shorter, at any level and window: zlib's own bound, and two flushes.
const fn most(length: usize) -> usize {
    length
        .saturating_add(length / 8)
        .saturating_add(length / 64)
        .saturating_add(32)
}

/// Compresses a message that may refer back to `window`. `None` if it would not get shorter.
pub(super) fn compress(level: u8, window_bits: u8, window: &[u8], payload: &[u8]) -> Option<Bytes> {
    let mut pooled = Pooled::take(level, window_bits);
    let compressed = pooled.run(window, payload);
    pooled.give_back();
    compressed
}

/// Inflates a message that may refer back to `window`, to at most `limit` bytes.
///
/// The work is bounded by what goes in and comes out: each round of the loop consumes input, fills a buffer of at least
/// [`SMALLEST_STEP`] bytes, or is the last.
pub(super) fn inflate(window: &[u8], payload: &[u8], limit: usize) -> Result<Bytes, Violation> {
    let mut decompress = INFLATER.take().unwrap_or_else(|| Decompress::new(false));
    let inflated = run_inflate(&mut decompress, window, payload, limit);
    INFLATER.set(Some(decompress));
    inflated
}

fn run_inflate(
    decompress: &mut Decompress,
    window: &[u8],
    payload: &[u8],
    limit: usize,
) -> Result<Bytes, Violation> {
    // RFC 7692 §7.2.3.6 has a byte for an empty message, and no use for a message of none. It is taken as what it says.
    if payload.is_empty() {
        return Ok(Bytes::new());
    }
    let mut output = Vec::new();
    begin_stream(decompress, window)?;
    // Beginning a stream costs a copy of the window, which a final block of two bytes would have for next to nothing.
    let mut streams = SPARE_STREAMS.saturating_add(payload.len() / BYTES_PER_STREAM);
    let mut rest = payload;
    // With the input used up there may be output left that found no room: the rest of a long match.
    while !rest.is_empty() || output.len() == output.capacity() {
        let (after, status) = step(decompress, rest, &mut output, payload.len(), limit)?;
        rest = after;
        if status == Status::StreamEnd {
            if rest.is_empty() {
                // §7.2.3.4: a sender may end its block as the stream's last, without a flush.
                return Ok(finish(output));
            }
            // And then it begins another, which may refer back to what came before.
            streams = streams.checked_sub(1).ok_or(Violation::InvalidDeflate)?;
            let history = join_history(window, &output);
            begin_stream(decompress, &history)?;
        }
    }
    // Whatever is made of this would be no part of the message, which then ends inside a block.
    let whole = output.len();
    let end = FLUSHED_AND_ENDED;
    match step(decompress, end, &mut output, end.len(), whole) {
        // §7.2.1: the sender's last block, of which only the beginning came, may have said that it is the last.
        Ok(([] | [0x03, 0x00], Status::StreamEnd)) => {}
        _ => return Err(Violation::InvalidDeflate),
    }
    Ok(finish(output))
}

fn begin_stream(decompress: &mut Decompress, history: &[u8]) -> Result<(), Violation> {
    decompress.reset(false);
    if !history.is_empty() {
        decompress
            .set_dictionary(history)
            .map_err(|_| Violation::InvalidDeflate)?;
    }
    Ok(())
}

/// One round: some input is consumed, or some output made, or it is an error.
fn step<'a>(
    decompress: &mut Decompress,
    input: &'a [u8],
    output: &mut Vec<u8>,
    hint: usize,
    limit: usize,
) -> Result<(&'a [u8], Status), Violation> {
    if output.len() == output.capacity() {
        // Grown by what has come in and out, and by one byte past the limit at most.
        let wanted = output.len().max(hint.saturating_mul(3)).max(SMALLEST_STEP);
        let room = limit.saturating_add(1).saturating_sub(output.len());
        output.reserve_exact(wanted.min(room.max(1)));
    }
    let (consumed, made) = (decompress.total_in(), output.len());
    let status = decompress
        .decompress_vec(input, output, FlushDecompress::None)
        .map_err(|_| Violation::InvalidDeflate)?;
    if output.len() > limit {
        return Err(Violation::MessageTooBig {
            limit,
            got: output.len() as u64,
        });
    }
    let consumed = decompress.total_in().saturating_sub(consumed);
    let rest = usize::try_from(consumed)
        .ok()
        .and_then(|consumed| input.get(consumed..))
        .ok_or(Violation::InvalidDeflate)?;
    let is_stuck = consumed == 0 && output.len() == made && status != Status::StreamEnd;
    if is_stuck && !input.is_empty() {
        return Err(Violation::InvalidDeflate);
    }
    Ok((rest, status))
}

/// What a stream behind a final block may refer back to: at most the largest window.
fn join_history(window: &[u8], output: &[u8]) -> Vec<u8> {
    const LARGEST: usize = 32 * 1024;
    let from_output = output.len().saturating_sub(LARGEST);
    let output = output.get(from_output..).unwrap_or_default();
    let from_window = window
        .len()
        .saturating_sub(LARGEST.saturating_sub(output.len()));
    let window = window.get(from_window..).unwrap_or_default();
    [window, output].concat()
}

/// Without the memory that was asked for in vain, where it is much.
fn finish(mut output: Vec<u8>) -> Bytes {
    if output.capacity() > output.len().saturating_add(output.len() / 4) {
        output.shrink_to_fit();
    }
    Bytes::from(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_the_compressors_that_were_used_last() {
        let use_level = |level| assert!(compress(level, 15, &[], &[b'a'; 1000]).is_some());
        let kept = || -> Vec<u8> {
            COMPRESSORS.with_borrow(|kept| kept.iter().map(|pooled| pooled.level).collect())
        };
        for level in [1, 2, 3, 4, 1] {
            use_level(level);
        }
        assert_eq!(kept(), [2, 3, 4, 1]);
        use_level(5);
        assert_eq!(kept(), [3, 4, 1, 5]);
        assert!(compress(5, 9, &[], &[b'a'; 1000]).is_some());
        assert_eq!(kept(), [4, 1, 5, 5], "another for another window");
    }

    #[test]
    fn a_scratch_buffer_of_up_to_64_kib_is_kept() {
        for (length, kept) in [(50_000, 50_000..65_536), (200_000, 0..65_537)] {
            COMPRESSORS.take();
            assert_eq!(compress(4, 15, &[], &noise(length)), None);
            let capacity = COMPRESSORS.with_borrow(|kept| kept[0].scratch.capacity());
            assert!(kept.contains(&capacity), "{length}: {capacity}");
        }
    }

    /// A stream that ends.
    fn stream(payload: &[u8]) -> Vec<u8> {
        let mut stream = Vec::with_capacity(most(payload.len()));
        let status = Compress::new(Compression::fast(), false)
            .compress_vec(payload, &mut stream, FlushCompress::Finish)
            .unwrap();
        assert_eq!(status, Status::StreamEnd);
        stream
    }

    #[test]
    fn a_message_may_have_a_stream_more_for_each_4_kib() {
        let first = stream(&noise(5_000));
        let inflated = |streams: usize| {
            let payload = [&first[..], &[3, 0].repeat(streams - 1)].concat();
            assert_eq!(payload.len() / 4096, 1);
            inflate(&[], &payload, 5_000).map(|message| message.len())
        };
        assert_eq!(inflated(1 + 4 + 1), Ok(5_000));
        assert_eq!(inflated(1 + 4 + 2), Err(Violation::InvalidDeflate));
    }

    #[test]
    fn a_stream_behind_another_refers_back_as_far_as_any() {
        let noise = noise(30_000);
        // To what came in the message, and to what came before it.
        for (window, first) in [(&b""[..], &noise[..]), (&noise, b"other")] {
            let before = [window, first].concat();
            let again = compress(9, 15, &before, &noise).unwrap();
            assert!(again.len() < 1_000);
            let payload = [&stream(first)[..], &again].concat();
            let message = inflate(window, &payload, 60_000).unwrap();
            assert!(message == [first, &noise].concat());
        }
    }

    #[test]
    fn room_is_made_for_what_does_not_get_shorter_and_for_little_more() {
        assert_eq!(most(6_400), 6_400 + 800 + 100 + 32);
    }

    #[test]
    fn what_was_asked_for_in_vain_is_given_back_where_it_is_more_than_a_quarter() {
        for (capacity, left) in [(100, 100), (125, 125), (126, 100), (400, 100)] {
            let mut output = Vec::with_capacity(capacity);
            output.resize(100, b'x');
            assert_eq!(output.capacity(), capacity);
            let held = finish(output).try_into_mut().unwrap();
            assert_eq!((held.len(), held.capacity()), (100, left));
        }
    }

    #[test]
    fn a_compressor_that_found_no_room_is_not_kept() {
        let mut pooled = Pooled::take(4, 15);
        pooled.scratch = vec![0; 8];
        pooled.give_back();
        assert_eq!(COMPRESSORS.with_borrow(Vec::len), 0);
    }

    /// Bytes that no compression makes fewer.
    fn noise(size: usize) -> Vec<u8> {
        let mut state: u32 = 1;
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        bytes.take(size).collect()
    }

    #[test]
    fn a_compressor_outlives_messages_that_do_not_get_shorter() {
        for level in 1..=9 {
            for window_bits in [9, 15] {
                for (size, times) in [(1, 20), (100, 20), (8 * 1024, 20), (70_000, 1)] {
                    for _ in 0..times {
                        assert_eq!(compress(level, window_bits, &[], &noise(size)), None);
                        let kept = COMPRESSORS.with_borrow(Vec::len);
                        assert!(kept > 0, "level {level}, window {window_bits}, size {size}");
                    }
                    COMPRESSORS.take();
                }
                let text = [b'a'; 1000];
                let compressed = compress(level, window_bits, &[], &text).unwrap();
                assert_eq!(inflate(&[], &compressed, 1000).unwrap(), &text[..]);
            }
        }
    }
}

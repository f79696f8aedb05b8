//! What a message holds: its number and its time, so that nothing has to be kept until the answer comes.

use std::fmt::Write;

/// Two numbers of 16 hexadecimal digits, with a space behind each.
pub(crate) const SMALLEST_MESSAGE: usize = 34;

/// Behind the numbers, over and over.
const FILLER: &str = "the quick brown fox jumps over the lazy dog ";

/// A message of this many bytes. `nanoseconds` are since the start.
pub(super) fn write(number: u64, nanoseconds: u64, size: usize) -> String {
    let mut text = String::with_capacity(size + FILLER.len());
    // Writing to a `String` does not fail.
    let _ = write!(text, "{number:016x} {nanoseconds:016x} ");
    while text.len() < size {
        text.push_str(FILLER);
    }
    text.truncate(size);
    text
}

/// The number and the time of an answer; none if it is no message of ours.
pub(super) fn read(message: &[u8], size: usize) -> Option<(u64, u64)> {
    if message.len() != size {
        return None;
    }
    let (number, rest) = message.split_at_checked(16)?;
    let (b' ', rest) = rest.split_first()? else {
        return None;
    };
    let (nanoseconds, _) = rest.split_at_checked(16)?;
    let parse = |digits| u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
    Some((parse(number)?, parse(nanoseconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        for size in [SMALLEST_MESSAGE, 35, 64, 1000] {
            let text = write(7, u64::MAX, size);
            assert_eq!(text.len(), size);
            assert_eq!(read(text.as_bytes(), size), Some((7, u64::MAX)));
            assert_eq!(read(text.as_bytes(), size + 1), None);
        }
        assert_eq!(read(b"welcome, whoever you are, to this.", 34), None);
    }
}

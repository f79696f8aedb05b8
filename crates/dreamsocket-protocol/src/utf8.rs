//! UTF-8 checked piece by piece, so that the first impossible byte of a text message is noticed as
//! soon as it has come (RFC 6455 §8.1). Knows nothing of frames; what it says about a text that is
//! still coming is a verdict, not a proof: [`Text`](crate::Text) checks whole texts for itself.

/// A byte has come that no valid UTF-8 text could have in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

/// Checks a text that comes in pieces.
///
/// Between two pieces it holds the beginning of at most one character that is still possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Utf8Checker {
    carry: [u8; 3],
    carried: usize,
}

impl Utf8Checker {
    /// Checks the next piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let piece = self.complete_carry(piece)?;
        let (whole, tail) = piece.split_at(find_unfinished(piece));
        simdutf8::basic::from_utf8(whole).map_err(|_| InvalidUtf8)?;
        if tail.is_empty() {
            return Ok(());
        }
        match check_start(tail)? {
            Start::Whole => Ok(()),
            Start::Unfinished => self.carry_over(tail),
        }
    }

    /// Whether what came so far is valid as it stands: no character is left unfinished.
    #[cfg(test)]
    pub(crate) fn is_complete(&self) -> bool {
        self.carried == 0
    }

    /// Feeds the carried character byte by byte; returns what is left of the piece.
    fn complete_carry<'a>(&mut self, mut piece: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        while let (1.., Some((&next, rest))) = (self.carried, piece.split_first()) {
            let [a, b, c] = self.carry;
            let mut bytes = [a, b, c, 0];
            if let Some(place) = bytes.get_mut(self.carried) {
                *place = next;
            }
            let so_far = bytes
                .get(..self.carried.saturating_add(1))
                .unwrap_or_default();
            match check_start(so_far)? {
                Start::Whole => *self = Self::default(),
                Start::Unfinished => self.carry_over(so_far)?,
            }
            piece = rest;
        }
        Ok(piece)
    }

    fn carry_over(&mut self, unfinished: &[u8]) -> Result<(), InvalidUtf8> {
        // Four bytes are always a whole character or none.
        let place = self.carry.get_mut(..unfinished.len()).ok_or(InvalidUtf8)?;
        place.copy_from_slice(unfinished);
        self.carried = unfinished.len();
        Ok(())
    }
}

enum Start {
    Whole,
    Unfinished,
}

/// Checks the few bytes of one character that may be unfinished.
fn check_start(bytes: &[u8]) -> Result<Start, InvalidUtf8> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(Start::Whole),
        // `None` is std's word for "may still become valid": surrogates, overlong forms and what
        // lies past U+10FFFF are refused at their second byte.
        Err(error) if error.error_len().is_none() => Ok(Start::Unfinished),
        Err(_) => Err(InvalidUtf8),
    }
}

/// Where a last character begins that needs more bytes than there are; the length if there is none.
fn find_unfinished(bytes: &[u8]) -> usize {
    for (back, &byte) in bytes.iter().rev().take(3).enumerate() {
        let needed = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ => 1,
        };
        let there = back.saturating_add(1);
        if needed > there {
            return bytes.len().saturating_sub(there);
        }
        break;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same verdict, from the whole text so far at each byte: the length of the longest prefix
    /// that can still become valid.
    fn longest_possible_naive(text: &[u8]) -> usize {
        match std::str::from_utf8(text) {
            Ok(_) => text.len(),
            Err(error) => match error.error_len() {
                None => text.len(),
                Some(_) => (error.valid_up_to()..=text.len())
                    .rev()
                    .find(|&end| {
                        std::str::from_utf8(&text[..end])
                            .map_or_else(|error| error.error_len().is_none(), |_| true)
                    })
                    .unwrap(),
            },
        }
    }

    fn check_bytewise(text: &[u8], refused_at: Option<usize>) {
        let mut checker = Utf8Checker::default();
        let refused = text.iter().position(|&byte| checker.feed(&[byte]).is_err());
        assert_eq!(refused, refused_at, "{text:x?}");
    }

    #[test]
    fn refuses_the_first_impossible_byte() {
        check_bytewise("κόσμε 𐍈".as_bytes(), None);
        check_bytewise(b"\xf4\x8f\xbf\xbf", None);
        check_bytewise(b"\xed\x9f\xbf\xee\x80\x80", None);
        check_bytewise(b"\x80", Some(0));
        check_bytewise(b"\xc0\x80", Some(0));
        check_bytewise(b"\xc1\x80", Some(0));
        check_bytewise(b"\xf5", Some(0));
        check_bytewise(b"\xff", Some(0));
        check_bytewise(b"\xe0\x9f\xbf", Some(1));
        check_bytewise(b"\xed\xa0\x80", Some(1));
        check_bytewise(b"\xf0\x8f\xbf\xbf", Some(1));
        check_bytewise(b"\xf4\x90\x80\x80", Some(1));
        check_bytewise(b"a\xc3a", Some(2));
        check_bytewise(b"\xe2\x82a", Some(2));
        check_bytewise(b"\xf0\x9f\x98a", Some(3));
    }

    #[test]
    fn an_unfinished_character_is_no_error_but_not_complete() {
        for text in ["é", "€", "😀"] {
            for end in 1..text.len() {
                let mut checker = Utf8Checker::default();
                assert_eq!(checker.feed(&text.as_bytes()[..end]), Ok(()));
                assert!(!checker.is_complete());
                assert_eq!(checker.feed(&text.as_bytes()[end..]), Ok(()));
                assert!(checker.is_complete());
            }
        }
    }

    /// Bytes in which broken characters are likely, and likely near the ends.
    fn near_text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            Just(b"a".to_vec()),
            "\\PC{1,3}".prop_map(String::into_bytes),
            any::<u8>().prop_map(|byte| vec![byte]),
            (0x80..=0xffu8).prop_map(|byte| vec![byte]),
        ];
        proptest::collection::vec(byte, 0..60).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_twin(text in near_text(), cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6)) {
            let possible = longest_possible_naive(&text);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut checker = Utf8Checker::default();
            for pair in cuts.windows(2) {
                let verdict = checker.feed(&text[pair[0]..pair[1]]);
                prop_assert_eq!(verdict.is_ok(), pair[1] <= possible);
                if verdict.is_err() {
                    return Ok(());
                }
            }
            prop_assert_eq!(checker.is_complete(), std::str::from_utf8(&text).is_ok());
        }
    }
}

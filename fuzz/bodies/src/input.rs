//! An input, taken apart. What a body has to choose (a role, limits, where to cut) comes from the input's end, so that what
//! is left in front is what the peer sends, as it is: a mutation there leaves the choices as they were, and a seed can be
//! read and written by hand.

/// The part of an input that was not taken yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes a byte off the end; 0 if there is none, so that a short input is one of the usual case.
    pub(crate) fn take(&mut self) -> u8 {
        let Some((&last, rest)) = self.0.split_last() else {
            return 0;
        };
        self.0 = rest;
        last
    }

    /// Takes where to cut what is in front.
    pub(crate) fn take_cuts(&mut self) -> Cuts {
        Cuts(u16::from_le_bytes([self.take(), self.take()]))
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Where to cut bytes, as a number: 0 for nowhere, a small one for pieces of that size, else as the number's own sequence
/// of sizes says, most of them small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cuts(u16);

impl Cuts {
    pub(crate) const WHOLE: Self = Self(0);
    pub(crate) const BYTEWISE: Self = Self(1);

    /// From here on sizes are drawn.
    const DRAWN: u16 = 64;

    /// The bytes in pieces, none of them empty.
    pub(crate) fn pieces(self, mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut sizes = Drawn::new(self.0);
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let size = match self.0 {
                0 => bytes.len(),
                fixed @ 1..Self::DRAWN => fixed.into(),
                _ => sizes.next_size(),
            };
            let (piece, rest) = bytes.split_at(size.min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

/// Numbers that are the same for the same seed, of a linear congruential generator (Numerical Recipes).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn(u32);

impl Drawn {
    pub(crate) fn new(seed: u16) -> Self {
        Self(seed.into())
    }

    pub(crate) fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The low bits of such a generator repeat too soon.
        (self.0 >> 24) as u8
    }

    fn next_size(&mut self) -> usize {
        match self.next() {
            small @ 0..160 => usize::from(small % 8) + 1,
            medium @ 160..240 => usize::from(medium),
            large => usize::from(large) * 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_bytes_and_none_is_empty() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
        for seed in [0, 1, 2, 63, 64, 1000, u16::MAX] {
            let pieces = Cuts(seed).pieces(&bytes);
            assert_eq!(pieces.concat(), bytes);
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
        }
        assert_eq!(Cuts::WHOLE.pieces(&bytes).len(), 1);
        assert_eq!(Cuts::BYTEWISE.pieces(&bytes).len(), 3000);
        assert!(Cuts::WHOLE.pieces(&[]).is_empty());
    }

    #[test]
    fn what_is_taken_comes_from_the_end() {
        let mut input = Input::new(b"peer\x01\x00\x07");
        assert_eq!(input.take(), 7);
        assert_eq!(input.take_cuts().0, 0x0100);
        assert_eq!(input.rest(), b"peer");
        assert_eq!(Input::new(b"").take(), 0);
    }
}

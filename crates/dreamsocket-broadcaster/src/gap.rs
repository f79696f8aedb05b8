//! [`Gap`]: how much is missing at one place, which may be more than anybody can know.

/// A number of lost messages, or the word that nobody knows it. Plain data, in the room of a number: there is one for each
/// subscriber.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gap(u64);

impl Gap {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ONE: Self = Self(1);
    /// Some may be missing, and nobody can know how many.
    pub(crate) const UNKNOWN: Self = Self(u64::MAX);

    #[cfg(feature = "remote")]
    pub(crate) const fn of(count: u64) -> Self {
        Self(count)
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Both at one place. What is unknown stays so: the sum saturates.
    pub(crate) const fn add(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    /// As it is told.
    pub(crate) const fn count(self) -> Option<u64> {
        if self.0 == u64::MAX {
            None
        } else {
            Some(self.0)
        }
    }
}

#[cfg(all(test, feature = "remote"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_stays_unknown() {
        for (first, second, sum) in [
            (Gap::NONE, Gap::of(3), Some(3)),
            (Gap::of(2), Gap::ONE, Some(3)),
            (Gap::UNKNOWN, Gap::ONE, None),
            (Gap::of(2), Gap::UNKNOWN, None),
        ] {
            let mut gap = first;
            gap.add(second);
            assert_eq!(gap.count(), sum);
        }
    }
}

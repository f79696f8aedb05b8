//! [`Ledger`]: what came of numbered messages, and whether any was lost, doubled or put out of order.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Add, AddAssign};

/// What is wrong with what came. All zero is as it should be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wrong {
    /// Numbers that were passed over without a word, and did not come later.
    pub lost: u64,
    /// Numbers that came again.
    pub doubled: u64,
    /// Numbers that came after a later one.
    pub reordered: u64,
}

impl Wrong {
    /// Whether nothing is.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for Wrong {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            reordered: self.reordered + other.reordered,
        }
    }
}

impl AddAssign for Wrong {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What one receiver got of one source, in which any number of senders number their messages.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Whether a sender's first number may be any.
    is_midway: bool,
    senders: HashMap<String, Sender>,
    /// How many messages the source has said are missing, and how many of them a gap has shown.
    declared: u64,
    excused: u64,
    received: u64,
    wrong: Wrong,
}

#[derive(Debug, Default)]
struct Sender {
    next: u64,
    /// What was lost, as far as it is known.
    lost: BTreeSet<u64>,
}

impl Ledger {
    /// Every sender begins with 0.
    #[must_use]
    pub fn from_the_start() -> Self {
        Self::default()
    }

    /// Senders may have begun before: the first number of each is as it should be.
    #[must_use]
    pub fn midway() -> Self {
        Self {
            is_midway: true,
            ..Self::default()
        }
    }

    /// The source has said that so many messages are missing here: gaps that show from here on are excused, up to so many.
    pub const fn declare(&mut self, count: u64) {
        self.declared += count;
    }

    /// This message came.
    pub fn note(&mut self, sender: &str, number: u64) {
        self.received += 1;
        if !self.senders.contains_key(sender) {
            let next = if self.is_midway { number } else { 0 };
            let lost = BTreeSet::new();
            self.senders
                .insert(sender.to_owned(), Sender { next, lost });
        }
        let Some(sender) = self.senders.get_mut(sender) else {
            return;
        };
        if number < sender.next {
            if sender.lost.remove(&number) {
                self.wrong.lost -= 1;
                self.wrong.reordered += 1;
            } else {
                self.wrong.doubled += 1;
            }
            return;
        }
        let excused = (self.declared - self.excused).min(number - sender.next);
        self.excused += excused;
        let lost = sender.next + excused..number;
        self.wrong.lost += lost.end - lost.start;
        sender.lost.extend(lost);
        sender.next = number + 1;
    }

    /// What is wrong so far.
    #[must_use]
    pub const fn wrong(&self) -> Wrong {
        self.wrong
    }

    /// How many messages came.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// How many messages the source has said are missing.
    #[must_use]
    pub const fn declared(&self) -> u64 {
        self.declared
    }

    /// Which number this sender's next message has.
    #[must_use]
    pub fn next(&self, sender: &str) -> u64 {
        self.senders.get(sender).map_or(0, |sender| sender.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mut ledger: Ledger, numbers: &[u64], expected: (u64, u64, u64)) {
        for number in numbers {
            ledger.note("sender", *number);
        }
        let wrong = ledger.wrong();
        assert_eq!((wrong.lost, wrong.doubled, wrong.reordered), expected);
        assert_eq!(wrong.is_nothing(), expected == (0, 0, 0));
    }

    #[test]
    fn what_is_lost_doubled_and_reordered_is_counted() {
        let start = Ledger::from_the_start;
        check(start(), &[0, 1, 2, 3], (0, 0, 0));
        check(start(), &[1, 2], (1, 0, 0));
        check(start(), &[0, 3, 4], (2, 0, 0));
        check(start(), &[0, 1, 1, 2], (0, 1, 0));
        check(start(), &[0, 2, 1, 3], (0, 0, 1));
        check(start(), &[0, 2, 1, 1], (0, 1, 1));
        check(Ledger::midway(), &[5, 6, 8], (1, 0, 0));
    }

    #[test]
    fn a_gap_that_was_declared_is_excused_and_no_larger_one() {
        let declared = |count| {
            let mut ledger = Ledger::from_the_start();
            ledger.note("sender", 0);
            ledger.declare(count);
            assert_eq!(ledger.declared(), count);
            ledger
        };
        check(declared(2), &[3, 4], (0, 0, 0));
        check(declared(2), &[4], (1, 0, 0));
        check(declared(2), &[2, 4, 6], (1, 0, 0));
    }

    #[test]
    fn senders_are_apart() {
        let mut ledger = Ledger::from_the_start();
        for (sender, number) in [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("c", 0)] {
            ledger.note(sender, number);
        }
        assert!(ledger.wrong().is_nothing());
        assert_eq!((ledger.next("a"), ledger.next("d")), (2, 0));
        assert_eq!(ledger.received(), 5);
    }
}

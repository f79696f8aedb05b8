//! The receiver's side of the account: which message of which publisher was the last, for one topic.
//!
//! A number that follows the last one is the next message; one further on leaves a gap of as many as are between; one that
//! is not greater is a double. What a publisher sent before it was first heard here is the past, not a gap, unless it says
//! itself that it sent it when this node was subscribed already.
//!
//! Plain data: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::gap::Gap;
use crate::remote::frame::Stamp;

/// A message that was published so much later than the subscription was in force must have come here. Two nodes' clocks
/// measure this, and the way of the message is in it.
const SURELY: Duration = Duration::from_secs(1);

/// Publishers that have not been heard for so long are let go, when others come.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// As many publishers are kept without asking how long they have been silent.
const FEW: usize = 32;

#[derive(Default)]
pub(crate) struct Tracking {
    publishers: Vec<Publisher>,
    /// When the broker confirmed the subscription; not set while it may not be in force.
    confirmed: Option<Instant>,
    /// Messages may have been lost with the connection, which nobody here has been told yet.
    owes: bool,
}

struct Publisher {
    id: u64,
    last: u64,
    heard: Instant,
    /// Heard last over a connection that was lost. What is missing since is part of that loss, but for what was published
    /// when there was another one.
    is_stale: bool,
    /// It has said itself that this is its last number, or the broker, by what came next. Else, when a new run begins, the end of
    /// the earlier one may be lost together with its announcements.
    is_final: bool,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand it on, behind this gap.
    Deliver(Gap),
    /// It was here, or its turn is over.
    Drop,
}

impl Tracking {
    /// Messages may be lost from here on, until the subscription is confirmed: the connection is gone, or there is none.
    pub(crate) fn interrupt(&mut self) {
        self.confirmed = None;
        self.owes = true;
        for publisher in &mut self.publishers {
            publisher.is_stale = true;
        }
    }

    /// The subscription is in force. Gives the gap to tell now.
    pub(crate) fn confirm(&mut self, now: Instant) -> Gap {
        self.confirmed.get_or_insert(now);
        self.take_owed()
    }

    pub(crate) fn message(&mut self, stamp: Stamp, now: Instant) -> Verdict {
        let verdict = self.take(stamp, false, now);
        self.with_owed(verdict)
    }

    /// As [`message`](Self::message), for one that the broker has kept.
    pub(crate) fn kept_message(&mut self, stamp: Stamp, now: Instant) -> Verdict {
        let verdict = self.past(stamp, now);
        self.with_owed(verdict)
    }

    /// As [`kept_message`](Self::kept_message), for one that is not handed on to those who are owed a gap.
    pub(crate) fn past(&mut self, stamp: Stamp, now: Instant) -> Verdict {
        self.take(stamp, true, now)
    }

    fn with_owed(&mut self, verdict: Verdict) -> Verdict {
        // What is owed is told before a message, which shows that the subscription is in force, be the confirmation still on
        // its way or not.
        match verdict {
            Verdict::Deliver(mut gap) => {
                gap.add(self.take_owed());
                Verdict::Deliver(gap)
            }
            Verdict::Drop => Verdict::Drop,
        }
    }

    fn take(&mut self, stamp: Stamp, is_kept: bool, now: Instant) -> Verdict {
        let is_after = is_after(self.confirmed, stamp, now);
        let Some(publisher) = self.find(stamp.publisher) else {
            let is_lost = stamp.number > stamp.start && is_after;
            self.add(stamp, false, now);
            return Verdict::Deliver(if is_lost { Gap::UNKNOWN } else { Gap::NONE });
        };
        if stamp.number <= publisher.last {
            return Verdict::Drop;
        }
        // What is kept comes whole, as far back as it is, and its publishers may go unannounced.
        publisher.is_final |= is_kept;
        let gap = publisher.advance(stamp, stamp.number - 1, is_after, now);
        publisher.last = stamp.number;
        publisher.is_final = false;
        Verdict::Deliver(gap)
    }

    /// The broker has kept what was published while there was no connection: nothing of it is missing, and what the numbers
    /// show as missing is so. What comes in a topic's first replay is handed to nobody who was subscribed already: they are
    /// owed a gap all the same.
    pub(crate) fn bridge(&mut self, is_first_replay: bool) {
        self.owes &= is_first_replay;
        for publisher in &mut self.publishers {
            publisher.is_stale = false;
        }
    }

    /// A publisher says which number was its last. Gives the gap to tell now.
    pub(crate) fn announcement(&mut self, stamp: Stamp, now: Instant) -> Gap {
        let mut gap = self.take_owed();
        let is_after = is_after(self.confirmed, stamp, now);
        let Some(publisher) = self.find(stamp.publisher) else {
            if is_after {
                gap.add(Gap::UNKNOWN);
            }
            self.add(stamp, true, now);
            return gap;
        };
        // If it is the one that is known, nothing was lost with a connection, and what is from now on is no part of that.
        if stamp.number >= publisher.last {
            gap.add(publisher.advance(stamp, stamp.number, is_after, now));
            publisher.last = stamp.number;
        }
        publisher.is_final |= stamp.number == publisher.last;
        gap
    }

    fn take_owed(&mut self) -> Gap {
        if std::mem::take(&mut self.owes) {
            Gap::UNKNOWN
        } else {
            Gap::NONE
        }
    }

    fn find(&mut self, id: u64) -> Option<&mut Publisher> {
        self.publishers
            .iter_mut()
            .find(|publisher| publisher.id == id)
    }

    fn add(&mut self, stamp: Stamp, is_final: bool, now: Instant) {
        if self.publishers.len() >= FEW {
            self.publishers
                .retain(|known| now.saturating_duration_since(known.heard) < FORGOTTEN);
        }
        if self.publishers.is_empty() {
            // Most topics have one publisher at a time; `push` would make room for four.
            self.publishers.reserve_exact(1);
        }
        self.publishers.push(Publisher {
            id: stamp.publisher,
            last: stamp.number,
            heard: now,
            is_stale: false,
            is_final,
        });
    }
}

impl Publisher {
    /// How many are missing of those up to `end`, which is not less than the last one. Of an earlier run nothing is, if its
    /// end was announced. `is_after` says that `end` was published since the subscription is in force.
    fn advance(&mut self, stamp: Stamp, end: u64, is_after: bool, now: Instant) -> Gap {
        self.heard = now;
        if std::mem::take(&mut self.is_stale) {
            // Where what was lost with the connection ends, the numbers do not show. Of a new run's first message `end` is a
            // number that was not given.
            let is_lost = end > self.last && end >= stamp.start && is_after;
            return if is_lost { Gap::UNKNOWN } else { Gap::NONE };
        }
        if stamp.start <= self.last {
            return Gap::of(end.saturating_sub(self.last));
        }
        if !self.is_final {
            return Gap::UNKNOWN;
        }
        Gap::of(end.saturating_sub(stamp.start - 1))
    }
}

/// Whether the message that the stamp tells the age of was published when the subscription was surely in force, and not so
/// long ago that its publisher may have been known and let go.
fn is_after(subscribed: Option<Instant>, stamp: Stamp, now: Instant) -> bool {
    let age = Duration::from_millis(u64::from(stamp.since_ms));
    age < FORGOTTEN
        && subscribed.is_some_and(|then| now.saturating_duration_since(then) > age + SURELY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Verdict = Verdict::Deliver(Gap::NONE);
    const UNKNOWN: Verdict = Verdict::Deliver(Gap::UNKNOWN);

    fn stamp(publisher: u64, start: u64, number: u64) -> Stamp {
        aged(publisher, start, number, 0)
    }

    fn aged(publisher: u64, start: u64, number: u64, since_ms: u32) -> Stamp {
        Stamp {
            publisher,
            start,
            number,
            since_ms,
        }
    }

    fn gap(count: u64) -> Verdict {
        Verdict::Deliver(Gap::of(count))
    }

    fn later(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    #[test]
    fn b2_the_first_message_heard_of_a_publisher_is_where_its_run_begins_here() {
        let now = Instant::now();
        let mut tracking = Tracking::default();
        assert_eq!(tracking.message(stamp(1, 5, 9), now), NONE);
        assert_eq!(tracking.message(stamp(2, 1, 1), now), NONE);
        assert_eq!(tracking.message(stamp(1, 5, 10), now), NONE);
        assert_eq!(tracking.message(stamp(2, 1, 2), now), NONE);
    }

    #[test]
    fn b2_a_hole_is_a_gap_with_its_exact_count_and_a_repeat_a_double() {
        let now = Instant::now();
        let mut tracking = Tracking::default();
        assert_eq!(tracking.message(stamp(1, 1, 1), now), NONE);
        assert_eq!(tracking.message(stamp(1, 1, 5), now), gap(3));
        assert_eq!(tracking.message(stamp(1, 1, 5), now), Verdict::Drop);
        assert_eq!(tracking.message(stamp(1, 1, 3), now), Verdict::Drop);
        assert_eq!(tracking.message(stamp(1, 1, 6), now), NONE);
    }

    #[test]
    fn b2_a_new_run_is_counted_from_its_own_start() {
        let now = Instant::now();
        let mut tracking = Tracking::default();
        let announced = |tracking: &mut Tracking, start, number| {
            assert_eq!(
                tracking.announcement(stamp(1, start, number), now),
                Gap::NONE
            );
        };
        assert_eq!(tracking.message(stamp(1, 1, 3), now), NONE);
        announced(&mut tracking, 1, 3);
        assert_eq!(tracking.message(stamp(1, 90, 90), now), NONE);
        announced(&mut tracking, 90, 90);
        assert_eq!(tracking.message(stamp(1, 200, 202), now), gap(2));
        assert_eq!(tracking.message(stamp(1, 90, 91), now), Verdict::Drop);
        // Whether this was the last one before the next run, nobody has said here.
        assert_eq!(tracking.message(stamp(1, 300, 300), now), UNKNOWN);
        assert_eq!(tracking.message(stamp(1, 300, 301), now), NONE);
    }

    #[test]
    fn b2_where_what_is_kept_begins_a_new_run_nothing_is_missing() {
        let now = Instant::now();
        let mut tracking = Tracking::default();
        assert_eq!(tracking.kept_message(stamp(1, 1, 1), now), NONE);
        assert_eq!(tracking.kept_message(stamp(1, 90, 90), now), NONE);
        assert_eq!(tracking.past(stamp(1, 200, 200), now), NONE);
        // In the new run something is.
        assert_eq!(tracking.kept_message(stamp(1, 300, 302), now), gap(2));
        assert_eq!(tracking.message(stamp(1, 400, 400), now), UNKNOWN);
    }

    #[test]
    fn b2_an_announcement_tells_of_the_loss_of_the_last_messages_once() {
        let now = Instant::now();
        let mut tracking = Tracking::default();
        assert_eq!(tracking.message(stamp(1, 1, 1), now), NONE);
        assert_eq!(tracking.announcement(stamp(1, 1, 1), now), Gap::NONE);
        assert_eq!(tracking.announcement(stamp(1, 1, 4), now), Gap::of(3));
        assert_eq!(tracking.announcement(stamp(1, 1, 4), now), Gap::NONE);
        assert_eq!(tracking.announcement(stamp(1, 1, 2), now), Gap::NONE);
        assert_eq!(tracking.message(stamp(1, 1, 4), now), Verdict::Drop);
        assert_eq!(tracking.message(stamp(1, 1, 5), now), NONE);
        assert_eq!(tracking.announcement(stamp(1, 1, 5), now), Gap::NONE);
        assert_eq!(tracking.announcement(stamp(1, 8, 9), now), Gap::of(2));
    }

    #[test]
    fn b2_what_an_unknown_publisher_sent_after_the_subscription_was_in_force_is_a_gap() {
        let now = Instant::now();
        let confirmed = || {
            let mut tracking = Tracking::default();
            assert_eq!(tracking.confirm(now), Gap::NONE);
            tracking
        };
        let at = later(now, 5_000);
        // Published 3 s ago, when this node had been subscribed for 2 s.
        let announced = confirmed().announcement(aged(1, 1, 1, 3_000), at);
        assert_eq!(announced, Gap::UNKNOWN);
        // Published 4.5 s ago: perhaps before the subscription was known everywhere.
        let announced = confirmed().announcement(aged(1, 1, 1, 4_500), at);
        assert_eq!(announced, Gap::NONE);
        let unconfirmed = Tracking::default().announcement(aged(1, 1, 1, 0), at);
        assert_eq!(unconfirmed, Gap::NONE);

        // The same of the message before one that came.
        assert_eq!(confirmed().message(aged(1, 1, 2, 10), at), UNKNOWN);
        assert_eq!(confirmed().message(aged(1, 1, 2, 4_500), at), NONE);
        assert_eq!(confirmed().message(aged(1, 2, 2, 0), at), NONE, "the first");
        assert_eq!(Tracking::default().message(aged(1, 1, 2, 10), at), NONE);
    }

    #[test]
    fn b2_what_is_lost_after_an_announcement_is_no_part_of_an_interruption() {
        let now = Instant::now();
        let mut tracking = Tracking::default();
        assert_eq!(tracking.message(stamp(1, 1, 5), now), NONE);
        tracking.interrupt();
        assert_eq!(tracking.confirm(now), Gap::UNKNOWN);
        assert_eq!(tracking.announcement(stamp(1, 1, 5), now), Gap::NONE);
        assert_eq!(tracking.message(stamp(1, 1, 7), now), gap(1));
    }

    #[test]
    fn b2_what_is_lost_long_after_an_interruption_is_no_part_of_it() {
        let now = Instant::now();
        let known = || {
            let mut tracking = Tracking::default();
            assert_eq!(tracking.message(stamp(1, 1, 5), now), NONE);
            assert_eq!(tracking.announcement(stamp(1, 1, 5), now), Gap::NONE);
            tracking.interrupt();
            assert_eq!(tracking.confirm(now), Gap::UNKNOWN);
            tracking
        };
        let at = later(now, 5_000);
        // What is missing last was published 3 s ago, 2 s after the confirmation.
        assert_eq!(known().message(aged(1, 1, 7, 3_000), at), UNKNOWN);
        let announced = known().announcement(aged(1, 1, 6, 3_000), at);
        assert_eq!(announced, Gap::UNKNOWN);
        // Perhaps before it.
        assert_eq!(known().message(aged(1, 1, 7, 4_500), at), NONE);
        let announced = known().announcement(aged(1, 1, 6, 4_500), at);
        assert_eq!(announced, Gap::NONE);
        // Nothing is missing.
        assert_eq!(known().message(aged(1, 1, 6, 10), at), NONE);
        let announced = known().announcement(aged(1, 1, 5, 10), at);
        assert_eq!(announced, Gap::NONE);
        // The first message of a new run, which tells the age of none, and the second one.
        assert_eq!(known().message(aged(1, 90, 90, 0), at), NONE);
        assert_eq!(known().message(aged(1, 90, 91, 10), at), UNKNOWN);
        // It is told once.
        let mut tracking = known();
        assert_eq!(tracking.message(aged(1, 1, 7, 10), at), UNKNOWN);
        assert_eq!(tracking.message(aged(1, 1, 8, 10), at), NONE);
        assert_eq!(tracking.message(aged(1, 1, 10, 10), at), gap(1));
    }

    #[test]
    fn publishers_that_are_silent_for_long_are_let_go_when_there_are_many() {
        let now = Instant::now();
        let known = |count, at| {
            let mut tracking = Tracking::default();
            for publisher in 0..count {
                assert_eq!(tracking.message(stamp(publisher, 1, 1), now), NONE);
            }
            assert_eq!(tracking.message(stamp(u64::MAX, 1, 1), at), NONE);
            tracking.publishers.len()
        };
        let few = FEW as u64;
        assert_eq!(known(few, now + FORGOTTEN), 1);
        assert_eq!(known(few, now + FORGOTTEN / 2), FEW + 1);
        assert_eq!(known(few - 1, now + FORGOTTEN), FEW);
    }

    #[test]
    fn b1_an_interruption_is_told_once_before_any_message_with_what_was_lost_in_it() {
        let now = Instant::now();
        let known = || {
            let mut tracking = Tracking::default();
            assert_eq!(tracking.message(stamp(1, 1, 1), now), NONE);
            assert_eq!(tracking.message(stamp(2, 1, 1), now), NONE);
            tracking.interrupt();
            tracking.interrupt();
            tracking
        };
        // The message is there before the confirmation, or after it.
        let mut tracking = known();
        assert_eq!(tracking.message(stamp(1, 1, 9), now), UNKNOWN);
        assert_eq!(tracking.confirm(now), Gap::NONE);
        assert_eq!(tracking.message(stamp(1, 1, 11), now), gap(1));
        assert_eq!(
            tracking.message(stamp(2, 1, 7), now),
            NONE,
            "part of the loss"
        );
        assert_eq!(tracking.message(stamp(2, 1, 9), now), gap(1));

        let mut tracking = known();
        assert_eq!(tracking.confirm(now), Gap::UNKNOWN);
        assert_eq!(tracking.confirm(now), Gap::NONE);
        assert_eq!(tracking.announcement(stamp(1, 1, 9), now), Gap::NONE);
        assert_eq!(tracking.message(stamp(1, 1, 9), now), Verdict::Drop);

        let mut tracking = known();
        assert_eq!(tracking.message(stamp(1, 1, 1), now), Verdict::Drop);
        assert_eq!(
            tracking.message(stamp(1, 1, 2), now),
            UNKNOWN,
            "told all the same"
        );
    }

    #[test]
    fn publishers_that_are_long_gone_take_no_room() {
        let mut now = Instant::now();
        let mut tracking = Tracking::default();
        for publisher in 0..1_000 {
            now += Duration::from_secs(300);
            assert_eq!(tracking.message(stamp(publisher, 1, 1), now), NONE);
            // One that stays is not forgotten, whoever else comes.
            let number = publisher + 1;
            assert_eq!(tracking.message(stamp(u64::MAX, 1, number), now), NONE);
        }
        assert!(
            tracking.publishers.len() <= FEW + 1,
            "{}",
            tracking.publishers.len()
        );
    }
}

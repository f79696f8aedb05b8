//! A connection's time: nanoseconds since it was opened, on tokio's clock, which is read at most once each time the task runs,
//! and once more for what begins then.
//!
//! An `Option<Instant>` is 16 bytes and takes tens of instructions to compare or add to; a [`Moment`] is 8 and takes one.

use std::time::Duration;

use tokio::time::Instant;

/// A time on a connection's clock, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    /// When the connection was opened.
    pub(super) const START: Self = Self(0);
    /// Later than any other.
    pub(super) const NEVER: Self = Self(u64::MAX);

    pub(super) const fn is_never(self) -> bool {
        self.0 == u64::MAX
    }

    /// So much later; [`NEVER`](Self::NEVER) stays what it is.
    pub(super) const fn after(self, by: Span) -> Self {
        Self(self.0.saturating_add(by.0))
    }

    /// How much later than `earlier` it is; nothing if it is not.
    pub(super) const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    pub(super) fn is_past(self, now: Self) -> bool {
        self <= now && !self.is_never()
    }
}

/// A length of time in nanoseconds: at most some centuries, which stand for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(u64);

impl Span {
    pub(super) const FOREVER: Self = Self(u64::MAX);

    pub(super) fn of(duration: Option<Duration>) -> Self {
        duration.map_or(Self::FOREVER, Self::from)
    }

    pub(super) const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
pub(super) struct Clock {
    opened: Instant,
    /// When it was read; never, if it is to be read again.
    now: Moment,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            opened: Instant::now(),
            now: Moment::START,
        }
    }

    /// The task was away: the time is another.
    pub(super) const fn expire(&mut self) {
        self.now = Moment::NEVER;
    }

    /// The time, as it was when it was first asked for since the task runs.
    pub(super) fn now(&mut self) -> Moment {
        if self.now.is_never() {
            self.now = self.read();
        }
        self.now
    }

    /// The time as it is now, which [`now`](Self::now) then goes on from. For what begins here: handlers that ran since the
    /// task was woken may have taken their time, without awaiting anything.
    pub(super) fn look(&mut self) -> Moment {
        self.expire();
        self.now()
    }

    /// The time as it is now: for what a handler's own work may have delayed.
    pub(super) fn read(&self) -> Moment {
        Moment(
            self.opened
                .elapsed()
                .as_nanos()
                .try_into()
                .unwrap_or(u64::MAX - 1),
        )
    }

    pub(super) fn moment(&self, instant: Instant) -> Moment {
        Moment::START.after(Span::from(instant.saturating_duration_since(self.opened)))
    }

    /// `None` for never.
    pub(super) fn instant(&self, moment: Moment) -> Option<Instant> {
        self.opened
            .checked_add(Duration::from_nanos(moment.0))
            .filter(|_| !moment.is_never())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_stands_until_the_task_was_away() {
        let mut clock = Clock::start();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), Moment::START);
        assert_eq!(
            clock.read().since(Moment::START).duration(),
            Duration::from_secs(3)
        );
        clock.expire();
        let now = clock.now();
        assert_eq!(now.since(Moment::START).duration(), Duration::from_secs(3));
        assert_eq!(clock.instant(now), Some(Instant::now()));
        assert_eq!(clock.moment(Instant::now()), now);
    }

    #[test]
    fn never_is_never_past_and_stays_never() {
        let later = Moment::START.after(Span::from(Duration::from_secs(1)));
        assert!(Moment::START.is_past(Moment::START) && !later.is_past(Moment::START));
        assert!(!Moment::NEVER.is_past(Moment::NEVER));
        assert!(later.after(Span::FOREVER).is_never());
        assert!(
            Moment::NEVER
                .after(Span::from(Duration::from_secs(1)))
                .is_never()
        );
        assert_eq!(Span::of(None), Span::FOREVER);
        assert_eq!(Span::from(Duration::MAX), Span::FOREVER);
    }
}

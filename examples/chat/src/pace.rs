//! How fast a client may send: a token bucket, kept as one moment. It reads no clock.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Messages that may come at once.
const BURST: u32 = 12;

/// A connection's allowance: a burst at once, then a steady pace.
pub(crate) struct Pace {
    interval: Duration,
    /// When the bucket is full again; up to now, or in the past, means full.
    full_at: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: NonZeroU32, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.get(),
            full_at: now,
        }
    }

    /// Takes one message's worth, and tells how long that message has to wait.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        self.full_at = self.full_at.max(now) + self.interval;
        let debt = self.full_at.duration_since(now);
        debt.saturating_sub(self.interval * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_follows_waits_its_turn() {
        let start = Instant::now();
        let mut pace = Pace::new(NonZeroU32::new(4).unwrap(), start);
        for _ in 0..BURST {
            assert_eq!(pace.take(start), Duration::ZERO);
        }
        assert_eq!(pace.take(start), Duration::from_millis(250));
        assert_eq!(pace.take(start), Duration::from_millis(500));
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.take(later), Duration::ZERO, "no more than full");
        for _ in 1..BURST {
            assert_eq!(pace.take(later), Duration::ZERO);
        }
        assert_eq!(pace.take(later), Duration::from_millis(250));
    }
}

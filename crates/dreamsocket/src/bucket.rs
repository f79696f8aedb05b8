//! Token buckets: how much of something a peer may send at once, and how much a second in the long run.
//!
//! Plain arithmetic on tokio's clock. A bucket may be overdrawn by what came in one piece; reading then waits until the
//! debt is paid.

use std::time::Duration;

use tokio::time::Instant;

use crate::rate::Rate;

#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    size: f64,
    /// What may still be taken; below nothing when overdrawn.
    left: f64,
    /// When `left` was reckoned.
    at: Instant,
    paused_until: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            per_second: f64::from(rate.per_second.get()),
            size: f64::from(rate.burst.get()),
            left: f64::from(rate.burst.get()),
            at: Instant::now(),
            paused_until: None,
        }
    }

    /// So much has come. False if more than there was is taken. When nothing is left reading pauses, until there is
    /// something again and at most ten times a second.
    pub(crate) fn take(&mut self, amount: usize) -> bool {
        let now = Instant::now();
        self.refill(now);
        self.left -= amount as f64;
        if self.left < 1.0 {
            let wait = (1.0 - self.left) / self.per_second;
            let wait = wait.max(self.size.min(0.1 * self.per_second) / self.per_second);
            self.paused_until = Some(now + Duration::from_secs_f64(wait));
        }
        self.left >= 0.0
    }

    /// Takes one, if there is one.
    pub(crate) fn try_take(&mut self) -> bool {
        self.refill(Instant::now());
        let is_there = self.left >= 1.0;
        if is_there {
            self.left -= 1.0;
        }
        is_there
    }

    /// Whether all is earned that may be.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left >= self.size
    }

    /// Reckons what has been earned up to `now`; reading goes on.
    pub(crate) fn refill(&mut self, now: Instant) {
        let earned = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.size);
        self.at = now;
        self.paused_until = None;
    }

    pub(crate) const fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }
}

//! The bucket of control frames that a peer may send: so many at once, and so many a second in the long run.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct ControlBucket {
    size: f64,
    left: f64,
    /// When `left` was reckoned.
    at: Instant,
    paused_until: Option<Instant>,
}

impl ControlBucket {
    /// A full one. A size of 0 counts as 1.
    pub(super) fn new(size: u32) -> Self {
        let size = f64::from(size.max(1));
        Self {
            size,
            left: size,
            at: Instant::now(),
            paused_until: None,
        }
    }

    /// A control frame has come. With the last of the bucket reading pauses, for a tenth of a second's worth.
    pub(super) fn take(&mut self) {
        let now = Instant::now();
        self.refill(now);
        self.left = (self.left - 1.0).max(0.0);
        if self.left < 1.0 {
            let wait = Duration::from_secs_f64(1.0 / self.size.min(10.0));
            self.paused_until = Some(now + wait);
        }
    }

    /// Reckons what has been earned up to `now`; reading goes on.
    pub(super) fn refill(&mut self, now: Instant) {
        let earned = now.duration_since(self.at).as_secs_f64() * self.size;
        self.left = (self.left + earned).min(self.size);
        self.at = now;
        self.paused_until = None;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }
}

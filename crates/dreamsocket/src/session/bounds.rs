//! What a connection's peer may do in a time: its rates, how long it may be idle, how long it may last.
//!
//! Plain state on tokio's clock. The wire notes what comes and asks when to act.

use std::time::Duration;

use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::config::{Config, later};
use crate::rate::{Excess, Rate};

#[derive(Debug)]
pub(super) struct Bounds {
    /// Control frames past it always wait.
    control: Bucket,
    /// Boxed, since most connections have none.
    rates: Option<Box<Rates>>,
    opened: Instant,
    max_lifetime: Option<Duration>,
    /// When a message came last.
    active: Instant,
    idle_timeout: Option<Duration>,
}

#[derive(Debug)]
struct Rates {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    excess: Excess,
}

impl Bounds {
    pub(super) fn new(config: &Config) -> Self {
        let now = Instant::now();
        let mut bounds = Self {
            control: Bucket::new(Rate::of(config.control_frames)),
            rates: None,
            opened: now,
            max_lifetime: None,
            active: now,
            idle_timeout: None,
        };
        bounds.set(config);
        bounds
    }

    /// Other bounds hold from here on. How long the connection has lasted is counted from its opening, how long it has been
    /// idle from now.
    pub(super) fn set(&mut self, config: &Config) {
        let has_rates = config.message_rate.is_some() || config.byte_rate.is_some();
        self.rates = has_rates.then(|| {
            Box::new(Rates {
                messages: config.message_rate.map(Bucket::new),
                bytes: config.byte_rate.map(Bucket::new),
                excess: config.rate_excess,
            })
        });
        self.max_lifetime = config.max_lifetime;
        self.idle_timeout = config.idle_timeout;
        self.active = Instant::now();
    }

    /// A control frame has come.
    pub(super) fn note_control(&mut self) {
        self.control.take(1);
    }

    /// A message of the peer has come. False if it is one too many.
    pub(super) fn note_message(&mut self) -> bool {
        match &mut self.rates {
            Some(rates) => rates.excess.admits(rates.messages.as_mut(), 1),
            None => true,
        }
    }

    /// Bytes of the peer have come. False if they are too many.
    pub(super) fn note_bytes(&mut self, count: usize) -> bool {
        match &mut self.rates {
            Some(rates) => rates.excess.admits(rates.bytes.as_mut(), count),
            None => true,
        }
    }

    /// A handler has dealt with something.
    pub(super) fn note_activity(&mut self) {
        if self.idle_timeout.is_some() {
            self.active = Instant::now();
        }
    }

    pub(super) fn idle_deadline(&self) -> Option<Instant> {
        self.idle_timeout.map(|timeout| later(self.active, timeout))
    }

    pub(super) fn lifetime_deadline(&self) -> Option<Instant> {
        self.max_lifetime
            .map(|lifetime| later(self.opened, lifetime))
    }

    /// Until when nothing is read, if the peer has used up what it may send.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        let control = self.control.paused_until();
        let Some(rates) = &self.rates else {
            return control;
        };
        if rates.excess == Excess::Close {
            return control;
        }
        let paused = |bucket: &Option<Bucket>| bucket.as_ref().and_then(Bucket::paused_until);
        [control, paused(&rates.messages), paused(&rates.bytes)]
            .into_iter()
            .flatten()
            .max()
    }

    /// Reckons what has been earned up to `now`; reading goes on.
    pub(super) fn refill(&mut self, now: Instant) {
        self.control.refill(now);
        if let Some(rates) = &mut self.rates {
            for bucket in [&mut rates.messages, &mut rates.bytes]
                .into_iter()
                .flatten()
            {
                bucket.refill(now);
            }
        }
    }
}

impl Excess {
    /// Takes so much; false if it is too much and the connection is to be closed.
    fn admits(self, bucket: Option<&mut Bucket>, amount: usize) -> bool {
        bucket.is_none_or(|bucket| bucket.take(amount)) || self != Self::Close
    }
}

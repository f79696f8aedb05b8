//! What a connection's peer may do in a time: its rates, how long it may be idle, how long it may last.
//!
//! Plain state on the connection's clock. The wire notes what comes and asks when to act.

use tokio::time::Instant;

use super::clock::{Clock, Moment, Span};
use crate::bucket::Bucket;
use crate::config::Config;
use crate::rate::{Excess, Rate};

#[derive(Debug)]
pub(super) struct Bounds {
    control_frames: u32,
    /// Control frames past it always wait. Boxed and only there once a peer has sent one, since most send none but answers.
    control: Option<Box<Bucket>>,
    /// Boxed, since most connections have none of them.
    set: Option<Box<Set>>,
    /// Until when nothing is read.
    paused_until: Moment,
}

/// Bounds that are off unless they are set.
#[derive(Debug)]
struct Set {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    excess: Excess,
    lifetime_deadline: Moment,
    /// When a message came last.
    active: Moment,
    idle_timeout: Span,
}

impl Set {
    fn of(config: &Config, now: Moment) -> Option<Box<Self>> {
        let is_any = config.message_rate.is_some()
            || config.byte_rate.is_some()
            || config.max_lifetime.is_some()
            || config.idle_timeout.is_some();
        is_any.then(|| {
            Box::new(Self {
                messages: config.message_rate.map(Bucket::new),
                bytes: config.byte_rate.map(Bucket::new),
                excess: config.rate_excess,
                lifetime_deadline: Moment::START.after(Span::of(config.max_lifetime)),
                active: now,
                idle_timeout: Span::of(config.idle_timeout),
            })
        })
    }
}

impl Bounds {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            control_frames: config.control_frames,
            control: None,
            set: Set::of(config, Moment::START),
            paused_until: Moment::NEVER,
        }
    }

    /// Other bounds hold from here on. How long the connection has lasted is counted from its opening, how long it has been
    /// idle from now. A pause that they end is over now, and not as if there were none: who paused looks at the socket again
    /// when its time has passed.
    pub(super) fn set(&mut self, config: &Config, clock: &mut Clock) {
        let now = clock.look();
        self.set = Set::of(config, now);
        let was_paused = !self.paused_until.is_never();
        self.reckon_pause(clock);
        if was_paused && self.paused_until.is_never() {
            self.paused_until = now;
        }
    }

    /// A control frame has come that answers nothing.
    pub(super) fn note_control(&mut self, clock: &Clock) {
        let rate = Rate::of(self.control_frames);
        let bucket = self
            .control
            .get_or_insert_with(|| Box::new(Bucket::new(rate)));
        bucket.take(1);
        self.reckon_pause(clock);
    }

    /// A message of the peer has come. False if it is one too many.
    #[inline]
    pub(super) fn note_message(&mut self, clock: &Clock) -> bool {
        let Some(set) = &mut self.set else {
            return true;
        };
        let is_admitted = set.excess.admits(set.messages.as_mut(), 1);
        self.reckon_pause(clock);
        is_admitted
    }

    /// Bytes of the peer have come. False if they are too many.
    pub(super) fn note_bytes(&mut self, count: usize, clock: &Clock) -> bool {
        let Some(set) = &mut self.set else {
            return true;
        };
        let is_admitted = set.excess.admits(set.bytes.as_mut(), count);
        self.reckon_pause(clock);
        is_admitted
    }

    /// A handler has dealt with something.
    pub(super) fn note_activity(&mut self, now: impl FnOnce() -> Moment) {
        if let Some(set) = &mut self.set {
            set.active = now();
        }
    }

    pub(super) fn idle_deadline(&self) -> Moment {
        self.set
            .as_ref()
            .map_or(Moment::NEVER, |set| set.active.after(set.idle_timeout))
    }

    pub(super) fn lifetime_deadline(&self) -> Moment {
        self.set
            .as_ref()
            .map_or(Moment::NEVER, |set| set.lifetime_deadline)
    }

    /// Until when nothing is read, if the peer has used up what it may send; else never.
    pub(super) const fn paused_until(&self) -> Moment {
        self.paused_until
    }

    fn reckon_pause(&mut self, clock: &Clock) {
        let control = self
            .control
            .as_ref()
            .and_then(|bucket| bucket.paused_until());
        let paused = |bucket: &Option<Bucket>| bucket.as_ref().and_then(Bucket::paused_until);
        let rates = self
            .set
            .as_ref()
            .filter(|set| set.excess != Excess::Close)
            .and_then(|set| paused(&set.messages).max(paused(&set.bytes)));
        self.paused_until = control
            .max(rates)
            .map_or(Moment::NEVER, |until| clock.moment(until));
    }

    /// Reckons what has been earned up to now; reading goes on.
    pub(super) fn refill(&mut self) {
        let now = Instant::now();
        if let Some(control) = &mut self.control
            && control.is_full(now)
        {
            self.control = None;
        }
        if let Some(set) = &mut self.set {
            for bucket in [&mut set.messages, &mut set.bytes].into_iter().flatten() {
                bucket.refill(now);
            }
        }
        self.paused_until = Moment::NEVER;
    }
}

impl Excess {
    /// Takes so much; false if it is too much and the connection is to be closed.
    fn admits(self, bucket: Option<&mut Bucket>, amount: usize) -> bool {
        bucket.is_none_or(|bucket| bucket.take(amount)) || self != Self::Close
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_other_bounds_do_not_end_goes_on() {
        let config = Config::default().with_control_frames(2);
        let mut clock = Clock::start();
        let mut bounds = Bounds::new(&config);
        bounds.set(&config, &mut clock);
        assert!(bounds.paused_until().is_never());
        for _ in 0..10 {
            bounds.note_control(&clock);
        }
        let until = bounds.paused_until();
        assert!(!until.is_never() && !until.is_past(clock.look()));
        bounds.set(&config, &mut clock);
        assert_eq!(bounds.paused_until(), until);
    }
}

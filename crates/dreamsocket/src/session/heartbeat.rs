//! The heartbeat: finds a peer that is gone (L9), and measures round trips.
//!
//! Plain state and arithmetic on the connection's clock. The wire asks when to act, and sends the pings.

use std::collections::VecDeque;
use std::time::Duration;

use super::clock::{Moment, Span};
use crate::config::CONTROL_RESERVE;

/// How many pings go unanswered before a peer is lost, an interval after the last.
const PINGS: u8 = 2;

#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Span,
    /// When something was received, or the last ping was sent into the silence: each step takes its whole interval, also
    /// after the process was suspended.
    since: Moment,
    /// Since when nothing can be read, so that the clock stands still.
    frozen: Moment,
    /// Pings sent into the present silence.
    silent: u8,
    /// The number of the last ping; pings carry theirs.
    pings: u32,
    /// When the pings that are not answered were sent, with their numbers; at most [`CONTROL_RESERVE`]. Boxed, since there
    /// are seldom any.
    #[expect(
        clippy::box_collection,
        reason = "24 bytes less on every connection, for an allocation every half a minute"
    )]
    unanswered: Option<Box<VecDeque<(u32, Moment)>>>,
}

impl Heartbeat {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self {
            interval: Span::of(interval),
            since: Moment::START,
            frozen: Moment::NEVER,
            silent: 0,
            pings: 0,
            unanswered: None,
        }
    }

    pub(super) fn set_interval(&mut self, interval: Option<Duration>) {
        self.interval = Span::of(interval);
    }

    /// When there is to be a ping, or the peer is lost.
    pub(super) const fn deadline(&self) -> Moment {
        if self.frozen.is_never() {
            self.since.after(self.interval)
        } else {
            Moment::NEVER
        }
    }

    /// Anything received is a sign of life.
    pub(super) const fn heard(&mut self, now: Moment) {
        self.since = now;
        self.silent = 0;
    }

    /// Whether the next deadline is the end.
    pub(super) const fn is_last(&self) -> bool {
        self.silent >= PINGS
    }

    /// A ping goes into the silence.
    pub(super) const fn note_silence(&mut self, now: Moment) {
        self.since = now;
        self.silent += 1;
    }

    /// Nothing can be read from here on.
    pub(super) fn freeze(&mut self, now: Moment) {
        self.frozen = self.frozen.min(now);
    }

    pub(super) const fn is_frozen(&self) -> bool {
        !self.frozen.is_never()
    }

    /// There is room to read again.
    pub(super) const fn thaw(&mut self, now: Moment) {
        if self.is_frozen() {
            self.since = self.since.after(now.since(self.frozen));
            self.frozen = Moment::NEVER;
        }
    }

    /// The payload of a new ping.
    pub(super) fn next_ping(&mut self, now: Moment) -> [u8; 8] {
        self.pings = self.pings.wrapping_add(1);
        let unanswered = self.unanswered.get_or_insert_default();
        if unanswered.len() >= CONTROL_RESERVE as usize {
            unanswered.pop_front();
        }
        unanswered.push_back((self.pings, now));
        u64::from(self.pings).to_be_bytes()
    }

    /// The round-trip time, if this answers a ping of ours that has not been answered. Those before it need no answer any
    /// more (RFC 6455 §5.5.3).
    pub(super) fn handle_pong(&mut self, payload: &[u8], now: Moment) -> Option<Duration> {
        let number = u64::from_be_bytes(payload.try_into().ok()?);
        let unanswered = self.unanswered.as_mut()?;
        let place = unanswered
            .iter()
            .position(|(ping, _)| u64::from(*ping) == number)?;
        let (_, sent) = unanswered.drain(..=place).next_back()?;
        if unanswered.is_empty() {
            self.unanswered = None;
        }
        Some(now.since(sent).duration())
    }
}

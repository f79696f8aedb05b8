//! The heartbeat: finds a peer that is gone (L9), and measures round trips.
//!
//! Plain state and arithmetic on tokio's clock. The wire asks when to act, and sends the pings.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{CONTROL_RESERVE, later};

/// How many pings go unanswered before a peer is lost, an interval after the last.
const PINGS: u32 = 2;

#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Option<Duration>,
    /// When something was received, or the last ping was sent into the silence: each step takes its whole interval, also
    /// after the process was suspended.
    since: Instant,
    /// Pings sent into the present silence.
    silent: u32,
    /// Since when nothing can be read, so that the clock stands still.
    frozen: Option<Instant>,
    /// The number of the last ping; pings carry theirs.
    pings: u64,
    /// When the pings that are not answered were sent, with their numbers; at most [`CONTROL_RESERVE`].
    unanswered: VecDeque<(u64, Instant)>,
}

impl Heartbeat {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self {
            interval,
            since: Instant::now(),
            silent: 0,
            frozen: None,
            pings: 0,
            unanswered: VecDeque::new(),
        }
    }

    pub(super) fn set_interval(&mut self, interval: Option<Duration>) {
        self.interval = interval;
    }

    /// When there is to be a ping, or the peer is lost.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match (self.interval, self.frozen) {
            (Some(interval), None) => Some(later(self.since, interval)),
            _ => None,
        }
    }

    /// Anything received is a sign of life.
    pub(super) fn heard(&mut self) {
        self.since = Instant::now();
        self.silent = 0;
    }

    /// Whether the next deadline is the end.
    pub(super) fn is_last(&self) -> bool {
        self.silent >= PINGS
    }

    /// A ping goes into the silence.
    pub(super) fn note_silence(&mut self) {
        self.since = Instant::now();
        self.silent += 1;
    }

    /// Nothing can be read from here on.
    pub(super) fn freeze(&mut self) {
        self.frozen.get_or_insert_with(Instant::now);
    }

    /// There is room to read again.
    pub(super) fn thaw(&mut self) {
        if let Some(since) = self.frozen.take() {
            self.since += since.elapsed();
        }
    }

    /// The payload of a new ping.
    pub(super) fn next_ping(&mut self) -> [u8; 8] {
        self.pings += 1;
        if self.unanswered.len() >= CONTROL_RESERVE as usize {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((self.pings, Instant::now()));
        self.pings.to_be_bytes()
    }

    /// The round-trip time, if this answers a ping of ours that has not been answered. Those before it need no answer any
    /// more (RFC 6455 §5.5.3).
    pub(super) fn handle_pong(&mut self, payload: &[u8]) -> Option<Duration> {
        let number = u64::from_be_bytes(payload.try_into().ok()?);
        let place = self
            .unanswered
            .iter()
            .position(|(ping, _)| *ping == number)?;
        let (_, sent) = self.unanswered.drain(..=place).next_back()?;
        if self.unanswered.is_empty() {
            self.unanswered = VecDeque::new();
        }
        Some(sent.elapsed())
    }
}

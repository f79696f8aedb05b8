//! [`Pings`]: how long a pong takes, and when a silent server is given up.

use std::collections::VecDeque;
use std::time::Duration;

use dreamsocket::client::Socket;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// For how many intervals a server that owes a pong may say nothing at all.
const SILENT: u32 = 3;

/// And for how long it may in any case: a way round the world takes its time, and so do the megabytes that the system may hold of
/// a message, in front of a ping, on a slow line.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many pings are under way at most; then none is sent until one is answered.
const UNDER_WAY: usize = 1024;

/// Pings that were sent, with their numbers.
pub(super) struct Pings {
    timer: Option<Interval>,
    /// How long the server may be silent.
    limit: Duration,
    next: u64,
    waiting: VecDeque<(u64, Instant)>,
    /// Since when the server is silent and owes a pong. Whatever comes ends it, since pongs wait behind messages; time in which
    /// we do not read does not count.
    silent: Instant,
}

impl Pings {
    pub(super) fn new(every: Option<Duration>) -> Self {
        let timer = every.map(|every| {
            let mut timer = interval_at(Instant::now() + every, every);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer
        });
        Self {
            timer,
            limit: PATIENCE.max(every.unwrap_or_default() * SILENT),
            next: 0,
            waiting: VecDeque::new(),
            silent: Instant::now(),
        }
    }

    pub(super) async fn due(&mut self) {
        match &mut self.timer {
            Some(timer) => {
                timer.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    pub(super) fn are_unanswered(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && now.saturating_duration_since(self.silent) >= self.limit
    }

    /// Something came.
    pub(super) fn hear(&mut self, now: Instant) {
        self.silent = now;
    }

    /// For so long nothing was read.
    pub(super) fn stand_still(&mut self, time: Duration) {
        self.silent += time;
    }

    pub(super) fn send(&mut self, socket: &mut Socket) {
        // While a message is on its way out, a ping would only tell how long that takes.
        if self.waiting.len() < UNDER_WAY
            && socket.is_sent()
            && socket.try_ping(self.next.to_be_bytes()).is_ok()
        {
            self.sent(Instant::now());
        }
    }

    fn sent(&mut self, now: Instant) {
        if self.waiting.is_empty() {
            self.silent = now;
        }
        self.waiting.push_back((self.next, now));
        self.next += 1;
    }

    /// A pong also answers the pings before (RFC 6455 §5.5.3).
    pub(super) fn answered(&mut self, payload: &[u8]) -> Option<Duration> {
        let number = u64::from_be_bytes(payload.try_into().ok()?);
        while let Some((waiting, since)) = self.waiting.pop_front() {
            if waiting == number {
                return Some(since.elapsed());
            }
            if waiting > number {
                self.waiting.push_front((waiting, since));
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pings(limit: Duration, begun: Instant) -> Pings {
        Pings {
            timer: None,
            limit,
            next: 0,
            waiting: VecDeque::new(),
            silent: begun,
        }
    }

    #[test]
    fn silence_counts_and_not_the_number_of_pings() {
        let begun = Instant::now();
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        let mut pings = pings(PATIENCE, begun);
        assert!(!pings.are_unanswered(at(60_000)), "nothing is owed");
        for number in 0..90 {
            pings.sent(at(60_000 + 100 * number));
        }
        assert!(!pings.are_unanswered(at(79_999)));
        assert!(pings.are_unanswered(at(80_000)));

        // The pong is behind messages.
        pings.hear(at(69_000));
        assert!(!pings.are_unanswered(at(88_999)));
        // And the reader of ours is slow.
        pings.stand_still(Duration::from_secs(60));
        assert!(!pings.are_unanswered(at(148_999)));
        assert!(pings.are_unanswered(at(149_000)));

        assert!(pings.answered(&89_u64.to_be_bytes()).is_some());
        assert!(!pings.are_unanswered(at(1_000_000)));
    }

    #[test]
    fn a_pong_answers_the_pings_before() {
        let begun = Instant::now();
        let mut pings = pings(PATIENCE, begun);
        for _ in 0..3 {
            pings.sent(begun);
        }
        assert!(pings.answered(&1_u64.to_be_bytes()).is_some());
        assert!(pings.answered(&0_u64.to_be_bytes()).is_none());
        assert_eq!(pings.waiting.len(), 1);
        assert!(pings.answered(b"not ours").is_none());
    }
}

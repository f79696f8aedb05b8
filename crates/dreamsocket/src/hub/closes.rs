//! How connections ended lately, by close code: a ring of fixed size, kept once somebody looks.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dreamsocket_protocol::CloseCode;
use tokio::time::Instant;

use super::Hub;

/// How much time a bar stands for.
pub(crate) const BAR: Duration = Duration::from_secs(10);

/// How many bars there are: half an hour.
const BARS: usize = 180;

/// 1000 to 1015, then what libraries and then what applications have made up, then the rest.
const KINDS: usize = 19;

/// Closes in one bar's time, by [kind](kind_of).
type Bar = [u32; KINDS];

impl Hub {
    /// Counts how connections end from here on.
    pub(crate) fn keep_closes(&self) {
        let ring = || Mutex::new(Closes::new(Instant::now()));
        self.inner.closes.get_or_init(ring);
    }

    pub(super) fn note_close(&self, code: CloseCode) {
        if let Some(closes) = self.inner.closes.get() {
            let mut closes = closes.lock().unwrap_or_else(PoisonError::into_inner);
            closes.note(code, Instant::now());
        }
    }

    /// How connections ended lately: [`BARS`] bars, the oldest first, each with what is not zero in it. Empty if nobody wanted
    /// to know.
    pub(crate) fn closes(&self) -> Vec<Vec<(String, u32)>> {
        let closes = self.inner.closes.get();
        closes.map_or_else(Vec::new, |closes| {
            let mut closes = closes.lock().unwrap_or_else(PoisonError::into_inner);
            closes.bars(Instant::now())
        })
    }
}

#[derive(Debug)]
pub(super) struct Closes {
    started: Instant,
    bars: Box<[Bar; BARS]>,
    /// Counted from the start; its place in the ring is the remainder.
    newest: u64,
}

impl Closes {
    fn new(now: Instant) -> Self {
        Self {
            started: now,
            bars: Box::new([[0; KINDS]; BARS]),
            newest: 0,
        }
    }

    fn note(&mut self, code: CloseCode, now: Instant) {
        self.go_on(now);
        let newest = self.newest;
        let bar = self.bar_mut(newest);
        if let Some(count) = bar.get_mut(kind_of(code)) {
            *count = count.saturating_add(1);
        }
    }

    /// The bars, the oldest first, each as what is not zero in it: the name of a code or of a range of them, and how many.
    fn bars(&mut self, now: Instant) -> Vec<Vec<(String, u32)>> {
        self.go_on(now);
        let oldest = self.newest + 1;
        (0..BARS as u64)
            .map(|place| {
                let bar = self.bar_mut(oldest + place);
                let counts = bar.iter().enumerate().filter(|(_, count)| **count > 0);
                counts
                    .map(|(kind, count)| (name_of(kind), *count))
                    .collect()
            })
            .collect()
    }

    /// Empties the bars of the time since the last look.
    fn go_on(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started);
        let newest = elapsed.as_secs() / BAR.as_secs();
        let first = (self.newest + 1).max((newest + 1).saturating_sub(BARS as u64));
        for number in first..=newest {
            *self.bar_mut(number) = [0; KINDS];
        }
        self.newest = self.newest.max(newest);
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is within the ring")]
    fn bar_mut(&mut self, number: u64) -> &mut Bar {
        let place = number % BARS as u64;
        &mut self.bars[place as usize]
    }
}

fn kind_of(code: CloseCode) -> usize {
    match u16::from(code) {
        code @ 1000..=1015 => usize::from(code - 1000),
        3000..=3999 => 16,
        4000..=4999 => 17,
        _ => 18,
    }
}

fn name_of(kind: usize) -> String {
    match kind {
        16 => "3000-3999".to_owned(),
        17 => "4000-4999".to_owned(),
        18 => "other".to_owned(),
        _ => (1000 + kind).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn closes_go_into_the_bar_of_their_time_until_it_is_the_oldest() {
        let start = Instant::now();
        let mut closes = Closes::new(start);
        closes.note(CloseCode::NORMAL, start);
        closes.note(CloseCode::NORMAL, after(start, 9));
        closes.note(CloseCode::ABNORMAL, after(start, 10));
        closes.note(CloseCode::from(3001), after(start, 19));
        closes.note(CloseCode::from(4999), after(start, 19));
        closes.note(CloseCode::from(999), after(start, 19));
        let bars = closes.bars(after(start, 19));
        let of = |bar: &[(String, u32)]| -> String {
            let counts = bar.iter().map(|(code, count)| format!("{code}: {count}"));
            counts.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(bars.len(), BARS);
        assert_eq!(of(&bars[BARS - 2]), "1000: 2");
        assert_eq!(
            of(&bars[BARS - 1]),
            "1006: 1, 3000-3999: 1, 4000-4999: 1, other: 1"
        );
        assert!(bars[..BARS - 2].iter().all(Vec::is_empty));

        let bars = closes.bars(after(start, 1_799));
        assert_eq!(of(&bars[0]), "1000: 2");
        let bars = closes.bars(after(start, 1_800));
        assert!(of(&bars[0]).starts_with("1006: 1"));
        // Nobody looked for days.
        closes.note(CloseCode::NORMAL, after(start, 1_000_000));
        let bars = closes.bars(after(start, 1_000_000));
        assert_eq!(of(&bars[BARS - 1]), "1000: 1");
        assert!(bars[..BARS - 1].iter().all(Vec::is_empty));
    }
}

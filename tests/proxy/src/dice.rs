//! [`Dice`]: every choice that is left to chance, drawn from one seed, so that a run can be repeated.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Random numbers that are the same for the same seed.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// Dice of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number of the range, which must not be empty.
    pub fn draw(&mut self, range: Range<u64>) -> u64 {
        self.0.random_range(range)
    }

    /// A time between these, to the microsecond; `least` if they are the same.
    pub fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.draw(micros(least)..micros(most).max(micros(least)) + 1))
    }

    /// Whether it happens, once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.draw(0..times) == 0
    }

    /// A seed for other dice.
    pub fn seed(&mut self) -> u64 {
        self.draw(0..u64::MAX)
    }
}

/// The seed of a run: `FAULTS_SEED` if it is set, else another one each time. Print it, so that a failure can be repeated.
///
/// # Panics
///
/// If the variable holds no number.
#[must_use]
#[expect(
    clippy::panic,
    reason = "a seed that cannot be read must not become another one"
)]
pub fn seed() -> u64 {
    match std::env::var("FAULTS_SEED") {
        Ok(seed) => seed
            .parse()
            .unwrap_or_else(|_| panic!("FAULTS_SEED is no number: {seed}")),
        Err(_) => {
            let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            // Short enough to be typed again.
            u64::from(since.subsec_nanos()) ^ (since.as_secs() & 0xffff_ffff)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_and_another_gives_another() {
        let draw = |seed| {
            let mut dice = Dice::new(seed);
            (0..8).map(|_| dice.draw(0..1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn times_are_between_their_bounds() {
        let mut dice = Dice::new(7);
        let (least, most) = (Duration::from_millis(2), Duration::from_millis(5));
        for _ in 0..100 {
            assert!((least..=most).contains(&dice.time(least, most)));
        }
        assert_eq!(dice.time(most, most), most);
        assert_eq!(dice.time(Duration::ZERO, Duration::ZERO), Duration::ZERO);
    }
}

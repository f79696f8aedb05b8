//! How long to wait before connecting again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first attempt is made at once or nearly so, the seventh and all later ones after a second or two.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// The pause before an attempt, counted from 1. Half of it is chance, so that many nodes do not come all at once.
pub(crate) fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = FIRST
        .saturating_mul(2_u32.saturating_pow(doublings))
        .min(LONGEST);
    if attempt <= 1 {
        return longest.mul_f64(chance());
    }
    longest.mul_f64(0.5 + chance() / 2.0)
}

/// From 0 up to 1.
fn chance() -> f64 {
    // A new hasher has new keys: the hash of nothing is a random number.
    f64::from(RandomState::new().hash_one(()) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b7_pauses_grow_to_a_bound_and_differ() {
        for (attempt, shortest, longest) in [(1, 0, 50), (2, 50, 100), (5, 400, 800)] {
            let pause = pause(attempt).as_millis();
            assert!((shortest..=longest).contains(&pause), "{attempt}: {pause}");
        }
        for attempt in [7, 8, 100, usize::MAX] {
            assert!((1_000..=2_000).contains(&pause(attempt).as_millis()));
        }
        let pauses: std::collections::HashSet<_> = (0..20).map(|_| pause(9)).collect();
        assert!(pauses.len() > 1);
    }
}

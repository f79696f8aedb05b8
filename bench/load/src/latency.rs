//! Latencies of single messages: a histogram with three digits, and the send times of what is under way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::spec::Latency;

/// Up to a minute, in nanoseconds.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, 60_000_000_000, 3)?))
    }

    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds.max(1));
    }

    pub fn clear(&mut self) {
        self.0.reset();
    }

    #[must_use]
    pub fn summary(&self) -> Option<Latency> {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        (!self.0.is_empty()).then(|| Latency {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 / 1e3,
        })
    }
}

/// When each message under way was sent, oldest first.
#[derive(Debug, Default)]
pub struct SendTimes(VecDeque<Instant>);

impl SendTimes {
    pub fn sent(&mut self, messages: u64, at: Instant) {
        for _ in 0..messages {
            self.0.push_back(at);
        }
    }

    /// Takes the oldest out, for a reply.
    pub fn replied(&mut self) -> Option<Instant> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut latencies = Latencies::new().unwrap();
        assert_eq!(latencies.summary(), None);
        for microseconds in 1..=1000 {
            latencies.record(Duration::from_micros(microseconds));
        }
        let summary = latencies.summary().unwrap();
        assert!((summary.p50 - 500.0).abs() < 1.0, "{summary:?}");
        assert!((summary.p99 - 990.0).abs() < 1.0, "{summary:?}");
        latencies.clear();
        assert_eq!(latencies.summary(), None);
    }

    #[test]
    fn replies_match_the_oldest() {
        let mut times = SendTimes::default();
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        times.sent(2, first);
        times.sent(1, second);
        let taken: Vec<_> = std::iter::from_fn(|| times.replied()).collect();
        assert_eq!(taken, [first, first, second]);
    }
}

//! [`Latencies`]: a histogram of microseconds, of fixed size, exact to three digits.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is told apart from longer ones, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// Bounds of the bars, in microseconds: 1, 2, 5 and so on for each power of ten.
const STEPS: [u64; 3] = [1, 2, 5];

#[derive(Debug, Clone)]
pub(super) struct Latencies(Option<Histogram<u64>>);

impl Latencies {
    pub(super) fn new() -> Self {
        // Fails for bounds without sense only; then there are no figures.
        Self(Histogram::new_with_bounds(1, LONGEST, 3).ok())
    }

    pub(super) fn record(&mut self, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(microseconds.max(1));
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.0, &other.0) {
            // Fails for other bounds only.
            let _ = histogram.add(other);
        }
    }

    pub(super) fn clear(&mut self) {
        if let Some(histogram) = &mut self.0 {
            histogram.reset();
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// In milliseconds.
    pub(super) fn percentile(&self, percentile: f64) -> f64 {
        self.0.as_ref().map_or(0.0, |histogram| {
            milliseconds(histogram.value_at_percentile(percentile))
        })
    }

    /// In milliseconds.
    pub(super) fn max(&self) -> f64 {
        self.0
            .as_ref()
            .map_or(0.0, |histogram| milliseconds(histogram.max()))
    }

    /// Bars up to these milliseconds, and how many there are; from the first that has any to the last.
    pub(super) fn bars(&self) -> Vec<(f64, u64)> {
        let Some(histogram) = &self.0 else {
            return Vec::new();
        };
        let decades = std::iter::successors(Some(1_u64), |decade| decade.checked_mul(10));
        let mut bounds = decades.flat_map(|decade| STEPS.map(|step| step * decade));
        let mut bars: Vec<(f64, u64)> = Vec::new();
        let mut bound = 0;
        for recorded in histogram.iter_recorded() {
            let value = histogram.lowest_equivalent(recorded.value_iterated_to());
            while bound < value {
                let Some(next) = bounds.next() else {
                    break;
                };
                bound = next;
                // None before the first that has any.
                if !bars.is_empty() || bound >= value {
                    bars.push((milliseconds(bound), 0));
                }
            }
            if let Some(bar) = bars.last_mut() {
                bar.1 += recorded.count_since_last_iteration();
            }
        }
        bars
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an hour in microseconds is exact in a double"
)]
fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_bars() {
        let mut latencies = Latencies::new();
        assert!(latencies.bars().is_empty());
        for milliseconds in [0, 1, 2, 3, 4, 40] {
            latencies.record(Duration::from_millis(milliseconds));
        }
        let mut both = latencies.clone();
        both.add(&latencies);
        assert_eq!((both.len(), both.max().round()), (12, 40.0));
        assert_eq!(both.percentile(50.0).round(), 2.0);
        let bars = both.bars();
        assert_eq!(bars.first(), Some(&(0.001, 2)));
        assert_eq!(bars.last(), Some(&(50.0, 2)));
        let counts: Vec<u64> = bars.iter().map(|bar| bar.1).filter(|&n| n > 0).collect();
        assert_eq!(counts, [2, 2, 2, 4, 2]);
        both.clear();
        assert_eq!(both.len(), 0);
    }
}

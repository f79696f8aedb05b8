//! Whether memory is flat and nothing has stayed behind. Pure: figures in, sentences out.

use std::fmt;
use std::time::Duration;

use crate::sample::Sample;

const MIB: u64 = 1024 * 1024;

/// By how much the memory of the last third of a run may be above that of the second third: clients are drawn, so that there are
/// more slow ones at one time than at another, and an allocator keeps some of what it is given back.
const FLAT_PERCENT: u64 = 5;
const FLAT_BYTES: u64 = 2 * MIB;

/// By how much what is allocated may have grown when all clients are gone: the threads' pools of buffers and compressors, which
/// are filled by then, and tables that do not shrink.
const LEFT_BYTES: u64 = 2 * MIB;

/// What is judged, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) is_right: bool,
    pub(crate) reason: String,
}

impl Verdict {
    pub(crate) fn new(is_right: bool, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { is_right, reason }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_right { "right" } else { "WRONG" };
        write!(f, "{word}: {}", self.reason)
    }
}

/// The first third of the samples is for warming up. The most of the last third is compared with the most of the second.
pub(crate) fn judge_memory(samples: &[(Duration, Sample)], whole: Duration) -> Vec<Verdict> {
    let resident: fn(&Sample) -> u64 = |sample| sample.resident;
    let memories = [("resident", resident), ("allocated", |sample| sample.heap)];
    let verdicts = memories.map(|(name, memory)| {
        let most = |from: u32, to: u32| {
            let within = |time: Duration| (whole * from / 3..whole * to / 3).contains(&time);
            let within = samples.iter().filter(|(time, _)| within(*time));
            within.map(|(_, sample)| memory(sample)).max()
        };
        let (Some(before), Some(after)) = (most(1, 2), most(2, 3)) else {
            return Verdict::new(false, format!("too few samples of {name} memory"));
        };
        let bound = before + before / 100 * FLAT_PERCENT + FLAT_BYTES;
        let reason = format!(
            "at most {} are {name} in the last third, {} in the second; {FLAT_PERCENT} % and {} more are allowed",
            mib(after),
            mib(before),
            mib(FLAT_BYTES),
        );
        Verdict::new(after <= bound, reason)
    });
    verdicts.into()
}

/// What there was before the first client came, and what there is after the last has gone.
pub(crate) fn judge_rest(before: &Sample, after: &Sample) -> Vec<Verdict> {
    vec![
        Verdict::new(
            after.connections == 0 && after.files <= before.files && after.tasks <= before.tasks,
            format!(
                "all clients gone: {} WebSockets, {} files and {} tasks are open; before there were {} and {}",
                after.connections, after.files, after.tasks, before.files, before.tasks
            ),
        ),
        Verdict::new(
            after.heap <= before.heap + LEFT_BYTES,
            format!(
                "all clients gone: {} are allocated, {} before; {} more are allowed",
                mib(after.heap),
                mib(before.heap),
                mib(LEFT_BYTES)
            ),
        ),
        Verdict::new(
            after.begun == after.ended && after.begun > before.begun,
            format!(
                "{} states from on_init, {} calls of on_close, of {} WebSockets",
                after.begun, after.ended, after.opened
            ),
        ),
    ]
}

/// In MiB, with one digit after the point.
pub(crate) fn mib(bytes: u64) -> String {
    let tenths = (bytes * 10 + MIB / 2) / MIB;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One a second, with so many MiB allocated.
    fn samples(heap: &[u64]) -> (Vec<(Duration, Sample)>, Duration) {
        let samples = (0..).zip(heap).map(|(second, mib)| {
            let sample = Sample {
                resident: 7 * MIB,
                heap: mib * MIB,
                ..Sample::default()
            };
            (Duration::from_secs(second), sample)
        });
        (samples.collect(), Duration::from_secs(heap.len() as u64))
    }

    #[track_caller]
    fn check(heap: &[u64], is_flat: bool) {
        let (samples, whole) = samples(heap);
        let verdicts = judge_memory(&samples, whole);
        assert_eq!(verdicts[0].is_right, !heap.is_empty());
        assert_eq!(verdicts[1].is_right, is_flat);
    }

    #[test]
    fn memory_is_flat_if_the_last_third_has_little_more_than_the_second() {
        check(&[10, 50, 100, 100, 90, 100, 107, 80, 107], true);
        check(&[10, 50, 100, 100, 90, 100, 100, 108, 90], false);
        check(&[900, 50, 100, 100, 90, 100, 100, 108, 90], false);
        check(&[10, 20, 21], true);
        check(&[], false);
    }

    #[test]
    fn whatever_stays_behind_is_wrong() {
        let before = Sample {
            heap: MIB,
            files: 10,
            tasks: 5,
            begun: 3,
            ended: 3,
            ..Sample::default()
        };
        let calm = Sample {
            heap: 3 * MIB,
            begun: 9,
            ended: 9,
            ..before
        };
        let wrong = |after: Sample| {
            let verdicts = judge_rest(&before, &after);
            verdicts.iter().filter(|verdict| !verdict.is_right).count()
        };
        assert_eq!(wrong(calm), 0);
        for after in [
            Sample {
                connections: 1,
                ..calm
            },
            Sample { files: 11, ..calm },
            Sample { tasks: 6, ..calm },
            Sample {
                heap: 3 * MIB + 1,
                ..calm
            },
            Sample { ended: 8, ..calm },
            Sample { ended: 10, ..calm },
            Sample {
                begun: 3,
                ended: 3,
                ..calm
            },
        ] {
            assert_eq!(wrong(after), 1, "{after:?}");
        }
    }

    #[test]
    fn bytes_are_shown_in_mib() {
        assert_eq!(mib(0), "0.0 MiB");
        assert_eq!(mib(MIB * 3 / 2), "1.5 MiB");
    }
}

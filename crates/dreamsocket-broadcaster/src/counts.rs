//! Counters that can be read at any time. They cost an addition each, and none is kept by name.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a topic or a whole broadcaster has carried in this process.
///
/// A message that was published to three subscribers counts once as published and three times as delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Messages that were published here; of a topic of an engine that reaches other machines, those that have come for
    /// it, from wherever.
    pub published: u64,
    /// Messages that were handed to a channel, whatever the channel did with them.
    pub delivered: u64,
    /// How many of the delivered ones a channel had no room for. What the latest of the same key replaced is not missed.
    pub missed: u64,
}

/// What became of the messages that one channel was handed.
///
/// Each is in exactly one of the four numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelCounts {
    /// Messages that were received.
    pub received: u64,
    /// Messages that were lost here, whether the gap has been told already or not. Those that never came from another
    /// machine are not among them: see [`Health::gaps`](crate::Health::gaps).
    pub missed: u64,
    /// Messages that a later one of the same key replaced: see [`latest_per_key`](crate::ChannelOptions::latest_per_key).
    pub coalesced: u64,
    /// Messages that wait.
    pub waiting: usize,
}

/// [`Counts`] that many threads add to.
///
/// The numbers are independent of each other and order nothing: a reader may see a message as published and not yet as
/// delivered. Alone in its cache line, so that two of them in an array do not slow each other down.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct SharedCounts {
    published: AtomicU64,
    delivered: AtomicU64,
    missed: AtomicU64,
}

impl SharedCounts {
    pub(crate) fn add(&self, counts: Counts) {
        self.published
            .fetch_add(counts.published, Ordering::Relaxed);
        self.delivered
            .fetch_add(counts.delivered, Ordering::Relaxed);
        if counts.missed > 0 {
            self.missed.fetch_add(counts.missed, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Counts {
        Counts {
            published: self.published.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
        }
    }
}

impl Counts {
    pub(crate) const fn add(&mut self, other: Self) {
        self.published += other.published;
        self.delivered += other.delivered;
        self.missed += other.missed;
    }
}

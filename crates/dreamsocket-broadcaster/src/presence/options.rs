//! [`PresenceOptions`]: bounds and choices of presence across nodes. Every one has a default.

use std::time::Duration;

use crate::remote::encoding::Encoding;

/// How long a roster is kept that nobody writes again: what a killed node leaves behind is gone by then.
pub(crate) const ROSTER_EXPIRY: Duration = Duration::from_secs(300);

/// After how long a roster is written again: well before it expires.
pub(crate) const REWRITE: Duration = Duration::from_secs(ROSTER_EXPIRY.as_secs() * 2 / 5);

/// The most that fits into one message of a NATS server that is not told otherwise, less some.
const MAX_ROSTER: usize = 960 * 1024;

/// How presence reaches other machines.
///
/// | option | default | |
/// |---|---|---|
/// | [`prefix`](Self::prefix) | `dreamsocket` | what the names at the broker begin with |
/// | [`encoding`](Self::encoding) | JSON | how keys and values are written for other nodes |
/// | [`beat`](Self::beat) | 1 s | how often a node shows that it lives; a life that is not shown expires after three |
/// | [`max_entry`](Self::max_entry) | 4 KiB | a connection's key and value, encoded |
/// | [`max_roster`](Self::max_roster) | 512 KiB | all connections of one node in one topic, encoded |
/// | [`write_interval`](Self::write_interval) | 500 ms | between two writes of one roster |
/// | [`rate`](Self::rate) | 500 a second | rosters that are written and read |
///
/// What goes over `max_entry` or `max_roster` is seen in its own process only, and counted.
#[derive(Debug, Clone)]
#[must_use]
pub struct PresenceOptions {
    pub(super) prefix: String,
    pub(super) encoding: Encoding,
    pub(super) beat: Duration,
    pub(super) max_entry: usize,
    pub(super) max_roster: usize,
    pub(super) write_interval: Duration,
    pub(super) rate: u32,
}

impl PresenceOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            prefix: "dreamsocket".to_owned(),
            encoding: Encoding::Json,
            beat: Duration::from_secs(1),
            max_entry: 4 * 1024,
            max_roster: 512 * 1024,
            write_interval: Duration::from_millis(500),
            rate: 500,
        }
    }

    /// What the names at the broker begin with. It may be a broadcaster's, too; presences with different types of keys and
    /// values need different ones.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How keys and values are written. Nodes may differ.
    pub const fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// How often a node shows that it lives, from 100 ms to a minute. Its life expires at the store after three times as
    /// long, and it is gone from all views after up to four. All nodes need the same.
    ///
    /// The default keeps what is promised: gone within 5 s. Longer is kinder to a broker that is slow at times.
    pub fn beat(mut self, time: Duration) -> Self {
        self.beat = time.clamp(Duration::from_millis(100), Duration::from_secs(60));
        self
    }

    /// How large a connection's key and value may be together, in encoded bytes.
    pub const fn max_entry(mut self, bytes: usize) -> Self {
        self.max_entry = bytes;
        self
    }

    /// How large a roster may be, all of one node's connections in one topic, in bytes; 960 KiB at most. A connection takes
    /// 25 bytes more than its key and value.
    pub fn max_roster(mut self, bytes: usize) -> Self {
        self.max_roster = bytes.min(MAX_ROSTER);
        self
    }

    /// How much time is left between two writes of one roster, from 10 ms to two minutes, after which it is written again
    /// anyway. Other nodes are told of changes at once; the roster is what those read who come later, or have missed something.
    pub fn write_interval(mut self, time: Duration) -> Self {
        self.write_interval = time.clamp(Duration::from_millis(10), REWRITE);
        self
    }

    /// How many rosters are written and read a second, at least 10: after a lost connection all of a node's are.
    ///
    /// Each roster is written again every two minutes, and expires after five: a node with people in more topics than
    /// 120 times this number (60,000 by default) needs a higher one, and past 300 times it some are forgotten in between.
    pub fn rate(mut self, rosters_per_second: u32) -> Self {
        self.rate = rosters_per_second.max(10);
        self
    }

    /// How long a life lasts that is not shown again.
    #[cfg(feature = "nats")]
    pub(crate) fn expiry(&self) -> Duration {
        self.beat * 3
    }
}

impl Default for PresenceOptions {
    fn default() -> Self {
        Self::new()
    }
}

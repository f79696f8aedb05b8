//! [`Health`]: how an engine is doing. Plain data.

use std::sync::Arc;

/// How an engine is doing: for a readiness probe, a gauge, or whoever wonders what was lost.
///
/// Read by [`Broadcaster::health`](crate::Broadcaster::health). The in-process engine is always connected, and all its
/// numbers are 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether there is a connection to the broker now.
    pub is_connected: bool,
    /// The broker as it names itself in this life of its: another value after a restart, or on another server. `None` if
    /// there has been no connection yet, and in process.
    pub broker: Option<Arc<str>>,
    /// How many topics have subscribers here and wait for the broker to know it: for a moment when one is subscribed, and
    /// until all are subscribed again after a lost connection.
    pub pending_topics: usize,
    /// What has been published and not been handed to the client crate yet, in bytes of memory.
    pub queued_bytes: usize,
    /// How often the connection was lost.
    pub disconnections: u64,
    /// How often a topic's subscribers were told that messages are missing because they did not come here.
    pub gaps: u64,
    /// Frames that came a second time, or too late to be in order, and were dropped.
    pub doubles: u64,
    /// Messages and frames that could not be read. The topic's subscribers were told of a gap.
    pub undecodable: u64,
}

impl Health {
    /// Whether messages flow: connected, and every topic that had subscribers when the connection came is subscribed.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.is_connected && self.pending_topics == 0
    }

    pub(crate) fn in_process() -> Self {
        Self {
            is_connected: true,
            ..Self::default()
        }
    }
}

//! [`RemoteOptions`]: what a node chooses. Plain data.

use std::time::Duration;

use crate::remote::encoding::Encoding;

/// How a broadcaster that reaches other machines behaves: the choices of one node.
///
/// | option | default | |
/// |---|---|---|
/// | [`encoding`](Self::encoding) | JSON | how messages are written |
/// | [`max_message`](Self::max_message) | 1 MiB less 1 KiB, and what the broker takes | a larger one is an error |
/// | [`fail_while_away`](Self::fail_while_away) | yes | without a connection, publishing is an error at once |
/// | [`queue_while_away`](Self::queue_while_away) | | without a connection, messages wait for it |
/// | [`max_queue`](Self::max_queue) | 4 MiB | what may wait to be handed to the client crate |
/// | [`confirm_timeout`](Self::confirm_timeout) | 5 s | how long `publish_confirmed` waits |
/// | [`resubscribe_rate`](Self::resubscribe_rate) | 10,000 topics a second | after a lost connection |
/// | [`prefix`](Self::prefix) | `dreamsocket` | what the names at the broker begin with |
///
/// Of the two that say what happens without a connection, the one that was named last holds.
#[derive(Debug, Clone)]
#[must_use]
pub struct RemoteOptions {
    pub(crate) encoding: Encoding,
    pub(crate) max_message: usize,
    pub(crate) is_queueing: bool,
    pub(crate) max_queue: usize,
    pub(crate) confirm_timeout: Duration,
    pub(crate) resubscribe_rate: usize,
    pub(crate) prefix: String,
}

impl RemoteOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            encoding: Encoding::Json,
            // With what a frame adds, within what a NATS server takes if it is not told otherwise: 1 MiB.
            max_message: 1024 * 1024 - 1024,
            is_queueing: false,
            max_queue: 4 * 1024 * 1024,
            confirm_timeout: Duration::from_secs(5),
            resubscribe_rate: 10_000,
            prefix: "dreamsocket".to_owned(),
        }
    }

    /// How messages are written.
    pub const fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// How large an encoded message may be, in bytes: both one that is published here and one that comes from elsewhere,
    /// which is then a gap.
    pub const fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// While there is no connection, [`publish`](crate::Topic::publish) fails at once, with
    /// [`PublishError::Away`](crate::PublishError::Away): for whoever can tell its user, and for messages that are worth
    /// nothing later.
    pub const fn fail_while_away(mut self) -> Self {
        self.is_queueing = false;
        self
    }

    /// While there is no connection, messages wait for it, as many as [`max_queue`](Self::max_queue) allows, and are
    /// published in order when it is there. They are gone if the process ends before.
    pub const fn queue_while_away(mut self) -> Self {
        self.is_queueing = true;
        self
    }

    /// What may wait to be handed to the client crate, in bytes of memory; past it publishing is an error. With a
    /// connection it is filled only by a process that publishes faster than the broker takes.
    pub const fn max_queue(mut self, bytes: usize) -> Self {
        self.max_queue = bytes;
        self
    }

    /// How long [`publish_confirmed`](crate::Topic::publish_confirmed) waits for the broker.
    pub const fn confirm_timeout(mut self, timeout: Duration) -> Self {
        self.confirm_timeout = timeout;
        self
    }

    /// How many topics are subscribed a second when a connection is back (at least 10), so that a broker that comes back
    /// to many nodes with many topics each is not overrun.
    pub const fn resubscribe_rate(mut self, topics_per_second: usize) -> Self {
        self.resubscribe_rate = topics_per_second;
        self
    }

    /// What the names at the broker begin with: one space of topics. Broadcasters with different message types need
    /// different prefixes.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self::new()
    }
}

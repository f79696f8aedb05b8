//! [`RemoteOptions`]: what a node chooses. Plain data.

use std::time::Duration;

use crate::history::History;
use crate::remote::encoding::Encoding;

/// JetStream takes 0 bytes as no bound, and with less room than a message needs it confirms the message and brings it to
/// nobody. This is enough for the largest one by default.
const LEAST_HISTORY: u64 = 2 * 1024 * 1024;

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
/// | [`history`](Self::history) | none | what topics keep of what they have said |
/// | [`history_bytes`](Self::history_bytes) | 256 MiB | of all topics together, NATS only |
/// | [`history_in_memory`](Self::history_in_memory) | no: in files | NATS only |
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
    pub(crate) history: Option<History>,
    pub(crate) history_bytes: u64,
    pub(crate) is_history_in_memory: bool,
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
            history: None,
            history_bytes: 256 * 1024 * 1024,
            is_history_in_memory: false,
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

    /// The broker keeps the last of what topics have said: see [`History`]. All nodes of one prefix need the same.
    ///
    /// NATS keeps it by JetStream, which its server has to be started with; Redis (6.2 or later) in a stream for each topic.
    /// A [`Link`](crate::link::Link) of one's own need not be able to: then nothing is kept, and who asks for it is told a
    /// gap.
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// How much JetStream may keep of all topics of one prefix together, in bytes, at least 2 MiB (less is taken as that); past
    /// it the oldest messages go. What is published to a topic that keeps history comes to its subscribers by way of what is
    /// kept: leave room for a burst. Redis has a bound for everything that is in it (`maxmemory`).
    pub const fn history_bytes(mut self, bytes: u64) -> Self {
        self.history_bytes = if bytes < LEAST_HISTORY {
            LEAST_HISTORY
        } else {
            bytes
        };
        self
    }

    /// JetStream keeps history in its memory, not in files: it is gone when the server is restarted.
    pub const fn history_in_memory(mut self) -> Self {
        self.is_history_in_memory = true;
        self
    }
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_sets_its_own_and_leaves_the_others() {
        let options = RemoteOptions::new()
            .history(History::last(7))
            .history_bytes(1 << 30)
            .history_in_memory()
            .prefix("p")
            .max_message(2)
            .max_queue(3)
            .confirm_timeout(Duration::from_secs(4))
            .resubscribe_rate(5)
            .queue_while_away()
            .fail_while_away()
            .encoding(Encoding::Json)
            .queue_while_away();
        let expected = RemoteOptions {
            encoding: Encoding::Json,
            max_message: 2,
            is_queueing: true,
            max_queue: 3,
            confirm_timeout: Duration::from_secs(4),
            resubscribe_rate: 5,
            prefix: "p".to_owned(),
            history: Some(History::last(7)),
            history_bytes: 1 << 30,
            is_history_in_memory: true,
        };
        assert_eq!(format!("{options:?}"), format!("{expected:?}"));
        assert!(!options.clone().fail_while_away().is_queueing);
        for bytes in [0, 1, LEAST_HISTORY] {
            let options = options.clone().history_bytes(bytes);
            assert_eq!(options.history_bytes, LEAST_HISTORY);
        }
    }
}

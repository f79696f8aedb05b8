//! Where a message of JetStream's stands: its reply subject says so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a message of a consumer says of itself, in its reply subject.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) delivered: u64,
    /// In nanoseconds since 1970.
    time: u64,
    pub(super) pending: u64,
}

impl Place {
    /// `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<delivered>.<time>.<pending>`, or with a domain and an account
    /// before the stream and more behind.
    pub(super) fn read(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let from = match tokens.len() {
            7 => 3,
            9.. => 5,
            _ => return None,
        };
        let number = |index: usize| tokens.get(from + index)?.parse().ok();
        Some(Self {
            sequence: number(0)?,
            delivered: number(1)?,
            time: number(2)?,
            pending: number(3)?,
        })
    }

    /// By this machine's clock, which need not be the server's.
    pub(super) fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        now.saturating_sub(Duration::from_nanos(self.time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b5_a_messages_place_is_read_in_both_forms() {
        let place = Place {
            sequence: 7,
            delivered: 2,
            time: 99,
            pending: 3,
        };
        for (reply, expected) in [
            ("$JS.ACK.stream.consumer.1.7.2.99.3", Some(&place)),
            (
                "$JS.ACK.domain.hash.stream.consumer.1.7.2.99.3",
                Some(&place),
            ),
            (
                "$JS.ACK.domain.hash.stream.consumer.1.7.2.99.3.random",
                Some(&place),
            ),
            ("$JS.ACK.stream.consumer.1.7.2.99", None),
            ("$JS.ACK.stream.consumer.1.7.x.99.3", None),
            ("elsewhere", None),
        ] {
            assert_eq!(Place::read(reply).as_ref(), expected, "{reply}");
        }
    }
}

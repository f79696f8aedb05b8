//! What was published and has not been acknowledged: bounded, and published again after a lost connection.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::stream::BEYOND;

/// So many messages may wait for their acknowledgement, or so many bytes: half of what a consumer may be behind, or who
/// publishes without a pause would get there.
const WINDOW: usize = BEYOND / 2;
const WINDOW_BYTES: usize = 8 * 1024 * 1024;

/// What was published and may not be in the stream yet. Outlives a session.
#[derive(Default)]
pub(in crate::nats) struct Unacknowledged {
    pub(super) messages: VecDeque<(u64, Arc<str>, Bytes)>,
    bytes: usize,
    last: u64,
}

impl Unacknowledged {
    pub(super) fn push(&mut self, topic: Arc<str>, frame: Bytes) -> u64 {
        self.last += 1;
        self.bytes += frame.len();
        self.messages.push_back((self.last, topic, frame));
        self.last
    }

    pub(super) fn remove(&mut self, number: u64) {
        let place = self.messages.binary_search_by_key(&number, |it| it.0);
        if let Some((_, _, frame)) = place.ok().and_then(|place| self.messages.remove(place)) {
            self.bytes -= frame.len();
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < WINDOW && self.bytes < WINDOW_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b5_what_waits_for_its_acknowledgement_is_bounded_and_goes_in_any_order() {
        let mut waiting = Unacknowledged::default();
        for _ in 0..WINDOW {
            assert!(waiting.has_room());
            waiting.push("lobby".into(), Bytes::from_static(b"frame"));
        }
        assert!(!waiting.has_room());
        for number in (1..=WINDOW as u64).rev() {
            waiting.remove(number);
            waiting.remove(number);
        }
        assert_eq!((waiting.messages.len(), waiting.bytes), (0, 0));
    }
}

//! What was published and has not been acknowledged: bounded, and published again after a lost connection.
//!
//! What JetStream refuses is published again later, of each topic only the last message: the numbers in it show what is
//! missing before it, while nothing would show that it is missing itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::stream::BEYOND;

/// So many messages may wait for their acknowledgement, or so many bytes: half of what a consumer may be behind, or who
/// publishes without a pause would get there. As much may have been refused: of what is past it nobody is told.
const WINDOW: usize = BEYOND / 2;
const WINDOW_BYTES: usize = 8 * 1024 * 1024;

/// What was published and may not be in the stream yet. Outlives a session.
#[derive(Default)]
pub(in crate::nats) struct Unacknowledged {
    pub(super) messages: VecDeque<Waiting>,
    bytes: usize,
    last: u64,
    /// The last messages of topics, if they were refused.
    refused: HashMap<Arc<str>, Bytes>,
    refused_bytes: usize,
}

#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) topic: Arc<str>,
    pub(super) frame: Bytes,
    /// It was refused before.
    pub(super) is_again: bool,
}

impl Unacknowledged {
    pub(super) fn push(&mut self, topic: Arc<str>, frame: Bytes) -> u64 {
        self.forget_refused(&topic);
        self.wait(topic, frame, false)
    }

    fn wait(&mut self, topic: Arc<str>, frame: Bytes, is_again: bool) -> u64 {
        self.last += 1;
        self.bytes += frame.len();
        self.messages.push_back(Waiting {
            number: self.last,
            topic,
            frame,
            is_again,
        });
        self.last
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Waiting> {
        let place = self.messages.binary_search_by_key(&number, |it| it.number);
        let waiting = self.messages.remove(place.ok()?)?;
        self.bytes -= waiting.frame.len();
        Some(waiting)
    }

    /// JetStream does not take it. Tells whether it did not before.
    pub(super) fn refuse(&mut self, number: u64) -> bool {
        let Some(waiting) = self.remove(number) else {
            return false;
        };
        let is_last = self.messages.iter().all(|it| it.topic != waiting.topic);
        let bytes = self.refused_bytes + waiting.frame.len();
        if is_last && self.refused.len() < WINDOW && bytes <= WINDOW_BYTES {
            self.refused_bytes = bytes;
            self.refused.insert(waiting.topic, waiting.frame);
        }
        waiting.is_again
    }

    fn forget_refused(&mut self, topic: &str) {
        if let Some(frame) = self.refused.remove(topic) {
            self.refused_bytes -= frame.len();
        }
    }

    /// Takes over again what was refused, as far as there is room, and gives it.
    pub(super) fn take_refused(&mut self) -> Vec<Waiting> {
        let topics: Vec<_> = self.refused.keys().cloned().collect();
        let first = self.last + 1;
        for topic in topics {
            if !self.has_room() {
                break;
            }
            if let Some(frame) = self.refused.remove(&topic) {
                self.refused_bytes -= frame.len();
                self.wait(topic, frame, true);
            }
        }
        let taken = self.messages.iter().filter(|it| it.number >= first);
        taken.cloned().collect()
    }

    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < WINDOW && self.bytes < WINDOW_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Bytes = Bytes::from_static(b"frame");

    #[test]
    fn b5_what_waits_for_its_acknowledgement_is_bounded_and_goes_in_any_order() {
        let mut waiting = Unacknowledged::default();
        for _ in 0..WINDOW {
            assert!(waiting.has_room());
            waiting.push("lobby".into(), FRAME);
        }
        assert!(!waiting.has_room());
        for number in (1..=WINDOW as u64).rev() {
            assert!(waiting.remove(number).is_some());
            assert!(waiting.remove(number).is_none());
        }
        assert_eq!((waiting.messages.len(), waiting.bytes), (0, 0));
    }

    fn taken(waiting: &mut Unacknowledged) -> Vec<u64> {
        let taken = waiting.take_refused().into_iter();
        taken.map(|it| it.number).collect()
    }

    #[test]
    fn b2_of_what_is_refused_the_last_of_a_topic_is_published_again() {
        let mut waiting = Unacknowledged::default();
        for topic in ["a", "a", "b"] {
            waiting.push(topic.into(), FRAME);
        }
        // The second one is on its way.
        assert!(!waiting.refuse(1));
        assert!(taken(&mut waiting).is_empty());
        assert!(!waiting.refuse(2));
        assert!(!waiting.refuse(3));
        // One that follows takes the place of the second.
        waiting.push("a".into(), FRAME);
        assert_eq!(taken(&mut waiting), [5]);
        assert!(taken(&mut waiting).is_empty());
        assert!(waiting.refuse(5), "again");
        assert_eq!(taken(&mut waiting), [6]);
        assert!(waiting.remove(4).is_some() && waiting.remove(6).is_some());
        assert_eq!((waiting.bytes, waiting.refused_bytes), (0, 0));
    }

    #[test]
    fn b2_what_was_refused_is_bounded() {
        let mut waiting = Unacknowledged::default();
        for number in 1..=2 * WINDOW as u64 {
            waiting.push(number.to_string().into(), FRAME);
            waiting.refuse(number);
        }
        assert_eq!(waiting.refused.len(), WINDOW);
        waiting.push("lobby".into(), FRAME);
        assert_eq!(taken(&mut waiting).len(), WINDOW - 1);
        assert_eq!(waiting.refused.len(), 1);
        assert!(!waiting.has_room());
    }
}

//! What comes from other nodes and waits for the task: bounded, and what finds no room is read from the store instead.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::deferred::Deferred;
use crate::engine::{Name, Outcome, Sink};
use crate::gap::Gap;
use crate::keyer::{Keyer, Keys};
use crate::lock::Lock;
use crate::parcel::Parcel;
use crate::ring::Replay;

/// How many messages may wait, and how many bytes.
const MAX_WAITING: usize = 10_000;
const MAX_BYTES: usize = 16 * 1024 * 1024;

pub(super) struct Inbox {
    waiting: Lock<Waiting>,
    news: Arc<Notify>,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<(Name, Bytes)>,
    bytes: usize,
    /// Where something is missing.
    gaps: HashSet<Name>,
}

/// What the task has to look at.
pub(super) enum Arrival {
    Message(Name, Bytes),
    Gap(Name),
}

/// The task's subscription to what others tell of a topic.
pub(super) struct Ear {
    pub(super) topic: Name,
    pub(super) inbox: Arc<Inbox>,
}

impl Inbox {
    pub(super) fn new(news: Arc<Notify>) -> Self {
        Self {
            waiting: Lock::default(),
            news,
        }
    }

    pub(super) fn take(&self) -> Option<Arrival> {
        let mut waiting = self.waiting.lock();
        if let Some((topic, message)) = waiting.messages.pop_front() {
            waiting.bytes -= message.len();
            return Some(Arrival::Message(topic, message));
        }
        let gap = waiting.gaps.iter().next().cloned()?;
        waiting.gaps.remove(&gap);
        Some(Arrival::Gap(gap))
    }
}

impl Sink<Bytes> for Ear {
    fn deliver(&self, message: Arc<Parcel<Bytes>>, _: &Keys, _: &mut Deferred<Bytes>) -> Outcome {
        let message = Bytes::clone(&message);
        let mut waiting = self.inbox.waiting.lock();
        let bytes = waiting.bytes + message.len();
        if waiting.messages.len() < MAX_WAITING && bytes <= MAX_BYTES {
            waiting.bytes = bytes;
            waiting.messages.push_back((self.topic.clone(), message));
        } else {
            waiting.gaps.insert(self.topic.clone());
        }
        drop(waiting);
        // It wakes only the task, which is no foreign code.
        self.inbox.news.notify_one();
        Outcome {
            missed: 0,
            is_done: false,
        }
    }

    /// Nothing of it is kept.
    fn replay(&self, _: Replay<Bytes>, _: &mut Deferred<Bytes>) {}

    fn miss(&self, _: Gap, _: &mut Deferred<Bytes>) {
        self.inbox.waiting.lock().gaps.insert(self.topic.clone());
        self.inbox.news.notify_one();
    }

    fn end(&self, _: &mut Deferred<Bytes>) {}

    fn keyer(&self) -> Option<Keyer<Bytes>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    #[test]
    fn b8_what_finds_no_room_in_the_inbox_is_a_gap() {
        let topic = Name::new("lobby".into(), &RandomState::new());
        let inbox = Arc::new(Inbox::new(Arc::default()));
        let ear = Ear {
            topic: topic.clone(),
            inbox: Arc::clone(&inbox),
        };
        let arrivals = || std::iter::from_fn(|| inbox.take());
        for (messages, bytes, expected) in [
            (MAX_WAITING + 10, 1, MAX_WAITING),
            (20, MAX_BYTES / 10, 10),
            (1, 1, 1),
        ] {
            let message = Arc::new(Parcel::new(Bytes::from(vec![0; bytes]), None));
            for _ in 0..messages {
                ear.deliver(Arc::clone(&message), &Keys::new(), &mut Deferred::new());
            }
            let is_gap = |arrival: &Arrival| matches!(arrival, Arrival::Gap(of) if *of == topic);
            let (gaps, kept): (Vec<_>, Vec<_>) = arrivals().partition(is_gap);
            assert_eq!(kept.len(), expected);
            assert_eq!(gaps.len(), usize::from(messages > expected));
        }
        ear.miss(Gap::ONE, &mut Deferred::new());
        ear.miss(Gap::UNKNOWN, &mut Deferred::new());
        assert_eq!(arrivals().count(), 1);
    }
}

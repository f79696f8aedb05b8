//! Topics: a model of each subscriber's channel, message by message, and of the channels that are forwarded (B1, B2, B3, S3).

use std::collections::VecDeque;

use super::ends::Why;
use super::{Bounds, Checked, Endpoint, Moment, Oracle, ensure};
use crate::event::Policy;

/// What waits in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Message { number: u64, key: u8 },
    Gap(u64),
}

/// A subscriber's channel.
#[derive(Debug)]
pub(super) struct Channel {
    capacity: usize,
    policy: Policy,
    entries: VecDeque<Entry>,
    /// It was full and was to end then.
    pub(super) has_lagged: bool,
    /// When something came into an empty one.
    since: u64,
    /// The last message that was received or told as missed, once there is one to come.
    last: Option<u64>,
}

impl Channel {
    pub(super) fn new(capacity: usize, policy: Policy) -> Self {
        Self {
            capacity,
            policy,
            entries: VecDeque::new(),
            has_lagged: false,
            since: 0,
            last: None,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.entries.is_empty()
    }

    pub(super) const fn since(&self) -> u64 {
        self.since
    }

    fn messages(&self) -> usize {
        let messages = self
            .entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Message { .. }));
        messages.count()
    }

    /// A message is published.
    fn push(&mut self, now: Moment, number: u64, key: u8) {
        if self.entries.is_empty() {
            self.since = now.at;
        }
        self.last.get_or_insert(number - 1);
        let new = Entry::Message { number, key };
        if self.policy == Policy::LatestPerKey {
            let same = self
                .entries
                .iter_mut()
                .find(|entry| matches!(entry, Entry::Message { key: old, .. } if *old == key));
            if let Some(same) = same {
                *same = new;
                return;
            }
        }
        if self.messages() < self.capacity {
            self.entries.push_back(new);
            return;
        }
        match self.policy {
            Policy::DropOldest | Policy::LatestPerKey => {
                let missed = match self.entries.pop_front() {
                    Some(Entry::Gap(missed)) => {
                        self.entries.pop_front();
                        missed + 1
                    }
                    _ => 1,
                };
                self.entries.push_front(Entry::Gap(missed));
                self.entries.push_back(new);
            }
            Policy::DropNewest => match self.entries.back_mut() {
                Some(Entry::Gap(missed)) => *missed += 1,
                _ => self.entries.push_back(Entry::Gap(1)),
            },
            Policy::End => {
                self.entries.clear();
                self.has_lagged = true;
            }
        }
    }

    /// The subscriber gets this message (B2).
    pub(super) fn take_message(&mut self, now: Moment, number: u64) -> Checked {
        self.since = now.at;
        let front = self.entries.pop_front();
        let is_so = matches!(front, Some(Entry::Message { number: next, .. }) if next == number);
        // One that had to be dropped, since there was no room for it.
        let law = match (front, self.last) {
            (Some(Entry::Gap(gap)), Some(last)) if number <= last + gap => "B3",
            _ => "B2",
        };
        self.last = Some(number);
        ensure(is_so, law, || {
            format!("message {number} came, and next in the channel was {front:?}")
        })
    }

    /// The subscriber is told of a gap (B2).
    pub(super) fn take_missed(&mut self, now: Moment, count: Option<u64>) -> Checked {
        self.since = now.at;
        let front = self.entries.pop_front();
        let is_so = matches!((front, count), (Some(Entry::Gap(gap)), Some(count)) if gap == count);
        self.last = self.last.zip(count).map(|(last, count)| last + count);
        ensure(is_so, "B2", || {
            format!("a gap of {count:?} was told, and next in the channel was {front:?}")
        })
    }
}

/// A channel that is forwarded to the outbox. Messages leave it when there is room, which shows only on the wire.
#[derive(Debug)]
pub(super) struct Forwarded {
    id: u32,
    topic: u32,
    /// The last message that came out or is known to be missed.
    last: u64,
    /// The last that was published while it was forwarded, and when.
    published: u64,
    at: u64,
    is_stopped: bool,
    /// Whether the connection ends where it has a gap.
    pub(super) ends: bool,
    /// What its notices carry.
    mark: usize,
}

impl Forwarded {
    /// `last` was published before it was subscribed.
    pub(super) const fn new(id: u32, topic: u32, ends: bool, mark: usize, last: u64) -> Self {
        Self {
            id,
            topic,
            last,
            published: last,
            at: 0,
            is_stopped: false,
            ends,
            mark,
        }
    }
}

impl Endpoint {
    pub(super) fn unforward(&mut self, id: u32) {
        if let Some(forwarded) = self.forwards.iter_mut().find(|it| it.id == id) {
            forwarded.is_stopped = true;
        }
    }

    /// A forwarded message, or the notice of a gap, has gone out (S3).
    pub(super) fn forwarded(&mut self, now: Moment, head: &str) -> Checked {
        self.sends.room_changed = now.at;
        let mut words = head.split(' ');
        let (kind, topic, number) = (words.next(), words.next(), words.next());
        let topic: Option<u32> = topic.and_then(|word| word.parse().ok());
        let number: Option<u64> = number.and_then(|word| word.parse().ok());
        let mark: Option<usize> = words.next().and_then(|word| word.parse().ok());
        let (Some(topic), Some(number)) = (topic, number) else {
            return ensure(false, "S3", || format!("what is {head:?}?"));
        };
        // The one that was begun last: of those before it nothing more comes.
        let forwarded = self.forwards.iter_mut().rfind(|it| {
            let may_be = match kind {
                Some("f") => number > it.last && number <= it.published,
                _ => Some(it.mark) == mark && it.last + number <= it.published,
            };
            it.topic == topic && may_be
        });
        let Some(forwarded) = forwarded else {
            return ensure(false, "S3", || {
                format!("{head:?} came out, which was not forwarded, or twice")
            });
        };
        if kind == Some("m") {
            forwarded.last += number;
            return ensure(true, "S3", || "");
        }
        let expected = forwarded.last + 1;
        forwarded.last = number;
        ensure(number == expected, "S3", || {
            format!("forwarded message {number} came out, the next was {expected}")
        })
    }

    /// What is forwarded goes out when there is room for it (S3).
    pub(super) fn check_forwards(&self, now: u64, bounds: &Bounds) -> Checked {
        let is_free = self.wire.is_writable() && self.closers.is_empty();
        if !is_free || !self.sends.accepted.is_empty() || self.sends.waiting().is_some() {
            return Ok(());
        }
        for forwarded in &self.forwards {
            let is_behind = !forwarded.is_stopped && forwarded.last < forwarded.published;
            let since = forwarded.at.max(self.sends.room_changed);
            ensure(!is_behind || now <= since + bounds.tick, "S3", || {
                let Forwarded {
                    last, published, ..
                } = forwarded;
                format!("forwarded messages wait: {last} of {published} went out")
            })?;
        }
        Ok(())
    }
}

impl Oracle {
    /// A message was published to a topic, and told how many subscribers it was handed to (B1).
    pub(super) fn published(
        &mut self,
        now: Moment,
        topic: u32,
        number: u64,
        key: u8,
        local: usize,
    ) -> Checked {
        let mut subscribers = 0;
        for endpoint in &mut self.endpoints {
            let mut has_lagged = false;
            for channel in endpoint.selection.channels_of(topic) {
                if !channel.has_lagged {
                    subscribers += 1;
                    channel.push(now, number, key);
                    has_lagged |= channel.has_lagged;
                }
            }
            if has_lagged {
                endpoint.close_for(now, Why::Lagged);
            }
        }
        ensure(local == subscribers, "B1", || {
            format!("a message was handed to {local} subscribers of {subscribers}")
        })
    }

    /// A prepared message was published.
    pub(super) fn feed_published(&mut self, now: Moment, topic: u32, number: u64) {
        let forwards = self.endpoints.iter_mut().flat_map(|it| &mut it.forwards);
        for forwarded in forwards.filter(|it| it.topic == topic && !it.is_stopped) {
            if forwarded.last == forwarded.published {
                forwarded.at = now.at;
            }
            forwarded.published = number;
        }
    }
}

//! The in-process engine: a directory from a topic's name to its subscribers, who are walked in batches.
//!
//! **Locks**, in the order in which they may be held together: a topic's turn, its list of subscribers, a sink's. A
//! publisher holds the turn for the whole walk, which puts all of the topic's messages into one order for all
//! subscribers. The list is locked for one batch at a time: who joins or leaves does not wait for the walk to end. A
//! message reaches those who were on the list when its turn came, except who has left before its batch. Topics that keep
//! history are in `local/kept.rs`.

pub(crate) mod kept;

use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::counts::{Counts, SharedCounts};
use crate::deferred::Deferred;
use crate::directory::{Directory, SHARDS, shard_of};
use crate::engine::{Confirmation, Engine, Name, Sink, SubscriberId, Unsubscribe};
use crate::error::PublishError;
#[cfg(feature = "remote")]
use crate::gap::Gap;
use crate::health::Health;
use crate::history::{Begin, History};
use crate::keyer::Keys;
use crate::lock::Lock;
use crate::parcel::Parcel;
use crate::rings::Rings;
use crate::subscribers::Subscribers;
use crate::topic::{BusierFirst, Published, TopicInfo};

pub(crate) struct Local<M> {
    id: u64,
    /// Seeded per broadcaster: names and keys may be chosen by peers.
    secret: RandomState,
    topics: Directory<Entry<M>>,
    /// The next subscriber's number, drawn with the list locked so that each list is sorted.
    next: AtomicU64,
    /// Of all topics, those without subscribers included; by shard, so that publishers seldom meet.
    counts: [SharedCounts; SHARDS],
    /// Only if topics keep history.
    rings: Option<Box<Rings<M>>>,
}

struct Entry<M> {
    turn: Lock<()>,
    subscribers: Lock<Subscribers<M>>,
}

impl<M> Local<M> {
    pub(crate) fn new() -> Self {
        Self::with_rings(None)
    }

    pub(crate) fn with_history(history: History) -> Self {
        Self::with_rings(Some(Box::new(Rings::new(history, false))))
    }

    /// Of an engine whose history is a broker's.
    #[cfg(feature = "remote")]
    pub(crate) fn with_remote_history(history: Option<History>) -> Self {
        let rings = history.map(|history| Box::new(Rings::new(history, true)));
        Self::with_rings(rings)
    }

    #[cfg(test)]
    pub(crate) fn rings(&self) -> Option<&Rings<M>> {
        self.rings.as_deref()
    }

    fn with_rings(rings: Option<Box<Rings<M>>>) -> Self {
        Self {
            id: RandomState::new().hash_one(()),
            secret: RandomState::new(),
            topics: Directory::new(),
            next: AtomicU64::new(0),
            counts: std::array::from_fn(|_| SharedCounts::default()),
            rings,
        }
    }

    pub(crate) fn name(&self, name: Arc<str>) -> Name {
        let rings = self.rings.as_ref();
        let is_kept = rings.is_some_and(|rings| rings.history.keeps(&name));
        Name::new(name, &self.secret).keeping(is_kept)
    }

    /// Publishes, and leaves what runs foreign code to the caller, except the subscribers' key functions. Tells to how
    /// many the message was handed.
    pub(crate) fn publish_deferred(
        &self,
        topic: &Name,
        message: M,
        except: Option<SubscriberId>,
        deferred: &mut Deferred<M>,
    ) -> u64 {
        let except = except.filter(|id| id.engine == self.id).map(|id| id.number);
        if let Some(rings) = self.rings.as_deref().filter(|_| topic.is_kept()) {
            return self.publish_kept(rings, topic, message, except, None, deferred);
        }
        let counts = &self.counts[shard_of(topic)];
        let Some(entry) = self.topics.find(topic) else {
            counts.add(Counts {
                published: 1,
                ..Counts::default()
            });
            deferred.discard_unshared(message);
            return 0;
        };
        let message = Arc::new(Parcel::new(message, None));
        let mut keys = Keys::new();
        let walked = loop {
            let turn = entry.turn.lock();
            let mut subscribers = entry.subscribers.lock();
            let unknown = subscribers.keyers_missing_in(&keys);
            if !unknown.is_empty() {
                drop(subscribers);
                drop(turn);
                for keyer in unknown {
                    keys.compute(&keyer, &message, &self.secret, deferred);
                }
                continue;
            }
            let mut walk = subscribers.walk(message, &keys, except);
            while subscribers.deliver(&mut walk, deferred) {
                drop(subscribers);
                subscribers = entry.subscribers.lock();
            }
            let is_retired = subscribers.is_retired();
            drop(subscribers);
            drop(turn);
            if is_retired {
                // All have lagged, or left meanwhile.
                self.topics.remove(topic, &entry);
            }
            break walk.counts;
        };
        counts.add(walked);
        walked.delivered
    }

    /// Adds a subscriber, who gets what is published from now on.
    fn add(&self, topic: &Name, sink: Arc<dyn Sink<M>>) -> SubscriberId {
        loop {
            let entry = self.topics.find_or_insert(topic, || Entry {
                turn: Lock::new(()),
                subscribers: Lock::new(Subscribers::new()),
            });
            let mut subscribers = entry.subscribers.lock();
            if !subscribers.is_retired() {
                // The lock orders the draws of one list; nothing else is read through this number.
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                subscribers.add(number, sink);
                return SubscriberId {
                    engine: self.id,
                    number,
                };
            }
            drop(subscribers);
            // Its last subscriber has left and is about to do this, too. Whoever comes first does it.
            self.topics.remove(topic, &entry);
        }
    }

    /// Drawn by chance: no other engine has it, in this process or another.
    #[cfg(feature = "remote")]
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// How many subscribers a message to all but the excepted one is for.
    #[cfg(feature = "remote")]
    pub(crate) fn audience(&self, topic: &Name, except: Option<SubscriberId>) -> usize {
        let except = except.filter(|id| id.engine == self.id);
        self.topics.find(topic).map_or(0, |entry| {
            let subscribers = entry.subscribers.lock();
            let is_left_out = except.is_some_and(|id| subscribers.contains(id.number));
            subscribers.len() - usize::from(is_left_out)
        })
    }

    /// Tells all present subscribers that messages are missing here, each behind what it was handed before.
    #[cfg(feature = "remote")]
    pub(crate) fn miss(&self, topic: &Name, gap: Gap) {
        let mut deferred = Deferred::new();
        let rings = self.rings.as_deref().filter(|_| topic.is_kept());
        let kept = rings.and_then(|rings| rings.find(topic));
        let mut state = kept.as_ref().map(|kept| kept.state.lock());
        if let Some(state) = &mut state {
            // Who joins from here on is told by the ring.
            state.ring.miss(gap);
        }
        if let Some(entry) = self.topics.find(topic) {
            let turn = entry.turn.lock();
            let end = entry.subscribers.lock().end_number();
            drop(state);
            let mut from = Some(0);
            while let Some(number) = from {
                let subscribers = entry.subscribers.lock();
                from = subscribers.miss(number, end, gap, &mut deferred);
            }
            drop(turn);
        }
        drop(deferred);
    }

    /// Ends all sinks.
    pub(crate) fn end(&self) {
        let mut deferred = Deferred::new();
        let mut ended = Vec::new();
        for entry in self.topics.drain() {
            let _turn = entry.turn.lock();
            ended.push(entry.subscribers.lock().end(&mut deferred));
        }
        if let Some(rings) = &self.rings {
            rings.end(&mut deferred);
        }
        drop(deferred);
        drop(ended);
    }
}

impl<M: Send + Sync + 'static> Engine<M> for Local<M> {
    fn name(&self, name: Arc<str>) -> Name {
        self.name(name)
    }

    fn publish(
        &self,
        topic: &Name,
        message: M,
        except: Option<SubscriberId>,
    ) -> Result<Published, PublishError> {
        let mut deferred = Deferred::new();
        let delivered = self.publish_deferred(topic, message, except, &mut deferred);
        drop(deferred);
        Ok(Published {
            local: usize::try_from(delivered).unwrap_or(usize::MAX),
        })
    }

    fn publish_confirmed<'a>(&'a self, topic: &'a Name, message: M) -> Confirmation<'a> {
        Box::pin(async move { self.publish(topic, message, None) })
    }

    fn subscribe(
        &self,
        topic: &Name,
        sink: Arc<dyn Sink<M>>,
        begin: Option<Begin>,
        deferred: &mut Deferred<M>,
    ) -> SubscriberId {
        match begin {
            Some(begin) => self.subscribe_with_replay(topic, &sink, begin, deferred),
            None => {
                let rings = self.rings.as_deref();
                if let Some(rings) = rings.filter(|rings| rings.is_remote && topic.is_kept()) {
                    // What the broker brings has a place to go to.
                    rings.find_or_insert(topic);
                }
                self.add(topic, sink)
            }
        }
    }

    fn subscribers(&self, topic: &Name) -> usize {
        let entry = self.topics.find(topic);
        entry.map_or(0, |entry| entry.subscribers.lock().len())
    }

    fn topic_counts(&self, topic: &Name) -> Counts {
        let entry = self.topics.find(topic);
        entry.map_or_else(Counts::default, |entry| entry.subscribers.lock().counts())
    }

    fn all_subscribers(&self) -> usize {
        let entries = self.topics.values();
        entries.map(|entry| entry.subscribers.lock().len()).sum()
    }

    fn topics(&self) -> usize {
        self.topics.len()
    }

    fn list_topics(&self, limit: usize, is_wanted: &dyn Fn(&str) -> bool) -> Vec<TopicInfo> {
        // Of many topics no more are held than are asked for, beside a shard's entries; the least busy of them on top.
        let mut busiest = BinaryHeap::new();
        for entries in self.topics.by_shard() {
            for (name, entry) in entries {
                if !is_wanted(name.as_str()) {
                    continue;
                }
                let subscribers = entry.subscribers.lock();
                if subscribers.is_retired() {
                    continue;
                }
                let topic = BusierFirst(TopicInfo {
                    subscribers: subscribers.len(),
                    counts: subscribers.counts(),
                    name: name.to_shared(),
                });
                drop(subscribers);
                if busiest.len() < limit {
                    busiest.push(topic);
                } else if let Some(mut least) = busiest.peek_mut()
                    && topic < *least
                {
                    *least = topic;
                }
            }
        }
        let topics = busiest.into_sorted_vec().into_iter();
        topics.map(|BusierFirst(topic)| topic).collect()
    }

    fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for counts in &self.counts {
            sum.add(counts.read());
        }
        sum
    }

    fn health(&self) -> Health {
        Health::in_process()
    }

    fn abandon(&self) {
        self.end();
    }
}

impl<M: Send + Sync> Unsubscribe for Local<M> {
    fn unsubscribe(&self, topic: &Name, id: SubscriberId) {
        let Some(entry) = self.topics.find(topic) else {
            return;
        };
        let mut subscribers = entry.subscribers.lock();
        let sink = subscribers.remove(id.number);
        let is_retired = subscribers.is_retired();
        drop(subscribers);
        if is_retired {
            self.topics.remove(topic, &entry);
        }
        drop(sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ChannelOptions;
    use crate::queue::{Queue, Take};

    #[test]
    fn the_busiest_topics_are_listed_and_no_more() {
        let local = Local::<u32>::new();
        let sink = || Arc::new(Queue::new(ChannelOptions::new()));
        for number in 0..200 {
            let topic = local.name(format!("{number:03}").into());
            let subscribers = if number == 150 { 2 } else { 1 };
            for _ in 0..subscribers {
                local.subscribe(&topic, sink(), None, &mut Deferred::new());
            }
        }
        let listed = |limit, is_wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
            let topics = local.list_topics(limit, is_wanted).into_iter();
            topics.map(|topic| topic.name.to_string()).collect()
        };
        assert_eq!(listed(3, &|_| true), ["150", "000", "001"]);
        assert_eq!(listed(3, &|name| name.ends_with("99")), ["099", "199"]);
        assert_eq!(listed(1_000, &|_| true).len(), 200);
        assert!(listed(0, &|_| true).is_empty());
    }

    /// A publisher in the middle of its walk, held still; its ring may have been let go of meanwhile.
    #[test]
    fn b5_nobody_overtakes_a_walk_under_way() {
        let local = Local::with_history(History::last(1));
        let topic = local.name("lobby".into());
        let queue = Arc::new(Queue::new(ChannelOptions::new()));
        local.subscribe(
            &topic,
            Arc::clone(&queue) as Arc<dyn Sink<u32>>,
            None,
            &mut Deferred::new(),
        );
        let entry = local.topics.find(&topic).unwrap();
        let walking = entry.turn.lock();
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| local.publish(&topic, 1, None).unwrap().local);
            // It is on its way when it has the ring's turn.
            let is_under_way = || {
                let kept = local.rings().and_then(|rings| rings.find(&topic));
                kept.is_some_and(|kept| kept.turn.is_locked())
            };
            while !is_under_way() {
                std::thread::yield_now();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(matches!(queue.take(), Take::Empty));
            drop(walking);
            assert_eq!(publishing.join().unwrap(), 1);
        });
        assert!(matches!(queue.take(), Take::Some(_)));
    }

    /// The moment between a last subscriber's leaving and the removal of the entry, held still.
    #[test]
    fn a_retired_entry_takes_nobody_in() {
        let local = Local::new();
        let topic = local.name("lobby".into());
        let sink = || Arc::new(Queue::new(ChannelOptions::new()));
        let id = local.subscribe(&topic, sink(), None, &mut Deferred::new());
        let retired = local.topics.find(&topic).unwrap();
        assert!(retired.subscribers.lock().remove(id.number).is_some());

        assert_eq!(local.publish(&topic, 1, None).unwrap().local, 0);
        let next = sink();
        local.subscribe(
            &topic,
            Arc::clone(&next) as Arc<dyn Sink<u32>>,
            None,
            &mut Deferred::new(),
        );
        assert_eq!(local.publish(&topic, 2, None).unwrap().local, 1);
        assert!(matches!(next.take(), Take::Some(_)));

        // The one who left comes late with its removal: the new entry stays.
        local.topics.remove(&topic, &retired);
        assert_eq!((local.topics(), local.subscribers(&topic)), (1, 1));
    }
}

//! The in-process engine: a sharded map from a topic's name to its subscribers, walked under one lock a topic.
//!
//! **Locks**, in the order in which they may be held together: a topic's, then a sink's. A shard's is held alone, for
//! one look at the map. The topic's lock is what puts all its messages into one order for all subscribers, and what
//! makes subscribing and leaving happen before or after a publish, never within.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, RandomState};
use std::mem;
use std::sync::Arc;

use crate::deferred::Deferred;
use crate::engine::{Engine, Name, NameHasher, Sink, SubscriberKey};
use crate::error::PublishError;
use crate::lock::Lock;
use crate::subscribers::Subscribers;
use crate::topic::Published;

/// A power of two. Enough that publishers to different topics seldom meet.
const SHARDS: usize = 32;

pub(crate) struct Local<M> {
    /// Seeded per broadcaster: names may be chosen by peers.
    hasher: RandomState,
    shards: [Lock<Shard<M>>; SHARDS],
}

/// Topics that have subscribers, and some whose last one has left just now.
type Shard<M> = HashMap<Name, Arc<Entry<M>>, BuildHasherDefault<NameHasher>>;

type Entry<M> = Lock<Subscribers<M>>;

impl<M> Local<M> {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Lock::new(Shard::default())),
        }
    }

    fn shard(&self, topic: &Name) -> &Lock<Shard<M>> {
        // Bits from the middle: the map itself uses the lowest and the highest.
        &self.shards[(topic.hash() >> 32) as usize % SHARDS]
    }

    fn entry(&self, topic: &Name) -> Option<Arc<Entry<M>>> {
        self.shard(topic).lock().get(topic).cloned()
    }

    fn entry_or_new(&self, topic: &Name) -> Arc<Entry<M>> {
        let mut shard = self.shard(topic).lock();
        let entry = shard
            .entry(topic.clone())
            .or_insert_with(|| Arc::new(Lock::new(Subscribers::new())));
        Arc::clone(entry)
    }

    /// Removes a retired entry, unless a new one has taken its place.
    fn remove_entry(&self, topic: &Name, retired: &Arc<Entry<M>>) {
        let mut shard = self.shard(topic).lock();
        if shard
            .get(topic)
            .is_some_and(|entry| Arc::ptr_eq(entry, retired))
        {
            shard.remove(topic);
            if shard.len() < shard.capacity() / 4 {
                let len = shard.len();
                shard.shrink_to(len * 2);
            }
        }
    }
}

impl<M: Send + Sync> Engine<M> for Local<M> {
    fn name(&self, name: Arc<str>) -> Name {
        Name::new(name, &self.hasher)
    }

    fn publish(&self, topic: &Name, message: M) -> Result<Published, PublishError> {
        let Some(entry) = self.entry(topic) else {
            return Ok(Published { local: 0 });
        };
        let message = Arc::new(message);
        let mut deferred = Deferred::new();
        let local = entry.lock().deliver(message, &mut deferred);
        drop(deferred);
        Ok(Published { local })
    }

    fn subscribe(&self, topic: &Name, sink: Arc<dyn Sink<M>>) -> SubscriberKey {
        loop {
            let entry = self.entry_or_new(topic);
            let mut subscribers = entry.lock();
            if !subscribers.is_retired() {
                return subscribers.add(sink);
            }
            drop(subscribers);
            // Its last subscriber has left and is about to do this, too. Whoever comes first does it.
            self.remove_entry(topic, &entry);
        }
    }

    fn unsubscribe(&self, topic: &Name, key: SubscriberKey) {
        let Some(entry) = self.entry(topic) else {
            return;
        };
        let mut subscribers = entry.lock();
        let sink = subscribers.remove(key);
        let is_retired = subscribers.is_retired();
        drop(subscribers);
        if is_retired {
            self.remove_entry(topic, &entry);
        }
        drop(sink);
    }

    fn subscribers(&self, topic: &Name) -> usize {
        self.entry(topic).map_or(0, |entry| entry.lock().len())
    }

    fn topics(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn abandon(&self) {
        let mut deferred = Deferred::new();
        let mut ended = Vec::new();
        for shard in &self.shards {
            let entries = mem::take(&mut *shard.lock());
            ended.extend(
                entries
                    .into_values()
                    .map(|entry| entry.lock().end(&mut deferred)),
            );
        }
        drop(deferred);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelOptions;
    use crate::queue::{Queue, Take};

    fn sink() -> Arc<Queue<u32>> {
        Arc::new(Queue::new(ChannelOptions::new()))
    }

    fn name(local: &Local<u32>, name: &str) -> Name {
        local.name(name.into())
    }

    #[test]
    fn the_map_gives_its_memory_back() {
        let local = Local::new();
        let allocated = || -> usize {
            local
                .shards
                .iter()
                .map(|shard| shard.lock().capacity())
                .sum()
        };
        let subscriptions: Vec<_> = (0..10_000)
            .map(|number| {
                let name = name(&local, &number.to_string());
                let key = local.subscribe(&name, sink());
                (name, key)
            })
            .collect();
        assert!(allocated() >= 10_000);
        for (name, key) in subscriptions {
            local.unsubscribe(&name, key);
        }
        assert_eq!(local.topics(), 0);
        assert!(allocated() < 10 * SHARDS, "{}", allocated());
    }

    #[test]
    fn names_spread_over_the_shards() {
        let local = Local::new();
        for number in 0..1_000 {
            local.subscribe(&name(&local, &number.to_string()), sink());
        }
        assert!(local.shards.iter().all(|shard| !shard.lock().is_empty()));
    }

    /// The moment between a last subscriber's leaving and the removal of the entry, held still.
    #[test]
    fn a_retired_entry_takes_nobody_in() {
        let local = Local::new();
        let topic = name(&local, "lobby");
        let key = local.subscribe(&topic, sink());
        let retired = local.entry(&topic).unwrap();
        assert!(retired.lock().remove(key).is_some());

        assert_eq!(local.publish(&topic, 1).unwrap().local, 0);
        let next = sink();
        local.subscribe(&topic, Arc::clone(&next) as Arc<dyn Sink<u32>>);
        assert_eq!(local.publish(&topic, 2).unwrap().local, 1);
        assert!(matches!(next.take(), Take::Some(_)));

        // The one who left comes late with its removal: the new entry stays.
        local.remove_entry(&topic, &retired);
        assert_eq!((local.topics(), local.subscribers(&topic)), (1, 1));
    }
}

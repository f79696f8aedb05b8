//! Presence across nodes: how it is made, and what callers share with the task that talks to the others.
//!
//! A room is changed by callers under its lock, as in one process, and what others are to be told waits in it. The task is
//! told which rooms have something, and does the rest: nothing here waits for a broker.

mod agenda;
mod inbox;
mod nodes;
mod office;

use std::collections::VecDeque;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};

use super::options::PresenceOptions;
use super::room::Room;
use super::rosters::Rosters;
use super::wire::Entry;
use super::{Presence, Shared};
use crate::engine::{Engine, Name};
use crate::health::Health;
use crate::link::Link;
use crate::lock::Lock;
use crate::remote::Remote;
use crate::remote::encoding::Coder;
use crate::remote::options::RemoteOptions;
use crate::store::Store;
use office::Office;

/// How long a topic's name may be, in bytes: an engine's, less what is put before it.
const MAX_TOPIC: usize = 500;

/// This node's part in presence across nodes.
pub(super) struct Outer<K, V> {
    pub(super) node: u64,
    pub(super) options: PresenceOptions,
    keys: Coder<K>,
    values: Coder<V>,
    engine: Arc<Remote<Bytes>>,
    /// Microseconds since 1970, but always later than what was told here before, and than whatever came from elsewhere: a
    /// room that is made anew begins behind what others know of it.
    clock: AtomicU64,
    /// Rooms that the task has to look at, each once.
    queued: Lock<VecDeque<Name>>,
    news: Arc<Notify>,
    is_closed: watch::Sender<bool>,
    /// Whether this node's life is known to the store.
    is_shown: watch::Sender<bool>,
    /// A topic was read, or is not watched any more.
    read: Notify,
    tally: Tally,
}

/// The numbers order nothing.
#[derive(Default)]
struct Tally {
    unread: AtomicUsize,
    unreadable: AtomicU64,
    is_logged: AtomicBool,
}

impl<K, V> Presence<K, V>
where
    K: Hash + Eq + Serialize + DeserializeOwned + Send + Sync + 'static,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Presence over a link and a store of one's own: see [`link`](crate::link). Runs as two tasks, from now on and as
    /// long as there is a presence or a member of it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer enabled.
    #[must_use]
    pub fn with_link(link: impl Link, store: impl Store, options: PresenceOptions) -> Self {
        let prefix = space(&options);
        let engine = RemoteOptions::new().prefix(prefix);
        let engine = Remote::start_with(link, Coder::verbatim(), engine);
        let outer = Arc::new(Outer {
            node: engine.id(),
            keys: Coder::new(options.encoding),
            values: Coder::new(options.encoding),
            options,
            engine,
            clock: AtomicU64::new(0),
            queued: Lock::default(),
            news: Arc::default(),
            is_closed: watch::Sender::new(false),
            is_shown: watch::Sender::new(false),
            read: Notify::new(),
            tally: Tally::default(),
        });
        let shared = Arc::new(Shared::new(Some(Arc::clone(&outer))));
        let office = Office::new(Arc::downgrade(&shared), outer, store);
        tokio::spawn(office.run());
        Self { shared }
    }

    /// As [`with_link`](Self::with_link), once it is connected and the store has taken something.
    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(crate) async fn connect_link(
        link: impl Link,
        store: impl Store,
        options: PresenceOptions,
    ) -> Self {
        let presence = Self::with_link(link, store, options);
        if let Some(outer) = &presence.shared.outer {
            outer.engine.when_connected().await;
            outer.when_shown().await;
        }
        presence
    }
}

/// What the names at the broker begin with: a space beside the broadcaster's.
pub(crate) fn space(options: &PresenceOptions) -> String {
    format!("{}.presence", options.prefix)
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Shared<K, V> {
    /// Waits until the topic was read since it is watched, or nobody here watches it.
    pub(super) async fn when_read(&self, topic: &Name) {
        let Some(outer) = self.outer_of(topic) else {
            return;
        };
        loop {
            let mut read = pin!(outer.read.notified());
            // In line before the look, so that nothing falls between the two.
            read.as_mut().enable();
            let is_read = match self.rooms.find(topic) {
                Some(room) if self.events.subscribers(topic) > 0 => {
                    let room = room.lock();
                    room.rosters.as_deref().is_some_and(|it| it.is_read)
                }
                _ => true,
            };
            if is_read {
                return;
            }
            read.await;
        }
    }
}

impl<K, V> Outer<K, V> {
    /// Who this node is, and what time it is for what happens now.
    pub(super) fn now(&self) -> (u64, u64) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = time.map_or(0, |time| {
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
        });
        let before = self.clock.fetch_max(time, Ordering::Relaxed);
        (self.node, before.max(time))
    }

    /// Whether others can be told of a topic.
    pub(super) fn reaches(&self, topic: &Name) -> bool {
        topic.as_str().len() <= MAX_TOPIC
    }

    /// A connection as others are to see it. Runs the user's `Serialize`.
    pub(super) fn encode(&self, key: &K, value: &V) -> Option<Entry> {
        let mut bytes = Vec::new();
        let key = self.keys.encode(key, &mut bytes).map(|()| bytes.len());
        let encoded = key.and_then(|len| self.values.encode(value, &mut bytes).map(|()| len));
        let entry = encoded.ok().map(|len| {
            let mut key = Bytes::from(bytes);
            let value = key.split_off(len);
            Entry { key, value }
        });
        let entry = entry.filter(|entry| entry.len() <= self.options.max_entry);
        self.check(entry.is_some());
        entry
    }

    /// Counts a connection that others are not to see, and tells the log, which may be the user's code: no lock is held.
    pub(super) fn check(&self, is_fit: bool) {
        if !is_fit {
            self.note_unreadable("a connection is too large for others, or cannot be written");
        }
    }

    fn note_unreadable(&self, what: &str) {
        self.tally.unreadable.fetch_add(1, Ordering::Relaxed);
        if !self.tally.is_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!("{what}; further ones are only counted");
        }
    }

    /// Notes in a room what others are to be told, whose lock is held. Gives what `note` does: whether they can be.
    pub(super) fn note(
        &self,
        topic: &Name,
        room: &mut Room<K, V>,
        note: impl FnOnce(&mut Rosters) -> bool,
    ) -> bool {
        let rosters = room.rosters.get_or_insert_default();
        let is_fit = note(rosters);
        self.pass(rosters.version());
        self.call(topic, room);
        is_fit
    }

    /// From now on it is later than that.
    fn pass(&self, time: u64) {
        self.clock
            .fetch_max(time.saturating_add(1), Ordering::Relaxed);
    }

    /// Lets the task look at a room. The room's lock is held.
    pub(super) fn call(&self, topic: &Name, room: &mut Room<K, V>) {
        let rosters = room.rosters.get_or_insert_default();
        if !rosters.is_queued {
            rosters.is_queued = true;
            self.queued.lock().push_back(topic.clone());
            self.news.notify_one();
        }
    }

    /// The last presence and the last member are gone.
    pub(super) fn close(&self) {
        self.is_closed.send_replace(true);
    }

    async fn when_closed(&self) {
        // The sender is its own, so that this cannot fail.
        let _ = self.is_closed.subscribe().wait_for(|is| *is).await;
    }

    async fn when_shown(&self) {
        let _ = self.is_shown.subscribe().wait_for(|is| *is).await;
    }

    pub(super) fn health(&self) -> Health {
        let mut health = self.engine.health();
        health.is_connected &= *self.is_shown.borrow();
        // What the task has not looked at yet may be watched since a moment ago.
        health.pending_topics += self.queued.lock().len();
        health.pending_topics += self.tally.unread.load(Ordering::Relaxed);
        health.undecodable += self.tally.unreadable.load(Ordering::Relaxed);
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Node;
    use crate::store::{Shelf, StoreError};

    struct Nowhere;

    impl Link for Nowhere {
        async fn run(self, _: Node) {
            std::future::pending().await
        }
    }

    impl Store for Nowhere {
        async fn put(
            &self,
            _: &Shelf,
            _: &str,
            _: Bytes,
            _: std::time::Duration,
        ) -> Result<(), StoreError> {
            Err("there is no store".into())
        }

        async fn remove(&self, _: &Shelf, _: &str) -> Result<(), StoreError> {
            Err("there is no store".into())
        }

        async fn list(&self, _: &Shelf) -> Result<Vec<(String, Bytes)>, StoreError> {
            Err("there is no store".into())
        }
    }

    /// What others know of a topic is not taken for new again, though its room is gone and the system's clock stands still.
    #[tokio::test]
    async fn b8_whatever_was_told_is_in_the_past() {
        let presence = Presence::<u32, u32>::with_link(Nowhere, Nowhere, PresenceOptions::new());
        let outer = presence.shared.outer.as_deref().unwrap();
        let start = 1 << 60;
        outer.clock.store(start, Ordering::Relaxed);
        let member = presence.enter("lobby", 1, 1);
        let entered = outer.now().1;
        assert!(entered > start);
        drop(member);
        assert!(outer.now().1 > entered);
    }
}

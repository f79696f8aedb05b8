//! A store in memory that can be broken on purpose, and presence over it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dreamsocket_broadcaster::link::{Shelf, Store, StoreError};
use dreamsocket_broadcaster::{Presence, PresenceOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{self, Instant};

use super::{Broker, MemoryLink};

type Values = HashMap<(Shelf, String), (Bytes, Instant)>;

/// What a node asks of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Put,
    Remove,
    List,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Failed,
    /// Done, as it says, and it is not.
    Lost,
    /// Done after so long.
    Late(Duration),
}

type Filter = Box<dyn FnMut(usize, &Shelf, Call) -> Answer + Send>;

/// Nodes' keys, as one server has them.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    values: Arc<Mutex<Values>>,
    counts: Arc<Mutex<Counts>>,
    filter: Arc<Mutex<Option<Filter>>>,
}

/// What was asked of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) lives: usize,
    pub(crate) rosters: usize,
    pub(crate) lists: usize,
    pub(crate) failures: usize,
}

/// One node's way there, which is as good as its link.
struct MemoryStore {
    keys: Keys,
    broker: Broker,
    node: usize,
}

impl Keys {
    pub(crate) fn forget(&self) {
        self.with(Values::clear);
    }

    pub(crate) fn forget_rosters(&self) {
        self.with(|values| values.retain(|(shelf, _), _| *shelf == Shelf::Lives));
    }

    /// Whatever is kept of a topic, under another key as well.
    pub(crate) fn copy_rosters(&self, topic: &str, key: &str) {
        self.with(|values| {
            let shelf = Shelf::Roster(topic.into());
            let known = values.iter().find(|((of, _), _)| *of == shelf);
            let known = known.map(|(_, value)| value.clone());
            values.extend(known.map(|value| ((shelf, key.to_owned()), value)));
        });
    }

    /// Decides what becomes of every call, by the node that calls.
    pub(crate) fn filter(
        &self,
        filter: impl FnMut(usize, &Shelf, Call) -> Answer + Send + 'static,
    ) {
        let mut place = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Box::new(filter));
    }

    fn answer(&self, node: usize, shelf: &Shelf, call: Call) -> Answer {
        let mut filter = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        let filter = filter.as_mut();
        filter.map_or(Answer::Done, |filter| filter(node, shelf, call))
    }

    pub(crate) fn len(&self) -> usize {
        let now = Instant::now();
        self.with(|values| values.values().filter(|(_, until)| *until > now).count())
    }

    /// Whether a value has these bytes in it.
    pub(crate) fn has(&self, bytes: &[u8]) -> bool {
        let has = |value: &Bytes| value.windows(bytes.len()).any(|part| part == bytes);
        self.with(|values| values.values().any(|(value, _)| has(value)))
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, look: impl FnOnce(&mut Values) -> R) -> R {
        look(&mut self.values.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl MemoryStore {
    /// Gives whether the call is to be carried out.
    async fn reach(&self, shelf: &Shelf, call: Call) -> Result<bool, StoreError> {
        time::sleep(Duration::from_millis(1)).await;
        let is_away = {
            let state = self.broker.state();
            state.is_away || state.barred.contains(&self.node)
        };
        match self.keys.answer(self.node, shelf, call) {
            _ if is_away => Err("the store is away".into()),
            Answer::Done => Ok(true),
            Answer::Failed => {
                self.keys.count(|counts| counts.failures += 1);
                Err("the store has failed".into())
            }
            Answer::Lost => Ok(false),
            Answer::Late(time) => {
                time::sleep(time).await;
                Ok(true)
            }
        }
    }
}

impl Store for MemoryStore {
    async fn put(
        &self,
        shelf: &Shelf,
        key: &str,
        value: Bytes,
        expiry: Duration,
    ) -> Result<(), StoreError> {
        let is_kept = self.reach(shelf, Call::Put).await?;
        self.keys.count(|counts| match shelf {
            Shelf::Lives => counts.lives += 1,
            Shelf::Roster(_) => counts.rosters += 1,
        });
        if !is_kept {
            return Ok(());
        }
        let place = (shelf.clone(), key.to_owned());
        let until = Instant::now() + expiry;
        self.keys
            .with(|values| values.insert(place, (value, until)));
        Ok(())
    }

    async fn remove(&self, shelf: &Shelf, key: &str) -> Result<(), StoreError> {
        if self.reach(shelf, Call::Remove).await? {
            let place = (shelf.clone(), key.to_owned());
            self.keys.with(|values| values.remove(&place));
        }
        Ok(())
    }

    async fn list(&self, shelf: &Shelf) -> Result<Vec<(String, Bytes)>, StoreError> {
        if !self.reach(shelf, Call::List).await? {
            return Ok(Vec::new());
        }
        self.keys.count(|counts| counts.lists += 1);
        let now = Instant::now();
        Ok(self.keys.with(|values| {
            values
                .iter()
                .filter(|((of, _), (_, until))| of == shelf && *until > now)
                .map(|((_, key), (value, _))| (key.clone(), value.clone()))
                .collect()
        }))
    }
}

impl Broker {
    /// A new node of presence, with its number.
    pub(crate) fn presence<K, V>(
        &self,
        keys: &Keys,
        options: PresenceOptions,
    ) -> (usize, Presence<K, V>)
    where
        K: Hash + Eq + Serialize + DeserializeOwned + Send + Sync + 'static,
        V: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let mut state = self.state();
        let node = state.nodes;
        state.nodes += 1;
        drop(state);
        let store = MemoryStore {
            keys: keys.clone(),
            broker: self.clone(),
            node,
        };
        let link = MemoryLink {
            broker: self.clone(),
            node,
        };
        (node, Presence::with_link(link, store, options))
    }

    /// As [`presence`](Self::presence), once it is connected.
    pub(crate) async fn present(&self, keys: &Keys) -> (usize, Presence<u32, String>) {
        let (node, presence) = self.presence(keys, PresenceOptions::new());
        while !presence.health().is_ready() {
            time::sleep(Duration::from_millis(1)).await;
        }
        (node, presence)
    }
}

/// Waits, for a minute of paused time at most.
pub(crate) async fn when(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "not yet: {what}");
        time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn rest(milliseconds: u64) {
    time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Who is there, by their keys.
pub(crate) fn keys_of<V: Send + Sync + 'static>(node: &Presence<u32, V>, topic: &str) -> Vec<u32> {
    let people = node.people(topic);
    let mut keys: Vec<_> = people.iter().map(|person| *person.key()).collect();
    keys.sort_unstable();
    keys
}

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

/// Nodes' keys, as one server has them.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    values: Arc<Mutex<Values>>,
    counts: Arc<Mutex<Counts>>,
}

/// What was asked of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) lives: usize,
    pub(crate) rosters: usize,
    pub(crate) lists: usize,
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

    pub(crate) fn len(&self) -> usize {
        let now = Instant::now();
        self.with(|values| values.values().filter(|(_, until)| *until > now).count())
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
    async fn reach(&self) -> Result<(), StoreError> {
        time::sleep(Duration::from_millis(1)).await;
        let state = self.broker.state();
        if state.is_away || state.barred.contains(&self.node) {
            return Err("the store is away".into());
        }
        Ok(())
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
        self.reach().await?;
        self.keys.count(|counts| match shelf {
            Shelf::Lives => counts.lives += 1,
            Shelf::Roster(_) => counts.rosters += 1,
        });
        let place = (shelf.clone(), key.to_owned());
        let until = Instant::now() + expiry;
        self.keys
            .with(|values| values.insert(place, (value, until)));
        Ok(())
    }

    async fn remove(&self, shelf: &Shelf, key: &str) -> Result<(), StoreError> {
        self.reach().await?;
        let place = (shelf.clone(), key.to_owned());
        self.keys.with(|values| values.remove(&place));
        Ok(())
    }

    async fn list(&self, shelf: &Shelf) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.reach().await?;
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

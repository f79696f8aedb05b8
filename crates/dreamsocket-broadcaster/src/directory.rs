//! A sharded map from a topic's name to what exists as long as somebody needs it.
//!
//! A shard's lock is held alone, for one look at the map, but for [`find_or`](Directory::find_or). The protocol that lets entries go: whoever finds under an
//! entry's own lock that nobody needs it any more marks it **retired**, releases that lock, and calls
//! [`remove`](Directory::remove). Whoever finds a retired entry does the same and asks again for a new one.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::Arc;

use crate::engine::Name;
use crate::fingerprint::Prehashed;
use crate::lock::Lock;

/// A power of two. Enough that publishers to different topics seldom meet.
pub(crate) const SHARDS: usize = 32;

pub(crate) struct Directory<T> {
    shards: [Lock<Shard<T>>; SHARDS],
}

type Shard<T> = HashMap<Name, Arc<T>, BuildHasherDefault<Prehashed>>;

/// Which shard a topic is in.
pub(crate) const fn shard_of(topic: &Name) -> usize {
    // Bits from the middle: the map itself uses the lowest and the highest.
    (topic.hash() >> 32) as usize % SHARDS
}

impl<T> Directory<T> {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Lock::new(Shard::default())),
        }
    }

    fn shard(&self, topic: &Name) -> &Lock<Shard<T>> {
        &self.shards[shard_of(topic)]
    }

    pub(crate) fn find(&self, topic: &Name) -> Option<Arc<T>> {
        self.shard(topic).lock().get(topic).cloned()
    }

    pub(crate) fn find_or_insert(&self, topic: &Name, new: impl FnOnce() -> T) -> Arc<T> {
        let mut shard = self.shard(topic).lock();
        let entry = shard
            .entry(topic.clone())
            .or_insert_with(|| Arc::new(new()));
        Arc::clone(entry)
    }

    /// The entry, or what is done while there is none: nobody inserts one meanwhile.
    pub(crate) fn find_or<R>(
        &self,
        topic: &Name,
        otherwise: impl FnOnce() -> R,
    ) -> Result<Arc<T>, R> {
        let shard = self.shard(topic).lock();
        match shard.get(topic) {
            Some(entry) => Ok(Arc::clone(entry)),
            None => Err(otherwise()),
        }
    }

    /// Removes a retired entry, unless a new one has taken its place.
    pub(crate) fn remove(&self, topic: &Name, retired: &Arc<T>) {
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

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// What all entries of now hold, each shard's under one lock, which is released before any of them is looked at.
    pub(crate) fn values(&self) -> impl Iterator<Item = Arc<T>> {
        self.shards
            .iter()
            .flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>())
    }

    /// All entries of now, each shard's under one lock.
    #[cfg(feature = "remote")]
    pub(crate) fn entries(&self) -> Vec<(Name, Arc<T>)> {
        self.by_shard().flatten().collect()
    }

    /// The entries of one shard after the other, each taken under its lock when its turn comes.
    pub(crate) fn by_shard(&self) -> impl Iterator<Item = Vec<(Name, Arc<T>)>> {
        self.shards.iter().map(|shard| {
            let shard = shard.lock();
            let entries = shard.iter();
            entries
                .map(|(name, entry)| (name.clone(), Arc::clone(entry)))
                .collect()
        })
    }

    /// Takes all entries out, shard by shard.
    pub(crate) fn drain(&self) -> impl Iterator<Item = Arc<T>> {
        self.shards
            .iter()
            .flat_map(|shard| mem::take(&mut *shard.lock()).into_values())
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    fn names(count: usize) -> Vec<Name> {
        let hasher = RandomState::new();
        (0..count)
            .map(|number| Name::new(number.to_string().into(), &hasher))
            .collect()
    }

    #[test]
    fn the_map_gives_its_memory_back() {
        let directory = Directory::new();
        let allocated = || -> usize {
            let shards = directory.shards.iter();
            shards.map(|shard| shard.lock().capacity()).sum()
        };
        let names = names(10_000);
        let entries: Vec<_> = names
            .iter()
            .map(|name| directory.find_or_insert(name, || ()))
            .collect();
        assert!(allocated() >= 10_000);
        for (name, entry) in names.iter().zip(&entries) {
            directory.remove(name, entry);
        }
        assert_eq!(directory.len(), 0);
        assert!(allocated() < 10 * SHARDS, "{}", allocated());
    }

    #[test]
    fn names_spread_over_the_shards() {
        let directory = Directory::new();
        for name in names(1_000) {
            directory.find_or_insert(&name, || ());
        }
        assert!(
            directory
                .shards
                .iter()
                .all(|shard| !shard.lock().is_empty())
        );
    }

    #[test]
    fn only_the_entry_that_was_meant_is_removed() {
        let directory = Directory::new();
        let name = &names(1)[0];
        let retired = directory.find_or_insert(name, || 1);
        directory.remove(name, &retired);
        directory.find_or_insert(name, || 2);
        directory.remove(name, &retired);
        assert_eq!(directory.find(name).as_deref(), Some(&2));
    }
}

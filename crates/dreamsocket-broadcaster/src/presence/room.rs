//! Who is in one topic. Plain data: what changes is told to the caller, who publishes it.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::{Person, PresenceEvent};
use crate::fingerprint::{Fingerprint, Prehashed};

pub(super) struct Room<K, V> {
    people: HashMap<Fingerprint, Occupant<K, V>, BuildHasherDefault<Prehashed>>,
    /// Numbers connections, and by that the people in the order in which they came.
    next: u64,
    /// Set when the last one has left: the room's entry is about to go, and nobody may enter here any more.
    pub(super) retired: bool,
}

struct Occupant<K, V> {
    joined: u64,
    key: Arc<K>,
    /// Never empty. The last one is who set the value last, and whose value is the person's.
    connections: Vec<(u64, Arc<V>)>,
}

/// What has become of a room.
pub(super) struct Change<K, V> {
    pub(super) event: PresenceEvent<K, V>,
    /// What is in the room no more. To be dropped once no lock is held.
    pub(super) replaced: Option<Arc<V>>,
}

impl<K, V> Room<K, V> {
    pub(super) fn new() -> Self {
        Self {
            people: HashMap::default(),
            next: 0,
            retired: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Adds a connection, and tells its number.
    pub(super) fn enter(
        &mut self,
        id: Fingerprint,
        key: &Arc<K>,
        value: &Arc<V>,
    ) -> (u64, PresenceEvent<K, V>) {
        let number = self.next;
        self.next += 1;
        let occupant = self.people.entry(id).or_insert_with(|| Occupant {
            joined: number,
            key: Arc::clone(key),
            connections: Vec::with_capacity(1),
        });
        occupant.connections.push((number, Arc::clone(value)));
        let person = occupant.person(id);
        let event = if person.connections == 1 {
            PresenceEvent::Joined(person)
        } else {
            PresenceEvent::Updated(person)
        };
        (number, event)
    }

    /// Sets a connection's value.
    pub(super) fn update(
        &mut self,
        id: Fingerprint,
        number: u64,
        value: Arc<V>,
    ) -> Option<Change<K, V>> {
        let occupant = self.people.get_mut(&id)?;
        let replaced = occupant.take(number);
        occupant.connections.push((number, value));
        Some(Change {
            event: PresenceEvent::Updated(occupant.person(id)),
            replaced,
        })
    }

    /// Removes a connection, and its person with the last one.
    pub(super) fn leave(&mut self, id: Fingerprint, number: u64) -> Option<Change<K, V>> {
        let occupant = self.people.get_mut(&id)?;
        if let [(_, value)] = &occupant.connections[..] {
            let value = Arc::clone(value);
            let Occupant { key, .. } = self.people.remove(&id)?;
            if self.people.len() < self.people.capacity() / 4 {
                self.people.shrink_to(self.people.len() * 2);
            }
            let person = Person {
                id,
                key,
                value,
                connections: 0,
            };
            return Some(Change {
                event: PresenceEvent::Left(person),
                replaced: None,
            });
        }
        let replaced = occupant.take(number);
        Some(Change {
            event: PresenceEvent::Updated(occupant.person(id)),
            replaced,
        })
    }

    /// Everyone, with the number that puts them in order.
    pub(super) fn people(&self) -> Vec<(u64, Person<K, V>)> {
        let people = self.people.iter();
        people
            .map(|(id, occupant)| (occupant.joined, occupant.person(*id)))
            .collect()
    }
}

impl<K, V> Occupant<K, V> {
    #[expect(
        clippy::expect_used,
        reason = "an occupant without connections is removed under the same lock"
    )]
    fn person(&self, id: Fingerprint) -> Person<K, V> {
        let (_, value) = self.connections.last().expect("somebody is connected");
        Person {
            id,
            key: Arc::clone(&self.key),
            value: Arc::clone(value),
            connections: self.connections.len(),
        }
    }

    fn take(&mut self, number: u64) -> Option<Arc<V>> {
        let connections = self.connections.iter();
        let index = connections
            .rev()
            .position(|(connection, _)| *connection == number)?;
        let index = self.connections.len() - 1 - index;
        Some(self.connections.remove(index).1)
    }
}

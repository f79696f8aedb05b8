//! Who is in one topic, on this node and on all others that are known of. Plain data: what changes is told to the caller,
//! who publishes it.

#[cfg(feature = "remote")]
mod merge;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

#[cfg(feature = "remote")]
use super::rosters::Rosters;
use super::{Person, PresenceEvent};
use crate::fingerprint::{Fingerprint, Prehashed};
#[cfg(feature = "remote")]
pub(super) use merge::{LATEST, Merged, Who};

pub(super) struct Room<K, V> {
    people: HashMap<Fingerprint, Occupant<K, V>, BuildHasherDefault<Prehashed>>,
    /// The highest number or time that was drawn here, or seen in what came from elsewhere: a Lamport clock.
    latest: u64,
    /// Set when the last one has left: the room's entry is about to go, and nobody may enter here any more.
    pub(super) retired: bool,
    /// Set where other nodes take part.
    #[cfg(feature = "remote")]
    pub(super) rosters: Option<Box<Rosters>>,
}

struct Occupant<K, V> {
    /// The number and node of the first of the connections that were ever seen: puts the people in order.
    joined: (u64, u64),
    key: Arc<K>,
    /// Never empty, in the order in which they set their values. The last one's is the person's.
    connections: Vec<Connection<V>>,
}

struct Connection<V> {
    /// When it set its value; orders connections together with what follows.
    stamp: u64,
    node: u64,
    number: u64,
    value: Arc<V>,
}

/// What has become of a room.
pub(super) struct Change<K, V> {
    pub(super) event: PresenceEvent<K, V>,
    /// When it happened, by the room's clock.
    #[cfg(feature = "remote")]
    pub(super) stamp: u64,
    /// What is in the room no more. To be dropped once no lock is held.
    pub(super) replaced: Option<Arc<V>>,
}

impl<K, V> Room<K, V> {
    pub(super) fn new() -> Self {
        Self {
            people: HashMap::default(),
            latest: 0,
            retired: false,
            #[cfg(feature = "remote")]
            rosters: None,
        }
    }

    #[cfg(feature = "remote")]
    pub(super) fn has_people(&self) -> bool {
        !self.people.is_empty()
    }

    /// Whether nobody needs the room.
    pub(super) fn is_idle(&self) -> bool {
        #[cfg(feature = "remote")]
        if let Some(rosters) = &self.rosters {
            return self.people.is_empty() && rosters.is_idle();
        }
        self.people.is_empty()
    }

    /// A number that is higher than all before it, and not below the floor.
    fn draw(&mut self, floor: u64) -> u64 {
        self.latest = self.latest.saturating_add(1).max(floor);
        self.latest
    }

    /// Adds a connection of this node's, and tells its number, which is not below the floor.
    pub(super) fn enter(
        &mut self,
        (node, floor): (u64, u64),
        id: Fingerprint,
        key: &Arc<K>,
        value: &Arc<V>,
    ) -> (u64, PresenceEvent<K, V>) {
        let number = self.draw(floor);
        let occupant = self.people.entry(id).or_insert_with(|| Occupant {
            joined: (number, node),
            key: Arc::clone(key),
            connections: Vec::with_capacity(1),
        });
        occupant.insert(Connection {
            stamp: number,
            node,
            number,
            value: Arc::clone(value),
        });
        let person = occupant.person(id);
        let event = if person.connections == 1 {
            PresenceEvent::Joined(person)
        } else {
            PresenceEvent::Updated(person)
        };
        (number, event)
    }

    /// Sets the value of one of this node's connections.
    pub(super) fn update(
        &mut self,
        (node, floor): (u64, u64),
        id: Fingerprint,
        number: u64,
        value: Arc<V>,
    ) -> Option<Change<K, V>> {
        let stamp = self.draw(floor);
        let occupant = self.people.get_mut(&id)?;
        let replaced = occupant.take(node, number);
        occupant.insert(Connection {
            stamp,
            node,
            number,
            value,
        });
        Some(Change {
            event: PresenceEvent::Updated(occupant.person(id)),
            #[cfg(feature = "remote")]
            stamp,
            replaced,
        })
    }

    /// Removes a connection of this node's, and its person with the last one.
    pub(super) fn leave(
        &mut self,
        (node, floor): (u64, u64),
        id: Fingerprint,
        number: u64,
    ) -> Option<Change<K, V>> {
        #[cfg_attr(
            not(feature = "remote"),
            expect(unused_variables, reason = "only other nodes ask when it was")
        )]
        let stamp = self.draw(floor);
        let occupant = self.people.get_mut(&id)?;
        let (event, replaced) = if occupant.connections.len() > 1 {
            let replaced = occupant.take(node, number);
            (PresenceEvent::Updated(occupant.person(id)), replaced)
        } else {
            let mut person = occupant.person(id);
            person.connections = 0;
            self.remove(id);
            (PresenceEvent::Left(person), None)
        };
        Some(Change {
            event,
            #[cfg(feature = "remote")]
            stamp,
            replaced,
        })
    }

    fn remove(&mut self, id: Fingerprint) -> Option<Occupant<K, V>> {
        let removed = self.people.remove(&id);
        if self.people.len() < self.people.capacity() / 4 {
            self.people.shrink_to(self.people.len() * 2);
        }
        removed
    }

    /// Everyone, with what puts them in order.
    pub(super) fn people(&self) -> Vec<((u64, u64), Person<K, V>)> {
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
        let last = self.connections.last().expect("somebody is connected");
        Person {
            id,
            key: Arc::clone(&self.key),
            value: Arc::clone(&last.value),
            connections: self.connections.len(),
        }
    }

    fn insert(&mut self, connection: Connection<V>) {
        self.joined = self.joined.min((connection.number, connection.node));
        let before = |other: &Connection<V>| other.order() < connection.order();
        let place = self.connections.partition_point(before);
        self.connections.insert(place, connection);
    }

    fn take(&mut self, node: u64, number: u64) -> Option<Arc<V>> {
        let connections = self.connections.iter();
        // The one that has changed last is the likeliest to change again.
        let index = connections
            .rev()
            .position(|connection| (connection.node, connection.number) == (node, number))?;
        let index = self.connections.len() - 1 - index;
        Some(self.connections.remove(index).value)
    }
}

impl<V> Connection<V> {
    /// Whoever set a value later has the higher stamp; of two at one time, the same one wins on every node.
    const fn order(&self) -> (u64, u64, u64) {
        (self.stamp, self.node, self.number)
    }
}

//! What comes from other nodes, merged into a room.
//!
//! Of each node there is one roster in the topic, which only that node changes, in versions. So rosters need no agreement:
//! whoever has the same version of each shows the same people.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::rosters::Roster;
use super::super::wire::Step;
use super::{Connection, Occupant, Person, PresenceEvent, Room};
use crate::fingerprint::{Fingerprint, Prehashed};

/// Whatever a node may claim, this node's clock goes on from there.
pub(in crate::presence) const LATEST: u64 = u64::MAX / 2;

/// Whose connection it is, and what it shows.
pub(in crate::presence) struct Who<K, V> {
    pub(in crate::presence) id: Fingerprint,
    pub(in crate::presence) key: Arc<K>,
    pub(in crate::presence) value: Arc<V>,
}

/// What merging has come to. To be dropped once no lock is held: keys and values may go with it.
pub(in crate::presence) struct Merged<K, V> {
    /// One for each person who has changed.
    pub(in crate::presence) events: Vec<PresenceEvent<K, V>>,
    /// Something between is missing: the store knows.
    pub(in crate::presence) is_gap: bool,
    garbage: Vec<Garbage<K, V>>,
}

#[expect(dead_code, reason = "what is in there is only to be dropped")]
pub(in crate::presence) enum Garbage<K, V> {
    Key(Arc<K>),
    Value(Arc<V>),
    Who(Who<K, V>),
    Person(Person<K, V>),
    Event(PresenceEvent<K, V>),
}

impl<K, V> Merged<K, V> {
    /// All that is to be dropped, one by one: each may panic.
    pub(in crate::presence) fn into_garbage(self) -> impl Iterator<Item = Garbage<K, V>> {
        let events = self.events.into_iter().map(Garbage::Event);
        self.garbage.into_iter().chain(events)
    }
}

/// One merge under way: who was who before it.
struct Merging<'a, K, V> {
    room: &'a mut Room<K, V>,
    node: u64,
    before: Vec<(Fingerprint, Option<Person<K, V>>)>,
    seen: HashSet<Fingerprint, BuildHasherDefault<Prehashed>>,
    garbage: Vec<Garbage<K, V>>,
}

impl<K, V> Room<K, V> {
    /// Takes a node's roster from one version to another. A `Set` without a `what` is of a connection that is known, or
    /// cannot be read.
    pub(in crate::presence) fn merge(
        &mut self,
        node: u64,
        (from, to): (u64, u64),
        steps: Vec<Step<Option<Who<K, V>>>>,
        turn: u64,
    ) -> Merged<K, V> {
        let rosters = self.rosters.get_or_insert_default();
        let mut roster = rosters.others.remove(&node).unwrap_or_default();
        roster.touched = turn;
        roster.absent_since = None;
        let is_old = to <= roster.version;
        let is_gap = from > roster.version;
        let mut merging = Merging::new(self, node);
        if is_old || is_gap {
            let rest = steps.into_iter().filter_map(|step| match step {
                Step::Set { what, .. } => what.map(Garbage::Who),
                Step::Leave { .. } => None,
            });
            merging.garbage.extend(rest);
        } else {
            merging.apply(&mut roster, from == 0, steps);
            roster.version = to;
        }
        let mut merged = merging.finish();
        merged.is_gap = is_gap && !is_old;
        let rosters = self.rosters.get_or_insert_default();
        rosters.others.insert(node, roster);
        merged
    }

    /// A node is gone, and all its people with it.
    pub(in crate::presence) fn remove_node(&mut self, node: u64) -> Merged<K, V> {
        let rosters = self.rosters.get_or_insert_default();
        let roster = rosters.others.remove(&node).unwrap_or_default();
        let mut merging = Merging::new(self, node);
        for (number, (id, _)) in roster.connections {
            merging.leave(id, number);
        }
        merging.finish()
    }

    /// Forgets whatever is of other nodes.
    pub(in crate::presence) fn remove_others(&mut self) -> Vec<Merged<K, V>> {
        let nodes: Vec<u64> = self
            .rosters
            .iter()
            .flat_map(|rosters| rosters.others.keys().copied())
            .collect();
        nodes
            .into_iter()
            .map(|node| self.remove_node(node))
            .collect()
    }

    /// The store was looked at since that turn, and has the rosters of these nodes. One that is missing for so long,
    /// without having been heard of, is nobody's. Gives when the next look is due, if one is.
    pub(in crate::presence) fn miss_absent(
        &mut self,
        present: &HashSet<u64>,
        turn: u64,
        (now, patience): (Instant, Duration),
    ) -> (Vec<Merged<K, V>>, Option<Instant>) {
        let mut again: Option<Instant> = None;
        let mut absent = Vec::new();
        let rosters = self.rosters.get_or_insert_default();
        for (node, roster) in &mut rosters.others {
            if present.contains(node) || roster.touched >= turn || roster.connections.is_empty() {
                continue;
            }
            let until = *roster.absent_since.get_or_insert(now) + patience;
            if until <= now {
                absent.push(*node);
            } else {
                again = Some(again.map_or(until, |again| again.min(until)));
            }
        }
        let merged = absent.into_iter().map(|node| self.remove_node(node));
        (merged.collect(), again)
    }
}

impl<'a, K, V> Merging<'a, K, V> {
    fn new(room: &'a mut Room<K, V>, node: u64) -> Self {
        Self {
            room,
            node,
            before: Vec::new(),
            seen: HashSet::default(),
            garbage: Vec::new(),
        }
    }

    fn apply(&mut self, roster: &mut Roster, is_whole: bool, steps: Vec<Step<Option<Who<K, V>>>>) {
        let mut named = HashSet::new();
        for step in steps {
            match step {
                Step::Set {
                    number,
                    stamp,
                    what,
                } => {
                    named.insert(number);
                    self.set(&mut roster.connections, number, stamp, what);
                }
                Step::Leave { number } => {
                    named.remove(&number);
                    if let Some((id, _)) = roster.connections.remove(&number) {
                        self.leave(id, number);
                    }
                }
            }
        }
        if is_whole {
            roster.connections.retain(|number, (id, _)| {
                let is_there = named.contains(number);
                if !is_there {
                    self.leave(*id, *number);
                }
                is_there
            });
        }
    }

    fn set(
        &mut self,
        connections: &mut HashMap<u64, (Fingerprint, u64)>,
        number: u64,
        stamp: u64,
        who: Option<Who<K, V>>,
    ) {
        self.room.latest = self.room.latest.max(stamp.min(LATEST));
        let Some(who) = who else {
            return;
        };
        if let Some((id, known)) = connections.get(&number).copied() {
            if known >= stamp {
                self.garbage.push(Garbage::Who(who));
                return;
            }
            if id == who.id {
                self.touch(id);
                let occupant = self.room.people.get_mut(&id);
                let value = occupant.and_then(|occupant| occupant.take(self.node, number));
                self.garbage.extend(value.map(Garbage::Value));
            } else {
                self.leave(id, number);
            }
        }
        self.touch(who.id);
        connections.insert(number, (who.id, stamp));
        let occupant = self.room.people.entry(who.id);
        let occupant = occupant.or_insert_with(|| Occupant {
            joined: (number, self.node),
            key: Arc::clone(&who.key),
            connections: Vec::with_capacity(1),
        });
        occupant.insert(Connection {
            stamp,
            node: self.node,
            number,
            value: who.value,
        });
        self.garbage.push(Garbage::Key(who.key));
    }

    fn leave(&mut self, id: Fingerprint, number: u64) {
        self.touch(id);
        let Some(occupant) = self.room.people.get_mut(&id) else {
            return;
        };
        let value = occupant.take(self.node, number);
        self.garbage.extend(value.map(Garbage::Value));
        if occupant.connections.is_empty() {
            let removed = self.room.remove(id);
            let key = removed.map(|occupant| Garbage::Key(occupant.key));
            self.garbage.extend(key);
        }
    }

    /// Notes how a person was before the first change.
    fn touch(&mut self, id: Fingerprint) {
        if self.seen.insert(id) {
            let occupant = self.room.people.get(&id);
            self.before
                .push((id, occupant.map(|occupant| occupant.person(id))));
        }
    }

    fn finish(self) -> Merged<K, V> {
        let mut garbage = self.garbage;
        let mut events = Vec::new();
        for (id, before) in self.before {
            let now = self.room.people.get(&id);
            let now = now.map(|occupant| occupant.person(id));
            match (before, now) {
                (None, Some(person)) => events.push(PresenceEvent::Joined(person)),
                (Some(mut person), None) => {
                    person.connections = 0;
                    events.push(PresenceEvent::Left(person));
                }
                (Some(before), Some(person)) => {
                    garbage.push(Garbage::Person(before));
                    events.push(PresenceEvent::Updated(person));
                }
                (None, None) => {}
            }
        }
        Merged {
            events,
            is_gap: false,
            garbage,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::hash::RandomState;

    use bytes::Bytes;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::super::super::wire::{Change, Entry};
    use super::*;

    const NODES: usize = 3;

    /// What can happen, to and between nodes by their numbers.
    #[derive(Debug, Clone, Copy)]
    enum Happening {
        Enter {
            node: usize,
            key: u32,
            value: u32,
        },
        Update {
            node: usize,
            member: Index,
            value: u32,
        },
        Leave {
            node: usize,
            member: Index,
        },
        Tell {
            node: usize,
        },
        Write {
            node: usize,
        },
        Arrive {
            from: usize,
            to: usize,
        },
        IsLost {
            from: usize,
            to: usize,
        },
        Read {
            node: usize,
        },
        /// One is taken for dead by another, and shows itself again.
        IsMissed {
            node: usize,
            by: usize,
        },
        Dies {
            node: usize,
        },
        /// Nobody is there or watches any more; then somebody does.
        RoomGoes {
            node: usize,
        },
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let node = || 0..NODES;
        let (key, value) = (0_u32..4, any::<u32>());
        prop_oneof![
            6 => (node(), key, value)
                .prop_map(|(node, key, value)| Happening::Enter { node, key, value }),
            4 => (node(), any::<Index>(), value)
                .prop_map(|(node, member, value)| Happening::Update { node, member, value }),
            4 => (node(), any::<Index>()).prop_map(|(node, member)| Happening::Leave { node, member }),
            6 => node().prop_map(|node| Happening::Tell { node }),
            3 => node().prop_map(|node| Happening::Write { node }),
            10 => (node(), node()).prop_map(|(from, to)| Happening::Arrive { from, to }),
            1 => (node(), node()).prop_map(|(from, to)| Happening::IsLost { from, to }),
            2 => node().prop_map(|node| Happening::Read { node }),
            1 => (node(), node()).prop_map(|(node, by)| Happening::IsMissed { node, by }),
            1 => node().prop_map(|node| Happening::Dies { node }),
            2 => node().prop_map(|node| Happening::RoomGoes { node }),
        ]
    }

    struct Node {
        room: Room<u32, u32>,
        secret: RandomState,
        /// Nodes' clocks differ, and one is stuck.
        clock: u64,
        pace: u64,
        members: Vec<(Fingerprint, u64)>,
        is_dead: bool,
        must_read: bool,
        /// What a watcher knows by events alone: value and connections, by key.
        told: HashMap<u32, (u32, usize)>,
    }

    struct World {
        nodes: Vec<Node>,
        /// By sender and receiver.
        travelling: HashMap<(usize, usize), VecDeque<Change>>,
        store: HashMap<usize, Change>,
    }

    impl Node {
        fn now(&mut self, id: usize) -> (u64, u64) {
            self.clock += self.pace;
            (id as u64, self.clock)
        }

        fn note(&mut self, note: impl FnOnce(&mut super::super::Rosters)) {
            let rosters = self.room.rosters.get_or_insert_default();
            rosters.is_watched = true;
            note(rosters);
            self.clock = self.clock.max(rosters.version() + 1);
        }

        fn hear(&mut self, event: &PresenceEvent<u32, u32>) {
            let person = event.person();
            let state = (*person.value(), person.connections());
            match event {
                PresenceEvent::Joined(person) => {
                    assert_eq!(self.told.insert(*person.key(), state), None);
                }
                PresenceEvent::Updated(person) => {
                    assert!(self.told.insert(*person.key(), state).is_some());
                }
                PresenceEvent::Left(person) => {
                    assert!(self.told.remove(person.key()).is_some());
                }
            }
        }

        fn take(&mut self, change: Change) {
            let bytes = |bytes: &Bytes| u32::from_be_bytes(bytes[..].try_into().unwrap());
            let rosters = self.room.rosters.get_or_insert_default();
            let steps = change.steps.into_iter().map(|step| {
                let is_new = rosters.is_new(change.node, &step);
                match step {
                    Step::Set {
                        number,
                        stamp,
                        what,
                    } => {
                        let key = bytes(&what.key);
                        let what = is_new.then(|| Who {
                            id: Fingerprint::new(&key, &self.secret),
                            key: Arc::new(key),
                            value: Arc::new(bytes(&what.value)),
                        });
                        Step::Set {
                            number,
                            stamp,
                            what,
                        }
                    }
                    Step::Leave { number } => Step::Leave { number },
                }
            });
            let steps = steps.collect();
            let merged = self
                .room
                .merge(change.node, (change.from, change.to), steps, 0);
            self.must_read |= merged.is_gap;
            for event in &merged.events {
                self.hear(event);
            }
        }

        fn bury(&mut self, node: usize) {
            for event in &self.room.remove_node(node as u64).events {
                self.hear(event);
            }
        }

        fn shows(&self) -> HashMap<u32, (u32, usize)> {
            let people = self.room.people().into_iter();
            people
                .map(|(_, person)| (*person.key(), (*person.value(), person.connections())))
                .collect()
        }
    }

    impl World {
        fn new() -> Self {
            let nodes = [5, 1, 0].map(|pace| Node {
                room: Room::new(),
                secret: RandomState::new(),
                clock: 0,
                pace,
                members: Vec::new(),
                is_dead: false,
                must_read: false,
                told: HashMap::new(),
            });
            Self {
                nodes: nodes.into(),
                travelling: HashMap::new(),
                store: HashMap::new(),
            }
        }

        fn whole(&self, id: usize) -> Option<Change> {
            let rosters = self.nodes[id].room.rosters.as_ref()?;
            (rosters.version() > 0).then(|| Change {
                node: id as u64,
                from: 0,
                to: rosters.version(),
                encoding: 1,
                steps: rosters.own_steps(),
            })
        }

        fn send(&mut self, from: usize, change: &Change) {
            for to in (0..NODES).filter(|to| *to != from) {
                let queue = self.travelling.entry((from, to)).or_default();
                queue.push_back(change.clone());
            }
        }

        fn happen(&mut self, happening: Happening) {
            match happening {
                Happening::Enter {
                    node: id,
                    key,
                    value,
                } => {
                    let node = &mut self.nodes[id];
                    if node.is_dead {
                        return;
                    }
                    let fingerprint = Fingerprint::new(&key, &node.secret);
                    let now = node.now(id);
                    let (number, event) =
                        node.room
                            .enter(now, fingerprint, &Arc::new(key), &Arc::new(value));
                    node.hear(&event);
                    node.members.push((fingerprint, number));
                    let bytes = |number: u32| Bytes::from(number.to_be_bytes().to_vec());
                    let entry = Entry {
                        key: bytes(key),
                        value: bytes(value),
                    };
                    node.note(|own| assert!(own.set(number, number, entry, usize::MAX)));
                }
                Happening::Update {
                    node: id,
                    member,
                    value,
                } => {
                    let node = &mut self.nodes[id];
                    if node.is_dead || node.members.is_empty() {
                        return;
                    }
                    let (fingerprint, number) = *member.get(&node.members);
                    let key = *node.room.people[&fingerprint].key;
                    let now = node.now(id);
                    let change = node
                        .room
                        .update(now, fingerprint, number, Arc::new(value))
                        .unwrap();
                    node.hear(&change.event);
                    let bytes = |number: u32| Bytes::from(number.to_be_bytes().to_vec());
                    let entry = Entry {
                        key: bytes(key),
                        value: bytes(value),
                    };
                    node.note(|own| assert!(own.set(number, change.stamp, entry, usize::MAX)));
                }
                Happening::Leave { node: id, member } => {
                    let node = &mut self.nodes[id];
                    if node.is_dead || node.members.is_empty() {
                        return;
                    }
                    let place = member.index(node.members.len());
                    let (fingerprint, number) = node.members.remove(place);
                    let now = node.now(id);
                    let change = node.room.leave(now, fingerprint, number).unwrap();
                    node.hear(&change.event);
                    node.note(|own| own.leave(number, change.stamp));
                }
                Happening::Tell { node: id } => {
                    let node = &mut self.nodes[id];
                    let rosters = node.room.rosters.get_or_insert_default();
                    if node.is_dead {
                        return;
                    }
                    if let Some(news) = rosters.take_news() {
                        self.send(
                            id,
                            &Change {
                                node: id as u64,
                                from: news.from,
                                to: news.to,
                                encoding: 1,
                                steps: news.steps.unwrap(),
                            },
                        );
                    }
                }
                Happening::Write { node: id } => {
                    if let Some(whole) = self.whole(id).filter(|_| !self.nodes[id].is_dead) {
                        self.store.insert(id, whole.clone());
                        let word = Change {
                            from: whole.to,
                            steps: Vec::new(),
                            ..whole
                        };
                        self.send(id, &word);
                    }
                }
                Happening::Arrive { from, to } => {
                    let change = self
                        .travelling
                        .get_mut(&(from, to))
                        .and_then(VecDeque::pop_front);
                    // Nobody listens to the dead.
                    if let Some(change) = change.filter(|_| !self.nodes[from].is_dead) {
                        self.nodes[to].take(change);
                    }
                }
                Happening::IsLost { from, to } => {
                    let lost = self
                        .travelling
                        .get_mut(&(from, to))
                        .and_then(VecDeque::pop_front);
                    self.nodes[to].must_read |= lost.is_some();
                }
                Happening::Read { node: id } => {
                    self.nodes[id].must_read = false;
                    for (from, whole) in self.store.clone() {
                        if from != id && !self.nodes[from].is_dead {
                            self.nodes[id].take(whole);
                        }
                    }
                }
                Happening::IsMissed { node, by } => {
                    if node == by || self.nodes[node].is_dead {
                        return;
                    }
                    self.nodes[by].bury(node);
                    // Who is back is not heard before it shows itself, as whole as it is.
                    self.travelling.remove(&(node, by));
                    if let Some(whole) = self.whole(node) {
                        self.travelling
                            .entry((node, by))
                            .or_default()
                            .push_back(whole);
                    }
                }
                Happening::Dies { node } => {
                    if self.nodes.iter().filter(|node| !node.is_dead).count() == 1 {
                        return;
                    }
                    self.nodes[node].is_dead = true;
                    for other in (0..NODES).filter(|other| *other != node) {
                        self.nodes[other].bury(node);
                    }
                }
                Happening::RoomGoes { node } => {
                    if self.nodes[node].is_dead || !self.nodes[node].members.is_empty() {
                        return;
                    }
                    self.happen(Happening::Tell { node });
                    self.happen(Happening::Write { node });
                    for other in (0..NODES).filter(|other| *other != node) {
                        self.nodes[node].bury(other);
                    }
                    self.nodes[node].room = Room::new();
                    self.nodes[node].must_read = true;
                }
            }
        }

        /// Lets everything come to rest.
        fn settle(&mut self) {
            for node in 0..NODES {
                self.happen(Happening::Tell { node });
                self.happen(Happening::Write { node });
            }
            for from in 0..NODES {
                for to in 0..NODES {
                    while self
                        .travelling
                        .get(&(from, to))
                        .is_some_and(|queue| !queue.is_empty())
                    {
                        self.happen(Happening::Arrive { from, to });
                    }
                }
            }
            for node in 0..NODES {
                if self.nodes[node].must_read {
                    self.happen(Happening::Read { node });
                    assert!(!self.nodes[node].must_read, "what was read leaves no gap");
                }
            }
        }

        /// All connections to living nodes, by key: the value of the latest, and their number.
        fn union(&self) -> HashMap<u32, (u32, usize)> {
            let mut all = HashMap::<u32, Vec<((u64, usize, u64), u32)>>::new();
            for (id, node) in self
                .nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| !node.is_dead)
            {
                let rosters = node.room.rosters.iter();
                for step in rosters.flat_map(|rosters| rosters.own_steps()) {
                    let Step::Set {
                        number,
                        stamp,
                        what,
                    } = step
                    else {
                        continue;
                    };
                    let bytes = |bytes: &Bytes| u32::from_be_bytes(bytes[..].try_into().unwrap());
                    let connections = all.entry(bytes(&what.key)).or_default();
                    connections.push(((stamp, id, number), bytes(&what.value)));
                }
            }
            let latest = all.into_iter().map(|(key, connections)| {
                let (_, value) = connections.iter().max().unwrap();
                (key, (*value, connections.len()))
            });
            latest.collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn b8_whatever_happens_all_nodes_come_to_show_the_same(
            happenings in prop::collection::vec(happening(), 0..120)
        ) {
            let mut world = World::new();
            for happening in happenings {
                world.happen(happening);
            }
            world.settle();
            let union = world.union();
            for node in world.nodes.iter().filter(|node| !node.is_dead) {
                prop_assert_eq!(&node.shows(), &union);
                prop_assert_eq!(&node.told, &union, "what was told adds up to it");
            }
        }
    }

    fn set(secret: &RandomState, number: u64, key: u32) -> Step<Option<Who<u32, u32>>> {
        let id = Fingerprint::new(&key, secret);
        let (key, value) = (Arc::new(key), Arc::new(0));
        Step::Set {
            number,
            stamp: number,
            what: Some(Who { id, key, value }),
        }
    }

    #[test]
    fn b8_a_roster_that_the_store_has_lost_is_kept_until_the_second_look() {
        let mut room = Room::new();
        let secret = RandomState::new();
        let _ = room.merge(7, (0, 1), vec![set(&secret, 1, 1)], 1);
        let _ = room.merge(8, (0, 1), vec![set(&secret, 1, 2)], 1);
        let start = Instant::now();
        let patience = Duration::from_secs(60);
        let at = |seconds| start + Duration::from_secs(seconds);
        let present = HashSet::from([8]);
        let look = |room: &mut Room<u32, u32>, turn, seconds| {
            room.miss_absent(&present, turn, (at(seconds), patience))
        };
        let (merged, again) = look(&mut room, 2, 0);
        assert!(merged.is_empty() && again == Some(at(60)));
        // Heard of after the look began: it is there.
        let _ = room.merge(7, (1, 2), vec![set(&secret, 2, 1)], 3);
        assert_eq!(look(&mut room, 3, 10).1, None);
        assert_eq!(look(&mut room, 4, 20).1, Some(at(80)));
        let (merged, again) = look(&mut room, 5, 79);
        assert!(merged.is_empty() && again == Some(at(80)), "too early");
        let (merged, again) = look(&mut room, 6, 80);
        assert_eq!(again, None);
        assert!(matches!(merged[0].events[..], [PresenceEvent::Left(_)]));
        assert_eq!(room.people().len(), 1);
    }

    #[test]
    fn b8_a_connection_that_is_another_persons_by_now_leaves_the_first() {
        let mut room = Room::<u32, u32>::new();
        let secret = RandomState::new();
        let _ = room.merge(7, (0, 1), vec![set(&secret, 1, 1)], 1);
        let Step::Set { what, .. } = set(&secret, 1, 2) else {
            return;
        };
        let later = Step::Set {
            number: 1,
            stamp: 2,
            what,
        };
        let _ = room.merge(7, (1, 2), vec![later], 2);
        let people = room.people();
        let people: Vec<_> = people
            .iter()
            .map(|(_, person)| (*person.key, person.connections))
            .collect();
        assert_eq!(people, [(2, 1)]);
    }

    #[test]
    fn b8_no_clock_of_others_stops_the_own() {
        let mut room = Room::<u32, u32>::new();
        let (key, secret) = (Arc::new(1), RandomState::new());
        let _ = room.merge(7, (0, u64::MAX), vec![set(&secret, u64::MAX, 1)], 1);
        let mut numbers: Vec<u64> = Vec::new();
        for _ in 0..3 {
            numbers.push(
                room.enter((0, 5), Fingerprint::new(&2, &secret), &key, &key)
                    .0,
            );
        }
        assert!(
            numbers.is_sorted_by(|one, other| one < other),
            "{numbers:?}"
        );
    }
}

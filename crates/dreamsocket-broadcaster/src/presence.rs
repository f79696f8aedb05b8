//! [`Presence`]: who is in a topic, in this process and, where it reaches them, in others.
//!
//! It knows no broadcaster of the application's: it has topics of its own for what changes. **Locks**, in the order in
//! which they may be held together: a room's, then those that a publish takes. A change is made and published under the
//! room's lock, and so is a watcher's list read and its channel subscribed: that is what makes the two fit. No code of
//! the user's runs there: keys are compared by their fingerprints, keys and values are shared, not cloned, and what has
//! to be woken or dropped waits until the lock is released.

#[cfg(feature = "remote")]
pub(crate) mod options;
#[cfg(feature = "remote")]
pub(crate) mod remote;
mod room;
#[cfg(feature = "remote")]
mod rosters;
#[cfg(feature = "remote")]
mod wire;

use std::fmt;
use std::hash::{Hash, RandomState};
#[cfg(feature = "remote")]
use std::sync::Weak;
use std::sync::{Arc, MutexGuard};

use crate::channel::Channel;
use crate::deferred::Deferred;
use crate::directory::Directory;
#[cfg(feature = "remote")]
use crate::engine::SubscriberId;
use crate::engine::{Engine, Name, Sink, Unsubscribe};
use crate::fingerprint::Fingerprint;
use crate::health::Health;
use crate::keyer::{KeyFunction, Keyer, KeyerId};
use crate::local::Local;
use crate::lock::Lock;
use crate::options::{ChannelOptions, Policy};
use crate::queue::Queue;
#[cfg(feature = "remote")]
use remote::Outer;
use room::Room;

/// Who is in which topic, with a small value each: a name, a colour, whether they are typing.
///
/// `K` tells people apart, `V` is what is shown of them. One person may be there many times, with three tabs or two
/// devices: each is a connection with a [`Member`] of its own, and the person joins with the first and leaves with the
/// last. A member leaves when it is dropped, whatever drops it: a handler's end, a panic, a cancelled future, a runtime
/// that shuts down.
///
/// Cheap to clone; all clones are the same. Its topics are names like those of a [`Broadcaster`](crate::Broadcaster), and
/// apart from them. A topic without members and watchers takes no memory.
///
/// ```
/// use dreamsocket_broadcaster::{Delivery, Presence, PresenceEvent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let presence = Presence::new();
/// let ada = presence.enter("lobby", 1, "Ada");
/// let (people, mut changes) = presence.watch("lobby");
/// assert_eq!(people.len(), 1);
/// assert_eq!((people[0].key(), people[0].value()), (&1, &"Ada"));
///
/// drop(ada);
/// match changes.recv().await {
///     Some(Delivery::Message(PresenceEvent::Left(person))) => assert_eq!(person.value(), &"Ada"),
///     other => panic!("{other:?}"),
/// }
/// # }
/// ```
pub struct Presence<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    rooms: Directory<Lock<Room<K, V>>>,
    events: Arc<Local<PresenceEvent<K, V>>>,
    /// Keys may be chosen by peers.
    secret: RandomState,
    /// Set where other nodes take part.
    #[cfg(feature = "remote")]
    outer: Option<Arc<Outer<K, V>>>,
}

/// What a channel knows of a presence that reaches others: they need not be followed when nobody watches.
#[cfg(feature = "remote")]
struct Watching<K, V> {
    shared: Weak<Shared<K, V>>,
    events: Arc<Local<PresenceEvent<K, V>>>,
}

/// One connection's stay in a topic. Dropping it leaves.
#[must_use = "dropping a member leaves the topic"]
pub struct Member<K, V> {
    shared: Arc<Shared<K, V>>,
    room: Arc<Lock<Room<K, V>>>,
    topic: Name,
    id: Fingerprint,
    key: Arc<K>,
    number: u64,
}

/// Somebody who is in a topic, however many connections they have there.
///
/// Cheap to clone: it shares its key and value.
pub struct Person<K, V> {
    id: Fingerprint,
    key: Arc<K>,
    value: Arc<V>,
    connections: usize,
}

/// What has changed in a topic.
#[expect(
    clippy::exhaustive_enums,
    reason = "people come, change and go; whoever follows them must not need a fourth arm"
)]
pub enum PresenceEvent<K, V> {
    /// Somebody is there who was not: with the first of their connections.
    Joined(Person<K, V>),
    /// Somebody who is there has another value, or another number of connections.
    Updated(Person<K, V>),
    /// Somebody is not there any more: the last of their connections is gone. The value is that which they had last.
    Left(Person<K, V>),
}

/// What [`Presence::watch`] gives: a channel of what changes.
pub type PresenceChannel<K, V> = Channel<PresenceEvent<K, V>>;

/// How to watch a topic.
///
/// | option | default | |
/// |---|---|---|
/// | [`capacity`](Self::capacity) | 256 events | past it the oldest is dropped, and the channel tells how many |
/// | [`latest_per_person`](Self::latest_per_person) | no | an event replaces one of the same person that still waits |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct WatchOptions {
    capacity: usize,
    is_latest: bool,
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Presence<K, V> {
    /// Presence within this process. Other constructors, of the features `nats`, `redis` and `remote`, reach others.
    #[must_use]
    pub fn new() -> Self {
        Self {
            #[cfg(feature = "remote")]
            shared: Arc::new(Shared::new(None)),
            #[cfg(not(feature = "remote"))]
            shared: Arc::new(Shared::new()),
        }
    }

    /// Enters a topic, until the member is dropped.
    ///
    /// Watchers get [`Joined`](PresenceEvent::Joined) if this is the person's first connection there, else
    /// [`Updated`](PresenceEvent::Updated). People are told apart by 128 bits of a hash with a secret of this `Presence`:
    /// the key's `Hash` has to cover whatever its `Eq` compares, as a derived one does. Two connections with one key are
    /// one person, and the key that is shown is the first one's.
    ///
    /// The person's value is what the last of their connections to enter or to [`update`](Member::update) has set, of
    /// those that are still there: when that one leaves, the value that was set before it is the person's again.
    pub fn enter(&self, topic: impl Into<Arc<str>>, key: K, value: V) -> Member<K, V> {
        let shared = &self.shared;
        let topic = shared.events.name(topic.into());
        let id = Fingerprint::new(&key, &shared.secret);
        #[cfg(feature = "remote")]
        let outer = shared.outer_of(&topic);
        #[cfg(feature = "remote")]
        let mut entry = outer.and_then(|outer| outer.encode(&key, &value));
        #[cfg(feature = "remote")]
        let mut is_fit = true;
        let (key, value) = (Arc::new(key), Arc::new(value));
        let mut deferred = Deferred::new();
        let (room, number) = shared.with_room(&topic, |room| {
            let (number, event) = room.enter(shared.now(), id, &key, &value);
            shared.publish(&topic, event, &mut deferred);
            #[cfg(feature = "remote")]
            if let Some((outer, entry)) = outer.zip(entry.take()) {
                let limit = outer.options.max_roster;
                is_fit = outer.note(&topic, room, |own| own.set(number, number, entry, limit));
            }
            number
        });
        // Before anything that may panic: whoever has entered leaves.
        let member = Member {
            shared: Arc::clone(shared),
            room,
            topic,
            id,
            key,
            number,
        };
        drop(deferred);
        #[cfg(feature = "remote")]
        if let Some(outer) = outer {
            outer.check(is_fit);
        }
        member
    }

    /// Who is in the topic now, in the order in which they joined.
    ///
    /// Where presence reaches other nodes, their people are known as long as somebody in this process
    /// [watches](Self::watch) the topic, from shortly after the first has begun to.
    #[must_use]
    pub fn people(&self, topic: &str) -> Vec<Person<K, V>> {
        let topic = self.shared.events.name(topic.into());
        let room = self.shared.rooms.find(&topic);
        room.map_or_else(Vec::new, |room| in_order(room.lock().people()))
    }

    /// Who is in the topic now, in the order in which they joined, and everything that changes from then on.
    ///
    /// The two fit: the list has all that happened before, the channel all that happens after, nothing is in both or in
    /// neither. If the channel tells of a gap, the list is stale: watch again, or watch for the
    /// [latest per person](WatchOptions::latest_per_person), where only who is missing by the count is.
    ///
    /// Where presence reaches other nodes and nobody here has watched the topic before, their people are not known yet:
    /// they come as [`Joined`](PresenceEvent::Joined), shortly after.
    ///
    /// The channel ends when the last `Presence` and the last [`Member`] are gone.
    #[must_use = "dropping the channel ends the watch"]
    pub fn watch(&self, topic: impl Into<Arc<str>>) -> (Vec<Person<K, V>>, PresenceChannel<K, V>) {
        self.watch_with(topic, WatchOptions::new())
    }

    /// As [`watch`](Self::watch), with options of one's own.
    #[must_use = "dropping the channel ends the watch"]
    pub fn watch_with(
        &self,
        topic: impl Into<Arc<str>>,
        options: WatchOptions,
    ) -> (Vec<Person<K, V>>, PresenceChannel<K, V>) {
        let shared = &self.shared;
        let topic = shared.events.name(topic.into());
        let queue = Arc::new(Queue::new(options.into_channel_options()));
        let sink = Arc::clone(&queue) as Arc<dyn Sink<PresenceEvent<K, V>>>;
        // Nothing is kept, so that nothing is too old.
        let mut deferred = Deferred::new();
        let (_, (people, id)) = shared.with_room(&topic, |room| {
            let id = shared.events.subscribe(&topic, sink, None, &mut deferred);
            #[cfg(feature = "remote")]
            if let Some(outer) = shared.outer_of(&topic) {
                outer.call(&topic, room);
            }
            (room.people(), id)
        });
        let events = shared.unsubscribe(&topic);
        (
            in_order(people),
            Channel::new(queue, topic, id, events, None),
        )
    }
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Presence<K, V> {
    /// Waits until the people of other nodes are known in a topic that is [watched](Self::watch) here: what is listed
    /// by then is everybody, as far as the store knows.
    ///
    /// Returns at once in process, if they are known already, and if nobody here watches the topic. It has no bound
    /// of its own: as long as the broker is away, nothing is known. Cancel-safe.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::Presence;
    /// # use std::time::Duration;
    /// # async fn enter(presence: &Presence<String, ()>) {
    /// let (_, changes) = presence.watch("lobby");
    /// // Better late than never: whoever is missing comes as `Joined`.
    /// let _ = tokio::time::timeout(Duration::from_millis(500), presence.known("lobby")).await;
    /// let people = presence.people("lobby");
    /// # }
    /// ```
    pub async fn known(&self, topic: &str) {
        #[cfg(feature = "remote")]
        self.shared
            .when_read(&self.shared.events.name(topic.into()))
            .await;
        #[cfg(not(feature = "remote"))]
        let _ = topic;
    }
}

impl<K, V> Presence<K, V> {
    /// How many topics have members.
    #[must_use]
    pub fn topics(&self) -> usize {
        #[cfg(feature = "remote")]
        if self.shared.outer.is_some() {
            // Some rooms are there only because they are watched.
            let rooms = self.shared.rooms.entries().into_iter();
            return rooms.filter(|(_, room)| room.lock().has_people()).count();
        }
        self.shared.rooms.len()
    }

    /// Whether the people of other nodes are known as far as they are watched: for a readiness probe.
    ///
    /// It is connected when both the link and the store work, and a topic is pending until it was read. What cannot be
    /// read, or is too large to be shown to others, counts as undecodable. In process it is always well.
    #[must_use]
    pub fn health(&self) -> Health {
        #[cfg(feature = "remote")]
        if let Some(outer) = &self.shared.outer {
            return outer.health();
        }
        Health::in_process()
    }
}

impl<K, V> Shared<K, V> {
    fn new(#[cfg(feature = "remote")] outer: Option<Arc<Outer<K, V>>>) -> Self {
        Self {
            rooms: Directory::new(),
            events: Arc::new(Local::new()),
            secret: RandomState::new(),
            #[cfg(feature = "remote")]
            outer,
        }
    }

    /// Who this node is, and the lowest number that its next change may have.
    #[cfg_attr(
        not(feature = "remote"),
        expect(clippy::unused_self, reason = "only other nodes need to know")
    )]
    fn now(&self) -> (u64, u64) {
        #[cfg(feature = "remote")]
        if let Some(outer) = &self.outer {
            return outer.now();
        }
        (0, 0)
    }

    /// The way to other nodes, if a topic has one.
    #[cfg(feature = "remote")]
    fn outer_of(&self, topic: &Name) -> Option<&Outer<K, V>> {
        let outer = self.outer.as_deref();
        outer.filter(|outer| outer.reaches(topic))
    }

    /// Releases a room's lock, and lets go of the room if nobody needs it.
    fn let_go(
        &self,
        topic: &Name,
        lock: &Arc<Lock<Room<K, V>>>,
        mut room: MutexGuard<'_, Room<K, V>>,
    ) {
        room.retired = room.is_idle();
        let is_retired = room.retired;
        drop(room);
        if is_retired {
            self.rooms.remove(topic, lock);
        }
    }

    /// Runs `f` on the topic's room with its lock held, and lets go of the room if nobody is in it then.
    fn with_room<R>(
        &self,
        topic: &Name,
        f: impl FnOnce(&mut Room<K, V>) -> R,
    ) -> (Arc<Lock<Room<K, V>>>, R) {
        loop {
            let lock = self.rooms.find_or_insert(topic, || Lock::new(Room::new()));
            let mut room = lock.lock();
            if room.retired {
                drop(room);
                self.rooms.remove(topic, &lock);
                continue;
            }
            let result = f(&mut room);
            self.let_go(topic, &lock, room);
            return (lock, result);
        }
    }

    /// Publishes with the room's lock held. The only key function there is, is [`PersonKey`].
    fn publish(
        &self,
        topic: &Name,
        event: PresenceEvent<K, V>,
        deferred: &mut Deferred<PresenceEvent<K, V>>,
    ) {
        self.events.publish_deferred(topic, event, None, deferred);
    }
}

impl<K, V> Drop for Shared<K, V> {
    fn drop(&mut self) {
        self.events.end();
        #[cfg(feature = "remote")]
        if let Some(outer) = &self.outer {
            outer.close();
        }
    }
}

impl<K: Send + Sync + 'static, V: Send + Sync + 'static> Shared<K, V> {
    /// What a channel that watches is to do when it is dropped.
    #[cfg(not(feature = "remote"))]
    fn unsubscribe(self: &Arc<Self>, _: &Name) -> Arc<dyn Unsubscribe> {
        Arc::clone(&self.events) as Arc<dyn Unsubscribe>
    }

    /// What a channel that watches is to do when it is dropped.
    #[cfg(feature = "remote")]
    fn unsubscribe(self: &Arc<Self>, topic: &Name) -> Arc<dyn Unsubscribe> {
        let events = Arc::clone(&self.events);
        if self.outer_of(topic).is_none() {
            return events;
        }
        Arc::new(Watching {
            shared: Arc::downgrade(self),
            events,
        })
    }
}

#[cfg(feature = "remote")]
impl<K: Send + Sync, V: Send + Sync> Unsubscribe for Watching<K, V> {
    fn unsubscribe(&self, topic: &Name, id: SubscriberId) {
        self.events.unsubscribe(topic, id);
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        if let Some(outer) = shared.outer_of(topic)
            && let Some(lock) = shared.rooms.find(topic)
        {
            let mut room = lock.lock();
            if !room.retired {
                outer.call(topic, &mut room);
            }
        }
    }
}

/// Clones and sorts nothing of the user's.
fn in_order<K, V>(mut people: Vec<((u64, u64), Person<K, V>)>) -> Vec<Person<K, V>> {
    people.sort_unstable_by_key(|(joined, _)| *joined);
    people.into_iter().map(|(_, person)| person).collect()
}

impl<K, V> Member<K, V> {
    /// Sets the value of this connection, and by that the person's. Watchers get [`Updated`](PresenceEvent::Updated),
    /// even if the value is the same.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::Presence;
    /// let presence = Presence::new();
    /// let (phone, laptop) = (presence.enter("lobby", 1, "idle"), presence.enter("lobby", 1, "idle"));
    /// phone.update("typing");
    /// assert_eq!(presence.people("lobby")[0].value(), &"typing");
    /// drop(phone);
    /// assert_eq!(presence.people("lobby")[0].value(), &"idle");
    /// # drop(laptop);
    /// ```
    pub fn update(&self, value: V) {
        #[cfg(feature = "remote")]
        let outer = self.shared.outer_of(&self.topic);
        #[cfg(feature = "remote")]
        let entry = outer.and_then(|outer| outer.encode(&self.key, &value));
        #[cfg(feature = "remote")]
        let mut is_fit = true;
        let value = Arc::new(value);
        let mut deferred = Deferred::new();
        // Outlives the lock, with what it replaced.
        let _replaced = {
            let mut room = self.room.lock();
            let now = self.shared.now();
            room.update(now, self.id, self.number, value).map(|change| {
                self.shared
                    .publish(&self.topic, change.event, &mut deferred);
                #[cfg(feature = "remote")]
                if let Some((outer, entry)) = outer.zip(entry) {
                    let limit = outer.options.max_roster;
                    is_fit = outer.note(&self.topic, &mut room, |own| {
                        own.set(self.number, change.stamp, entry, limit)
                    });
                }
                change.replaced
            })
        };
        #[cfg(feature = "remote")]
        if let Some(outer) = outer {
            outer.check(is_fit);
        }
    }

    /// The name of the topic.
    #[must_use]
    pub fn topic_name(&self) -> &str {
        self.topic.as_str()
    }

    /// Whose connection this is.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.key
    }
}

impl<K, V> Drop for Member<K, V> {
    fn drop(&mut self) {
        let mut deferred = Deferred::new();
        let mut room = self.room.lock();
        let left = room.leave(self.shared.now(), self.id, self.number);
        let replaced = left.map(|change| {
            self.shared
                .publish(&self.topic, change.event, &mut deferred);
            #[cfg(feature = "remote")]
            if let Some(outer) = self.shared.outer_of(&self.topic) {
                outer.note(&self.topic, &mut room, |own| {
                    own.leave(self.number, change.stamp);
                    true
                });
            }
            change.replaced
        });
        self.shared.let_go(&self.topic, &self.room, room);
        drop(deferred);
        drop(replaced);
    }
}

impl<K, V> Person<K, V> {
    /// Who it is.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.key
    }

    /// What the person shows: see [`Presence::enter`].
    #[must_use]
    pub fn value(&self) -> &V {
        &self.value
    }

    /// How many connections the person has in the topic. None, if it has just [left](PresenceEvent::Left).
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.connections
    }
}

impl<K, V> PresenceEvent<K, V> {
    /// Whom it is about.
    #[must_use]
    pub const fn person(&self) -> &Person<K, V> {
        match self {
            Self::Joined(person) | Self::Updated(person) | Self::Left(person) => person,
        }
    }
}

impl WatchOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            capacity: 256,
            is_latest: false,
        }
    }

    /// How many events may wait in the channel, at least 1 (0 is taken as 1).
    pub const fn capacity(self, events: usize) -> Self {
        Self {
            capacity: events,
            ..self
        }
    }

    /// Keeps only the latest event of each person: for a list that shows how things are, not how they came about.
    ///
    /// Whoever is in the event is there, except if it is [`Left`](PresenceEvent::Left). A person who came and went
    /// meanwhile is a `Left` of somebody who is not in the list, and one who went and came back is a `Joined` of somebody
    /// who is. As long as the capacity is not less than the people who change meanwhile, there are no gaps.
    pub const fn latest_per_person(self) -> Self {
        Self {
            is_latest: true,
            ..self
        }
    }

    fn into_channel_options<K, V>(self) -> ChannelOptions<PresenceEvent<K, V>> {
        let options = ChannelOptions::new().capacity(self.capacity);
        if self.is_latest {
            options.policy(Policy::LatestPerKey(Keyer::new(PersonKey)))
        } else {
            options
        }
    }
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A key function that runs no code of the user's, and so may run under a room's lock.
struct PersonKey;

impl<K, V> KeyFunction<PresenceEvent<K, V>> for PersonKey {
    fn id(&self) -> KeyerId {
        KeyerId::of_type::<Self>()
    }

    fn key(&self, event: &PresenceEvent<K, V>, _: &RandomState) -> Fingerprint {
        event.person().id
    }
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Default for Presence<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for Presence<K, V> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K, V> Clone for Person<K, V> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
            connections: self.connections,
        }
    }
}

impl<K, V> Clone for PresenceEvent<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Joined(person) => Self::Joined(person.clone()),
            Self::Updated(person) => Self::Updated(person.clone()),
            Self::Left(person) => Self::Left(person.clone()),
        }
    }
}

impl<K, V> fmt::Debug for Presence<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("topics", &self.topics())
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for Member<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("topic", &self.topic_name())
            .finish_non_exhaustive()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Person<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person")
            .field("key", self.key())
            .field("value", self.value())
            .field("connections", &self.connections)
            .finish()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for PresenceEvent<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Joined(_) => "Joined",
            Self::Updated(_) => "Updated",
            Self::Left(_) => "Left",
        };
        f.debug_tuple(name).field(self.person()).finish()
    }
}

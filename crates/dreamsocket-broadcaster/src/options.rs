//! [`ChannelOptions`]: what a subscriber chooses. Plain data.

use std::fmt;
use std::hash::Hash;

use crate::history::Begin;
use crate::keyer::Keyer;
use crate::position::Position;

/// How to subscribe: the choices of one channel.
///
/// | option | default | |
/// |---|---|---|
/// | [`capacity`](Self::capacity) | 256 messages | what may wait |
/// | [`drop_oldest`](Self::drop_oldest) | yes | when full, what has waited longest goes, and the gap is told |
/// | [`drop_newest`](Self::drop_newest) | | when full, what comes is not let in, and the gap is told |
/// | [`latest_per_key`](Self::latest_per_key) | | a message replaces one with the same key that still waits |
/// | [`end_when_full`](Self::end_when_full) | | one message too many ends the channel |
///
/// | [`since`](Self::since) | | begins with what was said behind a position |
/// | [`last`](Self::last) | | begins with the last messages that were said |
///
/// Of the four policies the one that was named last holds, and of the two beginnings.
#[must_use]
pub struct ChannelOptions<M> {
    pub(crate) capacity: usize,
    pub(crate) policy: Policy<M>,
    pub(crate) begin: Option<Begin>,
}

pub(crate) enum Policy<M> {
    DropOldest,
    DropNewest,
    LatestPerKey(Keyer<M>),
    End,
}

impl<M> ChannelOptions<M> {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            capacity: 256,
            policy: Policy::DropOldest,
            begin: None,
        }
    }

    /// How many messages may wait in the channel, at least 1 (0 is taken as 1).
    ///
    /// This is a bound and takes no memory: room is made as messages come.
    pub const fn capacity(mut self, messages: usize) -> Self {
        self.capacity = if messages == 0 { 1 } else { messages };
        self
    }

    /// When the channel is full, drops what has waited longest, and tells how many went where they were missed: for
    /// whoever wants to be up to date.
    pub fn drop_oldest(self) -> Self {
        self.policy(Policy::DropOldest)
    }

    /// When the channel is full, does not let in what comes, and tells how many stayed out where they are missed: for
    /// whoever has to see how something began.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, ChannelOptions, Delivery, Missed};
    /// let topic = Broadcaster::new().topic("log");
    /// let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(1).drop_newest());
    /// topic.publish("starting").unwrap();
    /// topic.publish("started").unwrap();
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Message("starting")));
    /// topic.publish("stopped").unwrap();
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Missed(Missed::new("log", Some(1)))));
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Message("stopped")));
    /// ```
    pub fn drop_newest(self) -> Self {
        self.policy(Policy::DropNewest)
    }

    /// Keeps only the latest message of each key: for values that replace each other, like prices and positions.
    ///
    /// A message takes the place of the one with the same key that still waits. It takes the **place**, too: a key that
    /// changes all the time is not pushed back by it, and nobody waits longer than for the keys that waited before. So
    /// messages of one key come in order, and messages of different keys need not. What was replaced is counted
    /// ([`ChannelCounts::coalesced`](crate::ChannelCounts::coalesced)) and not told as a gap.
    ///
    /// The capacity bounds the keys that wait. One more, and the one that has waited longest is dropped and told as a
    /// gap, as with [`drop_oldest`](Self::drop_oldest).
    ///
    /// A publish runs each key function once, however many subscribers use it, before it takes any lock. If it panics,
    /// its subscribers get the message all the same, replacing nothing, and the panic goes on in the publisher when
    /// everyone has the message. Keys are compared by 128 bits of a hash with a secret of this broadcaster: a key's
    /// `Hash` has to cover whatever its `Eq` compares, as a derived one does.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, ChannelOptions, Delivery};
    /// let topic = Broadcaster::new().topic("prices");
    /// let by_name = ChannelOptions::new().latest_per_key(|price: &(&'static str, u32)| price.0);
    /// let mut channel = topic.subscribe_with(by_name);
    /// for price in [("tea", 3), ("coffee", 4), ("tea", 5)] {
    ///     topic.publish(price).unwrap();
    /// }
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Message(("tea", 5))));
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Message(("coffee", 4))));
    /// assert!(channel.try_recv().is_err());
    /// ```
    pub fn latest_per_key<K>(self, key: fn(&M) -> K) -> Self
    where
        M: 'static,
        K: Hash + Eq + 'static,
    {
        self.policy(Policy::LatestPerKey(Keyer::from(key)))
    }

    /// Ends the channel when it is full and one more message comes: for whoever cannot use a stream with a gap.
    ///
    /// What waits is dropped at once, and its memory is free: the reader is to be told that it was too slow, not to be
    /// kept busy with what it cannot keep up with. [`Channel::end`](crate::Channel::end) then says
    /// [`End::Lagged`](crate::End::Lagged), and the topic has forgotten the subscriber.
    ///
    /// What an engine has lost on the way from another machine is told as a gap, here, too, and does not end the channel:
    /// it is not the subscriber that was slow, and if all ended by a lost connection all would come back at once.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, ChannelOptions, End, TryRecvError};
    /// let topic = Broadcaster::new().topic("orders");
    /// let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(1).end_when_full());
    /// topic.publish(1).unwrap();
    /// topic.publish(2).unwrap();
    /// assert_eq!(channel.try_recv(), Err(TryRecvError::Ended));
    /// assert_eq!(channel.end(), Some(End::Lagged));
    /// assert_eq!(topic.subscribers(), 0);
    /// ```
    pub fn end_when_full(self) -> Self {
        self.policy(Policy::End)
    }

    /// Begins with everything that was published behind that position, as far as the topic keeps it, and goes on with what
    /// is published: nothing in between is lost, doubled or out of order.
    ///
    /// If the position is not in the history any more, or never was, that is a gap like any other: the channel begins with
    /// [`Delivery::Missed`](crate::Delivery::Missed), and then comes everything that is kept. So it is with a topic that
    /// keeps none. What has a place in the history is found as long as it is kept, and until the message behind it is
    /// dropped.
    ///
    /// What is replayed does not count against the capacity; [`History::last`](crate::History::last) bounds it. With
    /// [`latest_per_key`](Self::latest_per_key) all of it comes, and what is published meanwhile is counted by key. Messages
    /// that were [not for this subscriber](crate::Topic::publish_except) are among it: nobody can tell who it was.
    ///
    /// On an engine that reaches other machines what is kept may have to be fetched. The channel waits for it, for 5 s;
    /// then it tells a gap and goes on with what is published.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, ChannelOptions, Delivery, History};
    /// let topic = Broadcaster::with_history(History::last(100)).topic("lobby");
    /// let mut channel = topic.subscribe();
    /// for number in 1..=3 {
    ///     topic.publish(number).unwrap();
    /// }
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Message(1)));
    /// let position = channel.position().unwrap();
    /// drop(channel);
    ///
    /// let mut again = topic.subscribe_with(ChannelOptions::new().since(position));
    /// assert_eq!(again.try_recv(), Ok(Delivery::Message(2)));
    /// assert_eq!(again.try_recv(), Ok(Delivery::Message(3)));
    /// ```
    pub const fn since(mut self, position: Position) -> Self {
        self.begin = Some(Begin::Behind(position));
        self
    }

    /// Begins with the last messages that were published, as many as are kept and at most so many, and goes on with what is
    /// published. As [`since`](Self::since), but what is not kept is not told as a gap.
    pub const fn last(mut self, messages: usize) -> Self {
        self.begin = Some(Begin::Last(messages));
        self
    }

    pub(crate) fn policy(self, policy: Policy<M>) -> Self {
        Self { policy, ..self }
    }
}

impl<M> Default for ChannelOptions<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for ChannelOptions<M> {
    fn clone(&self) -> Self {
        Self {
            capacity: self.capacity,
            policy: match &self.policy {
                Policy::DropOldest => Policy::DropOldest,
                Policy::DropNewest => Policy::DropNewest,
                Policy::LatestPerKey(keyer) => Policy::LatestPerKey(keyer.clone()),
                Policy::End => Policy::End,
            },
            begin: self.begin,
        }
    }
}

impl<M> fmt::Debug for ChannelOptions<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = match self.policy {
            Policy::DropOldest => "drop oldest",
            Policy::DropNewest => "drop newest",
            Policy::LatestPerKey(_) => "latest per key",
            Policy::End => "end when full",
        };
        f.debug_struct("ChannelOptions")
            .field("capacity", &self.capacity)
            .field("policy", &policy)
            .field("begin", &self.begin)
            .finish()
    }
}

//! [`Topic`]: the handle that publishes and subscribes.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::broadcaster::Handle;
use crate::channel::Channel;
use crate::counts::Counts;
use crate::deferred::Deferred;
use crate::engine::{Name, Sink, SubscriberId};
use crate::error::PublishError;
use crate::options::ChannelOptions;
use crate::position::Position;
use crate::queue::Queue;

/// A named topic of a [`Broadcaster`](crate::Broadcaster).
///
/// Cheap to clone, and usable from any thread. It takes no memory in the engine.
pub struct Topic<M> {
    name: Name,
    handle: Handle<M>,
}

impl<M> Topic<M> {
    pub(crate) fn new(name: Name, handle: Handle<M>) -> Self {
        Self { name, handle }
    }

    /// The name under which the topic was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// How many channels in this process are subscribed.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.handle.subscribers(&self.name)
    }

    /// What it has carried in this process since it has had subscribers. A topic without subscribers is not counted, as it
    /// takes no memory; [`Broadcaster::counts`](crate::Broadcaster::counts) has everything.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.handle.topic_counts(&self.name)
    }
}

impl<M: Clone + Send + Sync + 'static> Topic<M> {
    /// Hands the message to everybody who is subscribed.
    ///
    /// Never waits for a subscriber: one that is behind by its channel's whole capacity loses a message and is told so, or
    /// what else it has chosen by its [`ChannelOptions`]. Without subscribers the message is dropped, which is no error.
    ///
    /// # Errors
    ///
    /// When the engine cannot take the message: then nobody gets it. The in-process engine always can.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, PublishError};
    /// # fn main() -> Result<(), PublishError> {
    /// let topic = Broadcaster::new().topic("lobby");
    /// assert_eq!(topic.publish("nobody hears this")?.local, 0);
    ///
    /// let channel = topic.subscribe();
    /// assert_eq!(topic.publish("hello")?.local, 1);
    /// # drop(channel);
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(&self, message: M) -> Result<Published, PublishError> {
        self.handle.publish(&self.name, message, None)
    }

    /// As [`publish`](Self::publish), but to everybody except one subscriber: the one whose message it is, as a rule.
    ///
    /// To the excepted one the message is not missing: no gap is told. If it is not subscribed to this topic, this is
    /// `publish`.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, PublishError};
    /// # fn main() -> Result<(), PublishError> {
    /// let topic = Broadcaster::new().topic("lobby");
    /// let (mut mine, mut yours) = (topic.subscribe(), topic.subscribe());
    /// topic.publish_except(mine.id(), "I am typing")?;
    /// assert!(mine.try_recv().is_err());
    /// assert!(yours.try_recv().is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish_except(
        &self,
        subscriber: SubscriberId,
        message: M,
    ) -> Result<Published, PublishError> {
        self.handle.publish(&self.name, message, Some(subscriber))
    }

    /// As [`publish`](Self::publish), but also waits until the engine has confirmed the message.
    ///
    /// The in-process engine has nothing to wait for. One that reaches other machines waits for its broker, for as long as
    /// it was told to when it was chosen; it never waits for a subscriber. Nothing happens before the future is polled. If
    /// it is dropped before it is ready, the message may have been published or not.
    ///
    /// # Errors
    ///
    /// When the engine cannot take the message, or has not confirmed it in time. The in-process engine always does.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, PublishError};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), PublishError> {
    /// let topic = Broadcaster::new().topic("orders");
    /// topic.publish_confirmed("two of the large ones").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn publish_confirmed(&self, message: M) -> Result<Published, PublishError> {
        self.handle.publish_confirmed(&self.name, message).await
    }

    /// Subscribes with the default options: see [`ChannelOptions`].
    ///
    /// The channel gets every message whose publishing begins after this call returned. Dropping it unsubscribes.
    #[must_use = "dropping a channel unsubscribes it"]
    pub fn subscribe(&self) -> Channel<M> {
        self.subscribe_with(ChannelOptions::new())
    }

    /// Subscribes with a capacity or policy of one's own.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, ChannelOptions, Delivery, Missed};
    /// let topic = Broadcaster::new().topic("prices");
    /// let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(2));
    /// for price in 1..=5 {
    ///     topic.publish(price).unwrap();
    /// }
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Missed(Missed::new("prices", Some(3)))));
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Message(4)));
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Message(5)));
    /// ```
    #[must_use = "dropping a channel unsubscribes it"]
    pub fn subscribe_with(&self, options: ChannelOptions<M>) -> Channel<M> {
        let begin = options.begin;
        let queue = Arc::new(Queue::new(options));
        let sink = Arc::clone(&queue) as Arc<dyn Sink<M>>;
        // Dropped when there is a channel, which unsubscribes if that panics.
        let mut deferred = Deferred::new();
        let id = (self.handle).subscribe(&self.name, sink, begin, &mut deferred);
        let begin = begin.filter(|_| self.name.is_kept());
        let channel = Channel::new(queue, self.name.clone(), id, self.handle.engine(), begin);
        drop(deferred);
        channel
    }

    /// Subscribes, and begins behind that position: see [`ChannelOptions::since`].
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, Delivery, History, Missed, Position};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let topic = Broadcaster::with_history(History::last(100)).topic("lobby");
    /// topic.publish("hello")?;
    /// // A browser sends what it was sent, or anything else.
    /// let position: Position = "7-G8".parse()?;
    /// let mut channel = topic.subscribe_from(&position);
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Missed(Missed::new("lobby", None))));
    /// assert_eq!(channel.try_recv(), Ok(Delivery::Message("hello")));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "dropping a channel unsubscribes it"]
    pub fn subscribe_from(&self, position: &Position) -> Channel<M> {
        self.subscribe_with(ChannelOptions::new().since(*position))
    }

    /// Subscribes, and begins with the last messages: see [`ChannelOptions::last`].
    #[must_use = "dropping a channel unsubscribes it"]
    pub fn subscribe_last(&self, messages: usize) -> Channel<M> {
        self.subscribe_with(ChannelOptions::new().last(messages))
    }
}

impl<M> Clone for Topic<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            handle: self.handle.clone(),
        }
    }
}

impl<M> fmt::Debug for Topic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// A topic that has subscribers, as [`Broadcaster::list_topics`](crate::Broadcaster::list_topics) gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub name: Arc<str>,
    /// How many channels in this process are subscribed.
    pub subscribers: usize,
    /// What it has carried in this process since it has had subscribers.
    pub counts: Counts,
}

/// In the order of lists: by subscribers, most of them first, then by name.
#[derive(Debug)]
pub(crate) struct BusierFirst(pub(crate) TopicInfo);

impl Ord for BusierFirst {
    fn cmp(&self, Self(other): &Self) -> Ordering {
        let Self(topic) = self;
        let by_subscribers = other.subscribers.cmp(&topic.subscribers);
        by_subscribers.then_with(|| topic.name.cmp(&other.name))
    }
}

impl PartialOrd for BusierFirst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BusierFirst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for BusierFirst {}

/// What became of a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// How many subscribers in this process it was handed to; with an engine that reaches other machines, for how many it
    /// is, once it has come back from the broker. Whether they receive it is up to them: one that is slow may lose it, or
    /// end by it.
    pub local: usize,
}

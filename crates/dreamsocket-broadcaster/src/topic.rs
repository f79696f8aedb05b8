//! [`Topic`]: the handle that publishes and subscribes.

use std::fmt;
use std::sync::Arc;

use crate::broadcaster::Handle;
use crate::channel::{Channel, ChannelOptions};
use crate::engine::{Name, Sink};
use crate::error::PublishError;
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
}

impl<M: Clone + Send + Sync + 'static> Topic<M> {
    /// Hands the message to everybody who is subscribed.
    ///
    /// Never waits for a subscriber: one that is behind by its channel's whole capacity loses its oldest message and is
    /// told so. Without subscribers the message is dropped, which is no error.
    ///
    /// # Errors
    ///
    /// When the engine cannot take the message. The in-process engine always can.
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
        self.handle.publish(&self.name, message)
    }

    /// Subscribes with the default options: see [`ChannelOptions`].
    ///
    /// The channel gets every message whose publishing begins after this call returned. Dropping it unsubscribes.
    #[must_use = "dropping a channel unsubscribes it"]
    pub fn subscribe(&self) -> Channel<M> {
        self.subscribe_with(ChannelOptions::new())
    }

    /// Subscribes with a capacity of one's own.
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
    pub fn subscribe_with(&self, options: ChannelOptions) -> Channel<M> {
        let queue = Arc::new(Queue::new(options));
        let key = self
            .handle
            .subscribe(&self.name, Arc::clone(&queue) as Arc<dyn Sink<M>>);
        Channel::new(queue, self.name.clone(), key, self.handle.engine())
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

/// What became of a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// How many subscribers in this process it was handed to. Whether they receive it is up to them: one that is slow
    /// may lose it again and be told so.
    pub local: usize,
}

//! [`Channel`]: a subscriber's end. What waits is in [`Queue`]; this is its reader and the owner of the subscription.

use std::fmt;
use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::delivery::{Delivery, Missed};
use crate::engine::{Engine, Name, SubscriberKey};
use crate::error::TryRecvError;
use crate::queue::{Queue, Take, Taken};

/// A subscription to a [`Topic`](crate::Topic): a stream of what is published to it.
///
/// Made by [`Topic::subscribe`](crate::Topic::subscribe); dropping it unsubscribes, and drops what still waits.
///
/// It ends (`None`) when nobody can publish to it any more: with the in-process engine that is when the last
/// [`Broadcaster`](crate::Broadcaster) and the last [`Topic`](crate::Topic) of it are gone, those of other topics
/// included. What was published before is still received. A channel does not itself keep its topic open.
#[must_use = "dropping a channel unsubscribes it"]
pub struct Channel<M> {
    queue: Arc<Queue<M>>,
    name: Name,
    key: SubscriberKey,
    engine: Arc<dyn Engine<M>>,
}

impl<M> Channel<M> {
    pub(crate) fn new(
        queue: Arc<Queue<M>>,
        name: Name,
        key: SubscriberKey,
        engine: Arc<dyn Engine<M>>,
    ) -> Self {
        Self {
            queue,
            name,
            key,
            engine,
        }
    }

    /// The name of the topic that it is subscribed to.
    #[must_use]
    pub fn topic_name(&self) -> &str {
        self.name.as_str()
    }
}

impl<M: Clone> Channel<M> {
    /// The next message or gap, or `None` when the channel has ended.
    ///
    /// Cancel-safe: a future that is dropped before it is ready has taken nothing.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, Delivery};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let topic = Broadcaster::new().topic("lobby");
    /// let mut channel = topic.subscribe();
    /// topic.publish(1).unwrap();
    /// drop(topic);
    /// assert_eq!(channel.recv().await, Some(Delivery::Message(1)));
    /// assert_eq!(channel.recv().await, None);
    /// # }
    /// ```
    pub async fn recv(&mut self) -> Option<Delivery<M>> {
        future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next message or gap, if one waits already.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] when nothing waits now, [`TryRecvError::Ended`] when nothing will come any more.
    pub fn try_recv(&mut self) -> Result<Delivery<M>, TryRecvError> {
        match self.queue.take() {
            Take::Some(taken) => Ok(self.deliver(taken)),
            Take::Empty => Err(TryRecvError::Empty),
            Take::Ended => Err(TryRecvError::Ended),
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery<M>>> {
        self.queue
            .poll_take(cx)
            .map(|taken| Some(self.deliver(taken?)))
    }

    fn deliver(&self, taken: Taken<M>) -> Delivery<M> {
        match taken {
            Taken::Message(message) => Delivery::Message(self.queue.clone_out(message)),
            Taken::Missed(count) => {
                Delivery::Missed(Missed::new(self.topic_name().to_owned(), Some(count)))
            }
        }
    }
}

impl<M: Clone> Stream for Channel<M> {
    type Item = Delivery<M>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<M> Drop for Channel<M> {
    fn drop(&mut self) {
        // This channel then holds the last reference to the queue: what waits goes with it.
        self.engine.unsubscribe(&self.name, self.key);
    }
}

impl<M> fmt::Debug for Channel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("topic", &self.topic_name())
            .field("waiting", &self.queue.waiting())
            .finish_non_exhaustive()
    }
}

/// How to subscribe: the choices of one channel.
///
/// | option | default | |
/// |---|---|---|
/// | [`capacity`](Self::capacity) | 256 messages | past it the oldest is dropped, and the channel tells how many |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct ChannelOptions {
    pub(crate) capacity: usize,
}

impl ChannelOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self { capacity: 256 }
    }

    /// How many messages may wait in the channel, at least 1 (0 is taken as 1).
    ///
    /// This is a bound and takes no memory: room is made as messages come.
    pub const fn capacity(self, messages: usize) -> Self {
        Self {
            capacity: if messages == 0 { 1 } else { messages },
        }
    }
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self::new()
    }
}

//! [`Channel`]: a subscriber's end. What waits is in [`Queue`]; this is its reader and the owner of the subscription.

use std::collections::VecDeque;
use std::fmt;
use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::counts::ChannelCounts;
use crate::delivery::{Delivery, Missed};
use crate::engine::{Name, SubscriberId, Unsubscribe};
use crate::error::TryRecvError;
use crate::gap::Gap;
use crate::history::Begin;
use crate::parcel::Shared;
use crate::position::Position;
use crate::positioned::{Positioned, PositionedChannel};
use crate::queue::{Queue, Take, Taken};

/// A subscription to a [`Topic`](crate::Topic): a stream of what is published to it.
///
/// Made by [`Topic::subscribe`](crate::Topic::subscribe); dropping it unsubscribes, and drops what still waits.
///
/// It ends (`None`) when nobody can publish to it any more: with the in-process engine that is when the last
/// [`Broadcaster`](crate::Broadcaster) and the last [`Topic`](crate::Topic) of it are gone, those of other topics
/// included. What was published before is still received. A channel does not itself keep its topic open. One that was
/// told to [end when it is full](crate::ChannelOptions::end_when_full) ends by that, too: [`end`](Self::end) says which
/// it was.
#[must_use = "dropping a channel unsubscribes it"]
pub struct Channel<M> {
    queue: Arc<Queue<M>>,
    name: Name,
    id: SubscriberId,
    engine: Arc<dyn Unsubscribe>,
    /// Where its reader is in the history. Few topics have one.
    reached: Option<Box<Position>>,
}

/// Why a [`Channel`] has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// It was full and one more message came: see [`end_when_full`](crate::ChannelOptions::end_when_full).
    Lagged,
    /// Nobody can publish to it any more, and all that was published has been received or told as missed.
    Closed,
}

impl<M> Channel<M> {
    pub(crate) fn new(
        queue: Arc<Queue<M>>,
        name: Name,
        id: SubscriberId,
        engine: Arc<dyn Unsubscribe>,
        begin: Option<Begin>,
    ) -> Self {
        let reached = match begin {
            Some(Begin::Behind(position)) => Some(Box::new(position)),
            Some(Begin::Last(_)) | None => None,
        };
        Self {
            queue,
            name,
            id,
            engine,
            reached,
        }
    }

    /// The name of the topic that it is subscribed to.
    #[must_use]
    pub fn topic_name(&self) -> &str {
        self.name.as_str()
    }

    /// As [`topic_name`](Self::topic_name), to keep.
    #[must_use]
    pub fn shared_topic_name(&self) -> Arc<str> {
        self.name.to_shared()
    }

    /// Who it is to [`Topic::publish_except`](crate::Topic::publish_except).
    #[must_use]
    pub const fn id(&self) -> SubscriberId {
        self.id
    }

    /// Why it has ended, or `None` if it has not: if something waits or may still come.
    ///
    /// Is `Some` from the moment at which [`recv`](Self::recv) would give `None`.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.queue.end()
    }

    /// What became of the messages that it was handed.
    #[must_use]
    pub fn counts(&self) -> ChannelCounts {
        self.queue.counts()
    }

    /// As [`end`](Self::end), and wakes the task when it has ended.
    ///
    /// For who has no room for messages and so does not receive: a channel that [ends when it is
    /// full](crate::ChannelOptions::end_when_full) then tells at once. Messages do not wake. The end for lack of
    /// publishers is noticed at the latest with the last message.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.queue.poll_end(cx)
    }

    /// Takes up to `limit` messages and gaps at once, in order, and puts them behind what is in the buffer: for who
    /// passes many on. Ready with how many they were, or with 0 if the channel has ended. Parks the task if nothing
    /// waits.
    ///
    /// The messages come as they are shared with the other subscribers, not cloned; [`Shared::into_message`] moves out of the
    /// last one. A limit of 0 is taken as 1. What was taken no longer counts against the capacity: take no more than
    /// there is use for now.
    ///
    /// ```
    /// # use std::{collections::VecDeque, future::poll_fn};
    /// # use dreamsocket_broadcaster::{Broadcaster, Delivery};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let topic = Broadcaster::new().topic("lobby");
    /// let mut channel = topic.subscribe();
    /// topic.publish("one").unwrap();
    /// topic.publish("two").unwrap();
    /// let mut batch = VecDeque::new();
    /// assert_eq!(poll_fn(|cx| channel.poll_recv_many(cx, &mut batch, 64)).await, 2);
    /// for delivery in batch.drain(..) {
    ///     let Delivery::Message(text) = delivery else { continue };
    ///     println!("{text}");
    /// }
    /// # }
    /// ```
    pub fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut VecDeque<Delivery<Shared<M>>>,
        limit: usize,
    ) -> Poll<usize> {
        let Self {
            queue,
            name,
            reached,
            ..
        } = self;
        queue.poll_take_many(cx, limit.max(1), |taken| {
            note(reached, taken.position());
            buffer.push_back(match taken {
                Taken::Message(parcel) => Delivery::Message(Shared::new(parcel)),
                Taken::Missed(gap) => Delivery::Missed(missed(name, gap)),
            });
        })
    }

    /// The next message as it is shared with the other subscribers, not cloned, or gap; or `None` when the channel has
    /// ended. Parks the task if nothing waits.
    pub fn poll_recv_shared(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery<Shared<M>>>> {
        let taken = ready!(self.queue.poll_take(cx));
        Poll::Ready(taken.map(|taken| self.share(taken)))
    }

    /// Where its reader is in the topic's history: behind the message that was received last, or, as long as there was none,
    /// where it [began](crate::ChannelOptions::since). Who subscribes [from there](crate::Topic::subscribe_from) goes on
    /// without a loss.
    ///
    /// `None` if no message was received yet, if the topic keeps no history, and with
    /// [`latest_per_key`](crate::ChannelOptions::latest_per_key): messages then come in another order, and there is no place
    /// behind all that were received.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let reached = self.reached.as_deref().copied();
        reached.filter(|_| self.queue.is_in_order())
    }

    /// Its messages with the position of each: for who hands the channel on and wants to know it there.
    pub const fn positioned(self) -> PositionedChannel<M> {
        PositionedChannel::new(self)
    }

    /// The next message as it is shared with the other subscribers, not cloned, or gap, if one waits already.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_shared(&mut self) -> Result<Delivery<Shared<M>>, TryRecvError> {
        let taken = self.take()?;
        Ok(self.share(taken))
    }

    fn take(&self) -> Result<Taken<M>, TryRecvError> {
        match self.queue.take() {
            Take::Some(taken) => Ok(taken),
            Take::Empty => Err(TryRecvError::Empty),
            Take::Ended => Err(TryRecvError::Ended),
        }
    }

    fn share(&mut self, taken: Taken<M>) -> Delivery<Shared<M>> {
        note(&mut self.reached, taken.position());
        match taken {
            Taken::Message(parcel) => Delivery::Message(Shared::new(parcel)),
            Taken::Missed(gap) => Delivery::Missed(missed(&self.name, gap)),
        }
    }
}

impl<M: Clone> Channel<M> {
    #[inline]
    fn receive<T>(
        &mut self,
        taken: Taken<M>,
        give: impl FnOnce(M, Option<Position>) -> T,
    ) -> Delivery<T> {
        match taken {
            Taken::Message(parcel) => {
                let position = parcel.position();
                let message = self.queue.clone_out(parcel);
                // Not before: a message whose `Clone` panics was not received.
                note(&mut self.reached, position);
                Delivery::Message(give(message, position))
            }
            Taken::Missed(gap) => Delivery::Missed(missed(&self.name, gap)),
        }
    }

    pub(crate) fn try_recv_positioned(&mut self) -> Result<Delivery<Positioned<M>>, TryRecvError> {
        let taken = self.take()?;
        Ok(self.receive(taken, Positioned::new))
    }

    pub(crate) fn poll_recv_positioned(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Delivery<Positioned<M>>>> {
        let taken = ready!(self.queue.poll_take(cx));
        Poll::Ready(taken.map(|taken| self.receive(taken, Positioned::new)))
    }

    /// The next message or gap, or `None` when the channel has ended.
    ///
    /// Cancel-safe: a future that is dropped before it is ready has taken nothing.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::{Broadcaster, Delivery, End};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let topic = Broadcaster::new().topic("lobby");
    /// let mut channel = topic.subscribe();
    /// topic.publish(1).unwrap();
    /// drop(topic);
    /// assert_eq!(channel.recv().await, Some(Delivery::Message(1)));
    /// assert_eq!(channel.recv().await, None);
    /// assert_eq!(channel.end(), Some(End::Closed));
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
        let taken = self.take()?;
        Ok(self.receive(taken, |message, _| message))
    }

    /// The next message or gap, or `None` when the channel has ended. Parks the task if nothing waits.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery<M>>> {
        let taken = ready!(self.queue.poll_take(cx));
        // Not by way of the shared message, which would be moved twice.
        Poll::Ready(taken.map(|taken| self.receive(taken, |message, _| message)))
    }
}

/// Notes where a reader has come to by what it takes.
fn note(reached: &mut Option<Box<Position>>, position: Option<Position>) {
    if let Some(position) = position {
        match reached {
            Some(reached) => **reached = position,
            None => *reached = Some(Box::new(position)),
        }
    }
}

fn missed(name: &Name, gap: Gap) -> Missed {
    Missed::new(name.as_str().to_owned(), gap.count())
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
        self.engine.unsubscribe(&self.name, self.id);
    }
}

impl<M> fmt::Debug for Channel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("topic", &self.topic_name())
            .field("waiting", &self.counts().waiting)
            .finish_non_exhaustive()
    }
}

//! [`PositionedChannel`]: a channel whose messages say where in the topic's history they are.

use std::fmt;
use std::future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::channel::Channel;
use crate::delivery::Delivery;
use crate::error::TryRecvError;
use crate::position::Position;

/// A message with its place in the topic's history.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Positioned<M> {
    /// What was published.
    pub message: M,
    /// Where it is; `None` if the topic keeps no history.
    pub position: Option<Position>,
}

/// A [`Channel`] whose messages are [`Positioned`]; made by [`Channel::positioned`].
///
/// Dropping it unsubscribes.
///
/// ```
/// # use dreamsocket_broadcaster::{Broadcaster, Delivery, History};
/// let topic = Broadcaster::with_history(History::last(100)).topic("lobby");
/// let mut channel = topic.subscribe().positioned();
/// topic.publish("hello").unwrap();
/// let Ok(Delivery::Message(said)) = channel.try_recv() else { panic!() };
/// println!("{} can be asked for again behind {}", said.message, said.position.unwrap());
/// ```
#[must_use = "dropping a channel unsubscribes it"]
pub struct PositionedChannel<M> {
    channel: Channel<M>,
}

impl<M> Positioned<M> {
    /// A message in its place, for tests of code that handles one.
    #[must_use]
    pub const fn new(message: M, position: Option<Position>) -> Self {
        Self { message, position }
    }
}

impl<M> PositionedChannel<M> {
    pub(crate) const fn new(channel: Channel<M>) -> Self {
        Self { channel }
    }

    /// The channel: its name, end and counts.
    pub const fn channel(&self) -> &Channel<M> {
        &self.channel
    }

    /// The channel again, without positions at its messages.
    pub fn into_channel(self) -> Channel<M> {
        self.channel
    }
}

impl<M: Clone> PositionedChannel<M> {
    /// As [`Channel::recv`].
    pub async fn recv(&mut self) -> Option<Delivery<Positioned<M>>> {
        future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`Channel::try_recv`].
    ///
    /// # Errors
    ///
    /// As [`Channel::try_recv`].
    pub fn try_recv(&mut self) -> Result<Delivery<Positioned<M>>, TryRecvError> {
        self.channel.try_recv_positioned()
    }

    /// As [`Channel::poll_recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery<Positioned<M>>>> {
        self.channel.poll_recv_positioned(cx)
    }
}

impl<M: Clone> Stream for PositionedChannel<M> {
    type Item = Delivery<Positioned<M>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<M> fmt::Debug for PositionedChannel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PositionedChannel")
            .field(&self.channel)
            .finish()
    }
}

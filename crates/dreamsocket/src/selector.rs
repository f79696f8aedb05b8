//! [`Selector`]: the typed sources of a connection's custom messages, polled in turn.
//!
//! Pure: it knows streams and receivers, and neither the connection nor the session that polls it.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use dreamsocket_broadcaster::{Channel, Delivery, End, Missed, Positioned, PositionedChannel};
use futures_core::Stream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{BroadcastStream, WatchStream};

use crate::config::later;

/// The sources of a connection's custom messages.
///
/// Made of tokio receivers, topics' channels, timers and streams, each mapped to the one message type `C` of the
/// connection. Sources are polled in turn, so none starves another (L4); messages of one source arrive in its order. A
/// source that ends is dropped quietly.
///
/// ```
/// use std::time::Duration;
/// use dreamsocket::Selector;
/// use tokio::sync::{mpsc, watch};
///
/// enum Event { Job(u32), Price(f64), Tick }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let (_jobs, job_receiver) = mpsc::channel(8);
/// let (_prices, price_receiver) = watch::channel(1.0);
/// let selector = Selector::new()
///     .select_map(job_receiver, Event::Job)
///     .select_as("price", Selector::new().select_map(price_receiver, Event::Price))
///     .merge(Selector::after(Duration::from_secs(1), Event::Tick));
/// assert_eq!(selector.len(), 3);
/// # });
/// ```
pub struct Selector<C = Infallible> {
    sources: Vec<Source<C>>,
    /// Which source is polled first next time.
    next: usize,
}

struct Source<C> {
    key: Option<Key>,
    stream: BoxStream<C>,
}

/// The key of a source. That of a topic's channel is the topic's own name, shared, so that a subscriber costs no copy of it.
#[derive(Clone)]
enum Key {
    Given(Cow<'static, str>),
    Topic(Arc<str>),
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Given(key) => key,
            Self::Topic(name) => name,
        }
    }
}

impl From<Key> for Cow<'static, str> {
    fn from(key: Key) -> Self {
        match key {
            Key::Given(key) => key,
            Key::Topic(name) => Cow::Owned(String::from(&*name)),
        }
    }
}

type BoxStream<C> = Pin<Box<dyn Stream<Item = Selected<C>> + Send>>;

/// What a source gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selected<C> {
    Message(C),
    Missed(Missed),
    /// A channel ended because it lagged, as its subscriber chose: the connection is to be closed with 1013 (B3).
    Lagged,
}

impl<C> Selector<C> {
    /// A selector without sources.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sources: Vec::new(),
            next: 0,
        }
    }

    /// How many sources it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether it has no sources.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Adds sources: one whose key is there already takes that one's place, another comes last in turn, so that those that
    /// wait already come before it, however many are added.
    pub(crate) fn add(&mut self, other: Self) {
        for source in other.sources {
            match self
                .sources
                .iter_mut()
                .find(|old| old.key.is_some() && old.key.as_deref() == source.key.as_deref())
            {
                Some(old) => *old = source,
                None => {
                    let last = self.next.min(self.sources.len());
                    self.sources.insert(last, source);
                    self.next = last + 1;
                }
            }
        }
    }

    /// Removes the source of that key, in place.
    pub(crate) fn remove(&mut self, key: &str) {
        let mut sources = self.sources.iter();
        if let Some(index) = sources.position(|source| source.key.as_deref() == Some(key)) {
            self.remove_at(index);
        }
    }

    /// Whose turn it is next stays so.
    fn remove_at(&mut self, index: usize) {
        let gone = self.sources.remove(index);
        if index < self.next {
            self.next -= 1;
        }
        drop(gone);
    }

    /// Polls the sources in turn, starting behind the one that was last ready. Without sources it is pending, for ever.
    pub(crate) fn poll_selected(&mut self, context: &mut Context<'_>) -> Poll<Selected<C>> {
        let mut index = self.next;
        let mut left = self.sources.len();
        while left > 0 {
            left -= 1;
            if index >= self.sources.len() {
                index = 0;
            }
            let Some(source) = self.sources.get_mut(index) else {
                break;
            };
            match source.stream.as_mut().poll_next(context) {
                Poll::Pending => index += 1,
                Poll::Ready(None) => self.remove_at(index),
                Poll::Ready(Some(delivery)) => {
                    self.next = index + 1;
                    return Poll::Ready(match delivery {
                        Selected::Missed(missed) => Selected::Missed(
                            missed
                                .with_source(source.key.clone().map(Cow::from).unwrap_or_default()),
                        ),
                        message => message,
                    });
                }
            }
        }
        Poll::Pending
    }

    fn of(key: Option<Key>, stream: impl Stream<Item = Selected<C>> + Send + 'static) -> Self {
        Self {
            sources: vec![Source {
                key,
                stream: Box::pin(stream),
            }],
            next: 0,
        }
    }
}

impl<C: Send + 'static> Selector<C> {
    /// Adds a stream as a source without a key.
    ///
    /// For what is not a stream but a receiver, a channel or a timer, use [`merge`](Self::merge) or
    /// [`select_map`](Self::select_map).
    #[must_use]
    pub fn select(mut self, stream: impl Stream<Item = C> + Send + 'static) -> Self {
        self.add(Self::of(None, Messages(Box::pin(stream))));
        self
    }

    /// Adds a source under a key of its own, by which a later action can replace or remove it.
    ///
    /// A selector of several sources becomes one. A source whose key is there already is replaced.
    #[must_use]
    pub fn select_as(mut self, key: impl Into<Cow<'static, str>>, source: impl Into<Self>) -> Self {
        let source = source.into();
        self.add(Self::of(Some(Key::Given(key.into())), Merged(source)));
        self
    }

    /// Adds a source whose messages are turned into the connection's message type.
    #[must_use]
    pub fn select_map<T: Send + 'static>(
        mut self,
        source: impl Into<Selector<T>>,
        map: fn(T) -> C,
    ) -> Self {
        self.add(source.into().map(map));
        self
    }

    /// Adds all sources of another selector. A source whose key is there already takes the place of that one.
    #[must_use]
    pub fn merge(mut self, other: impl Into<Self>) -> Self {
        self.add(other.into());
        self
    }

    /// Turns the messages of all sources into another type; keys stay.
    #[must_use]
    pub fn map<T: Send + 'static>(self, map: fn(C) -> T) -> Selector<T> {
        let sources = self.sources.into_iter();
        let sources = sources.map(|source| Source {
            key: source.key,
            stream: Box::pin(Mapped {
                stream: source.stream,
                map,
            }) as _,
        });
        Selector {
            sources: sources.collect(),
            next: self.next,
        }
    }

    /// A bounded channel into a connection: clone the sender and hand it to whoever has something to say.
    ///
    /// `capacity` is in messages. Sending waits while the channel is full, and fails once the selector is gone.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0, as [`mpsc::channel`] does.
    #[must_use]
    pub fn channel(capacity: usize) -> (mpsc::Sender<C>, Self) {
        let (sender, receiver) = mpsc::channel(capacity);
        (sender, Self::from(receiver))
    }

    /// One message after a delay.
    #[must_use]
    pub fn after(delay: Duration, message: C) -> Self {
        Self::of(
            None,
            After {
                sleep: Box::pin(tokio::time::sleep(delay)),
                message: Some(message),
            },
        )
    }

    /// A message at every `period`, the first one a period from now. Ticks that nobody took are not made up for.
    ///
    /// # Panics
    ///
    /// If `period` is zero, as [`tokio::time::interval`] does.
    #[must_use]
    pub fn every(period: Duration, message: C) -> Self
    where
        C: Clone,
    {
        let mut interval = tokio::time::interval_at(later(Instant::now(), period), period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::of(None, Every { interval, message })
    }
}

impl<C> Default for Selector<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> fmt::Debug for Selector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.sources
                    .iter()
                    .map(|source| source.key.as_deref().unwrap_or_default()),
            )
            .finish()
    }
}

/// A topic's channel, under the topic's name as its key.
impl<C: Clone + Send + Sync + 'static> From<Channel<C>> for Selector<C> {
    fn from(channel: Channel<C>) -> Self {
        let key = Key::Topic(channel.shared_topic_name());
        Self::of(Some(key), Subscribed(Some(channel)))
    }
}

/// A topic's channel, under the topic's name as its key, with the place of each message in the topic's history.
impl<C: Clone + Send + Sync + 'static> From<PositionedChannel<C>> for Selector<Positioned<C>> {
    fn from(channel: PositionedChannel<C>) -> Self {
        let key = Key::Topic(channel.channel().shared_topic_name());
        Self::of(Some(key), Subscribed(Some(channel)))
    }
}

impl<C: Send + 'static> From<mpsc::Receiver<C>> for Selector<C> {
    fn from(mut receiver: mpsc::Receiver<C>) -> Self {
        Self::of(
            None,
            Received(move |context: &mut Context<'_>| receiver.poll_recv(context)),
        )
    }
}

impl<C: Send + 'static> From<mpsc::UnboundedReceiver<C>> for Selector<C> {
    fn from(mut receiver: mpsc::UnboundedReceiver<C>) -> Self {
        Self::of(
            None,
            Received(move |context: &mut Context<'_>| receiver.poll_recv(context)),
        )
    }
}

/// The one message of the sender; nothing if the sender is dropped.
impl<C: Send + 'static> From<oneshot::Receiver<C>> for Selector<C> {
    fn from(receiver: oneshot::Receiver<C>) -> Self {
        Self::of(None, Once(Some(receiver)))
    }
}

/// The current value first, then every change; values that came and went between two polls are not seen.
impl<C: Clone + Send + Sync + 'static> From<watch::Receiver<C>> for Selector<C> {
    fn from(receiver: watch::Receiver<C>) -> Self {
        Self::of(None, Messages(Box::pin(WatchStream::new(receiver))))
    }
}

/// Lag becomes [`Message::Missed`](crate::Message::Missed) with the count.
impl<C: Clone + Send + 'static> From<broadcast::Receiver<C>> for Selector<C> {
    fn from(receiver: broadcast::Receiver<C>) -> Self {
        Self::of(None, Lagging(BroadcastStream::new(receiver)))
    }
}

/// Every tick, the first one at once, as [`Interval`] does.
impl From<Interval> for Selector<Instant> {
    fn from(mut interval: Interval) -> Self {
        Self::of(
            None,
            Received(move |context: &mut Context<'_>| interval.poll_tick(context).map(Some)),
        )
    }
}

/// A topic's channel, with positions or without; dropped as soon as it has ended.
struct Subscribed<H>(Option<H>);

/// What the two kinds of channels have in common.
trait Subscription {
    type Message;

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery<Self::Message>>>;

    fn end(&self) -> Option<End>;
}

impl<C: Clone> Subscription for Channel<C> {
    type Message = C;

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery<C>>> {
        self.poll_recv(context)
    }

    fn end(&self) -> Option<End> {
        self.end()
    }
}

impl<C: Clone> Subscription for PositionedChannel<C> {
    type Message = Positioned<C>;

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery<Positioned<C>>>> {
        self.poll_recv(context)
    }

    fn end(&self) -> Option<End> {
        self.channel().end()
    }
}

impl<H: Subscription> Stream for Subscribed<H> {
    type Item = Selected<H::Message>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(channel) = self.0.as_mut() else {
            return Poll::Ready(None);
        };
        let selected = match ready!(channel.poll_recv(context)) {
            Some(Delivery::Message(message)) => Some(Selected::Message(message)),
            Some(Delivery::Missed(missed)) => Some(Selected::Missed(missed)),
            None => {
                let end = channel.end();
                self.0 = None;
                (end == Some(End::Lagged)).then_some(Selected::Lagged)
            }
        };
        Poll::Ready(selected)
    }
}

impl<H> Unpin for Subscribed<H> {}

/// A stream whose items are all messages.
struct Messages<S>(Pin<Box<S>>);

impl<S: Stream> Stream for Messages<S> {
    type Item = Selected<S::Item>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .as_mut()
            .poll_next(context)
            .map(|item| item.map(Selected::Message))
    }
}

/// A receiver that is polled through a function.
struct Received<F>(F);

impl<C, F: FnMut(&mut Context<'_>) -> Poll<Option<C>> + Unpin> Stream for Received<F> {
    type Item = Selected<C>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Selected<C>>> {
        (self.0)(context).map(|item| item.map(Selected::Message))
    }
}

struct Once<C>(Option<oneshot::Receiver<C>>);

impl<C> Stream for Once<C> {
    type Item = Selected<C>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Selected<C>>> {
        let Some(receiver) = self.0.as_mut() else {
            return Poll::Ready(None);
        };
        let received = ready!(Pin::new(receiver).poll(context));
        self.0 = None;
        Poll::Ready(received.ok().map(Selected::Message))
    }
}

struct Lagging<C>(BroadcastStream<C>);

impl<C: Clone + Send + 'static> Stream for Lagging<C> {
    type Item = Selected<C>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Selected<C>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_next(context)) {
            Some(Ok(message)) => Some(Selected::Message(message)),
            Some(Err(BroadcastStreamRecvError::Lagged(count))) => {
                Some(Selected::Missed(Missed::new("", Some(count))))
            }
            None => None,
        })
    }
}

/// A whole selector as one source. It ends when all of its sources have.
struct Merged<C>(Selector<C>);

impl<C> Stream for Merged<C> {
    type Item = Selected<C>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Selected<C>>> {
        match self.0.poll_selected(context) {
            Poll::Ready(delivery) => Poll::Ready(Some(delivery)),
            Poll::Pending if self.0.is_empty() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

struct Mapped<T, C> {
    stream: BoxStream<T>,
    map: fn(T) -> C,
}

impl<T, C> Stream for Mapped<T, C> {
    type Item = Selected<C>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Selected<C>>> {
        Poll::Ready(match ready!(self.stream.as_mut().poll_next(context)) {
            Some(Selected::Message(message)) => Some(Selected::Message((self.map)(message))),
            Some(Selected::Missed(missed)) => Some(Selected::Missed(missed)),
            Some(Selected::Lagged) => Some(Selected::Lagged),
            None => None,
        })
    }
}

struct After<C> {
    sleep: Pin<Box<Sleep>>,
    message: Option<C>,
}

impl<C> Unpin for After<C> {}

impl<C> Stream for After<C> {
    type Item = Selected<C>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Selected<C>>> {
        if self.message.is_some() {
            ready!(self.sleep.as_mut().poll(context));
        }
        Poll::Ready(self.message.take().map(Selected::Message))
    }
}

struct Every<C> {
    interval: Interval,
    message: C,
}

impl<C> Unpin for Every<C> {}

impl<C: Clone> Stream for Every<C> {
    type Item = Selected<C>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Selected<C>>> {
        ready!(self.interval.poll_tick(context));
        Poll::Ready(Some(Selected::Message(self.message.clone())))
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use dreamsocket_broadcaster::{Broadcaster, History};

    use super::*;

    async fn next<C: Send + 'static>(selector: &mut Selector<C>) -> Selected<C> {
        poll_fn(|context| selector.poll_selected(context)).await
    }

    async fn message<C: Send + 'static>(selector: &mut Selector<C>) -> C {
        match next(selector).await {
            Selected::Message(message) => message,
            _ => panic!("not a message"),
        }
    }

    fn pending<C: Send + 'static>(selector: &mut Selector<C>) -> bool {
        selector
            .poll_selected(&mut Context::from_waker(std::task::Waker::noop()))
            .is_pending()
    }

    #[tokio::test]
    async fn l4_sources_take_turns() {
        let (first, receiver) = mpsc::unbounded_channel();
        let (second, other) = mpsc::unbounded_channel();
        for number in 0..3 {
            first.send(number).unwrap();
            second.send(number + 10).unwrap();
        }
        let mut selector = Selector::from(receiver).merge(other);
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(message(&mut selector).await);
        }
        assert_eq!(seen, [0, 10, 1, 11, 2, 12]);
    }

    #[tokio::test]
    async fn l4_sources_that_keep_coming_starve_nobody() {
        let (patient, receiver) = mpsc::unbounded_channel();
        let mut selector = Selector::from(receiver);
        patient.send("patient").unwrap();
        assert_eq!(message(&mut selector).await, "patient");
        patient.send("patient").unwrap();
        // As a handler that answers each message with a source that has the next one already.
        let mut jobs = 0;
        selector.add(Selector::new().select(tokio_stream::iter(["job"])));
        while message(&mut selector).await == "job" {
            jobs += 1;
            assert!(jobs < 10, "the patient one starves");
            selector.add(Selector::new().select(tokio_stream::iter(["job"])));
        }
        assert_eq!(jobs, 0);
    }

    #[tokio::test]
    async fn l4_a_source_that_goes_takes_nobodys_turn_with_it() {
        for is_removed in [false, true] {
            let (gone, receiver) = mpsc::unbounded_channel();
            let (one, of_one) = mpsc::unbounded_channel();
            let (two, of_two) = mpsc::unbounded_channel();
            let mut selector = Selector::new().select_as("gone", receiver);
            selector.add(Selector::from(of_one).merge(of_two));
            one.send(1).unwrap();
            assert_eq!(message(&mut selector).await, 1);
            if is_removed {
                selector.remove("gone");
            }
            drop(gone);
            assert!(pending(&mut selector));
            assert_eq!(selector.len(), 2);
            one.send(1).unwrap();
            two.send(2).unwrap();
            assert_eq!(message(&mut selector).await, 2, "removed: {is_removed}");
            assert_eq!(message(&mut selector).await, 1);
        }
    }

    #[tokio::test]
    async fn l7_a_key_replaces_and_removes() {
        let (old, old_receiver) = mpsc::unbounded_channel();
        let (new, new_receiver) = mpsc::unbounded_channel();
        let (kept, kept_receiver) = mpsc::unbounded_channel();
        old.send(1).unwrap();
        new.send(2).unwrap();
        kept.send(3).unwrap();
        let mut selector = Selector::new()
            .select_as("room", old_receiver)
            .select_as("kept", kept_receiver);
        selector.add(Selector::new().select_as("room", new_receiver));
        assert_eq!(selector.len(), 2);
        assert_eq!(message(&mut selector).await, 2);
        selector.remove("room");
        selector.remove("never there");
        assert_eq!(message(&mut selector).await, 3);
        assert!(old.is_closed() && new.is_closed() && !kept.is_closed());
        assert!(pending(&mut selector));
    }

    #[tokio::test]
    async fn b5_a_topics_messages_come_with_their_positions() {
        let topic = Broadcaster::with_history(History::last(10)).topic("lobby");
        topic.publish(1).unwrap();
        topic.publish(2).unwrap();
        let mut selector = Selector::from(topic.subscribe_last(2).positioned());
        let first = message(&mut selector).await;
        assert_eq!(first.message, 1);
        let again = topic.subscribe_from(&first.position.unwrap());
        let mut again = Selector::from(again.positioned());
        assert_eq!(message(&mut again).await.message, 2);
        drop(topic);
        assert_eq!(message(&mut selector).await.message, 2);
        assert!(pending(&mut selector));
        assert_eq!(selector.len(), 0, "it ends with its channel");
    }

    #[tokio::test]
    async fn a_watch_gives_the_current_value_first_and_coalesces() {
        let (sender, receiver) = watch::channel(1);
        let mut selector = Selector::from(receiver);
        assert_eq!(message(&mut selector).await, 1);
        sender.send(2).unwrap();
        sender.send(3).unwrap();
        assert_eq!(message(&mut selector).await, 3);
        assert!(pending(&mut selector));
    }

    #[tokio::test]
    async fn b2_a_broadcast_that_lags_says_how_much_in_the_gaps_place() {
        let (sender, receiver) = broadcast::channel(2);
        for number in 0..5 {
            sender.send(number).unwrap();
        }
        let mut selector = Selector::new().select_as("numbers", receiver);
        assert_eq!(
            next(&mut selector).await,
            Selected::Missed(Missed::new("numbers", Some(3)))
        );
        assert_eq!(message(&mut selector).await, 3);
        assert_eq!(message(&mut selector).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn timers_tick_on_the_paused_clock() {
        let start = Instant::now();
        let mut selector = Selector::every(Duration::from_secs(2), "tick")
            .merge(Selector::after(Duration::from_secs(3), "once"));
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push((message(&mut selector).await, start.elapsed().as_secs()));
        }
        assert_eq!(seen, [("tick", 2), ("once", 3), ("tick", 4)]);
        assert_eq!(selector.len(), 1, "the source that ended is gone");
    }

    #[tokio::test]
    async fn map_keeps_keys_and_gaps() {
        let (sender, receiver) = broadcast::channel(1);
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        let mut selector = Selector::new()
            .select_as("numbers", receiver)
            .map(|number: i32| number.to_string());
        assert_eq!(
            next(&mut selector).await,
            Selected::Missed(Missed::new("numbers", Some(1)))
        );
        assert_eq!(message(&mut selector).await, "2");
        selector.remove("numbers");
        assert!(selector.is_empty());
    }

    #[tokio::test]
    async fn streams_oneshots_and_channels_are_sources() {
        let (sender, receiver) = oneshot::channel();
        let (channel, source) = Selector::channel(1);
        let mut selector = Selector::new()
            .select(tokio_stream::iter([1]))
            .merge(receiver)
            .merge(source);
        sender.send(2).unwrap();
        channel.try_send(3).unwrap();
        let mut seen = [
            message(&mut selector).await,
            message(&mut selector).await,
            message(&mut selector).await,
        ];
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3]);
        drop(channel);
        assert!(pending(&mut selector));
        assert!(selector.is_empty(), "sources that ended are gone");
    }
}

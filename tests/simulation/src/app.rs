//! The application of a simulated world: what its handlers share, and all that they and other tasks do with handles, told
//! to the record.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use dreamsocket::{Broadcaster, ChannelOptions, Connection, Hub, Prepared, SendError, Topic};

use crate::event::{Call, Event, Fate, Policy};
use crate::frames::Print;
use crate::order::Order;
use crate::random::Rng;
use crate::record::{EndpointId, Record, WORLD};

/// How many topics there are of each kind.
pub(crate) const TOPICS: u32 = 3;

/// A message of the application's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Custom {
    Fed { source: u32, number: u64 },
    Said { topic: u32, number: u64, key: u8 },
}

/// What all handlers of a host share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) record: Record,
    pub(crate) hub: Option<Hub>,
    said: Vec<(u32, Topic<Custom>)>,
    feeds: Vec<(u32, Topic<Prepared>)>,
    /// The open connections, as far as they are known.
    connections: Mutex<Vec<(EndpointId, Connection)>>,
    pub(crate) seed: u64,
    orders: AtomicU32,
}

impl App {
    /// `generation` tells the topics of one start of a host from those of another.
    pub(crate) fn new(record: Record, hub: Option<Hub>, seed: u64, generation: u32) -> Arc<Self> {
        let said = Broadcaster::new();
        let feeds = Broadcaster::new();
        let name = |index| format!("topic {index}");
        let number = |index| generation * 2 * TOPICS + index;
        Arc::new(Self {
            record,
            hub,
            said: (0..TOPICS)
                .map(|index| (number(index), said.topic(name(index))))
                .collect(),
            feeds: (0..TOPICS)
                .map(|index| {
                    let number = number(TOPICS + index);
                    (number, feeds.topic(number.to_string()))
                })
                .collect(),
            connections: Mutex::default(),
            seed,
            orders: AtomicU32::new(0),
        })
    }

    /// Choices of one place in the story, whatever happened elsewhere.
    pub(crate) fn rng(&self, endpoint: EndpointId, place: u64) -> Rng {
        Rng::new(self.seed ^ u64::from(endpoint) << 40).split(place)
    }

    pub(crate) fn join(self: &Arc<Self>, endpoint: EndpointId, connection: &Connection) {
        self.lock().push((endpoint, connection.clone()));
        let (app, connection) = (Arc::clone(self), connection.clone());
        tokio::spawn(async move {
            connection.closed().await;
            app.record.note(endpoint, Event::ClosedSeen);
            app.lock().retain(|(known, _)| *known != endpoint);
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(EndpointId, Connection)>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoint of a connection that is open.
    pub(crate) fn endpoint_of(&self, connection: &Connection) -> Option<EndpointId> {
        let connections = self.lock();
        let known = connections
            .iter()
            .find(|(_, known)| known.id() == connection.id());
        known.map(|(endpoint, _)| *endpoint)
    }

    /// One of the open connections.
    pub(crate) fn any_connection(&self, rng: &mut Rng) -> Option<(EndpointId, Connection)> {
        let connections = self.lock();
        match connections.len() {
            0 => None,
            count => connections.get(rng.below(count)).cloned(),
        }
    }

    pub(crate) fn topic(&self, index: u64) -> &(u32, Topic<Custom>) {
        &self.said[usize::try_from(index).unwrap_or_default() % self.said.len()]
    }

    pub(crate) fn feed(&self, index: u64) -> &(u32, Topic<Prepared>) {
        &self.feeds[usize::try_from(index).unwrap_or_default() % self.feeds.len()]
    }

    /// Says something to all who have subscribed.
    pub(crate) fn publish(&self, index: u64, rng: &mut Rng) {
        let (topic, said) = self.topic(index);
        let number = self.record.next_number(*topic);
        let key = u8::try_from(rng.below(3)).unwrap_or_default();
        let message = Custom::Said {
            topic: *topic,
            number,
            key,
        };
        let local = said.publish(message).map_or(usize::MAX, |it| it.local);
        self.record.note(
            WORLD,
            Event::Published {
                topic: *topic,
                number,
                key,
                local,
            },
        );
    }

    /// Publishes a prepared message. Those of the last feed are too large to be copied.
    pub(crate) fn publish_prepared(&self, index: u64) {
        let (topic, feed) = self.feed(index);
        let number = self.record.next_number(*topic);
        let size = match index + 1 == u64::from(TOPICS) {
            true => 4_500,
            false => 40,
        };
        let text = format!("f {topic} {number} {}", "p".repeat(size));
        let _ = feed.publish(Prepared::text(text));
        self.record.note(
            WORLD,
            Event::FeedPublished {
                topic: *topic,
                number,
            },
        );
    }

    /// An order to the peer, if that is one that takes any.
    pub(crate) fn order(&self, rng: &mut Rng) -> String {
        let number = self.orders.fetch_add(1, Ordering::Relaxed);
        Order::lasting(rng).text(u64::from(number) + 1_000_000)
    }

    /// Sends, and waits for room.
    pub(crate) async fn send(
        &self,
        endpoint: EndpointId,
        connection: &Connection,
        payload: Payload,
    ) -> Result<(), SendError> {
        let sending = Sending::begin(self, endpoint, connection, &payload, true);
        let result = match payload {
            Payload::Text(text) => connection.send_text(text).await,
            Payload::Binary(bytes) => connection.send_binary(bytes).await,
            Payload::Prepared(prepared) => connection.send_prepared(&prepared).await,
        };
        sending.end(result)
    }

    /// Sends, if there is room.
    pub(crate) fn try_send(
        &self,
        endpoint: EndpointId,
        connection: &Connection,
        payload: Payload,
    ) -> Result<(), SendError> {
        let sending = Sending::begin(self, endpoint, connection, &payload, false);
        let result = match payload {
            Payload::Text(text) => connection.try_send_text(text),
            Payload::Binary(bytes) => connection.try_send_binary(bytes),
            Payload::Prepared(prepared) => connection.try_send_prepared(&prepared),
        };
        sending.end(result)
    }

    /// A text that no other send has.
    pub(crate) fn unique(&self, what: &str, size: u64) -> String {
        let size = usize::try_from(size).unwrap_or_default();
        let id = self.record.next_id();
        format!("={id} {what} {}", "x".repeat(size))
    }

    /// Closes, which must not wait for the peer (L10).
    pub(crate) async fn close(&self, endpoint: EndpointId, connection: &Connection, code: u16) {
        let (result, polls) = counted(connection.close(code, "")).await;
        if result.is_ok() {
            let call = Call::Close(code);
            self.record.note(endpoint, Event::Called { call, polls });
        }
        let ((), polls) = counted(connection.closed()).await;
        let call = Call::ClosedAfterClose;
        self.record.note(endpoint, Event::Called { call, polls });
    }

    pub(crate) async fn ping(&self, endpoint: EndpointId, connection: &Connection) {
        let (result, polls) = counted(connection.ping()).await;
        if result.is_ok() {
            let call = Call::Ping;
            self.record.note(endpoint, Event::Called { call, polls });
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Text(String),
    Binary(Bytes),
    Prepared(Prepared),
}

impl Payload {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
            Self::Prepared(prepared) => prepared.payload(),
        }
    }

    /// Of any kind.
    pub(crate) fn any(text: String, rng: &mut Rng) -> Self {
        match rng.below(6) {
            0 => Self::Binary(text.into_bytes().into()),
            1 => Self::Prepared(Prepared::text(text)),
            _ => Self::Text(text),
        }
    }
}

/// A send on its way. When it is dropped before its end, nothing of it may come out.
struct Sending<'a> {
    record: &'a Record,
    endpoint: EndpointId,
    connection: &'a Connection,
    id: u32,
    is_done: bool,
}

impl<'a> Sending<'a> {
    fn begin(
        app: &'a App,
        endpoint: EndpointId,
        connection: &'a Connection,
        payload: &Payload,
        waits: bool,
    ) -> Self {
        let id = app.record.next_id();
        let print = Print::of(payload.bytes());
        app.record.note(endpoint, Event::Send { id, print, waits });
        Self {
            record: &app.record,
            endpoint,
            connection,
            id,
            is_done: false,
        }
    }

    fn end(mut self, result: Result<(), SendError>) -> Result<(), SendError> {
        let fate = match &result {
            Ok(()) => Fate::Accepted,
            Err(error) if error.is_timeout() => Fate::Timeout,
            Err(SendError::Full) => Fate::Full,
            Err(_) => Fate::Closed,
        };
        self.tell(fate);
        result
    }

    fn tell(&mut self, fate: Fate) {
        self.is_done = true;
        let event = Event::Sent {
            id: self.id,
            fate,
            buffered: self.connection.buffered_bytes(),
        };
        self.record.note(self.endpoint, event);
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.tell(Fate::GivenUp);
        }
    }
}

/// The future's output, and how often it had to be polled.
async fn counted<F: Future>(future: F) -> (F::Output, u32) {
    let mut future = pin!(future);
    let mut polls = 0;
    let output = std::future::poll_fn(|context| {
        polls += 1;
        future.as_mut().poll(context)
    })
    .await;
    (output, polls)
}

/// Lets others run so many times, or some time pass, or neither: a handler, or a task, whose turn comes when it comes.
pub(crate) async fn dawdle(rng: &mut Rng) {
    match rng.below(12) {
        0 => tokio::time::sleep(Duration::from_millis(rng.within(1..=8))).await,
        1 => tokio::time::sleep(Duration::from_micros(rng.within(1..=900))).await,
        2..=3 => {
            for _ in 0..rng.within(1..=4) {
                yield_once().await;
            }
        }
        _ => {}
    }
}

/// Goes to the back of the queue, once.
pub(crate) async fn yield_once() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How a subscriber's channel is bound.
pub(crate) fn channel_options(capacity: usize, policy: Policy) -> ChannelOptions<Custom> {
    let options = ChannelOptions::new().capacity(capacity);
    match policy {
        Policy::DropOldest => options.drop_oldest(),
        Policy::DropNewest => options.drop_newest(),
        Policy::LatestPerKey => options.latest_per_key(key),
        Policy::End => options.end_when_full(),
    }
}

fn key(message: &Custom) -> u8 {
    match message {
        Custom::Said { key, .. } => *key,
        Custom::Fed { .. } => 0,
    }
}

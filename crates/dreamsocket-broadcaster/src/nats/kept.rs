//! History over NATS: one JetStream stream for a prefix, on subjects of its own, which nothing else publishes to.
//!
//! JetStream is spoken to by its JSON requests: what is used of it is one stream, consumers without acknowledgement, and
//! acknowledgements of what is published. A topic that is subscribed has a consumer, which brings what is kept and then what
//! is published, with the stream's numbers. It is checked as ordered consumers are: each message has the consumer's number,
//! a heartbeat has the last one, and when one is missing, a new consumer goes on behind the last message that came.
//! Nobody is told when a stream is deleted, and another node may have made the next one by then: so it is asked for, once
//! a second.
//!
//! What is published has a name of its own (`Nats-Msg-Id`) and waits here until the stream has it. After a lost connection it
//! is published again; the stream drops what it has already. So is what JetStream refuses, after a pause.

mod place;
mod stream;
mod unacknowledged;

use std::collections::HashMap;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{AbortHandle, SelectAll, Stream, StreamExt, abortable};
use serde_json::json;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{self, Instant};

use self::place::Place;
pub(super) use self::stream::{Store, StoreError};
use self::stream::{is_gone, nanos, read};
pub(super) use self::unacknowledged::Unacknowledged;
use self::unacknowledged::Waiting;
use crate::link::{Inbox, Node};
use crate::lock::Lock;
use crate::nats::{is_over, subject};
use crate::position::Position;

/// How long JetStream may take for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// A consumer that has nothing to bring says so.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// One that has said nothing for so long is gone.
const SILENT: Duration = Duration::from_secs(12);

/// The name that a message has in the stream takes room beside its frame.
pub(super) const OVERHEAD: usize = 256;

const STATUS: StatusCode = StatusCode::IDLE_HEARTBEAT;

/// What comes for a session: the answers of JetStream, and what its consumers bring. A consumer has a subscription of its
/// own, since JetStream does not count one by a wildcard as interest in it.
pub(super) struct Arriving {
    answers: Subscriber,
    opened: UnboundedReceiver<Messages>,
    consumers: SelectAll<Messages>,
}

/// With the number of the consumer that brings them: their subject is the one that they were published to.
type Messages = Pin<Box<dyn Stream<Item = (Option<u64>, Message)> + Send>>;

/// One session's consumers.
pub(super) struct Kept {
    store: Store,
    node: Node,
    /// What the names of this node's messages begin with.
    own_topic: Arc<str>,
    life: u64,
    /// Which connection of the client's it goes over.
    connects: u64,
    inbox: String,
    state: Lock<State>,
    opened: UnboundedSender<Messages>,
    /// Something was acknowledged, or a consumer is there.
    news: Notify,
}

#[derive(Default)]
struct State {
    unacknowledged: Unacknowledged,
    consumers: HashMap<u64, Consumer>,
    by_topic: HashMap<Arc<str>, u64>,
    last: u64,
    /// How many consumers are not there yet.
    opening: usize,
    /// The log has had a word about what was refused.
    is_logged: bool,
}

struct Consumer {
    topic: Arc<str>,
    /// As JetStream calls it, once it is there.
    name: Option<String>,
    /// How many messages were kept when it was made, once that is known.
    kept: Option<u64>,
    /// The consumer's number of the last message that came.
    delivered: u64,
    /// The stream's.
    sequence: u64,
    is_replayed: bool,
    heard: Instant,
    subscription: AbortHandle,
}

/// The session cannot go on.
pub(super) struct Lost;

impl Kept {
    /// Begins a session.
    pub(super) async fn begin(
        store: &Store,
        node: &Node,
        connects: u64,
        unacknowledged: Unacknowledged,
    ) -> Result<(Self, Arriving), (StoreError, Unacknowledged)> {
        let life = match store.ensure().await {
            Ok(life) => life,
            Err(error) => return Err((error, unacknowledged)),
        };
        let inbox = store.client.new_inbox();
        let Ok(answers) = store.client.subscribe(format!("{inbox}.*.answer")).await else {
            return Err((StoreError::NoAnswer, unacknowledged));
        };
        let (opened, opening) = unbounded_channel();
        let kept = Self {
            store: store.clone(),
            node: node.clone(),
            own_topic: node.own_topic(),
            life,
            connects,
            inbox,
            state: Lock::new(State {
                unacknowledged,
                ..State::default()
            }),
            opened,
            news: Notify::new(),
        };
        let arriving = Arriving {
            answers,
            opened: opening,
            consumers: SelectAll::new(),
        };
        Ok((kept, arriving))
    }

    /// Ends it, and gives what the next one is to publish again.
    pub(super) fn end(self) -> Unacknowledged {
        let mut state = self.state.lock();
        mem::take(&mut state.unacknowledged)
    }

    /// Publishes again what an earlier session has left.
    pub(super) async fn publish_again(&self) -> Result<(), Lost> {
        let again = self.state.lock().unacknowledged.messages.clone();
        self.send_all(again).await
    }

    /// Publishes again what was refused.
    pub(super) async fn publish_refused(&self) -> Result<(), Lost> {
        let again = self.state.lock().unacknowledged.take_refused();
        self.send_all(again).await
    }

    async fn send_all(&self, messages: impl IntoIterator<Item = Waiting>) -> Result<(), Lost> {
        for message in messages {
            self.check()?;
            self.send(message.number, &message.topic, message.frame)
                .await?;
        }
        Ok(())
    }

    /// The client takes what it is given without a connection, too, and sends it over the next one before the next session
    /// begins: it would be kept before what was in flight.
    fn check(&self) -> Result<(), Lost> {
        if is_over(&self.store.client, self.connects) {
            return Err(Lost);
        }
        Ok(())
    }

    /// Waits until one more may be published. Cancel-safe.
    pub(super) async fn when_room(&self) -> Result<(), Lost> {
        self.when(|state| state.opening == 0 && state.unacknowledged.has_room())
            .await?;
        self.check()
    }

    /// Waits until the stream has all that was published, and every consumer is there. Cancel-safe.
    pub(super) async fn when_done(&self) -> Result<(), Lost> {
        self.when(|state| state.opening == 0 && state.unacknowledged.messages.is_empty())
            .await
    }

    async fn when(&self, is: impl Fn(&State) -> bool) -> Result<(), Lost> {
        let waiting = async {
            loop {
                let news = self.news.notified();
                if is(&self.state.lock()) {
                    return;
                }
                news.await;
            }
        };
        time::timeout(PATIENCE, waiting).await.map_err(|_| Lost)
    }

    /// Takes a message over: from here on it is published in this session or a later one.
    pub(super) fn take(&self, topic: &Arc<str>, frame: &Bytes) -> u64 {
        let mut state = self.state.lock();
        state.unacknowledged.push(Arc::clone(topic), frame.clone())
    }

    pub(super) async fn send(&self, number: u64, topic: &str, frame: Bytes) -> Result<(), Lost> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{}-{number}", self.own_topic));
        let reply = format!("{}.a{number}.answer", self.inbox);
        let client = &self.store.client;
        let subject = subject(&self.store.prefix, topic);
        let sent = client.publish_with_reply_and_headers(subject, reply, headers, frame);
        match sent.await.map_err(|error| error.kind()) {
            Err(async_nats::PublishErrorKind::Send) => Err(Lost),
            Err(kind) => {
                // It is too large for a server that allows less than it said; the next one may allow more.
                self.refused(number, &kind.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Asks for a consumer that brings what is kept of the topic, and then what is published.
    pub(super) async fn subscribe(&self, topic: Arc<str>) -> Result<(), Lost> {
        self.open(topic, 0, false).await
    }

    async fn open(&self, topic: Arc<str>, sequence: u64, is_replayed: bool) -> Result<(), Lost> {
        let number = {
            let mut state = self.state.lock();
            state.last += 1;
            state.last
        };
        let deliver = format!("{}.c{number}", self.inbox);
        let subscribed = self.store.client.subscribe(deliver.clone()).await;
        let messages = subscribed.map_err(|_| Lost)?;
        let messages = messages.map(move |message| (Some(number), message));
        let (messages, subscription) = abortable(messages);
        // The receiving half outlives this.
        let _ = self.opened.send(messages.boxed());
        {
            let mut state = self.state.lock();
            state.opening += 1;
            state.by_topic.insert(Arc::clone(&topic), number);
            let consumer = Consumer {
                topic: Arc::clone(&topic),
                name: None,
                kept: None,
                delivered: 0,
                sequence,
                is_replayed,
                heard: Instant::now(),
                subscription,
            };
            state.consumers.insert(number, consumer);
        }
        let Store { stream, prefix, .. } = &self.store;
        let mut config = json!({
            "deliver_subject": deliver,
            "filter_subject": subject(prefix, &topic),
            "deliver_policy": "all",
            "ack_policy": "none",
            "replay_policy": "instant",
            "idle_heartbeat": nanos(HEARTBEAT),
            "flow_control": true,
            "max_deliver": 1,
            "mem_storage": true,
            "num_replicas": 1,
        });
        if sequence > 0 {
            config["deliver_policy"] = json!("by_start_sequence");
            config["opt_start_seq"] = json!(sequence + 1);
        }
        let request = json!({ "stream_name": stream, "config": config });
        let asked = self.store.client.publish_with_reply(
            format!("$JS.API.CONSUMER.CREATE.{stream}"),
            format!("{}.r{number}.answer", self.inbox),
            request.to_string().into(),
        );
        asked.await.map_err(|_| Lost)
    }

    /// Ends the topic's consumer, if it has one.
    pub(super) async fn unsubscribe(&self, topic: &str) -> bool {
        let consumer = {
            let mut state = self.state.lock();
            let number = state.by_topic.remove(topic);
            number.map(|number| state.close(number))
        };
        match consumer {
            Some(name) => {
                self.delete(name).await;
                true
            }
            None => false,
        }
    }

    /// If that is lost, or it has no name yet: JetStream lets go of it when the session's inbox is gone.
    async fn delete(&self, name: Option<String>) {
        if let Some(name) = name {
            let subject = format!("$JS.API.CONSUMER.DELETE.{}.{name}", self.store.stream);
            let _ = self.store.client.publish(subject, Bytes::new()).await;
        }
    }

    /// Takes what has come: an answer, or what a consumer brings.
    pub(super) async fn receive(
        &self,
        inbox: &mut Inbox,
        (consumer, message): (Option<u64>, Message),
    ) -> Result<(), Lost> {
        if let Some(number) = consumer {
            return self.delivered(inbox, number, message).await;
        }
        let to = message.subject.strip_prefix(self.inbox.as_str());
        let to = to.and_then(|to| to.strip_prefix('.')?.strip_suffix(".answer"));
        let Some((kind, number)) = to.and_then(|to| to.split_at_checked(1)) else {
            return Ok(());
        };
        match (kind, number.parse()) {
            ("a", Ok(number)) => self.acknowledged(number, &message),
            ("r", Ok(number)) => self.opened(inbox, number, &message).await,
            ("s", Ok(_)) if is_gone(&message.payload, self.life) => Err(Lost),
            _ => Ok(()),
        }
    }

    fn acknowledged(&self, number: u64, message: &Message) -> Result<(), Lost> {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            // The stream is gone: there will be another one, and it is to have this.
            return Err(Lost);
        }
        match read(&message.payload) {
            Ok(_) => {
                self.state.lock().unacknowledged.remove(number);
            }
            Err(why) => self.refused(number, &why.unwrap_or_default()),
        }
        self.news.notify_waiters();
        Ok(())
    }

    /// Whoever waits for a confirmation may wait for what was refused: nobody gets one, while the echo, which is held back
    /// until everything before it is acknowledged, still tells what is subscribed. Whoever waited for what is refused again
    /// knows it already.
    fn refused(&self, number: u64, why: &str) {
        let mut state = self.state.lock();
        if state.unacknowledged.refuse(number) {
            return;
        }
        let is_logged = mem::replace(&mut state.is_logged, true);
        drop(state);
        self.node.unconfirm();
        if !is_logged {
            tracing::error!(
                why,
                "JetStream does not take a message: it reaches nobody, unless it stays the last one of its topic, of 500 \
                 topics at most, until it is taken; further ones are not logged"
            );
        }
    }

    async fn opened(&self, inbox: &mut Inbox, number: u64, message: &Message) -> Result<(), Lost> {
        let Ok(answer) = read(&message.payload) else {
            return Err(Lost);
        };
        let name = answer["name"].as_str().map(str::to_owned);
        let over = {
            let mut state = self.state.lock();
            state.opening = state.opening.saturating_sub(1);
            match state.consumers.get_mut(&number) {
                Some(consumer) => {
                    consumer.name = name;
                    // What has been brought already is not among what is still to come.
                    let pending = answer["num_pending"].as_u64();
                    let delivered = answer["delivered"]["consumer_seq"].as_u64();
                    consumer.kept = Some(pending.unwrap_or(0) + delivered.unwrap_or(0));
                    consumer.heard = Instant::now();
                    Ok(consumer.is_over(None))
                }
                None => Err(name),
            }
        };
        match over {
            Ok(Some(topic)) => inbox.replayed(&topic),
            Ok(None) => {}
            // It was left meanwhile.
            Err(name) => self.delete(name).await,
        }
        self.news.notify_waiters();
        Ok(())
    }

    async fn delivered(
        &self,
        inbox: &mut Inbox,
        number: u64,
        message: Message,
    ) -> Result<(), Lost> {
        if message.status == Some(STATUS) {
            return self.heartbeat(number, &message).await;
        }
        let place = message.reply.as_deref().and_then(Place::read);
        let Some(place) = place else {
            return Ok(());
        };
        let brought = {
            let mut state = self.state.lock();
            let Some(consumer) = state.consumers.get_mut(&number) else {
                return Ok(());
            };
            consumer.heard = Instant::now();
            if place.delivered == consumer.delivered + 1 {
                consumer.delivered = place.delivered;
                consumer.sequence = place.sequence;
                let over = consumer.is_over(Some(place.pending));
                Some((Arc::clone(&consumer.topic), over))
            } else {
                None
            }
        };
        let Some((topic, over)) = brought else {
            return self.open_again(number).await;
        };
        let position = Position::new(self.life, u128::from(place.sequence));
        inbox.receive_kept(&topic, position, place.age(), message.payload);
        if let Some(topic) = over {
            inbox.replayed(&topic);
        }
        Ok(())
    }

    /// A consumer has nothing to bring, or asks to go on.
    async fn heartbeat(&self, number: u64, message: &Message) -> Result<(), Lost> {
        let header = |name: &str| {
            let headers = message.headers.as_ref()?;
            headers.get(name).map(|value| value.as_str().to_owned())
        };
        let go_on = message.reply.as_ref().map(ToString::to_string);
        if let Some(go_on) = go_on.or_else(|| header("Nats-Consumer-Stalled")) {
            let answered = self.store.client.publish(go_on, Bytes::new()).await;
            answered.map_err(|_| Lost)?;
        }
        let last = header("Nats-Last-Consumer").and_then(|last| last.parse::<u64>().ok());
        let is_missing = {
            let mut state = self.state.lock();
            let Some(consumer) = state.consumers.get_mut(&number) else {
                return Ok(());
            };
            consumer.heard = Instant::now();
            last.is_some_and(|last| last > consumer.delivered)
        };
        if is_missing {
            self.open_again(number).await?;
        }
        Ok(())
    }

    /// Looks for consumers that say nothing any more, and asks for the stream.
    pub(super) async fn look(&self) -> Result<(), Lost> {
        let asked = self.store.client.publish_with_reply(
            format!("$JS.API.STREAM.INFO.{}", self.store.stream),
            format!("{}.s0.answer", self.inbox),
            Bytes::new(),
        );
        // Who finds out that a connection is lost waits for no room in what goes out over it. Without room it is not asked,
        // and that the client is closed is for who publishes to find out.
        let _ = asked.now_or_never();
        let now = Instant::now();
        let silent: Vec<u64> = {
            let state = self.state.lock();
            let consumers = state.consumers.iter();
            consumers
                .filter(|(_, consumer)| now.saturating_duration_since(consumer.heard) > SILENT)
                .map(|(number, _)| *number)
                .collect()
        };
        for number in silent {
            self.open_again(number).await?;
        }
        Ok(())
    }

    /// Goes on with a new consumer behind the last message that came.
    async fn open_again(&self, number: u64) -> Result<(), Lost> {
        let consumer = {
            let mut state = self.state.lock();
            let consumer = state.consumers.remove(&number);
            if consumer
                .as_ref()
                .is_some_and(|consumer| consumer.name.is_none())
            {
                // It never came to be: the stream is gone, or JetStream is.
                return Err(Lost);
            }
            consumer
        };
        let Some(consumer) = consumer else {
            return Ok(());
        };
        consumer.subscription.abort();
        self.delete(consumer.name).await;
        self.open(consumer.topic, consumer.sequence, consumer.is_replayed)
            .await
    }
}

impl Arriving {
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<(Option<u64>, Message)> {
        loop {
            tokio::select! {
                biased;
                Some(opened) = self.opened.recv() => self.consumers.push(opened),
                Some(answer) = self.answers.next() => return Some((None, answer)),
                Some(message) = self.consumers.next() => return Some(message),
                else => return None,
            }
        }
    }
}

impl State {
    fn close(&mut self, number: u64) -> Option<String> {
        let consumer = self.consumers.remove(&number)?;
        consumer.subscription.abort();
        consumer.name
    }
}

impl Consumer {
    /// The topic, if all that was kept has come by now, and that was not known before.
    fn is_over(&mut self, pending: Option<u64>) -> Option<Arc<str>> {
        let is_over = pending == Some(0) || self.kept.is_some_and(|kept| self.delivered >= kept);
        if self.is_replayed || !is_over {
            return None;
        }
        self.is_replayed = true;
        Some(Arc::clone(&self.topic))
    }
}

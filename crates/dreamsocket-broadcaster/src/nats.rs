//! The link over NATS, core publish and subscribe, by the `async-nats` crate. Nothing newer is used than nats-server 2.9.
//!
//! `async-nats` connects again by itself, subscribes everything anew at once, and tells so only by an event that a client
//! which is brought along need not pass on. So it is asked how often it has connected: the count is raised before anything
//! comes over the new connection, hence a message after which it is still the same came over the old one. When it is not,
//! the session is over and all its subscriptions with it.
//!
//! A subscription is a bounded channel of the client's; what comes when it is full is dropped there. That is a hole in the
//! numbers, and told as a gap like any other.

mod kept;

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, PublishErrorKind, ServerAddr};
use bytes::Bytes;
use futures_util::stream::{self, AbortHandle, SelectAll, Stream, StreamExt, abortable};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::broadcaster::Broadcaster;
use crate::error::BrokerError;
use crate::link::{Command, Inbox, Link, Node, Session};
use crate::nats::kept::{Arriving, Kept, Lost, Store, Unacknowledged};
use crate::remote::backoff;
use crate::remote::options::RemoteOptions;

/// How often the client is asked whether it is connected, when nothing comes.
const LOOK: Duration = Duration::from_millis(50);

/// One look in so many is for what keeps history.
const LOOKS: u32 = 20;

/// What JetStream has refused is published again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// How many commands may wait in the client. They outlast a lost connection, and are sent over the next one; what is lost
/// with a connection is what the client was writing.
const CLIENT_CAPACITY: usize = 128;

/// A connection on which nothing comes is asked for a sign of life so often, and given up after two that stayed without
/// an answer.
const PING: Duration = Duration::from_secs(2);

/// A session that has lasted for so long was no failure.
const STEADY: Duration = Duration::from_secs(10);

impl<M> Broadcaster<M>
where
    M: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// A broadcaster over a NATS server or cluster: all processes that connect to it with one prefix have the same
    /// topics.
    ///
    /// The URL is `async-nats`'s: `nats://host:4222`, with `user:password@` or `token@` before the host; several,
    /// separated by commas, are a cluster's. For more (TLS, files with credentials, bounds) bring a
    /// [client](Self::with_nats).
    ///
    /// # Errors
    ///
    /// When the first connection cannot be made. Later it is made again, as long as it takes.
    ///
    /// ```no_run
    /// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
    /// use dreamsocket_broadcaster::{Broadcaster, RemoteOptions};
    ///
    /// let options = RemoteOptions::new();
    /// let broadcaster = Broadcaster::<String>::connect_nats("nats://127.0.0.1:4222", options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_nats(url: &str, options: RemoteOptions) -> Result<Self, BrokerError> {
        let client = connect(url).await?;
        Self::with_nats(client, options).await
    }

    /// As [`connect_nats`](Self::connect_nats), with a client of one's own: credentials, TLS, bounds and when to connect
    /// again are what it was made with. Waits until it is connected.
    ///
    /// A lost connection is noticed when the client notices it: its `ping_interval` is a minute unless it was set. It must
    /// not be made with `no_echo`, which keeps a node's own messages from it. One that is drained is closed for good: the
    /// broadcaster then stays without a connection.
    ///
    /// # Errors
    ///
    /// When topics are to keep history and JetStream is not there, or keeps it otherwise already.
    pub async fn with_nats(client: Client, options: RemoteOptions) -> Result<Self, BrokerError> {
        let history = options.history.as_ref();
        let store = history.map(|history| Store::new(&client, history, &options));
        if let Some(store) = &store {
            store.ensure().await.map_err(BrokerError::new)?;
        }
        Ok(Self::connect_link(Nats { client, store }, options).await)
    }
}

/// A client for a URL.
pub(crate) async fn connect(url: &str) -> Result<Client, BrokerError> {
    let servers = url.split(',').map(|server| server.trim().parse());
    let servers: Vec<ServerAddr> = servers
        .collect::<Result<_, _>>()
        .map_err(BrokerError::new)?;
    let mut client = ConnectOptions::new()
        .name("dreamsocket")
        .ping_interval(PING)
        .client_capacity(CLIENT_CAPACITY)
        .reconnect_delay_callback(backoff::pause);
    // The client reads them in a URL and does not use them.
    if let Some(user) = servers.iter().find_map(ServerAddr::username) {
        let user = decode(user);
        client = match servers.iter().find_map(ServerAddr::password) {
            Some(password) => client.user_and_password(user, decode(password)),
            None => client.token(user),
        };
    }
    client.connect(servers).await.map_err(BrokerError::new)
}

/// What is written in a URL with `%` and digits.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub(crate) struct Nats {
    client: Client,
    /// Where history is kept, if it is.
    store: Option<Store>,
}

/// What the sending half needs for a session.
struct Sending<'a> {
    prefix: &'a str,
    own_topic: &'a Arc<str>,
    kept: Option<&'a Kept>,
    changes: UnboundedSender<Change>,
}

/// What the sending half tells the receiving half.
enum Change {
    Added(Arc<str>, async_nats::Subscriber),
    Removed(Arc<str>),
}

/// Why nothing more is sent in a session.
enum Sent {
    /// The broadcaster is gone, and everything of its is with the client.
    All,
    /// The client has been closed for good.
    ClientClosed,
    /// The connection is gone, or what keeps history does not go on.
    Lost,
}

impl Link for Nats {
    const KEEPS_HISTORY: bool = true;

    async fn run(self, node: Node) {
        let prefix = subject_prefix(node.prefix());
        // Outlives a session: what was not handed to the client goes out in the next one.
        let mut commands = VecDeque::new();
        let mut unacknowledged = Unacknowledged::default();
        let own_topic = node.own_topic();
        let mut attempts = 0;
        loop {
            let connects = self.when_connected().await;
            let kept = match &self.store {
                Some(store) => {
                    match Kept::begin(store, &node, connects, mem::take(&mut unacknowledged)).await
                    {
                        Ok(begun) => Some(begun),
                        Err((error, left)) => {
                            tracing::warn!(%error, "no connection to what keeps history");
                            unacknowledged = left;
                            attempts += 1;
                            time::sleep(backoff::pause(attempts)).await;
                            continue;
                        }
                    }
                }
                None => None,
            };
            let (kept, arriving) = kept.unzip();
            let server = self.client.server_info();
            let max_frame = match &kept {
                Some(_) => server.max_payload.saturating_sub(kept::OVERHEAD),
                None => server.max_payload,
            };
            let (mut session, mut inbox) = node.connected(server.server_id, max_frame);
            let begun = Instant::now();
            let (changes, changed) = unbounded_channel();
            let sending = Sending {
                prefix: &prefix,
                own_topic: &own_topic,
                kept: kept.as_ref(),
                changes,
            };
            let sent = tokio::select! {
                sent = self.send(&mut session, &sending, &mut commands) => sent,
                sent = self.receive(&mut inbox, changed, connects, kept.as_ref(), arriving) => sent,
            };
            if !matches!(sent, Sent::Lost) {
                if matches!(sent, Sent::ClientClosed) {
                    tracing::error!("the NATS client was closed; nothing is published any more");
                }
                // Bounded by the second that is left.
                let _ = self.client.flush().await;
                return;
            }
            commands.retain(is_published);
            unacknowledged = kept.map(Kept::end).unwrap_or_default();
            // One that ends at once, by a refusal, would else begin again at once.
            attempts = if begun.elapsed() > STEADY {
                0
            } else {
                attempts + 1
            };
            if attempts > 0 && self.client.connection_state() == State::Connected {
                drop(session);
                time::sleep(backoff::pause(attempts)).await;
            }
        }
    }
}

impl Nats {
    /// Without history.
    pub(crate) const fn new(client: Client) -> Self {
        Self {
            client,
            store: None,
        }
    }

    /// Ready when the client is connected, with how often it was.
    async fn when_connected(&self) -> u64 {
        loop {
            let connects = count_connects(&self.client);
            if !is_over(&self.client, connects) {
                return connects;
            }
            time::sleep(LOOK).await;
        }
    }

    async fn send(
        &self,
        session: &mut Session,
        sending: &Sending<'_>,
        commands: &mut VecDeque<Command>,
    ) -> Sent {
        let Sending {
            prefix,
            own_topic,
            kept,
            changes,
        } = sending;
        if let Some(kept) = kept
            && let Err(Lost) = kept.publish_again().await
        {
            return Sent::Lost;
        }
        let mut again = time::interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // This may be dropped wherever it waits: a command is there until the client has it.
            while let Some(command) = commands.front().cloned() {
                match command {
                    Command::Subscribe(topic) => {
                        let subject = subject(prefix, &topic);
                        let Ok(subscriber) = self.client.subscribe(subject).await else {
                            return Sent::ClientClosed;
                        };
                        // The receiving half outlives this one.
                        let _ = changes.send(Change::Added(topic, subscriber));
                    }
                    Command::Unsubscribe(topic) => {
                        let is_left = match kept {
                            Some(kept) => kept.unsubscribe(&topic).await,
                            None => false,
                        };
                        if !is_left {
                            let _ = changes.send(Change::Removed(topic));
                        }
                    }
                    Command::SubscribeKept(topic) => {
                        if let Some(kept) = kept
                            && let Err(Lost) = kept.subscribe(topic).await
                        {
                            return Sent::Lost;
                        }
                    }
                    Command::PublishKept { topic, frame } => {
                        let Some(kept) = kept else {
                            commands.pop_front();
                            continue;
                        };
                        if let Err(Lost) = kept.when_room().await {
                            return Sent::Lost;
                        }
                        // From here on it is in one place only.
                        let number = kept.take(&topic, &frame);
                        commands.pop_front();
                        if let Err(Lost) = kept.send(number, &topic, frame).await {
                            return Sent::ClientClosed;
                        }
                        continue;
                    }
                    Command::Publish { topic, frame } => {
                        if let Some(kept) = kept
                            && topic == **own_topic
                            && let Err(Lost) = kept.when_done().await
                        {
                            return Sent::Lost;
                        }
                        let published = self.client.publish(subject(prefix, &topic), frame).await;
                        let kind = published.err().map(|error| error.kind());
                        // One that is too large for a server that allows less than it said is lost: a hole.
                        if kind == Some(PublishErrorKind::Send) {
                            return Sent::ClientClosed;
                        }
                    }
                }
                commands.pop_front();
            }
            tokio::select! {
                next = session.next() => match next {
                    Some(next) => commands.extend(next),
                    None => return Sent::All,
                },
                _ = again.tick() => {
                    if let Some(kept) = kept
                        && let Err(Lost) = kept.publish_refused().await
                    {
                        return Sent::Lost;
                    }
                }
            }
        }
    }

    /// Hands on what comes, until the connection is lost or the client is closed.
    async fn receive(
        &self,
        inbox: &mut Inbox,
        mut changed: UnboundedReceiver<Change>,
        connects: u64,
        kept: Option<&Kept>,
        mut arriving: Option<Arriving>,
    ) -> Sent {
        let mut subscriptions = Subscriptions::default();
        let mut looks = 0_u32;
        let mut look = time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if is_over(&self.client, connects) {
                        return Sent::Lost;
                    }
                    looks = looks.wrapping_add(1);
                    if let Some(kept) = kept.filter(|_| looks.is_multiple_of(LOOKS))
                        && let Err(Lost) = kept.look().await
                    {
                        return Sent::Lost;
                    }
                }
                Some(message) = next_arriving(&mut arriving) => {
                    if count_connects(&self.client) != connects {
                        return Sent::Lost;
                    }
                    if let Some(kept) = kept
                        && let Err(Lost) = kept.receive(inbox, message).await
                    {
                        return Sent::Lost;
                    }
                }
                Some(change) = changed.recv() => subscriptions.change(change),
                Some((topic, frame)) = subscriptions.frames.next() => {
                    if count_connects(&self.client) != connects {
                        return Sent::Lost;
                    }
                    let Some(frame) = frame else {
                        return Sent::ClientClosed;
                    };
                    inbox.receive(&topic, frame);
                }
            }
        }
    }
}

fn count_connects(client: &Client) -> u64 {
    // The message that was received orders this after the count.
    client.statistics().connects.load(Ordering::Relaxed)
}

/// Whether the client has lost a connection, by the count that it had.
fn is_over(client: &Client, connects: u64) -> bool {
    client.connection_state() != State::Connected || count_connects(client) != connects
}

async fn next_arriving(
    arriving: &mut Option<Arriving>,
) -> Option<(Option<u64>, async_nats::Message)> {
    arriving.as_mut()?.next().await
}

fn is_published(command: &Command) -> bool {
    matches!(
        command,
        Command::Publish { .. } | Command::PublishKept { .. }
    )
}

/// A subscription that was not left ends with the client: it was drained, say, and goes on saying that it is connected. That is
/// told by a frame that is none.
type Frames = Pin<Box<dyn Stream<Item = (Arc<str>, Option<Bytes>)> + Send>>;

#[derive(Default)]
struct Subscriptions {
    frames: SelectAll<Frames>,
    handles: HashMap<Arc<str>, AbortHandle>,
}

impl Subscriptions {
    fn change(&mut self, change: Change) {
        match change {
            Change::Added(topic, subscriber) => {
                let name = Arc::clone(&topic);
                let frames = subscriber.map(|message| Some(message.payload));
                let frames = frames.chain(stream::once(ready(None)));
                let frames = frames.map(move |frame| (Arc::clone(&name), frame));
                let (frames, handle) = abortable(frames);
                self.frames.push(frames.boxed());
                if let Some(older) = self.handles.insert(topic, handle) {
                    older.abort();
                }
            }
            Change::Removed(topic) => {
                // Dropping the subscriber unsubscribes.
                if let Some(handle) = self.handles.remove(&topic) {
                    handle.abort();
                }
            }
        }
    }
}

fn subject_prefix(prefix: &str) -> String {
    let tokens = prefix.split('.').filter(|token| !token.is_empty());
    tokens.fold(String::new(), |subject, token| {
        subject + &token_of(token) + "."
    })
}

fn subject(prefix: &str, topic: &str) -> String {
    prefix.to_owned() + &token_of(topic)
}

/// Any text as one token of a subject, where spaces, dots, stars and the like have a meaning: letters, digits, `-` and `_`
/// stay, every other byte becomes `=` and two hexadecimal digits. A topic without a name becomes `=`.
pub(crate) fn token_of(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if text.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            token.push('=');
            for digit in [byte >> 4, byte & 15] {
                token.push(char::from(DIGITS[usize::from(digit)]));
            }
        }
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_a_subject_of_its_own() {
        let prefix = subject_prefix("my app.chat..");
        assert_eq!(prefix, "my=20app.chat.");
        for (topic, expected) in [
            ("lobby", "my=20app.chat.lobby"),
            ("room.1", "my=20app.chat.room=2E1"),
            ("a=b", "my=20app.chat.a=3Db"),
            ("*>", "my=20app.chat.=2A=3E"),
            ("é\0", "my=20app.chat.=C3=A9=00"),
            ("", "my=20app.chat.="),
        ] {
            assert_eq!(subject(&prefix, topic), expected);
        }
        assert_eq!(subject(&subject_prefix(""), "lobby"), "lobby");
    }
}

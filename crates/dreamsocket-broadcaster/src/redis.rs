//! The link over Redis, publish and subscribe, by the `redis` crate. Redis 6 and later: nothing newer is used than 7.0.
//!
//! There is one connection for both directions, which RESP3 allows: so the server carries out a subscription before the
//! messages that were published after it. It is made anew when it is lost, with a pause that grows; an open one is asked
//! for a sign of life every two seconds.
//!
//! The server ends the connection of a client that reads too slowly (`client-output-buffer-limit pubsub`): a lost
//! connection like any other, whose gap is told. What comes is handed on where it is read, so nothing piles up here.

mod kept;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError,
    RedisResult, Value,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::broadcaster::Broadcaster;
use crate::error::BrokerError;
use crate::link::{Command, Inbox, Link, Node, Retention, Session};
use crate::lock::Lock;
use crate::redis::kept::{Entry, Id, KeptTopics, Page};
use crate::remote::backoff;
use crate::remote::options::RemoteOptions;

/// How often an open connection is asked for a sign of life.
const PING: Duration = Duration::from_secs(2);

/// A connection that has lasted for so long was no failure.
const STEADY: Duration = Duration::from_secs(10);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What Redis takes as one argument if it is not told otherwise (`proto-max-bulk-len`).
const MAX_FRAME: usize = 512 * 1024 * 1024;

impl<M> Broadcaster<M>
where
    M: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// A broadcaster over a Redis server: all processes that connect to it with one prefix have the same topics,
    /// whatever the number of the database (Redis publishes to all of them).
    ///
    /// The URL is the `redis` crate's: `redis://host:6379`, with `user:password@` or `:password@` before the host. For
    /// more bring a [client](Self::with_redis).
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
    /// let broadcaster = Broadcaster::<String>::connect_redis("redis://127.0.0.1", options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_redis(url: &str, options: RemoteOptions) -> Result<Self, BrokerError> {
        let client = Client::open(url).map_err(BrokerError::new)?;
        Self::with_redis(&client, options).await
    }

    /// As [`connect_redis`](Self::connect_redis), with a client of one's own: address, credentials and TLS are its.
    ///
    /// # Errors
    ///
    /// As [`connect_redis`](Self::connect_redis).
    pub async fn with_redis(client: &Client, options: RemoteOptions) -> Result<Self, BrokerError> {
        let link = Redis::new(client, options.history.is_some());
        let link = link.await.map_err(BrokerError::new)?;
        Ok(Self::connect_link(link, options).await)
    }
}

pub(crate) struct Redis {
    client: Client,
    /// The connection that showed that there can be one.
    first: Option<Connection>,
    is_keeping: bool,
}

struct Connection {
    commands: MultiplexedConnection,
    /// One life of one server.
    run_id: String,
    /// The name of the script that keeps what is published, if anything is kept.
    script: Option<String>,
    pushes: Arc<Pushes>,
}

/// What the connection's own task hands on.
#[derive(Default)]
struct Pushes {
    /// Set when the session begins; nothing is subscribed before.
    receiving: Lock<Option<Receiving>>,
    is_lost: Notify,
}

struct Receiving {
    inbox: Inbox,
    prefix: String,
    own_topic: Arc<str>,
    kept: Option<KeptTopics>,
    batch: Batch,
}

/// The commands that are being carried out. What comes back on the own topic meanwhile may be behind what was refused: the
/// server goes on with the next command. The last one confirms those before it.
enum Batch {
    None,
    UnderWay { echo: Option<Bytes> },
}

impl Redis {
    pub(crate) async fn new(client: &Client, is_keeping: bool) -> RedisResult<Self> {
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone();
        let settings = settings.set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        let first = Connection::open(&client, is_keeping).await?;
        Ok(Self {
            client,
            first: Some(first),
            is_keeping,
        })
    }
}

impl Connection {
    async fn open(client: &Client, is_keeping: bool) -> RedisResult<Self> {
        let pushes = Arc::<Pushes>::default();
        let receiver = Arc::clone(&pushes);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER))
            .set_push_sender(move |push: PushInfo| {
                receiver.receive(push);
                Ok::<(), ()>(())
            });
        let mut commands = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        // A user who may not ask is told nothing of restarts.
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let info: RedisResult<String> = info.query_async(&mut commands).await;
        let run_id = info.as_deref().ok().and_then(run_id);
        let script = match is_keeping {
            true => Some(load_script(&mut commands).await?),
            false => None,
        };
        Ok(Self {
            commands,
            script,
            run_id: run_id.unwrap_or("unknown").to_owned(),
            pushes,
        })
    }
}

async fn load_script(commands: &mut MultiplexedConnection) -> RedisResult<String> {
    let mut load = redis::cmd("SCRIPT");
    load.arg("LOAD").arg(kept::SCRIPT);
    load.query_async(commands).await
}

fn run_id(info: &str) -> Option<&str> {
    info.lines().find_map(|line| line.strip_prefix("run_id:"))
}

impl Link for Redis {
    const KEEPS_HISTORY: bool = true;

    async fn run(mut self, node: Node) {
        let prefix = format!("{}:", node.prefix());
        let retention = node.history();
        let own_topic = node.own_topic();
        let mut unanswered = Vec::new();
        let mut attempts = 0;
        loop {
            let opened = match self.first.take() {
                Some(first) => Ok(first),
                None => Connection::open(&self.client, self.is_keeping).await,
            };
            match opened {
                Ok(mut connection) => {
                    let begun = Instant::now();
                    let run_id = connection.run_id.clone();
                    let (mut session, inbox) = node.connected(run_id, MAX_FRAME);
                    let kept = retention.map(|_| KeptTopics::new(prefix.clone()));
                    *connection.pushes.receiving.lock() = Some(Receiving {
                        inbox,
                        prefix: prefix.clone(),
                        own_topic: Arc::clone(&own_topic),
                        kept,
                        batch: Batch::None,
                    });
                    match connection
                        .serve(&mut session, &prefix, retention, &mut unanswered)
                        .await
                    {
                        Ok(()) => return,
                        Err(error) => tracing::warn!(%error, "the connection to Redis is lost"),
                    }
                    connection.pushes.receiving.lock().take();
                    // One that ends at once, since the server takes no more memory, say, would else begin again at once.
                    if begun.elapsed() > STEADY {
                        attempts = 0;
                    }
                }
                Err(error) => tracing::debug!(%error, "no connection to Redis"),
            }
            attempts += 1;
            time::sleep(backoff::pause(attempts)).await;
        }
    }
}

impl Connection {
    /// Carries out commands until the broadcaster is gone or the connection is lost. What was published then and not
    /// answered may have been lost or not: it stays in `unanswered`, and is published again over the next connection, once.
    /// Nodes that have it already drop it by its number.
    async fn serve(
        &mut self,
        session: &mut Session,
        prefix: &str,
        retention: Option<Retention>,
        unanswered: &mut Vec<Command>,
    ) -> RedisResult<()> {
        if !unanswered.is_empty() {
            let again = mem::take(unanswered);
            self.carry_out(prefix, retention, &again).await?;
        }
        let mut ping = time::interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                commands = session.next() => {
                    let Some(commands) = commands else {
                        return Ok(());
                    };
                    let is_published = |command: &&Command| {
                        matches!(command, Command::Publish { .. } | Command::PublishKept { .. })
                    };
                    unanswered.extend(commands.iter().filter(is_published).cloned());
                    self.carry_out(prefix, retention, &commands).await?;
                    unanswered.clear();
                    self.replay(prefix, &commands).await?;
                }
                _ = ping.tick() => redis::cmd("PING").exec_async(&mut self.commands).await?,
                () = self.pushes.is_lost.notified() => return Err(lost()),
            }
        }
    }
}

impl Connection {
    async fn carry_out(
        &mut self,
        prefix: &str,
        retention: Option<Retention>,
        commands: &[Command],
    ) -> RedisResult<()> {
        self.pushes.note(commands);
        let script = self.script.as_deref().unwrap_or_default();
        let carried_out = pipeline(prefix, retention, script, commands);
        match carried_out.exec_async(&mut self.commands).await {
            // Somebody has had the server forget its scripts. What was carried out nevertheless is a double.
            Err(error) if error.code() == Some("NOSCRIPT") => {
                let script = load_script(&mut self.commands).await?;
                let again = pipeline(prefix, retention, &script, commands);
                again.exec_async(&mut self.commands).await?;
            }
            carried_out => carried_out?,
        }
        self.pushes.confirm();
        Ok(())
    }

    /// Brings what was kept of the topics that were subscribed, page by page.
    async fn replay(&mut self, prefix: &str, commands: &[Command]) -> RedisResult<()> {
        let topics = commands.iter().filter_map(|command| match command {
            Command::SubscribeKept(topic) => Some(topic),
            _ => None,
        });
        let mut unread: Vec<_> = topics.map(|topic| (topic, "-".to_owned(), None)).collect();
        while !unread.is_empty() {
            let mut read = redis::cmd("EVAL");
            read.arg(kept::READ).arg(unread.len());
            for (topic, ..) in &unread {
                read.arg(kept::key(prefix, topic));
            }
            read.arg(kept::PAGE);
            for (_, from, _) in &unread {
                read.arg(from);
            }
            let pages: Vec<Value> = tokio::select! {
                pages = read.query_async(&mut self.commands) => pages?,
                () = self.pushes.is_lost.notified() => return Err(lost()),
            };
            let mut rests = Vec::new();
            for ((topic, _, mut last), page) in unread.into_iter().zip(pages) {
                let Some(Page { mut entries, rest }) = Page::read(page) else {
                    let error = (ErrorKind::UnexpectedReturnType, "not a page of a stream");
                    return Err(error.into());
                };
                let is_over = self.pushes.trim(topic, &mut entries);
                last = entries.back().map(|entry| entry.id).or(last);
                while self.pushes.replay(topic, &mut entries) {
                    // What is published meanwhile is put aside in time.
                    tokio::task::yield_now().await;
                }
                match rest.filter(|_| !is_over) {
                    Some(rest) => rests.push((topic, rest, last)),
                    None => self.pushes.replayed(topic, last),
                }
            }
            unread = rests;
        }
        Ok(())
    }
}

fn lost() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}

/// One command for each topic: the client counts one answer for a command, and the server gives one for a channel.
fn pipeline(
    prefix: &str,
    retention: Option<Retention>,
    script: &str,
    commands: &[Command],
) -> redis::Pipeline {
    let mut pipeline = redis::Pipeline::with_capacity(commands.len());
    for command in commands {
        match command {
            Command::Subscribe(topic) | Command::SubscribeKept(topic) => {
                pipeline.cmd("SUBSCRIBE").arg(channel(prefix, topic))
            }
            Command::Unsubscribe(topic) => pipeline.cmd("UNSUBSCRIBE").arg(channel(prefix, topic)),
            Command::Publish { topic, frame } => pipeline
                .cmd("PUBLISH")
                .arg(channel(prefix, topic))
                .arg(&**frame),
            Command::PublishKept { topic, frame } => {
                let (count, max_age) = retention.map_or((1, Duration::MAX), |retention| {
                    (retention.count, retention.max_age)
                });
                let max_age = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
                pipeline
                    .cmd("EVALSHA")
                    .arg(script)
                    .arg(1)
                    .arg(kept::key(prefix, topic))
                    .arg(&**frame)
                    .arg(channel(prefix, topic))
                    .arg(count + 1)
                    // A hundred years; the server counts in 64 bits, and its script in 53.
                    .arg(max_age.min(100 * 365 * 24 * 60 * 60 * 1_000))
            }
        };
        pipeline.ignore();
    }
    pipeline
}

fn channel(prefix: &str, topic: &str) -> String {
    prefix.to_owned() + topic
}

fn topic<'a>(channel: &'a [u8], prefix: &str) -> Option<&'a str> {
    std::str::from_utf8(channel).ok()?.strip_prefix(prefix)
}

impl Pushes {
    /// These are about to be carried out.
    fn note(&self, commands: &[Command]) {
        let mut receiving = self.receiving.lock();
        let Some(receiving) = receiving.as_mut() else {
            return;
        };
        receiving.batch = Batch::UnderWay { echo: None };
        let Some(kept) = &mut receiving.kept else {
            return;
        };
        for command in commands {
            match command {
                Command::SubscribeKept(topic) => kept.ask(Arc::clone(topic)),
                Command::Unsubscribe(topic) => kept.leave(topic),
                Command::Subscribe(_) | Command::Publish { .. } | Command::PublishKept { .. } => {}
            }
        }
    }

    /// All of them were carried out, and none was refused.
    fn confirm(&self) {
        if let Some(receiving) = &mut *self.receiving.lock()
            && let Batch::UnderWay { echo: Some(echo) } =
                mem::replace(&mut receiving.batch, Batch::None)
        {
            receiving.inbox.receive(&receiving.own_topic, echo);
        }
    }

    /// Hands on some of what was kept, and tells whether there is more of it.
    fn replay(&self, topic: &str, entries: &mut VecDeque<Entry>) -> bool {
        match &mut *self.receiving.lock() {
            Some(Receiving {
                inbox,
                kept: Some(kept),
                ..
            }) => kept.replay(inbox, topic, entries),
            _ => false,
        }
    }

    fn trim(&self, topic: &str, entries: &mut VecDeque<Entry>) -> bool {
        let receiving = self.receiving.lock();
        let kept = receiving
            .as_ref()
            .and_then(|receiving| receiving.kept.as_ref());
        kept.is_none_or(|kept| kept.trim(topic, entries))
    }

    fn replayed(&self, topic: &str, last: Option<Id>) {
        if let Some(Receiving {
            inbox,
            kept: Some(kept),
            ..
        }) = &mut *self.receiving.lock()
        {
            kept.replayed(inbox, topic, last);
        }
    }

    fn receive(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message => {
                let mut data = push.data.into_iter();
                let (Some(Value::BulkString(channel)), Some(Value::BulkString(frame))) =
                    (data.next(), data.next())
                else {
                    return;
                };
                let mut session = self.receiving.lock();
                if let Some(receiving) = &mut *session
                    && let Some(topic) = topic(&channel, &receiving.prefix)
                {
                    let frame = Bytes::from(frame);
                    if let Batch::UnderWay { echo } = &mut receiving.batch
                        && topic == &*receiving.own_topic
                    {
                        *echo = Some(frame);
                        return;
                    }
                    let inbox = &mut receiving.inbox;
                    let is_room = match (kept::published(&frame), &mut receiving.kept) {
                        (Some(entry), Some(kept)) => kept.receive(inbox, topic, entry),
                        (None, Some(kept)) => kept.receive_plain(inbox, topic, frame),
                        (Some(entry), None) => {
                            inbox.receive(topic, entry.into_frame());
                            true
                        }
                        (None, None) => {
                            inbox.receive(topic, frame);
                            true
                        }
                    };
                    if !is_room {
                        // Nothing that comes behind it may be handed on.
                        *session = None;
                        self.is_lost.notify_one();
                    }
                }
            }
            PushKind::Unsubscribe => {
                if let Some(Value::BulkString(channel)) = push.data.into_iter().next()
                    && let Some(receiving) = &mut *self.receiving.lock()
                    && let Some(topic) = topic(&channel, &receiving.prefix)
                    && let Some(kept) = &mut receiving.kept
                {
                    kept.left(topic);
                }
            }
            PushKind::Disconnection => self.is_lost.notify_one(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_life_is_read_from_what_it_tells_of_itself() {
        assert_eq!(
            run_id("# Server\r\nrun_id:1f2e\r\ntcp_port:1\r\n"),
            Some("1f2e")
        );
        assert_eq!(run_id("# Server\r\n"), None);
    }
}

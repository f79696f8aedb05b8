//! The link over Redis, publish and subscribe, by the `redis` crate. Redis 6 and later: nothing newer is used than 7.0.
//!
//! There is one connection for both directions, which RESP3 allows: so the server carries out a subscription before the
//! messages that were published after it. It is made anew when it is lost, with a pause that grows; an open one is asked
//! for a sign of life every two seconds.
//!
//! The server ends the connection of a client that reads too slowly (`client-output-buffer-limit pubsub`): a lost
//! connection like any other, whose gap is told. What comes is handed on where it is read, so nothing piles up here.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, RedisResult, Value,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::{self, MissedTickBehavior};

use crate::broadcaster::Broadcaster;
use crate::error::BrokerError;
use crate::link::{Command, Inbox, Link, Node, Session};
use crate::lock::Lock;
use crate::remote::backoff;
use crate::remote::options::RemoteOptions;

/// How often an open connection is asked for a sign of life.
const PING: Duration = Duration::from_secs(2);

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
        let link = Redis::new(client).await.map_err(BrokerError::new)?;
        Ok(Self::connect_link(link, options).await)
    }
}

pub(crate) struct Redis {
    client: Client,
    /// The connection that showed that there can be one.
    first: Option<Connection>,
}

struct Connection {
    commands: MultiplexedConnection,
    /// One life of one server.
    run_id: String,
    pushes: Arc<Pushes>,
}

/// What the connection's own task hands on.
#[derive(Default)]
struct Pushes {
    /// Set when the session begins; nothing is subscribed before.
    inbox: Lock<Option<(Inbox, String)>>,
    is_lost: Notify,
}

impl Redis {
    pub(crate) async fn new(client: &Client) -> RedisResult<Self> {
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone();
        let settings = settings.set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        let first = Connection::open(&client).await?;
        Ok(Self {
            client,
            first: Some(first),
        })
    }
}

impl Connection {
    async fn open(client: &Client) -> RedisResult<Self> {
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
        Ok(Self {
            commands,
            run_id: run_id.unwrap_or("unknown").to_owned(),
            pushes,
        })
    }
}

fn run_id(info: &str) -> Option<&str> {
    info.lines().find_map(|line| line.strip_prefix("run_id:"))
}

impl Link for Redis {
    async fn run(mut self, node: Node) {
        let prefix = format!("{}:", node.prefix());
        let mut unanswered = Vec::new();
        let mut attempts = 0;
        loop {
            let opened = match self.first.take() {
                Some(first) => Ok(first),
                None => Connection::open(&self.client).await,
            };
            match opened {
                Ok(mut connection) => {
                    attempts = 0;
                    let run_id = connection.run_id.clone();
                    let (mut session, inbox) = node.connected(run_id, MAX_FRAME);
                    *connection.pushes.inbox.lock() = Some((inbox, prefix.clone()));
                    match connection
                        .serve(&mut session, &prefix, &mut unanswered)
                        .await
                    {
                        Ok(()) => return,
                        Err(error) => tracing::info!(%error, "the connection to Redis is lost"),
                    }
                    connection.pushes.inbox.lock().take();
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
        unanswered: &mut Vec<Command>,
    ) -> RedisResult<()> {
        if !unanswered.is_empty() {
            let again = pipeline(prefix, mem::take(unanswered));
            again.exec_async(&mut self.commands).await?;
        }
        let mut ping = time::interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                commands = session.next() => {
                    let Some(commands) = commands else {
                        return Ok(());
                    };
                    let is_published = |command: &&Command| matches!(command, Command::Publish { .. });
                    unanswered.extend(commands.iter().filter(is_published).cloned());
                    let pipeline = pipeline(prefix, commands);
                    pipeline.exec_async(&mut self.commands).await?;
                    unanswered.clear();
                }
                _ = ping.tick() => redis::cmd("PING").exec_async(&mut self.commands).await?,
                () = self.pushes.is_lost.notified() => {
                    let error = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
                    return Err(error.into());
                }
            }
        }
    }
}

/// One command for each topic: the client counts one answer for a command, and the server gives one for a channel.
fn pipeline(prefix: &str, commands: Vec<Command>) -> redis::Pipeline {
    let mut pipeline = redis::Pipeline::with_capacity(commands.len());
    for command in commands {
        match command {
            Command::Subscribe(topic) => pipeline.cmd("SUBSCRIBE").arg(channel(prefix, &topic)),
            Command::Unsubscribe(topic) => pipeline.cmd("UNSUBSCRIBE").arg(channel(prefix, &topic)),
            Command::Publish { topic, frame } => pipeline
                .cmd("PUBLISH")
                .arg(channel(prefix, &topic))
                .arg(&*frame),
        };
        pipeline.ignore();
    }
    pipeline
}

fn channel(prefix: &str, topic: &str) -> String {
    prefix.to_owned() + topic
}

impl Pushes {
    fn receive(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message => {
                let mut data = push.data.into_iter();
                let (Some(Value::BulkString(channel)), Some(Value::BulkString(frame))) =
                    (data.next(), data.next())
                else {
                    return;
                };
                if let Some((inbox, prefix)) = &mut *self.inbox.lock()
                    && let Ok(channel) = std::str::from_utf8(&channel)
                    && let Some(topic) = channel.strip_prefix(prefix.as_str())
                {
                    inbox.receive(topic, Bytes::from(frame));
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

//! The store over Redis: a key with `PX` for each value, and a sorted set a shelf, whose members are the keys and whose
//! scores say when they expire. So a shelf is listed without a look at anything else, and whatever nobody writes again
//! goes by itself. The time is the server's, whatever the nodes' clocks say.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisResult};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BrokerError;
use crate::lock::Lock;
use crate::presence::Presence;
use crate::presence::options::PresenceOptions;
use crate::presence::remote::space;
use crate::redis::Redis;
use crate::store::{Shelf, Store, StoreError};

/// How long connecting and an answer may take.
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(2);

/// Writes a value and its place in the set, and forgets what has expired there. A step for itself, so that nobody sees
/// the one without the other.
const PUT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1";

impl<K, V> Presence<K, V>
where
    K: Hash + Eq + Serialize + DeserializeOwned + Send + Sync + 'static,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Presence over a Redis server: all processes that connect to it with one prefix show the same people.
    ///
    /// The URL is that of [`Broadcaster::connect_redis`](crate::Broadcaster::connect_redis); the number of the database, if
    /// there is one, has to be the same everywhere. Needs `EVAL`.
    ///
    /// # Errors
    ///
    /// When the first connection cannot be made. Later it is made again, as long as it takes.
    ///
    /// ```no_run
    /// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
    /// use dreamsocket_broadcaster::{Presence, PresenceOptions};
    ///
    /// let options = PresenceOptions::new();
    /// let presence = Presence::<u64, String>::connect_redis("redis://127.0.0.1", options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_redis(url: &str, options: PresenceOptions) -> Result<Self, BrokerError> {
        let client = Client::open(url).map_err(BrokerError::new)?;
        Self::with_redis(&client, options).await
    }

    /// As [`connect_redis`](Self::connect_redis), with a client of one's own: address, credentials and TLS are its. Two
    /// connections are made.
    ///
    /// # Errors
    ///
    /// As [`connect_redis`](Self::connect_redis).
    pub async fn with_redis(
        client: &Client,
        options: PresenceOptions,
    ) -> Result<Self, BrokerError> {
        let link = Redis::new(client, false).await.map_err(BrokerError::new)?;
        let store = RedisStore::new(client.clone(), &space(&options));
        store.connection().await.map_err(BrokerError::new)?;
        Ok(Self::connect_link(link, store, options).await)
    }
}

pub(crate) struct RedisStore {
    client: Client,
    prefix: String,
    /// Made anew when it is lost; with a number of its own.
    connection: Lock<Option<(u64, MultiplexedConnection)>>,
    connections: AtomicU64,
}

/// A command under way.
struct Asking<'a> {
    store: &'a RedisStore,
    /// The connection's number.
    number: u64,
    is_lost: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.is_lost {
            let mut open = self.store.connection.lock();
            // Another may have taken its place already.
            open.take_if(|(number, _)| *number == self.number);
        }
    }
}

impl RedisStore {
    pub(crate) fn new(client: Client, space: &str) -> Self {
        Self {
            client,
            prefix: format!("{space}:"),
            connection: Lock::new(None),
            connections: AtomicU64::new(0),
        }
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let open = self.connection.lock().clone();
        if let Some(open) = open {
            return Ok(open);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let client = &self.client;
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let open = (number, connection);
        *self.connection.lock() = Some(open.clone());
        Ok(open)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let (number, mut connection) = self.connection().await?;
        // Who does not wait for the answer any more found the connection silent: the next one is to make another.
        let mut asking = Asking {
            store: self,
            number,
            is_lost: true,
        };
        let answer = command.query_async(&mut connection).await;
        let is_lost = |error: &RedisError| error.is_io_error() || error.is_unrecoverable_error();
        asking.is_lost = answer.as_ref().err().is_some_and(is_lost);
        answer
    }

    /// The set of a shelf's keys.
    fn index(&self, shelf: &Shelf) -> String {
        match shelf {
            Shelf::Lives => format!("{}lives", self.prefix),
            Shelf::Roster(topic) => format!("{}roster:{topic}", self.prefix),
        }
    }

    /// Where a value is: told from the names of sets by what follows the prefix.
    fn value(&self, shelf: &Shelf, key: &str) -> String {
        match shelf {
            Shelf::Lives => format!("{}life:{key}", self.prefix),
            Shelf::Roster(topic) => format!("{}{key}:{topic}", self.prefix),
        }
    }
}

impl Store for RedisStore {
    async fn put(
        &self,
        shelf: &Shelf,
        key: &str,
        value: Bytes,
        expiry: Duration,
    ) -> Result<(), StoreError> {
        let milliseconds = u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX);
        let mut command = redis::cmd("EVAL");
        command
            .arg(PUT)
            .arg(2)
            .arg(self.value(shelf, key))
            .arg(self.index(shelf))
            .arg(key)
            .arg(&*value)
            .arg(milliseconds);
        let () = self.ask(&command).await?;
        Ok(())
    }

    async fn remove(&self, shelf: &Shelf, key: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("DEL");
        let () = self.ask(command.arg(self.value(shelf, key))).await?;
        let mut command = redis::cmd("ZREM");
        let () = self.ask(command.arg(self.index(shelf)).arg(key)).await?;
        Ok(())
    }

    async fn list(&self, shelf: &Shelf) -> Result<Vec<(String, Bytes)>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.index(shelf)).arg(0).arg(-1);
        let keys: Vec<String> = self.ask(&command).await?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for key in &keys {
            command.arg(self.value(shelf, key));
        }
        let values: Vec<Option<Vec<u8>>> = self.ask(&command).await?;
        let found = keys.into_iter().zip(values);
        Ok(found
            .filter_map(|(key, value)| Some((key, Bytes::from(value?))))
            .collect())
    }
}

//! The store over NATS: two key-value buckets of JetStream, whose values expire by the buckets' `max_age`, in memory.
//! Nothing newer is used than nats-server 2.9: there an expired key is gone without an event, so that who wants to know
//! has to ask.

use std::hash::Hash;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context, kv};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BrokerError;
use crate::lock::Lock;
use crate::nats::{Nats, connect, token_of};
use crate::presence::Presence;
use crate::presence::options::{PresenceOptions, ROSTER_EXPIRY};
use crate::presence::remote::space;
use crate::store::{Shelf, Store, StoreError};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// How many values are asked for at once.
const AT_ONCE: usize = 16;

impl<K, V> Presence<K, V>
where
    K: Hash + Eq + Serialize + DeserializeOwned + Send + Sync + 'static,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Presence over a NATS server or cluster with JetStream: all processes that connect to it with one prefix show the
    /// same people.
    ///
    /// The URL is that of [`Broadcaster::connect_nats`](crate::Broadcaster::connect_nats). Two key-value buckets are made
    /// if they are not there, in memory, without replicas; one that is made before with other settings is used as it is.
    ///
    /// # Errors
    ///
    /// When the first connection cannot be made, or JetStream is not there. Later a connection is made again, as long as
    /// it takes.
    ///
    /// ```no_run
    /// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
    /// use dreamsocket_broadcaster::{Presence, PresenceOptions};
    ///
    /// let options = PresenceOptions::new();
    /// let presence = Presence::<u64, String>::connect_nats("nats://127.0.0.1:4222", options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_nats(url: &str, options: PresenceOptions) -> Result<Self, BrokerError> {
        let client = connect(url).await?;
        Self::with_nats(client, options).await
    }

    /// As [`connect_nats`](Self::connect_nats), with a client of one's own, which may be a broadcaster's, too: see
    /// [`Broadcaster::with_nats`](crate::Broadcaster::with_nats).
    ///
    /// # Errors
    ///
    /// When JetStream is not there.
    pub async fn with_nats(client: Client, options: PresenceOptions) -> Result<Self, BrokerError> {
        let store = NatsStore::new(client.clone(), &space(&options), options.expiry());
        for shelf in [Shelf::Lives, Shelf::Roster("".into())] {
            let bucket = store.bucket(&shelf).await;
            bucket.map_err(BrokerError::boxed)?;
        }
        Ok(Self::connect_link(Nats::new(client), store, options).await)
    }
}

pub(crate) struct NatsStore {
    context: Context,
    lives: Bucket,
    rosters: Bucket,
}

struct Bucket {
    name: String,
    max_age: Duration,
    /// Opened anew when it has failed: it may be gone with the server that had it.
    open: Lock<Option<kv::Store>>,
}

impl NatsStore {
    pub(crate) fn new(client: Client, space: &str, expiry: Duration) -> Self {
        let mut context = jetstream::new(client);
        context.set_timeout(ANSWER);
        let bucket = |name: &str, max_age| Bucket {
            name: bucket_name(space, name),
            max_age,
            open: Lock::new(None),
        };
        Self {
            context,
            lives: bucket("lives", expiry),
            rosters: bucket("rosters", ROSTER_EXPIRY),
        }
    }

    const fn place(&self, shelf: &Shelf) -> &Bucket {
        match shelf {
            Shelf::Lives => &self.lives,
            Shelf::Roster(_) => &self.rosters,
        }
    }

    /// The shelf's bucket, which is made if it is not there.
    async fn bucket(&self, shelf: &Shelf) -> Result<kv::Store, StoreError> {
        let Bucket {
            name,
            max_age,
            open,
        } = self.place(shelf);
        let bucket = open.lock().clone();
        if let Some(bucket) = bucket {
            return Ok(bucket);
        }
        // Nothing happens if it is there already; if it is there with other settings, this fails.
        let created = self.context.create_stream(settings(name, *max_age)).await;
        let bucket = match (self.context.get_key_value(name).await, created) {
            (Ok(bucket), _) => bucket,
            (Err(_), Err(error)) => return Err(error.into()),
            (Err(error), Ok(_)) => return Err(error.into()),
        };
        *open.lock() = Some(bucket.clone());
        Ok(bucket)
    }

    /// What has failed may be gone.
    fn note<T, E: Into<StoreError>>(
        &self,
        shelf: &Shelf,
        answer: Result<T, E>,
    ) -> Result<T, StoreError> {
        if answer.is_err() {
            *self.place(shelf).open.lock() = None;
        }
        answer.map_err(Into::into)
    }
}

/// What makes a stream a key-value bucket. The client can do this by itself, but asks the server for what servers before
/// 2.10 do not say.
fn settings(bucket: &str, max_age: Duration) -> Config {
    Config {
        name: format!("KV_{bucket}"),
        description: Some("who is there: see dreamsocket".to_owned()),
        subjects: vec![format!("$KV.{bucket}.>")],
        max_messages_per_subject: 1,
        max_age,
        duplicate_window: max_age.min(Duration::from_secs(120)),
        storage: StorageType::Memory,
        discard: DiscardPolicy::New,
        num_replicas: 1,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..Config::default()
    }
}

/// A topic becomes one token, so that a shelf is what one filter finds.
fn key_of(shelf: &Shelf, key: &str) -> String {
    match shelf {
        Shelf::Lives => key.to_owned(),
        Shelf::Roster(topic) => format!("{}.{key}", token_of(topic)),
    }
}

/// Letters, digits, `-` and `_` only: what is anything else becomes `_` and two digits, and `_` becomes two.
fn bucket_name(space: &str, name: &str) -> String {
    let space = space.replace('_', "__");
    format!("{}-{name}", token_of(&space).replace('=', "_"))
}

impl Store for NatsStore {
    async fn put(
        &self,
        shelf: &Shelf,
        key: &str,
        value: Bytes,
        _: Duration,
    ) -> Result<(), StoreError> {
        let bucket = self.bucket(shelf).await?;
        let put = bucket.put(key_of(shelf, key), value).await;
        self.note(shelf, put)?;
        Ok(())
    }

    async fn remove(&self, shelf: &Shelf, key: &str) -> Result<(), StoreError> {
        let bucket = self.bucket(shelf).await?;
        let deleted = bucket.delete(key_of(shelf, key)).await;
        self.note(shelf, deleted)
    }

    async fn list(&self, shelf: &Shelf) -> Result<Vec<(String, Bytes)>, StoreError> {
        let bucket = self.bucket(shelf).await?;
        let subject = format!("{}{}", bucket.prefix, key_of(shelf, "*"));
        let found = bucket.stream.info_with_subjects(subject).await;
        let found = self.note(shelf, found)?;
        let subjects: Vec<(String, usize)> = self.note(shelf, found.try_collect().await)?;
        let values = stream::iter(subjects).map(|(subject, _)| {
            let bucket = &bucket;
            async move {
                let name = subject.strip_prefix(&bucket.prefix).unwrap_or(&subject);
                let value = bucket.get(name).await?;
                let key = name.rsplit('.').next().unwrap_or(name).to_owned();
                // It may have expired meanwhile.
                Ok::<_, kv::EntryError>(value.map(|value| (key, value)))
            }
        });
        let values = values.buffer_unordered(AT_ONCE).try_collect().await;
        let values: Vec<Option<(String, Bytes)>> = self.note(shelf, values)?;
        Ok(values.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_a_bucket_and_a_key() {
        for (space, expected) in [
            ("dreamsocket.presence", "dreamsocket_2Epresence-lives"),
            ("my app_1.presence", "my_20app__1_2Epresence-lives"),
        ] {
            assert_eq!(bucket_name(space, "lives"), expected);
        }
        let shelf = Shelf::Roster("room.1".into());
        assert_eq!(key_of(&shelf, "00ff"), "room=2E1.00ff");
        assert_eq!(key_of(&Shelf::Lives, "00ff"), "00ff");
    }
}

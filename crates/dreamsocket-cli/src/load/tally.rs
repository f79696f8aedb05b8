//! [`Tally`]: what all connections count together.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dreamsocket::Closed;
use dreamsocket::client::{ConnectError, Phase};
use tokio::sync::Notify;

use super::histogram::Latencies;

pub(super) struct Tally {
    /// Connections whose attempt is over.
    tried: AtomicUsize,
    trying: Notify,
    pub(super) opened: AtomicUsize,
    pub(super) open: AtomicUsize,
    pub(super) sent: AtomicU64,
    pub(super) answered: AtomicU64,
    /// Messages that were due, and could not be sent.
    pub(super) unsent: AtomicU64,
    /// What came and answers nothing of ours.
    pub(super) unexpected: AtomicU64,
    /// Attempts that failed, by kind. There are few kinds.
    pub(super) failures: Mutex<BTreeMap<String, u64>>,
    pub(super) first_failure: Mutex<Option<ConnectError>>,
    /// Connections that ended before we closed them, by code.
    pub(super) closes: Mutex<BTreeMap<u16, u64>>,
    /// For each thread about two, so that they rarely meet.
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug, Clone)]
pub(super) struct Shard {
    /// Of all messages that were answered.
    pub(super) latencies: Latencies,
    /// Of those since the last time that it was asked for.
    pub(super) recent: Latencies,
    /// How long connecting took.
    pub(super) connecting: Latencies,
    /// How late we sent what was not held up by the server.
    pub(super) lateness: Latencies,
}

impl Shard {
    fn new() -> Self {
        Self {
            latencies: Latencies::new(),
            recent: Latencies::new(),
            connecting: Latencies::new(),
            lateness: Latencies::new(),
        }
    }
}

impl Tally {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            tried: AtomicUsize::new(0),
            trying: Notify::new(),
            opened: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            unexpected: AtomicU64::new(0),
            failures: Mutex::default(),
            first_failure: Mutex::default(),
            closes: Mutex::default(),
            shards: (0..shards.max(1))
                .map(|_| Mutex::new(Shard::new()))
                .collect(),
        }
    }

    /// An attempt is over, whatever came of it.
    pub(super) fn tried(&self) {
        self.tried.fetch_add(1, Ordering::Relaxed);
        self.trying.notify_one();
    }

    pub(super) async fn all_tried(&self, connections: usize) {
        while self.tried.load(Ordering::Relaxed) < connections {
            self.trying.notified().await;
        }
    }

    pub(super) fn opened(&self, connection: usize, took: Duration) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        self.shard(connection).connecting.record(took);
    }

    pub(super) fn failed(&self, error: ConnectError) {
        *lock(&self.failures).entry(kind_of(&error)).or_default() += 1;
        lock(&self.first_failure).get_or_insert(error);
    }

    /// A connection ended before we closed it.
    pub(super) fn closed(&self, closed: Option<&Closed>) {
        let code = closed.map_or(1006, |closed| closed.code.into());
        *lock(&self.closes).entry(code).or_default() += 1;
    }

    pub(super) fn answered(&self, connection: usize, latency: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.shard(connection);
        shard.latencies.record(latency);
        shard.recent.record(latency);
    }

    pub(super) fn sent(&self, connection: usize, lateness: Option<Duration>) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if let Some(lateness) = lateness {
            self.shard(connection).lateness.record(lateness);
        }
    }

    /// Latencies since the last call.
    pub(super) fn recent(&self) -> Latencies {
        let mut sum = Latencies::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            sum.add(&shard.recent);
            shard.recent.clear();
        }
        sum
    }

    /// All shards as one.
    pub(super) fn sum(&self) -> Shard {
        let mut sum = Shard::new();
        for shard in &self.shards {
            let shard = lock(shard);
            sum.latencies.add(&shard.latencies);
            sum.connecting.add(&shard.connecting);
            sum.lateness.add(&shard.lateness);
        }
        sum
    }

    fn shard(&self, connection: usize) -> MutexGuard<'_, Shard> {
        lock(&self.shards[connection % self.shards.len()])
    }
}

/// Counters stay what they are when a task that held them panics.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A few words that are the same for the same trouble.
fn kind_of(error: &ConnectError) -> String {
    let cause = |name: &str, error: &io::Error| {
        let kind = error.kind().to_string();
        match error.raw_os_error() {
            // Such as too many open files: only the system's own words say it.
            Some(_) if kind.starts_with("uncategorized") => format!("{name}: {error}"),
            Some(_) => format!("{name}: {kind}"),
            None => name.to_owned(),
        }
    };
    match error {
        ConnectError::Dns(_) => "name not resolved".to_owned(),
        ConnectError::Connect(error) => cause("not connected", error),
        ConnectError::Tls(error) => cause("TLS failed", error),
        ConnectError::TimedOut { phase, .. } => match phase {
            Phase::Dns => "timed out: name".to_owned(),
            Phase::Connect => "timed out: connecting".to_owned(),
            Phase::Tls => "timed out: TLS".to_owned(),
            _ => "timed out: handshake".to_owned(),
        },
        ConnectError::Refused(refusal) => format!("refused with {}", refusal.status.as_u16()),
        ConnectError::InvalidResponse(_) => "invalid response".to_owned(),
        ConnectError::Http(error) => match source_of(&**error) {
            Some(error) => cause("handshake broke off", error),
            None => "handshake broke off".to_owned(),
        },
        _ => "other".to_owned(),
    }
}

fn source_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

//! The three ways in which a message goes.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use dreamsocket_broadcaster::{Broadcaster, RemoteOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Memory,
    Nats,
    Redis,
}

pub(crate) struct Urls {
    pub(crate) nats: String,
    pub(crate) redis: String,
}

impl Engine {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Nats, Self::Redis];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Nats => "NATS",
            Self::Redis => "Redis",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|engine| engine.name() == name);
        let Some(found) = found else {
            bail!("no such engine: {name}");
        };
        Ok(found)
    }

    /// So many nodes with topics of their own. In memory all are one.
    pub(crate) async fn nodes(self, urls: &Urls, count: usize) -> Result<Vec<Broadcaster<String>>> {
        static SPACES: AtomicU64 = AtomicU64::new(0);
        let space = SPACES.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("nodes-{}-{space}", std::process::id());
        let memory = Broadcaster::new();
        let mut nodes = Vec::new();
        for _ in 0..count {
            let options = RemoteOptions::new()
                .prefix(prefix.clone())
                .max_queue(64 * 1024 * 1024)
                .resubscribe_rate(1_000_000);
            nodes.push(match self {
                Self::Memory => memory.clone(),
                Self::Nats => Broadcaster::connect_nats(&urls.nats, options).await?,
                Self::Redis => Broadcaster::connect_redis(&urls.redis, options).await?,
            });
        }
        Ok(nodes)
    }
}

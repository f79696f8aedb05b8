//! What broadcasters carry, whatever their messages are.

use std::fmt;
use std::sync::Arc;

use dreamsocket_broadcaster::{Broadcaster, Counts, Health, TopicInfo};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::look::GOOD_FOR;
use super::view::TopicsView;
use crate::hub::cut;

/// A broadcaster under its name.
#[derive(Clone)]
pub(super) struct Source {
    name: String,
    broadcaster: Arc<dyn Listed>,
}

/// What is asked of a broadcaster of any message.
trait Listed: Send + Sync {
    fn topics(&self) -> usize;
    fn counts(&self) -> Counts;
    fn health(&self) -> Health;
    fn list_topics(&self, limit: usize, search: &str) -> Vec<TopicInfo>;
}

impl<M: Send + Sync + 'static> Listed for Broadcaster<M> {
    fn topics(&self) -> usize {
        self.topics()
    }

    fn counts(&self) -> Counts {
        self.counts()
    }

    fn health(&self) -> Health {
        self.health()
    }

    fn list_topics(&self, limit: usize, search: &str) -> Vec<TopicInfo> {
        self.list_topics(limit, |name| {
            search.is_empty() || name.to_lowercase().contains(search)
        })
    }
}

impl Source {
    pub(super) fn new<M: Send + Sync + 'static>(name: String, broadcaster: Broadcaster<M>) -> Self {
        Self {
            name,
            broadcaster: Arc::new(broadcaster),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn list(&self, view: &TopicsView) -> Listing {
        let Counts {
            published,
            delivered,
            missed,
            ..
        } = self.broadcaster.counts();
        let health = self.broadcaster.health();
        let search = view.search.as_str().to_lowercase();
        let topics = self.broadcaster.list_topics(view.limit(), &search);
        Listing {
            name: self.name.clone(),
            is_ready: health.is_ready(),
            disconnections: health.disconnections,
            gaps: health.gaps,
            published,
            delivered,
            missed,
            topics: self.broadcaster.topics(),
            busiest: topics.iter().map(Topic::from).collect(),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

/// The last listing without a search, shared by all who look within a second.
#[derive(Debug, Clone, Default)]
pub(super) struct Listings {
    last: Arc<Mutex<Option<(Instant, Topics)>>>,
}

impl Listings {
    /// One listing at a time, however many ask, and on a thread where it holds nobody up: there may be a million topics, and
    /// a broadcaster looks at all of them.
    pub(super) async fn take(&self, sources: &[Source], view: &TopicsView) -> Topics {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        let is_searching = !view.search.as_str().is_empty();
        if !is_searching
            && let Some((at, topics)) = &*last
            && at.elapsed() < GOOD_FOR
        {
            return topics.first(view.limit());
        }
        let (sources, view) = (sources.to_vec(), view.clone());
        // Who asks may go away meanwhile; whoever is next still waits.
        let listed = spawn_blocking(move || {
            if is_searching {
                return Topics::of(&sources, &view);
            }
            let topics = Topics::of(&sources, &TopicsView::whole());
            let first = topics.first(view.limit());
            *last = Some((Instant::now(), topics));
            first
        });
        // An error comes only where the runtime ends.
        listed.await.unwrap_or_default()
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Topics {
    broadcasters: Vec<Listing>,
}

impl Topics {
    fn of(sources: &[Source], view: &TopicsView) -> Self {
        let sources = sources.iter();
        Self {
            broadcasters: sources.map(|source| source.list(view)).collect(),
        }
    }

    /// The same, with no more topics of each broadcaster.
    fn first(&self, limit: usize) -> Self {
        let broadcasters = self.broadcasters.iter();
        let shorten = |listing: &Listing| Listing {
            name: listing.name.clone(),
            busiest: listing.busiest.iter().take(limit).cloned().collect(),
            ..*listing
        };
        Self {
            broadcasters: broadcasters.map(shorten).collect(),
        }
    }
}

/// A broadcaster and those of its topics that have most subscribers.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    name: String,
    is_ready: bool,
    disconnections: u64,
    gaps: u64,
    published: u64,
    delivered: u64,
    missed: u64,
    /// How many there are.
    topics: usize,
    busiest: Vec<Topic>,
}

#[derive(Debug, Clone, Serialize)]
struct Topic {
    name: String,
    subscribers: usize,
    published: u64,
    delivered: u64,
    missed: u64,
}

impl From<&TopicInfo> for Topic {
    fn from(topic: &TopicInfo) -> Self {
        Self {
            name: cut(&topic.name).to_owned(),
            subscribers: topic.subscribers,
            published: topic.counts.published,
            delivered: topic.counts.delivered,
            missed: topic.counts.missed,
        }
    }
}

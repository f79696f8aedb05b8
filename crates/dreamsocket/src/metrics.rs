//! Metrics by the facade of the crate [`metrics`](https://docs.rs/metrics) (feature `metrics`).
//!
//! Connections, refusals, messages, handlers and outboxes measure themselves: install a recorder, and there they are. **Install it
//! before the first connection, refusal or [`Sampler`]**: what is measured first looks the recorder up, once for the process, and
//! without one nothing is ever told. Names, types, units and labels stand in `docs/observability.md`.
//!
//! A [`Broadcaster`] and a [`Presence`] know no metrics; a [`Sampler`] reads their numbers whenever it is asked to.
//!
//! ```
//! use dreamsocket::Broadcaster;
//! use dreamsocket::metrics::Sampler;
//!
//! // First of all: `metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()`, say.
//! let broadcaster = Broadcaster::<String>::new();
//! let sampler = Sampler::new().with_broadcaster("chat", &broadcaster);
//!
//! // Whenever somebody asks for the metrics, before they are rendered:
//! sampler.sample();
//! ```

pub(crate) mod names;

use std::fmt;

use ::metrics::{Counter, Gauge, counter, gauge};
use dreamsocket_broadcaster::{Broadcaster, Counts, Health, Presence};

/// Tells the recorder how broadcasters and their brokers are doing, each time [`sample`](Self::sample) is called.
///
/// Call it before metrics are rendered, or some times a minute where they are pushed: it looks at every topic.
#[derive(Default)]
#[must_use = "nothing is told until `sample`"]
pub struct Sampler {
    observed: Vec<Observed>,
}

struct Observed {
    read: Box<dyn Fn() -> Reading + Send + Sync>,
    topics: Option<TopicMeters>,
    broker: BrokerMeters,
}

/// How things are at one moment.
struct Reading {
    topics: usize,
    subscribers: usize,
    counts: Counts,
    health: Health,
}

struct TopicMeters {
    topics: Gauge,
    subscribers: Gauge,
    published: Counter,
    delivered: Counter,
    dropped: Counter,
}

struct BrokerMeters {
    connected: Gauge,
    ready: Gauge,
    pending_topics: Gauge,
    queued: Gauge,
    disconnections: Counter,
    gaps: Counter,
    doubles: Counter,
    undecodable: Counter,
}

impl Sampler {
    /// Of nothing yet.
    pub const fn new() -> Self {
        Self {
            observed: Vec::new(),
        }
    }

    /// Samples this broadcaster, too. `name` is the value of the label `name`: another one for each, and none that a peer
    /// chooses.
    ///
    /// The sampler keeps a handle of it: channels of an in-process broadcaster do not end while somebody could still publish.
    pub fn with_broadcaster<M: 'static>(
        mut self,
        name: impl Into<String>,
        broadcaster: &Broadcaster<M>,
    ) -> Self {
        let (name, broadcaster) = (name.into(), broadcaster.clone());
        self.observed.push(Observed {
            read: Box::new(move || Reading {
                topics: broadcaster.topics(),
                subscribers: broadcaster.subscribers(),
                counts: broadcaster.counts(),
                health: broadcaster.health(),
            }),
            topics: Some(TopicMeters::new(&name)),
            broker: BrokerMeters::new(&name),
        });
        self
    }

    /// Samples how a [`Presence`] and its broker get on, too. `name` as for [`with_broadcaster`](Self::with_broadcaster), and
    /// another than theirs.
    ///
    /// The sampler keeps a handle of it: the tasks of one on many machines go on as long as the sampler is there.
    pub fn with_presence<K, V>(mut self, name: impl Into<String>, presence: &Presence<K, V>) -> Self
    where
        K: Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        let presence = presence.clone();
        self.observed.push(Observed {
            read: Box::new(move || Reading {
                topics: 0,
                subscribers: 0,
                counts: Counts::default(),
                health: presence.health(),
            }),
            topics: None,
            broker: BrokerMeters::new(&name.into()),
        });
        self
    }

    /// Tells the recorder how things are now.
    pub fn sample(&self) {
        for observed in &self.observed {
            let reading = (observed.read)();
            if let Some(topics) = &observed.topics {
                topics.tell(&reading);
            }
            observed.broker.tell(&reading.health);
        }
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler")
            .field("observed", &self.observed.len())
            .finish()
    }
}

impl TopicMeters {
    fn new(name: &str) -> Self {
        names::describe_topics();
        Self {
            topics: named_gauge(names::TOPICS, name),
            subscribers: named_gauge(names::SUBSCRIBERS, name),
            published: named_counter(names::PUBLISHED, name),
            delivered: named_counter(names::DELIVERED, name),
            dropped: named_counter(names::DROPPED, name),
        }
    }

    fn tell(&self, reading: &Reading) {
        self.topics.set(reading.topics as f64);
        self.subscribers.set(reading.subscribers as f64);
        self.published.absolute(reading.counts.published);
        self.delivered.absolute(reading.counts.delivered);
        self.dropped.absolute(reading.counts.missed);
    }
}

impl BrokerMeters {
    fn new(name: &str) -> Self {
        names::describe_broker();
        Self {
            connected: named_gauge(names::CONNECTED, name),
            ready: named_gauge(names::READY, name),
            pending_topics: named_gauge(names::PENDING_TOPICS, name),
            queued: named_gauge(names::QUEUED, name),
            disconnections: named_counter(names::DISCONNECTIONS, name),
            gaps: named_counter(names::BROKER_GAPS, name),
            doubles: named_counter(names::DOUBLES, name),
            undecodable: named_counter(names::UNDECODABLE, name),
        }
    }

    fn tell(&self, health: &Health) {
        self.connected.set(f64::from(u8::from(health.is_connected)));
        self.ready.set(f64::from(u8::from(health.is_ready())));
        self.pending_topics.set(health.pending_topics as f64);
        self.queued.set(health.queued_bytes as f64);
        self.disconnections.absolute(health.disconnections);
        self.gaps.absolute(health.gaps);
        self.doubles.absolute(health.doubles);
        self.undecodable.absolute(health.undecodable);
    }
}

fn named_gauge(metric: &'static str, name: &str) -> Gauge {
    gauge!(metric, "name" => name.to_owned())
}

fn named_counter(metric: &'static str, name: &str) -> Counter {
    counter!(metric, "name" => name.to_owned())
}

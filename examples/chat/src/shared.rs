//! What all connections share, and, with a broker, all nodes: what is said, who types, who is where. The one place that
//! knows where it is shared.

use std::time::Duration;

use dreamsocket::{BoxError, Broadcaster, Health, History};
#[cfg(any(feature = "nats", feature = "redis"))]
use dreamsocket::{PresenceOptions, RemoteOptions};

use crate::args::Broker;
use crate::event::{People, Said, Typing};
use crate::limits::KEPT;

/// How long a client that enters waits for what other nodes know.
const A_MOMENT: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(crate) struct Shared {
    /// What is said, by room. The last of it is kept.
    pub(crate) said: Broadcaster<Said>,
    pub(crate) typing: Broadcaster<Typing>,
    pub(crate) people: People,
}

impl Shared {
    pub(crate) async fn open(broker: &Broker) -> Result<Self, BoxError> {
        match broker {
            Broker::None => Ok(Self {
                said: Broadcaster::with_history(History::last(KEPT)),
                typing: Broadcaster::new(),
                people: People::new(),
            }),
            #[cfg(feature = "nats")]
            Broker::Nats(url) => Ok(Self {
                said: Broadcaster::connect_nats(url, said()).await?,
                typing: Broadcaster::connect_nats(url, typing()).await?,
                people: People::connect_nats(url, people()).await?,
            }),
            #[cfg(feature = "redis")]
            Broker::Redis(url) => Ok(Self {
                said: Broadcaster::connect_redis(url, said()).await?,
                typing: Broadcaster::connect_redis(url, typing()).await?,
                people: People::connect_redis(url, people()).await?,
            }),
            #[cfg(not(feature = "nats"))]
            Broker::Nats(_) => Err(missing("nats")),
            #[cfg(not(feature = "redis"))]
            Broker::Redis(_) => Err(missing("redis")),
        }
    }

    /// Waits a moment, if need be, until it is known who is in a room on other nodes. It has to be watched.
    pub(crate) async fn when_people_are_known(&self, room: &str) {
        // Whoever is not known by then comes a little later, as if they had just entered.
        let _ = tokio::time::timeout(A_MOMENT, self.people.known(room)).await;
    }

    /// Whether what is said here is heard on all nodes.
    pub(crate) fn health(&self) -> Health {
        self.said.health()
    }
}

#[cfg(any(feature = "nats", feature = "redis"))]
fn said() -> RemoteOptions {
    RemoteOptions::new()
        .prefix("chat.said")
        .history(History::last(KEPT))
}

#[cfg(any(feature = "nats", feature = "redis"))]
fn typing() -> RemoteOptions {
    RemoteOptions::new().prefix("chat.typing")
}

#[cfg(any(feature = "nats", feature = "redis"))]
fn people() -> PresenceOptions {
    PresenceOptions::new().prefix("chat.people")
}

#[cfg(not(all(feature = "nats", feature = "redis")))]
fn missing(feature: &str) -> BoxError {
    format!("this program was built without it: build it with `--features {feature}`").into()
}

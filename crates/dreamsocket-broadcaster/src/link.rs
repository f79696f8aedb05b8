//! The way to other machines: what a client of a broker has to do, and no more.
//!
//! A [`Link`] carries frames between nodes. It knows no messages, numbers or subscribers: what is lost, doubled or late is
//! found out by the engine above it from what is in the frames, so that a link may lose, but need not tell. The links for
//! NATS and Redis are in this crate; whoever has another broker implements [`Link`] for it, gives it to
//! [`Broadcaster::with_link`](crate::Broadcaster::with_link), and runs the cases of `conformance` on it.
//!
//! What a link has to keep:
//!
//! - Within one [`Session`], commands are carried out in order, as the broker sees it: who subscribes and then publishes
//!   gets its own message.
//! - Frames that one node publishes to one topic come to [`Inbox::receive`] in that order, none of them twice. They may be
//!   missing.
//! - After [`Command::Subscribe`] frames of that topic come, and after [`Command::Unsubscribe`] they soon do not. Frames of
//!   topics that nobody asked for are dropped, but cost: a link should not bring them.
//! - When frames may have been lost because the connection was, the session is dropped and, once there is a connection
//!   again, [`Node::connected`] gives a new one, with all subscriptions anew. Frames of the old one that come late are
//!   not received any more.
//!
//! History is optional. A link that can keep what is published says so by [`Link::KEEPS_HISTORY`]; only then it is given
//! [`Command::SubscribeKept`] and [`Command::PublishKept`], and only if the broadcaster was made with a
//! [history](crate::RemoteOptions::history), which [`Node::history`] tells. It then has to keep, too:
//!
//! - Each message that is kept has a [`Position`], the same on all nodes. Those of a topic grow from message to message, as
//!   long as their life is the same; when the broker has lost what it kept, there is another life.
//! - After [`Command::SubscribeKept`] everything that is kept of the topic comes to [`Inbox::receive_kept`], in order, then
//!   [`Inbox::replayed`] is called, once in a session, and then what is published comes in the same order. Nothing is missing
//!   where the one ends and the other begins. What was published by this node behind the command comes after `replayed`.
//! - A topic that is left is subscribed again with its history in a later batch only. When a link calls [`Session::next`] for
//!   that one, it has left the topic: what the earlier subscription had still to bring does not come any more.
//! - What is published to [`Node::own_topic`] comes back when all that was to be kept before it is kept.
//!
//! [`Presence`](crate::Presence) needs a [`Store`] beside a link, where keys expire.
//!
//! ```
//! use dreamsocket_broadcaster::link::{Command, Link, Node};
//!
//! /// Reaches nobody but its own node.
//! struct Loopback;
//!
//! impl Link for Loopback {
//!     async fn run(self, node: Node) {
//!         let (mut session, mut inbox) = node.connected("loopback", usize::MAX);
//!         let mut topics = std::collections::HashSet::new();
//!         while let Some(commands) = session.next().await {
//!             for command in commands {
//!                 match command {
//!                     Command::Subscribe(topic) => drop(topics.insert(topic)),
//!                     Command::Unsubscribe(topic) => drop(topics.remove(&topic)),
//!                     Command::Publish { topic, frame } if topics.contains(&topic) => {
//!                         inbox.receive(&topic, frame);
//!                     }
//!                     Command::Publish { .. } => {}
//!                     // It says nothing of keeping history.
//!                     Command::SubscribeKept(_) | Command::PublishKept { .. } => {}
//!                 }
//!             }
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use dreamsocket_broadcaster::{Broadcaster, Delivery, RemoteOptions};
//!
//! let options = RemoteOptions::new().queue_while_away();
//! let broadcaster = Broadcaster::with_link(Loopback, options);
//! let mut channel = broadcaster.topic("lobby").subscribe();
//! broadcaster.topic("lobby").publish("hello".to_owned())?;
//! while channel.recv().await != Some(Delivery::Message("hello".to_owned())) {}
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use crate::position::Position;
use crate::remote::Arrivals;
use crate::remote::exchange::Exchange;
pub use crate::store::{Shelf, Store, StoreError};

/// A client of a broker.
pub trait Link: Send + 'static {
    /// Whether it can keep what is published. If not, topics keep nothing, whatever the options say.
    const KEEPS_HISTORY: bool = false;

    /// Connects, carries out the commands of each session, and connects again when the connection is lost, until
    /// [`Session::next`] gives `None`.
    ///
    /// Runs as a task. When the broadcaster is gone this gets a second to end, and is dropped then. One that ends earlier, or
    /// panics, is not started again: nothing goes to other machines any more, and
    /// [`health`](crate::Broadcaster::health) says that there is no connection.
    fn run(self, node: Node) -> impl Future<Output = ()> + Send;
}

/// The node that a link serves.
#[derive(Clone)]
pub struct Node {
    exchange: Arc<Exchange>,
    arrivals: Weak<dyn Arrivals>,
}

/// One connection to the broker, as long as it lasts: dropping it tells that the connection is lost.
pub struct Session {
    exchange: Arc<Exchange>,
    number: u64,
}

/// Takes what the broker brings, for one session. When that has ended, it takes nothing any more.
pub struct Inbox {
    arrivals: Weak<dyn Arrivals>,
    session: u64,
}

/// What the broker is to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a link has to carry out all of them; one more would not be optional"
)]
pub enum Command {
    /// From now on, bring what is published to this topic.
    Subscribe(Arc<str>),
    /// Do not bring it any more.
    Unsubscribe(Arc<str>),
    /// Bring this to whoever is subscribed to the topic, this node included.
    Publish {
        /// The topic's name: any text of up to 512 bytes.
        topic: Arc<str>,
        /// The bytes to bring, as they are.
        frame: Bytes,
    },
    /// From now on, bring what is kept of this topic, and then what is published to it.
    SubscribeKept(Arc<str>),
    /// Keep this, and bring it to whoever is subscribed.
    PublishKept {
        /// As for [`Publish`](Self::Publish).
        topic: Arc<str>,
        /// The bytes to keep and to bring.
        frame: Bytes,
    },
}

/// What is to be kept of a topic, see [`History`](crate::History).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// The last messages, as many. One more is of use: then who has everything but these is known to miss nothing.
    pub count: usize,
    /// How long.
    pub max_age: Duration,
}

impl Node {
    pub(crate) fn new(exchange: Arc<Exchange>, arrivals: Weak<dyn Arrivals>) -> Self {
        Self { exchange, arrivals }
    }

    /// What the names at the broker should begin with: see
    /// [`RemoteOptions::prefix`](crate::RemoteOptions::prefix).
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.exchange.prefix()
    }

    /// What is to be kept of topics that keep history, if any do.
    #[must_use]
    pub fn history(&self) -> Option<Retention> {
        let history = self.exchange.options().history.as_ref();
        history.map(|history| Retention {
            count: history.count,
            max_age: history.max_age,
        })
    }

    /// The topic that only this node subscribes to and publishes to. What comes back there confirms what went before it.
    #[must_use]
    pub fn own_topic(&self) -> Arc<str> {
        self.exchange.own_topic()
    }

    /// There is a connection, on which nothing is subscribed yet.
    ///
    /// `broker` names the broker and its life: it is another one after a restart that may have lost what it knew.
    /// `max_frame` is how many bytes the broker takes in one frame. A session that is there already has ended by this.
    #[must_use]
    pub fn connected(&self, broker: impl Into<Arc<str>>, max_frame: usize) -> (Session, Inbox) {
        let number = self.exchange.connected(broker.into(), max_frame);
        let session = Session {
            exchange: Arc::clone(&self.exchange),
            number,
        };
        let inbox = Inbox {
            arrivals: self.arrivals.clone(),
            session: number,
        };
        (session, inbox)
    }

    /// The broker has refused something: what waits for a confirmation does not get one.
    #[cfg(feature = "nats")]
    pub(crate) fn unconfirm(&self) {
        self.exchange.unconfirm();
    }
}

impl Session {
    /// The next commands, in order: as many as there are, up to a bound. `None` when the broadcaster is gone and all that
    /// it published is carried out, or when another session has begun.
    ///
    /// Cancel-safe: a future that is dropped before it is ready has taken nothing.
    pub async fn next(&mut self) -> Option<Vec<Command>> {
        self.exchange.next(self.number).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.exchange.disconnected(self.number);
    }
}

impl Inbox {
    /// Takes a frame that has come for a topic. Never waits; hands the message to all subscribers in this process.
    pub fn receive(&mut self, topic: &str, frame: Bytes) {
        if let Some(arrivals) = self.arrivals.upgrade() {
            arrivals.arrive(self.session, topic, None, frame);
        }
    }

    /// As [`receive`](Self::receive), a frame that is kept at that position, since so long.
    pub fn receive_kept(&mut self, topic: &str, position: Position, age: Duration, frame: Bytes) {
        if let Some(arrivals) = self.arrivals.upgrade() {
            arrivals.arrive(self.session, topic, Some((position, age)), frame);
        }
    }

    /// All that was kept of the topic when it was subscribed has come: what comes now is published now.
    pub fn replayed(&mut self, topic: &str) {
        if let Some(arrivals) = self.arrivals.upgrade() {
            arrivals.replayed(self.session, topic);
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.number).finish()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

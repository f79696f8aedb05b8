//! Typed publish and subscribe with bounded channels that say what they missed.
//!
//! A [`Broadcaster`] is a space of named topics. Whoever holds a [`Topic`] publishes to it; whoever subscribes gets a
//! [`Channel`]: a [`Stream`](futures_core::Stream) of [`Delivery`], which is either a message or the word that some
//! messages were [`Missed`] at that very place. Publishing is not async and never waits for a subscriber: each channel
//! is bounded, and a subscriber that falls behind loses its oldest messages and is told how many, or what else it has
//! chosen by its [`ChannelOptions`]. [`Presence`] tells who is in a topic.
//!
//! This crate knows nothing of WebSockets. Without features it does no input or output and needs no runtime. With the
//! features `nats` and `redis` a broadcaster and presence reach other machines, over tokio: `Broadcaster::connect_nats` and
//! `Broadcaster::connect_redis`, and the same of `Presence`. Module `link` (feature `remote`) is for other brokers, and
//! `conformance` (feature of that name) has the cases that they have to pass.
//!
//! ```
//! use dreamsocket_broadcaster::{Broadcaster, Delivery};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broadcaster = Broadcaster::new();
//! let lobby = broadcaster.topic("lobby");
//! let mut channel = lobby.subscribe();
//!
//! let published = lobby.publish("hello")?;
//! assert_eq!(published.local, 1);
//!
//! match channel.recv().await {
//!     Some(Delivery::Message(text)) => assert_eq!(text, "hello"),
//!     Some(Delivery::Missed(missed)) => eprintln!("too slow for {:?} messages", missed.count),
//!     None => eprintln!("nobody can publish any more"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - A subscriber sees the messages of one publisher to one topic in the order in which they were published, each at
//!   most once; what it sees is a run without gaps, or a [`Missed`] stands in the gap's place with the exact count. Who
//!   asks for the [latest per key](ChannelOptions::latest_per_key) gets the messages of each key in order, without those
//!   that were replaced while they waited.
//! - What is lost on the way between machines is a gap, too: with its exact count where it is known, and without one after
//!   a connection was lost.
//! - With the in-process engine ([`Broadcaster::new`]) there is more: all subscribers of a topic see all of its
//!   messages in one and the same order, whoever published them, and when [`Topic::publish`] returns, the message
//!   waits in every channel. Engines that reach other machines keep only the promise above. Nothing is promised across
//!   topics.
//! - A publish reaches those who are subscribed when its turn comes, but for who leaves before it gets to them. A channel
//!   that was subscribed before the call gets the message; one that is subscribed or dropped in the middle of it gets it
//!   or not, and what it sees from its first message on is without gaps either way.
//! - No lock is held while code of yours runs (`M::clone`, `M::drop`, a key function, a key's `Hash` and `Drop`, a waker):
//!   all of it may publish, subscribe and drop channels, and may panic. A message that could not be received because its
//!   `Clone` panicked counts as missed.
//!
//! # What it costs
//!
//! A publish allocates the message once, whatever the number of subscribers, and takes one short lock and one push for
//! each of them; it wakes each that waits once, when all have it. The message is cloned by those who receive it, and moved
//! out by the last. Subscribers are walked in batches, and others join and leave in between. A topic without subscribers
//! takes no memory, nor does a channel's bound: queues grow when they must and shrink once they are empty.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod broadcaster;
mod channel;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod counts;
mod deferred;
mod delivery;
mod directory;
mod engine;
mod error;
mod fingerprint;
mod gap;
mod health;
mod history;
mod keyer;
#[cfg(feature = "remote")]
pub mod link;
mod local;
mod lock;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
mod nats_store;
mod options;
mod parcel;
mod position;
mod positioned;
mod presence;
mod queue;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod redis_store;
#[cfg(feature = "remote")]
mod remote;
mod ring;
mod rings;
#[cfg(feature = "remote")]
mod store;
mod subscribers;
mod topic;

pub use broadcaster::Broadcaster;
pub use channel::{Channel, End};
pub use counts::{ChannelCounts, Counts};
pub use delivery::{Delivery, Missed};
pub use engine::SubscriberId;
#[cfg(any(feature = "nats", feature = "redis"))]
pub use error::BrokerError;
pub use error::{PublishError, TryRecvError};
pub use health::Health;
pub use history::History;
pub use options::ChannelOptions;
pub use parcel::Shared;
pub use position::{InvalidPosition, Position};
pub use positioned::{Positioned, PositionedChannel};
#[cfg(feature = "remote")]
pub use presence::options::PresenceOptions;
pub use presence::{Member, Person, Presence, PresenceChannel, PresenceEvent, WatchOptions};
#[cfg(feature = "remote")]
pub use remote::{encoding::Encoding, options::RemoteOptions};
pub use topic::{Published, Topic, TopicInfo};

//! The seam between handles and engines: what carries a message from `publish` to the subscribers' sinks.
//!
//! Handles and channels know an engine only as [`Engine`], and engines know a subscriber only as [`Sink`]: neither can
//! tell which one is behind it. Both traits are private: who wants to reach other machines by other means implements
//! `link::Link`, which knows neither topics' subscribers nor messages, but only frames.
//! A session that carries a topic to its peer needs no sink of its own: the channel is its queue, whose bound and policy
//! hold however slow the peer is, and [`Channel::poll_recv_many`](crate::Channel::poll_recv_many) empties it.

use std::hash::{BuildHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;

use crate::counts::Counts;
use crate::deferred::Deferred;
use crate::error::PublishError;
#[cfg(feature = "remote")]
use crate::gap::Gap;
use crate::health::Health;
use crate::history::Begin;
use crate::keyer::{Keyer, Keys};
use crate::parcel::Parcel;
use crate::ring::Replay;
use crate::topic::{Published, TopicInfo};

/// Carries messages to subscribers.
pub(crate) trait Engine<M>: Unsubscribe {
    /// Prepares a topic's name for the calls below. Makes no entry.
    fn name(&self, name: Arc<str>) -> Name;

    /// Hands the message to all present subscribers but the excepted one, in the publisher's order, without waiting for
    /// any.
    fn publish(
        &self,
        topic: &Name,
        message: M,
        except: Option<SubscriberId>,
    ) -> Result<Published, PublishError>;

    /// Publishes, and is ready when the message is where this engine keeps what it has confirmed. The engine bounds the
    /// wait. Nothing happens before the first poll; who drops it later does not know whether the message was published.
    fn publish_confirmed<'a>(&'a self, topic: &'a Name, message: M) -> Confirmation<'a>;

    /// Adds a subscriber. Every publish that begins later reaches it. If it is to begin earlier, the sink is given a replay,
    /// now or later, and what is delivered before is in the replay. What has become too old by then is the caller's to drop,
    /// once it can be unsubscribed.
    fn subscribe(
        &self,
        topic: &Name,
        sink: Arc<dyn Sink<M>>,
        begin: Option<Begin>,
        deferred: &mut Deferred<M>,
    ) -> SubscriberId;

    /// How many subscribers the topic has in this process.
    fn subscribers(&self, topic: &Name) -> usize;

    /// What the topic has carried in this process since it has had subscribers.
    fn topic_counts(&self, topic: &Name) -> Counts;

    /// How many subscribers all topics have in this process.
    fn all_subscribers(&self) -> usize;

    /// How many topics take memory.
    fn topics(&self) -> usize;

    /// The wanted topics that take memory, those with the most subscribers first, so many at most.
    fn list_topics(&self, limit: usize, is_wanted: &dyn Fn(&str) -> bool) -> Vec<TopicInfo>;

    /// What all topics have carried in this process.
    fn counts(&self) -> Counts;

    /// Whether messages reach whom they should.
    fn health(&self) -> Health;

    /// Called once, when the last handle of this process that could publish is gone. An engine whose messages come from
    /// nowhere else ends all sinks.
    fn abandon(&self);
}

/// The part of an engine that a channel needs.
pub(crate) trait Unsubscribe: Send + Sync {
    /// Removes a subscriber and lets go of its sink. Once this returns, nothing is delivered to it.
    fn unsubscribe(&self, topic: &Name, id: SubscriberId);
}

pub(crate) type Confirmation<'a> =
    Pin<Box<dyn Future<Output = Result<Published, PublishError>> + Send + 'a>>;

/// Where a subscriber's messages go.
///
/// Called with the topic's locks held. The methods must not wait, call into the engine, panic, or run foreign code:
/// wakers and messages to drop go into `deferred`, which acts on them after all locks are released.
pub(crate) trait Sink<M>: Send + Sync {
    /// Takes the topic's next message.
    fn deliver(&self, message: Arc<Parcel<M>>, keys: &Keys, deferred: &mut Deferred<M>) -> Outcome;

    /// Takes what came before all that is delivered from now on, if it waits for that.
    fn replay(&self, replay: Replay<M>, deferred: &mut Deferred<M>);

    /// Messages are missing behind those that came.
    #[cfg(feature = "remote")]
    fn miss(&self, gap: Gap, deferred: &mut Deferred<M>);

    /// No message will come after those that came.
    fn end(&self, deferred: &mut Deferred<M>);

    /// The function whose keys the sink looks up in what [`deliver`](Self::deliver) brings.
    fn keyer(&self) -> Option<Keyer<M>>;
}

/// What a sink did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How many messages were lost by it, be it this one or others that waited.
    pub(crate) missed: u64,
    /// Whether the sink wants no more, and is to be removed.
    pub(crate) is_done: bool,
}

/// One subscriber of one topic: whom [`Topic::publish_except`](crate::Topic::publish_except) leaves out.
///
/// It says nothing by itself, costs nothing to copy, and is never given to another subscriber, of this broadcaster or any
/// other. Where its subscriber is not, it leaves out nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriberId {
    /// Drawn by chance, so that broadcasters and processes need not agree on numbers.
    pub(crate) engine: u64,
    pub(crate) number: u64,
}

/// A topic's name with its hash: computed once a handle, not once a publish.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    text: Arc<str>,
    /// One bit of it says whether the topic keeps history: there are many names, and a hash is as good without it.
    hash: u64,
}

const KEPT: u64 = 1 << 20;

impl Name {
    pub(crate) fn new(text: Arc<str>, hasher: &impl BuildHasher) -> Self {
        let hash = hasher.hash_one(&*text) & !KEPT;
        Self { text, hash }
    }

    pub(crate) fn keeping(self, is_kept: bool) -> Self {
        let hash = self.hash() | if is_kept { KEPT } else { 0 };
        Self { hash, ..self }
    }

    pub(crate) const fn is_kept(&self) -> bool {
        self.hash & KEPT != 0
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash & !KEPT
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash() && self.text == other.text
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Prehashed;

    #[test]
    fn names_are_equal_only_if_their_text_is() {
        let name = |text: &str, hash| Name {
            text: text.into(),
            hash,
        };
        assert_eq!(name("a", 1), name("a", 1));
        assert_ne!(name("a", 1), name("b", 1));
        assert_ne!(name("a", 1), name("a", 2));
        let mut hasher = Prehashed::default();
        Hash::hash(&name("a", 7), &mut hasher);
        assert_eq!(hasher.finish(), 7);
    }
}

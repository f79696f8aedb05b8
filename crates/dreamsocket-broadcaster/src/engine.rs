//! The seam between handles and engines: what carries a message from `publish` to the subscribers' sinks.
//!
//! Handles and channels know an engine only as [`Engine`], and engines know a subscriber only as [`Sink`]: neither can
//! tell which one is behind it. Both traits stay private until a second implementation has shown that they are right.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use crate::deferred::Deferred;
use crate::error::PublishError;
use crate::topic::Published;

/// Carries messages to subscribers.
pub(crate) trait Engine<M>: Send + Sync {
    /// Prepares a topic's name for the calls below. Makes no entry.
    fn name(&self, name: Arc<str>) -> Name;

    /// Hands the message to all present subscribers, in the publisher's order, without waiting for any.
    fn publish(&self, topic: &Name, message: M) -> Result<Published, PublishError>;

    /// Adds a subscriber. Every publish that begins later reaches it.
    fn subscribe(&self, topic: &Name, sink: Arc<dyn Sink<M>>) -> SubscriberKey;

    /// Removes a subscriber and lets go of its sink. Once this returns, nothing is delivered to it.
    fn unsubscribe(&self, topic: &Name, key: SubscriberKey);

    /// How many subscribers the topic has in this process.
    fn subscribers(&self, topic: &Name) -> usize;

    /// How many topics take memory.
    fn topics(&self) -> usize;

    /// Called once, when the last handle of this process that could publish is gone. An engine whose messages come from
    /// nowhere else ends all sinks.
    fn abandon(&self);
}

/// Where a subscriber's messages go.
///
/// Both methods are called with the topic's lock held. They must not wait, call into the engine, panic, or run foreign
/// code: wakers and messages to drop go into `deferred`, which acts on them after all locks are released.
pub(crate) trait Sink<M>: Send + Sync {
    /// Takes the topic's next message.
    fn deliver(&self, message: Arc<M>, deferred: &mut Deferred<M>);

    /// No message will come after those that came.
    fn end(&self, deferred: &mut Deferred<M>);
}

/// One subscriber of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SubscriberKey(pub(crate) u64);

/// A topic's name with its hash: computed once a handle, not once a publish.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    text: Arc<str>,
    hash: u64,
}

impl Name {
    pub(crate) fn new(text: Arc<str>, hasher: &impl BuildHasher) -> Self {
        let hash = hasher.hash_one(&*text);
        Self { text, hash }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Passes on the hash that a [`Name`] brings.
#[derive(Default)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not reached: a name writes its hash only. Any answer that depends on the bytes would be right.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

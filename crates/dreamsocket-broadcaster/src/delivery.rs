//! What a channel yields. Plain data.

use std::borrow::Cow;

/// What a [`Channel`](crate::Channel) yields: a message, or the word that some are missing here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a channel yields messages and gaps; whoever matches on it must not need a third arm"
)]
pub enum Delivery<M> {
    /// The next message.
    Message(M),
    /// A gap: what was published between the last message and the next one is not here in full.
    Missed(Missed),
}

impl<M> Delivery<M> {
    /// The same with another message, or the same gap.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::Delivery;
    /// let delivery = Delivery::Message("hello");
    /// assert_eq!(delivery.map(str::len), Delivery::Message(5));
    /// ```
    pub fn map<T>(self, f: impl FnOnce(M) -> T) -> Delivery<T> {
        match self {
            Self::Message(message) => Delivery::Message(f(message)),
            Self::Missed(missed) => Delivery::Missed(missed),
        }
    }
}

/// A gap in what a subscriber gets, told in the gap's place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missed {
    /// Where the messages are missing. From a channel this is the name of its topic.
    pub source: Cow<'static, str>,
    /// How many are missing, or `None` if nobody can know: after a connection to a broker was lost, and where a channel was
    /// to [begin](crate::ChannelOptions::since) at a position that is not there. Within one process it is known but for
    /// that.
    pub count: Option<u64>,
}

impl Missed {
    /// A gap, for tests of code that handles one.
    #[must_use]
    pub fn new(source: impl Into<Cow<'static, str>>, count: Option<u64>) -> Self {
        Self {
            source: source.into(),
            count,
        }
    }

    /// The same gap under another name for its source.
    #[must_use]
    pub fn with_source(self, source: impl Into<Cow<'static, str>>) -> Self {
        Self {
            source: source.into(),
            ..self
        }
    }
}

//! [`History`]: what a broadcaster keeps of what its topics have said. Plain data.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::position::Position;

const MAX_COUNT: usize = 100_000;

/// What a broadcaster keeps of what its topics have said, so that subscribers can go on where they were, or begin with the
/// last messages.
///
/// | option | default | |
/// |---|---|---|
/// | [`last`](Self::last) | | how many messages of a topic |
/// | [`max_age`](Self::max_age) | a day | how long a message |
/// | [`max_topics`](Self::max_topics) | 10,000 | of how many topics, in process |
/// | [`only`](Self::only) | all | of which topics |
///
/// A message that is kept is shared with those who receive it: it takes its own memory once. One that holds a
/// [`Topic`](crate::Topic) keeps the broadcaster open as long as it is kept. Nothing of it is on a disk of this process;
/// with a broker the messages are the broker's, and what they outlive is up to it.
///
/// ```
/// # use dreamsocket_broadcaster::{Broadcaster, Delivery, History};
/// let broadcaster = Broadcaster::with_history(History::last(50));
/// let topic = broadcaster.topic("lobby");
/// topic.publish("hello").unwrap();
/// let mut late = topic.subscribe_last(10);
/// assert_eq!(late.try_recv(), Ok(Delivery::Message("hello")));
/// ```
#[derive(Clone)]
#[must_use]
pub struct History {
    pub(crate) count: usize,
    pub(crate) max_age: Duration,
    pub(crate) max_topics: usize,
    only: Option<Only>,
}

type Only = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Where a channel begins that does not begin with what is published next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    Behind(Position),
    Last(usize),
}

impl History {
    /// Keeps the last messages of each topic, at least 1 and at most 100,000 (what is less or more is taken as that).
    ///
    /// A subscriber that goes on where it was is given as many at most, whatever its channel's capacity.
    pub fn last(messages: usize) -> Self {
        Self {
            count: messages.clamp(1, MAX_COUNT),
            max_age: Duration::from_secs(24 * 60 * 60),
            max_topics: 10_000,
            only: None,
        }
    }

    /// How long a message is kept, at least a second (less is taken as that). What is older is given to nobody; it is
    /// dropped when something is published to its topic, or a little later when something is published elsewhere.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age.max(Duration::from_secs(1));
        self
    }

    /// Of how many topics messages are kept, at least 1 (0 is taken as 1). If it is one more, the topic goes whose last
    /// message is the oldest.
    ///
    /// This is for the in-process engine. One that reaches other machines has in memory what the topics have said that
    /// somebody in this process is subscribed to; the rest is with the broker, which knows no such bound.
    pub const fn max_topics(mut self, topics: usize) -> Self {
        self.max_topics = if topics == 0 { 1 } else { topics };
        self
    }

    /// Which topics keep messages, by name: always the same answer for one name, and on all nodes. It is asked when a
    /// [`Topic`](crate::Topic) is made, and for what comes from other machines.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::History;
    /// let history = History::last(50).only(|name| name.starts_with("chat/"));
    /// ```
    pub fn only(mut self, is_kept: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.only = Some(Arc::new(is_kept));
        self
    }

    /// Runs code of the user's.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only(name))
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("last", &self.count)
            .field("max_age", &self.max_age)
            .field("max_topics", &self.max_topics)
            .finish_non_exhaustive()
    }
}

//! [`Broadcaster`]: where the engine is chosen. Nothing else in this crate's interface tells engines apart.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

#[cfg(feature = "remote")]
use serde::{Serialize, de::DeserializeOwned};

use crate::counts::Counts;
use crate::engine::Engine;
use crate::health::Health;
use crate::history::History;
#[cfg(feature = "remote")]
use crate::link::Link;
use crate::local::Local;
#[cfg(feature = "remote")]
use crate::remote::{Remote, options::RemoteOptions};
use crate::topic::{Topic, TopicInfo};

/// A space of named topics which carry messages of type `M`.
///
/// Cheap to clone; all clones are the same space. Make one when the program starts, and hand out the [`Topic`]s that
/// each part needs.
///
/// ```
/// # use dreamsocket_broadcaster::Broadcaster;
/// let broadcaster = Broadcaster::<String>::new();
/// let mut channel = broadcaster.topic("lobby").subscribe();
/// assert_eq!(broadcaster.topic("lobby").subscribers(), 1);
/// ```
pub struct Broadcaster<M> {
    handle: Handle<M>,
}

impl<M: Clone + Send + Sync + 'static> Broadcaster<M> {
    /// A broadcaster within this process: nothing is encoded, nothing can fail.
    #[must_use]
    pub fn new() -> Self {
        Self::with_engine(Arc::new(Local::new()))
    }

    /// As [`new`](Self::new), and its topics keep the last of what they have said: see [`History`].
    ///
    /// What is kept outlives the subscribers, not the broadcaster.
    #[must_use]
    pub fn with_history(history: History) -> Self {
        Self::with_engine(Arc::new(Local::with_history(history)))
    }

    /// The topic of that name.
    ///
    /// This is only a handle: a topic exists as long as it has subscribers, and takes no memory before or after.
    pub fn topic(&self, name: impl Into<Arc<str>>) -> Topic<M> {
        let name = self.handle.name(name.into());
        Topic::new(name, self.handle.clone())
    }
}

#[cfg(feature = "remote")]
impl<M> Broadcaster<M>
where
    M: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// A broadcaster over a link of one's own: see [`link`](crate::link). It runs as a task, from now on and as long as
    /// there is a broadcaster, topic or channel of it. Whether it is connected already, [`health`](Self::health) says.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer enabled.
    #[must_use]
    pub fn with_link(link: impl Link, options: RemoteOptions) -> Self {
        Self::with_engine(Remote::start(link, options))
    }

    /// As [`with_link`](Self::with_link), once it is connected.
    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(crate) async fn connect_link(link: impl Link, options: RemoteOptions) -> Self {
        let remote = Remote::start(link, options);
        remote.when_connected().await;
        Self::with_engine(remote)
    }
}

impl<M> Broadcaster<M> {
    pub(crate) fn with_engine(engine: Arc<dyn Engine<M>>) -> Self {
        Self {
            handle: Handle(Arc::new(LastHandle { engine })),
        }
    }

    /// How many topics have subscribers in this process.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.handle.topics()
    }

    /// The topics that have subscribers in this process and whose names are wanted, those with the most subscribers first,
    /// `limit` at most: for an operator's page, not for each message. Looks at every topic, some of them at a time; what comes
    /// and goes meanwhile is in it or not.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::Broadcaster;
    /// let broadcaster = Broadcaster::<String>::new();
    /// let _channels = ["garden", "attic", "garden"].map(|name| broadcaster.topic(name).subscribe());
    /// let topics = broadcaster.list_topics(10, |_| true);
    /// assert_eq!((&*topics[0].name, topics[0].subscribers), ("garden", 2));
    /// assert_eq!(broadcaster.list_topics(10, |name| name.starts_with("att")).len(), 1);
    /// ```
    #[must_use]
    pub fn list_topics(&self, limit: usize, is_wanted: impl Fn(&str) -> bool) -> Vec<TopicInfo> {
        self.handle.list_topics(limit, &is_wanted)
    }

    /// How many subscribers all topics have in this process. Looks at every topic, so ask for it some times a minute, not for
    /// each message.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::Broadcaster;
    /// let broadcaster = Broadcaster::<String>::new();
    /// let channels = ["lobby", "lobby", "news"].map(|name| broadcaster.topic(name).subscribe());
    /// assert_eq!((broadcaster.topics(), broadcaster.subscribers()), (2, 3));
    /// # drop(channels);
    /// ```
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.handle.all_subscribers()
    }

    /// What all topics have carried in this process.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.handle.counts()
    }

    /// Whether messages reach whom they should: for a readiness probe, and for who wants to know what was lost.
    ///
    /// The in-process engine is always well.
    ///
    /// ```
    /// # use dreamsocket_broadcaster::Broadcaster;
    /// assert!(Broadcaster::<String>::new().health().is_ready());
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        self.handle.health()
    }
}

impl<M: Clone + Send + Sync + 'static> Default for Broadcaster<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for Broadcaster<M> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
        }
    }
}

impl<M> fmt::Debug for Broadcaster<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcaster")
            .field("topics", &self.topics())
            .finish_non_exhaustive()
    }
}

/// The right to publish, shared by [`Broadcaster`]s and [`Topic`]s but not by channels: when the last one goes, the
/// engine is told.
pub(crate) struct Handle<M>(Arc<LastHandle<M>>);

struct LastHandle<M> {
    engine: Arc<dyn Engine<M>>,
}

impl<M> Handle<M> {
    /// The engine alone, without the right to publish.
    pub(crate) fn engine(&self) -> Arc<dyn Engine<M>> {
        Arc::clone(&self.0.engine)
    }
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Deref for Handle<M> {
    type Target = dyn Engine<M>;

    fn deref(&self) -> &Self::Target {
        &*self.0.engine
    }
}

impl<M> Drop for LastHandle<M> {
    fn drop(&mut self) {
        self.engine.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::deferred::Deferred;
    use crate::delivery::Delivery;
    use crate::engine::{Confirmation, Name, Sink, SubscriberId, Unsubscribe};
    use crate::error::{PublishError, TryRecvError};
    use crate::history::Begin;
    use crate::lock::Lock;
    use crate::options::ChannelOptions;
    use crate::topic::Published;

    /// An engine that, like a remote one, takes a message now and delivers it when it comes back from elsewhere; and
    /// whose messages keep coming when this process can publish no more.
    struct Remote {
        local: Local<u32>,
        travelling: Lock<Vec<(Name, u32, Option<SubscriberId>)>>,
        is_abandoned: Lock<bool>,
    }

    impl Remote {
        fn arrive(&self) {
            for (name, message, except) in std::mem::take(&mut *self.travelling.lock()) {
                self.local.publish(&name, message, except).unwrap();
            }
        }
    }

    impl Engine<u32> for Remote {
        fn name(&self, name: Arc<str>) -> Name {
            self.local.name(name)
        }

        fn publish(
            &self,
            topic: &Name,
            message: u32,
            except: Option<SubscriberId>,
        ) -> Result<Published, PublishError> {
            let travelling = (topic.clone(), message, except);
            self.travelling.lock().push(travelling);
            Ok(Published {
                local: self.subscribers(topic),
            })
        }

        /// Confirmed when it has come back.
        fn publish_confirmed<'a>(&'a self, topic: &'a Name, message: u32) -> Confirmation<'a> {
            Box::pin(async move {
                let published = self.publish(topic, message, None);
                while !self.travelling.lock().is_empty() {
                    tokio::task::yield_now().await;
                }
                published
            })
        }

        fn subscribe(
            &self,
            topic: &Name,
            sink: Arc<dyn Sink<u32>>,
            begin: Option<Begin>,
            deferred: &mut Deferred<u32>,
        ) -> SubscriberId {
            self.local.subscribe(topic, sink, begin, deferred)
        }

        fn subscribers(&self, topic: &Name) -> usize {
            self.local.subscribers(topic)
        }

        fn topic_counts(&self, topic: &Name) -> Counts {
            self.local.topic_counts(topic)
        }

        fn all_subscribers(&self) -> usize {
            self.local.all_subscribers()
        }

        fn topics(&self) -> usize {
            self.local.topics()
        }

        fn list_topics(&self, limit: usize, is_wanted: &dyn Fn(&str) -> bool) -> Vec<TopicInfo> {
            self.local.list_topics(limit, is_wanted)
        }

        fn counts(&self) -> Counts {
            self.local.counts()
        }

        fn health(&self) -> Health {
            self.local.health()
        }

        fn abandon(&self) {
            *self.is_abandoned.lock() = true;
        }
    }

    impl Unsubscribe for Remote {
        fn unsubscribe(&self, topic: &Name, id: SubscriberId) {
            self.local.unsubscribe(topic, id);
        }
    }

    /// What an application does with a topic. It names no engine and could not.
    fn use_topic(topic: &Topic<u32>) -> Channel<u32> {
        let channel = topic.subscribe_with(ChannelOptions::new().capacity(10));
        assert_eq!(topic.publish(1).unwrap().local, 1);
        channel
    }

    #[test]
    fn b4_the_engine_is_chosen_in_one_place_and_shows_in_no_other() {
        let mut channel = use_topic(&Broadcaster::new().topic("lobby"));
        assert_eq!(channel.try_recv(), Ok(Delivery::Message(1)));
        assert_eq!(channel.try_recv(), Err(TryRecvError::Ended));

        let remote = Arc::new(Remote {
            local: Local::new(),
            travelling: Lock::new(Vec::new()),
            is_abandoned: Lock::new(false),
        });
        let broadcaster = Broadcaster::with_engine(Arc::clone(&remote) as Arc<dyn Engine<u32>>);
        let mut channel = use_topic(&broadcaster.topic("lobby"));
        assert_eq!(channel.try_recv(), Err(TryRecvError::Empty));
        assert!(!*remote.is_abandoned.lock());
        drop(broadcaster);
        assert!(*remote.is_abandoned.lock());
        remote.arrive();
        assert_eq!(channel.try_recv(), Ok(Delivery::Message(1)));
        assert_eq!(
            channel.try_recv(),
            Err(TryRecvError::Empty),
            "this engine does not end it"
        );
        drop(channel);
        assert_eq!(remote.topics(), 0);
    }
}

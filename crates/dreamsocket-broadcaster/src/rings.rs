//! The rings of all topics that keep history, and which of them go when they are too many or too old.
//!
//! **Locks**, in the order in which they may be held together: a topic's turn, its ring's state, the locks of subscribers.
//! What orders the topics comes before a ring's state, and is never asked for by whoever holds one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::deferred::Deferred;
use crate::directory::Directory;
use crate::engine::{Name, Sink};
use crate::history::{Begin, History};
use crate::lock::Lock;
use crate::ring::Ring;

/// One message in so many has a look at what has become too old elsewhere, and at so many topics at most.
const SWEEP: u64 = 64;
const SWEPT: usize = 8;

pub(crate) struct Rings<M> {
    pub(crate) history: History,
    /// Rings are filled by a broker, and last as long as their topics have subscribers.
    pub(crate) is_remote: bool,
    topics: Directory<Kept<M>>,
    /// Counts the messages of all topics: what is later has a greater one.
    next: AtomicU64,
    recency: Lock<Recency>,
    /// The topics that somebody began to wait for, and when.
    awaited: Lock<VecDeque<(Instant, Name)>>,
}

/// What is kept of one topic.
pub(crate) struct Kept<M> {
    /// Whoever publishes holds it for the whole walk: the order of the ring is the order of the subscribers.
    pub(crate) turn: Lock<()>,
    pub(crate) state: Lock<State<M>>,
}

pub(crate) struct State<M> {
    pub(crate) ring: Ring<M>,
    /// The number of the last message.
    pub(crate) touched: u64,
    /// The number under which its topic is in order, or is about to be; 0 if it is not.
    pub(crate) place: u64,
    /// Set when it is let go: see [`Directory`].
    pub(crate) is_retired: bool,
    /// All is here that a broker has kept.
    pub(crate) is_complete: bool,
    /// Who waits for that, or for a message that another node has had already.
    pub(crate) waiting: Vec<Waiting<M>>,
}

/// A subscriber that is to begin with what a broker has kept.
pub(crate) struct Waiting<M> {
    #[cfg_attr(
        not(feature = "remote"),
        expect(dead_code, reason = "in one process nothing is waited for")
    )]
    pub(crate) since: Instant,
    pub(crate) begin: Begin,
    pub(crate) sink: Weak<dyn Sink<M>>,
}

/// The topics by their last message. A ring that has had one since then has a place that is too early: it is put where it
/// belongs when its turn to go has come. So publishing to a topic of which something is kept does not touch this.
#[derive(Default)]
struct Recency {
    by_last: BTreeMap<u64, Name>,
    /// All before it are empty: whoever publishes to one of them puts it behind.
    swept: u64,
}

impl<M> Rings<M> {
    pub(crate) fn new(history: History, is_remote: bool) -> Self {
        Self {
            history,
            is_remote,
            topics: Directory::new(),
            next: AtomicU64::new(1),
            recency: Lock::default(),
            awaited: Lock::default(),
        }
    }

    pub(crate) fn find(&self, topic: &Name) -> Option<Arc<Kept<M>>> {
        self.topics.find(topic)
    }

    /// The ring, or what is done while there is none.
    pub(crate) fn find_or<R>(
        &self,
        topic: &Name,
        otherwise: impl FnOnce() -> R,
    ) -> Result<Arc<Kept<M>>, R> {
        self.topics.find_or(topic, otherwise)
    }

    pub(crate) fn find_or_insert(&self, topic: &Name) -> Arc<Kept<M>> {
        self.topics.find_or_insert(topic, || Kept {
            turn: Lock::new(()),
            state: Lock::new(State {
                ring: Ring::new(),
                touched: 0,
                place: 0,
                is_retired: false,
                is_complete: !self.is_remote,
                waiting: Vec::new(),
            }),
        })
    }

    /// Somebody waits for what a broker has kept of the topic.
    pub(crate) fn note_waiting(&self, topic: &Name, since: Instant) {
        self.awaited.lock().push_back((since, topic.clone()));
    }

    /// The next topic that somebody began to wait for at that time or earlier.
    #[cfg(feature = "remote")]
    pub(crate) fn next_awaited(&self, until: Instant) -> Option<Name> {
        let mut awaited = self.awaited.lock();
        let (_, topic) = awaited.pop_front_if(|(since, _)| *since <= until)?;
        if awaited.is_empty() {
            awaited.shrink_to_fit();
        }
        Some(topic)
    }

    /// Takes a retired ring out.
    pub(crate) fn remove(&self, topic: &Name, retired: &Arc<Kept<M>>) {
        self.topics.remove(topic, retired);
    }

    /// Lets go of everything: nobody can ask for it any more.
    pub(crate) fn end(&self, deferred: &mut Deferred<M>) {
        for kept in self.topics.drain() {
            let mut state = kept.state.lock();
            state.is_retired = true;
            state.ring.clear(deferred);
        }
    }

    /// The next message's number. Drawn with the ring's state locked, so that those of a ring grow.
    pub(crate) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A message has got that number; if its ring was empty, with the place that the topic had until then. Lets go of
    /// topics that are too many, and of what is too old. Not to be called with any lock held.
    pub(crate) fn settle(
        &self,
        topic: &Name,
        number: u64,
        moved_from: Option<u64>,
        now: Instant,
        deferred: &mut Deferred<M>,
    ) {
        if moved_from.is_none() && !number.is_multiple_of(SWEEP) {
            return;
        }
        let mut recency = self.recency.lock();
        if let Some(place) = moved_from {
            recency.by_last.remove(&place);
            recency.by_last.insert(number, topic.clone());
        }
        while recency.by_last.len() > self.history.max_topics {
            let Some((place, name)) = recency.by_last.pop_first() else {
                break;
            };
            let Some(kept) = self.find(&name) else {
                continue;
            };
            let mut state = kept.state.lock();
            if state.touched > place {
                state.place = state.touched;
                recency.by_last.insert(state.touched, name);
                continue;
            }
            state.is_retired = true;
            state.ring.clear(deferred);
            drop(state);
            self.remove(&name, &kept);
        }
        for _ in 0..SWEPT {
            let swept = recency.swept;
            let Some((&place, name)) = recency.by_last.range(swept..).next() else {
                break;
            };
            let Some(kept) = self.find(name) else {
                recency.by_last.remove(&place);
                continue;
            };
            let mut state = kept.state.lock();
            if state.touched > place {
                let touched = state.touched;
                state.place = touched;
                drop(state);
                if let Some(name) = recency.by_last.remove(&place) {
                    recency.by_last.insert(touched, name);
                }
                continue;
            }
            state.ring.expire(now, self.history.max_age, deferred);
            if !state.ring.is_empty() {
                break;
            }
            recency.swept = place + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    #[cfg(feature = "remote")]
    use crate::clock;
    use crate::engine::Engine;
    use crate::local::Local;
    use crate::options::ChannelOptions;
    use crate::queue::{Queue, Take, Taken};

    struct Fixture {
        local: Local<u32>,
    }

    impl Fixture {
        fn new(history: History) -> Self {
            let local = Local::with_history(history);
            Self { local }
        }

        fn publish(&self, topic: &str, message: u32) {
            let topic = self.local.name(topic.into());
            self.local.publish(&topic, message, None).unwrap();
        }

        /// What a subscriber gets that asks for the last ones.
        fn kept(&self, topic: &str) -> Vec<u32> {
            let topic = self.local.name(topic.into());
            let options = ChannelOptions::new().last(1_000);
            let begin = options.begin;
            let queue = Arc::new(Queue::new(options));
            let id =
                self.local
                    .subscribe(&topic, Arc::clone(&queue) as _, begin, &mut Deferred::new());
            let kept = std::iter::from_fn(|| match queue.take() {
                Take::Some(Taken::Message(message)) => Some(**message),
                _ => None,
            });
            let kept = kept.collect();
            crate::engine::Unsubscribe::unsubscribe(&self.local, &topic, id);
            kept
        }

        fn rings(&self) -> &Rings<u32> {
            self.local.rings().unwrap()
        }
    }

    #[test]
    fn b5_the_topic_goes_whose_last_message_is_the_oldest() {
        let fixture = Fixture::new(History::last(10).max_topics(3));
        for (topic, message) in [("a", 1), ("b", 2), ("c", 3), ("a", 4), ("d", 5)] {
            fixture.publish(topic, message);
        }
        assert_eq!(fixture.kept("a"), [1, 4]);
        assert!(fixture.kept("b").is_empty());
        assert_eq!(fixture.kept("c"), [3]);
        fixture.publish("e", 6);
        assert!(fixture.kept("c").is_empty());
        assert_eq!(fixture.kept("a"), [1, 4], "asking makes nothing younger");
        fixture.publish("b", 7);
        assert!(fixture.kept("a").is_empty());
        assert_eq!(fixture.kept("b"), [7], "what was let go does not come back");
        assert_eq!(fixture.rings().topics.len(), 3);
    }

    #[test]
    fn b5_asking_for_names_takes_no_room() {
        let fixture = Fixture::new(History::last(10).max_topics(3));
        fixture.publish("a", 1);
        for name in 0..1_000 {
            assert!(fixture.kept(&name.to_string()).is_empty());
        }
        assert_eq!(fixture.kept("a"), [1]);
        assert_eq!(fixture.rings().topics.len(), 1);
    }

    #[test]
    fn b5_what_is_too_old_goes_though_nobody_asks_for_its_topic() {
        let fixture = Fixture::new(History::last(10));
        for topic in 0..100 {
            fixture.publish(&topic.to_string(), topic);
        }
        let rings = fixture.rings();
        let later = Instant::now() + Duration::from_secs(25 * 60 * 60);
        let topic = fixture.local.name("0".into());
        // Each is one of those that look around.
        for _ in 0..100 / SWEPT + 1 {
            rings.settle(&topic, SWEEP, None, later, &mut Deferred::new());
        }
        for topic in 0..100 {
            let topic = fixture.local.name(topic.to_string().into());
            assert!(rings.find(&topic).unwrap().state.lock().ring.is_empty());
        }
        assert_eq!(rings.recency.lock().by_last.len(), 100, "they stay known");
        // Nor does what comes to one that was empty by then.
        fixture.publish("0", 0);
        let later = later + Duration::from_secs(25 * 60 * 60);
        for _ in 0..100 / SWEPT + 1 {
            rings.settle(&topic, SWEEP, None, later, &mut Deferred::new());
        }
        assert!(rings.find(&topic).unwrap().state.lock().ring.is_empty());
        assert_eq!(rings.recency.lock().by_last.len(), 100, "once");
    }

    #[cfg(feature = "remote")]
    #[tokio::test(start_paused = true)]
    async fn b5_what_is_younger_keeps_nothing_that_is_too_old() {
        let fixture = Fixture::new(History::last(10));
        for topic in 0..100 {
            fixture.publish(&topic.to_string(), topic);
        }
        let topic = fixture.local.name("0".into());
        let rings = fixture.rings();
        let look_around = || {
            for _ in 0..100 / SWEPT + 2 {
                rings.settle(&topic, SWEEP, None, clock::now(), &mut Deferred::new());
            }
        };
        let kept = || {
            let names = (0..100).map(|topic: u32| fixture.local.name(topic.to_string().into()));
            let is_kept = |name: &Name| !rings.find(name).unwrap().state.lock().ring.is_empty();
            names.filter(is_kept).count()
        };
        tokio::time::advance(Duration::from_secs(23 * 60 * 60)).await;
        look_around();
        assert_eq!(kept(), 100, "a day is the default");
        fixture.publish("0", 0);
        tokio::time::advance(Duration::from_secs(2 * 60 * 60)).await;
        look_around();
        assert_eq!(kept(), 1);
    }

    #[test]
    fn b5_who_only_listens_takes_no_room_of_what_is_kept() {
        let fixture = Fixture::new(History::last(10).max_topics(1));
        fixture.publish("a", 1);
        let topic = fixture.local.name("b".into());
        let queue = Arc::new(Queue::<u32>::new(ChannelOptions::new()));
        fixture
            .local
            .subscribe(&topic, queue as _, None, &mut Deferred::new());
        assert_eq!(fixture.rings().topics.len(), 1);
        assert_eq!(fixture.kept("a"), [1]);
    }

    #[test]
    fn a_retired_ring_takes_nothing_in() {
        let fixture = Fixture::new(History::last(10));
        fixture.publish("a", 1);
        let topic = fixture.local.name("a".into());
        let retired = fixture.rings().find(&topic).unwrap();
        retired.state.lock().is_retired = true;
        assert!(fixture.kept("a").is_empty());
        fixture.publish("a", 2);
        assert_eq!(fixture.kept("a"), [2]);
    }

    #[test]
    fn b5_topics_that_keep_nothing_have_no_ring() {
        let fixture = Fixture::new(History::last(10).only(|name| name == "a"));
        fixture.publish("a", 1);
        fixture.publish("b", 2);
        assert_eq!(fixture.rings().topics.len(), 1);
        assert!(fixture.kept("b").is_empty());
    }
}

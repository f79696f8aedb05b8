//! L4 and L7, whatever the sources do and whoever adds, replaces and removes them meanwhile: each source's messages come in
//! order, with a gap in its place; none comes from a source that is gone; none that waits is passed over more than once by
//! any other; and whoever sleeps is woken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use dreamsocket_broadcaster::{Broadcaster, ChannelOptions, Topic};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Of which lane, and the how-manieth.
type Item = (usize, u32);

const KEYS: [&str; 3] = ["a", "b", "c"];

/// How much waits in a source that can lag.
const CAPACITY: usize = 4;

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A channel, with or without a key.
    Channel,
    Keyed(&'static str),
    /// A selector of two channels as one source.
    Nested(&'static str),
    /// Sources that lag.
    Broadcast(&'static str),
    Topic(&'static str),
}

#[derive(Debug, Clone)]
enum Step {
    Add(Kind),
    /// Removes the source of that key, and adds others.
    Remove(&'static str),
    Replace(Vec<Kind>),
    Send(Index, usize),
    End(Index),
    Poll(usize),
}

fn kind() -> impl Strategy<Value = Kind> {
    let key = || prop::sample::select(&KEYS[..]);
    prop_oneof![
        2 => Just(Kind::Channel),
        2 => key().prop_map(Kind::Keyed),
        1 => key().prop_map(Kind::Nested),
        1 => key().prop_map(Kind::Broadcast),
        1 => key().prop_map(Kind::Topic),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => kind().prop_map(Step::Add),
        2 => prop::sample::select(&KEYS[..]).prop_map(Step::Remove),
        1 => prop::collection::vec(kind(), 0..4).prop_map(Step::Replace),
        9 => (any::<Index>(), 1..8_usize).prop_map(|(index, count)| Step::Send(index, count)),
        1 => any::<Index>().prop_map(Step::End),
        9 => (1..6_usize).prop_map(Step::Poll),
    ]
}

enum Sender {
    Channel(mpsc::UnboundedSender<Item>),
    Broadcast(broadcast::Sender<Item>),
    Topic(Topic<Item>),
}

impl Sender {
    /// Whether anybody listens.
    fn is_heard(&self) -> bool {
        match self {
            Self::Channel(sender) => !sender.is_closed(),
            Self::Broadcast(sender) => sender.receiver_count() > 0,
            Self::Topic(topic) => topic.subscribers() > 0,
        }
    }
}

/// What sends, and what of it was not received.
struct Lane {
    id: usize,
    /// `None` once it has ended.
    sender: Option<Sender>,
    sent: u32,
    unread: VecDeque<u32>,
}

/// The model of a source.
struct Place {
    key: Option<&'static str>,
    lanes: Vec<Lane>,
    /// How many messages of others came since it has something to give, and how many others there were.
    passed_over: usize,
    others: usize,
}

impl Place {
    fn is_ready(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.unread.is_empty())
    }

    fn begin_to_wait(&mut self, others: usize) {
        self.passed_over = 0;
        self.others = others;
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct World {
    selector: Selector<Item>,
    places: Vec<Place>,
    lanes: usize,
    wakes: Arc<Wakes>,
    /// How often it was woken before it was pending, if it still is.
    asleep_since: Option<usize>,
}

impl World {
    fn channel(&mut self) -> (Lane, mpsc::UnboundedReceiver<Item>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (self.lane(Sender::Channel(sender)), receiver)
    }

    fn lane(&mut self, sender: Sender) -> Lane {
        self.lanes += 1;
        Lane {
            id: self.lanes,
            sender: Some(sender),
            sent: 0,
            unread: VecDeque::new(),
        }
    }

    fn make(&mut self, kind: Kind) -> (Place, Selector<Item>) {
        let (key, lanes, selector) = match kind {
            Kind::Channel => {
                let (lane, receiver) = self.channel();
                (None, vec![lane], Selector::from(receiver))
            }
            Kind::Keyed(key) => {
                let (lane, receiver) = self.channel();
                let selector = Selector::new().select_as(key, receiver);
                (Some(key), vec![lane], selector)
            }
            Kind::Nested(key) => {
                let (one, receiver) = self.channel();
                let (two, other) = self.channel();
                let both = Selector::from(receiver).merge(other);
                let selector = Selector::new().select_as(key, both);
                (Some(key), vec![one, two], selector)
            }
            Kind::Broadcast(key) => {
                let (sender, receiver) = broadcast::channel(CAPACITY);
                let lane = self.lane(Sender::Broadcast(sender));
                let selector = Selector::new().select_as(key, receiver);
                (Some(key), vec![lane], selector)
            }
            Kind::Topic(key) => {
                let topic = Broadcaster::new().topic(key);
                let options = ChannelOptions::new().capacity(CAPACITY);
                let selector = Selector::from(topic.subscribe_with(options));
                (Some(key), vec![self.lane(Sender::Topic(topic))], selector)
            }
        };
        let place = Place {
            key,
            lanes,
            passed_over: 0,
            others: 0,
        };
        (place, selector)
    }

    fn add(&mut self, kind: Kind) {
        let (place, selector) = self.make(kind);
        self.selector.add(selector);
        self.forget(|old| old.key.is_some() && old.key == place.key);
        self.places.push(place);
        // What is new was not polled: the session looks again after it has changed anything.
        self.asleep_since = None;
    }

    /// These sources are gone, and their senders know.
    fn forget(&mut self, is_gone: impl Fn(&Place) -> bool) {
        self.places.retain(|place| {
            let is_gone = is_gone(place);
            let mut senders = place.lanes.iter().filter_map(|lane| lane.sender.as_ref());
            assert!(!is_gone || !senders.any(Sender::is_heard));
            !is_gone
        });
    }

    fn send(&mut self, index: Index, count: usize) {
        let others = self.places.len() - 1;
        let place = index.get_mut(&mut self.places);
        let was_ready = place.is_ready();
        let lane = index.get_mut(&mut place.lanes);
        let Some(sender) = &lane.sender else {
            return;
        };
        for _ in 0..count {
            let item = (lane.id, lane.sent);
            match sender {
                Sender::Channel(sender) => sender.send(item).unwrap(),
                Sender::Broadcast(sender) => assert_eq!(sender.send(item).unwrap(), 1),
                Sender::Topic(topic) => assert_eq!(topic.publish(item).unwrap().local, 1),
            }
            lane.unread.push_back(lane.sent);
            lane.sent += 1;
        }
        if !was_ready {
            place.begin_to_wait(others);
        }
        self.expect_woken();
    }

    /// Something happened to a source that said it was pending.
    fn expect_woken(&mut self) {
        if let Some(wakes) = self.asleep_since.take() {
            assert!(self.wakes.0.load(Ordering::Relaxed) > wakes, "it sleeps on");
        }
    }

    fn poll(&mut self) -> Result<(), TestCaseError> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        let before = self.wakes.0.load(Ordering::Relaxed);
        let polled = self
            .selector
            .poll_selected(&mut Context::from_waker(&waker));
        let Poll::Ready(selected) = polled else {
            prop_assert!(!self.places.iter().any(Place::is_ready));
            self.asleep_since = Some(before);
            return Ok(());
        };
        let given = self.take(selected)?;
        let others = self.places.len() - 1;
        for (index, place) in self.places.iter_mut().enumerate() {
            if index == given {
                place.begin_to_wait(others);
            } else if place.is_ready() {
                place.passed_over += 1;
                prop_assert!(place.passed_over <= place.others, "{:?} starves", place.key);
            }
        }
        Ok(())
    }

    /// Takes out of the model what was selected; of which place it was.
    fn take(&mut self, selected: Selected<Item>) -> Result<usize, TestCaseError> {
        let mut places = self.places.iter_mut().enumerate();
        match selected {
            Selected::Message((id, number)) => {
                let found = places.find_map(|(index, place)| {
                    let lane = place.lanes.iter_mut().find(|lane| lane.id == id)?;
                    Some((index, lane))
                });
                let Some((index, lane)) = found else {
                    return Err(TestCaseError::fail("a message of a source that is gone"));
                };
                prop_assert_eq!(lane.unread.pop_front(), Some(number));
                let can_lag = !matches!(lane.sender, Some(Sender::Channel(_)) | None);
                prop_assert!(
                    !can_lag || lane.unread.len() < CAPACITY,
                    "a gap was left out"
                );
                Ok(index)
            }
            Selected::Missed(missed) => {
                let found = places.find(|(_, place)| place.key == Some(&*missed.source));
                let Some((index, place)) = found else {
                    return Err(TestCaseError::fail("a gap of a source that is gone"));
                };
                let unread = &mut place.lanes[0].unread;
                let count = unread.len().saturating_sub(CAPACITY);
                prop_assert_eq!(missed.count, Some(count as u64));
                prop_assert!(count > 0);
                unread.drain(..count);
                Ok(index)
            }
            Selected::Lagged => Err(TestCaseError::fail("no source was to end when it lags")),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Add(kind) => self.add(kind),
            Step::Remove(key) => {
                self.selector.remove(key);
                self.forget(|place| place.key == Some(key));
            }
            Step::Replace(kinds) => {
                self.selector = Selector::new();
                self.forget(|_| true);
                kinds.into_iter().for_each(|kind| self.add(kind));
            }
            Step::Send(..) | Step::End(_) if self.places.is_empty() => {}
            Step::Send(index, count) => self.send(index, count),
            Step::End(index) => {
                let place = index.get_mut(&mut self.places);
                let senders = place.lanes.iter_mut().filter_map(|lane| lane.sender.take());
                if senders.count() > 0 {
                    self.expect_woken();
                }
            }
            Step::Poll(count) => {
                for _ in 0..count {
                    self.poll()?;
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn l4_l7_sources_come_and_go_while_they_produce(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::default();
        for step in steps {
            world.step(step)?;
        }
        // All that waits comes.
        while world.places.iter().any(Place::is_ready) {
            world.poll()?;
        }
    }
}

//! B1, B2, B3: any sequence of calls does what a model of a few lines says, wakes and counters included.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, Delivery, End, Missed, Shared, SubscriberId, Topic,
    TryRecvError,
};
use proptest::prelude::*;
use proptest::sample::Index;

const TOPICS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Message {
    number: u32,
    key: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    DropOldest,
    DropNewest,
    LatestPerKey,
    End,
}

const POLICIES: [Policy; 4] = [
    Policy::DropOldest,
    Policy::DropNewest,
    Policy::LatestPerKey,
    Policy::End,
];

#[derive(Debug, Clone, Copy)]
enum Step {
    Subscribe {
        topic: usize,
        capacity: usize,
        policy: Policy,
    },
    Publish {
        topic: usize,
        key: u8,
    },
    PublishExcept {
        topic: usize,
        key: u8,
        except: Index,
    },
    Receive(Index),
    /// Receives, and parks the reader if nothing waits.
    Poll(Index),
    /// Receives several, and parks the reader if nothing waits.
    PollMany(Index, usize),
    /// Parks the reader until the end.
    PollEnd(Index),
    Drop(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let topic = || 0..TOPICS;
    let key = || 0..6_u8;
    prop_oneof![
        2 => (topic(), 1..5_usize, prop::sample::select(&POLICIES[..])).prop_map(
            |(topic, capacity, policy)| Step::Subscribe { topic, capacity, policy }
        ),
        8 => (topic(), key()).prop_map(|(topic, key)| Step::Publish { topic, key }),
        3 => (topic(), key(), index()).prop_map(
            |(topic, key, except)| Step::PublishExcept { topic, key, except }
        ),
        4 => index().prop_map(Step::Receive),
        4 => index().prop_map(Step::Poll),
        2 => (index(), 0..6_usize).prop_map(|(index, limit)| Step::PollMany(index, limit)),
        1 => index().prop_map(Step::PollEnd),
        1 => index().prop_map(Step::Drop),
    ]
}

/// A channel beside the model of one.
struct Pair {
    channel: Channel<Message>,
    wakes: Arc<Wakes>,
    model: Model,
}

struct Model {
    topic: usize,
    capacity: usize,
    policy: Policy,
    /// What the reader will see, gaps included.
    items: Vec<Item>,
    end: Option<End>,
    is_parked: bool,
    is_parked_for_end: bool,
    wakes: usize,
    received: u64,
    missed: u64,
    coalesced: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Message(Message),
    Gap(u64),
}

impl Model {
    fn new(topic: usize, capacity: usize, policy: Policy) -> Self {
        Self {
            topic,
            capacity,
            policy,
            items: Vec::new(),
            end: None,
            is_parked: false,
            is_parked_for_end: false,
            wakes: 0,
            received: 0,
            missed: 0,
            coalesced: 0,
        }
    }

    fn options(&self) -> ChannelOptions<Message> {
        let options = ChannelOptions::new().capacity(self.capacity);
        match self.policy {
            Policy::DropOldest => options.drop_oldest(),
            Policy::DropNewest => options.drop_newest(),
            Policy::LatestPerKey => options.latest_per_key(|message| message.key),
            Policy::End => options.end_when_full(),
        }
    }

    fn waiting(&self) -> usize {
        let is_message = |item: &&Item| matches!(item, Item::Message(_));
        self.items.iter().filter(is_message).count()
    }

    fn publish(&mut self, message: Message) {
        let has_key = |item: &Item| matches!(item, Item::Message(it) if it.key == message.key);
        let same_key = self.items.iter().position(has_key);
        if let (Policy::LatestPerKey, Some(place)) = (self.policy, same_key) {
            self.items[place] = Item::Message(message);
            self.coalesced += 1;
        } else if self.waiting() < self.capacity {
            self.items.push(Item::Message(message));
        } else {
            self.overflow(message);
        }
        self.wake();
    }

    fn overflow(&mut self, message: Message) {
        self.missed += 1;
        match self.policy {
            Policy::DropOldest | Policy::LatestPerKey => {
                let is_message = |item: &Item| matches!(item, Item::Message(_));
                if let Some(oldest) = self.items.iter().position(is_message) {
                    self.items[oldest] = Item::Gap(1);
                }
                self.items.push(Item::Message(message));
            }
            Policy::DropNewest => self.items.push(Item::Gap(1)),
            Policy::End => {
                self.missed += self.waiting() as u64;
                self.items.clear();
                self.end = Some(End::Lagged);
            }
        }
        self.items
            .dedup_by(|next, previous| match (previous, next) {
                (Item::Gap(previous), Item::Gap(next)) => {
                    *previous += *next;
                    true
                }
                _ => false,
            });
    }

    fn wake(&mut self) {
        self.wakes += usize::from(std::mem::take(&mut self.is_parked));
        if self.end.is_some() {
            self.wakes += usize::from(std::mem::take(&mut self.is_parked_for_end));
        }
    }

    fn receive(&mut self) -> Option<Delivery<Message>> {
        if self.items.is_empty() {
            return None;
        }
        Some(match self.items.remove(0) {
            Item::Message(message) => {
                self.received += 1;
                Delivery::Message(message)
            }
            Item::Gap(count) => Delivery::Missed(Missed::new(name(self.topic), Some(count))),
        })
    }

    fn error(&self) -> TryRecvError {
        self.end
            .map_or(TryRecvError::Empty, |_| TryRecvError::Ended)
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn name(topic: usize) -> String {
    format!("topic {topic}")
}

/// Published, delivered, missed.
type Counted = [u64; 3];

fn counted(counts: dreamsocket_broadcaster::Counts) -> Counted {
    [counts.published, counts.delivered, counts.missed]
}

struct World {
    broadcaster: Broadcaster<Message>,
    topics: Vec<Topic<Message>>,
    pairs: Vec<Pair>,
    by_topic: [Counted; TOPICS],
    in_all: Counted,
}

impl World {
    fn new() -> Self {
        let broadcaster = Broadcaster::new();
        Self {
            topics: (0..TOPICS)
                .map(|topic| broadcaster.topic(name(topic)))
                .collect(),
            broadcaster,
            pairs: Vec::new(),
            by_topic: [Counted::default(); TOPICS],
            in_all: Counted::default(),
        }
    }

    /// Those in the model that the topic should know.
    fn subscribed(&mut self, topic: usize) -> impl Iterator<Item = &mut Pair> {
        let pairs = self.pairs.iter_mut();
        pairs.filter(move |pair| pair.model.topic == topic && pair.model.end.is_none())
    }

    fn publish(
        &mut self,
        topic: usize,
        message: Message,
        except: Option<SubscriberId>,
    ) -> Result<(), TestCaseError> {
        let published = match except {
            Some(except) => self.topics[topic].publish_except(except, message),
            None => self.topics[topic].publish(message),
        };
        let mut counted = [1, 0, 0];
        for Pair { channel, model, .. } in self.subscribed(topic) {
            if Some(channel.id()) != except {
                let missed = model.missed;
                model.publish(message);
                counted[1] += 1;
                counted[2] += model.missed - missed;
            }
        }
        prop_assert_eq!(
            published.map_or(u64::MAX, |published| published.local as u64),
            counted[1]
        );
        for (index, count) in counted.into_iter().enumerate() {
            self.by_topic[topic][index] += count;
            self.in_all[index] += count;
        }
        Ok(())
    }

    fn step(&mut self, number: u32, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Subscribe {
                topic,
                capacity,
                policy,
            } => {
                let model = Model::new(topic, capacity, policy);
                self.pairs.push(Pair {
                    channel: self.topics[topic].subscribe_with(model.options()),
                    wakes: Arc::default(),
                    model,
                });
            }
            Step::Publish { topic, key } => self.publish(topic, Message { number, key }, None)?,
            _ if self.pairs.is_empty() => {}
            Step::PublishExcept { topic, key, except } => {
                let except = except.get(&self.pairs).channel.id();
                self.publish(topic, Message { number, key }, Some(except))?;
            }
            Step::Receive(index) => {
                let Pair { channel, model, .. } = index.get_mut(&mut self.pairs);
                let expected = model.receive().ok_or(model.error());
                prop_assert_eq!(channel.try_recv(), expected);
            }
            Step::Poll(index) => {
                let pair = index.get_mut(&mut self.pairs);
                let waker = Waker::from(Arc::clone(&pair.wakes));
                let polled = pair.channel.poll_recv(&mut Context::from_waker(&waker));
                let expected = pair.model.receive();
                pair.model.is_parked = expected.is_none() && pair.model.end.is_none();
                prop_assert_eq!(polled.is_pending(), pair.model.is_parked);
                prop_assert!(polled.is_pending() || polled == Poll::Ready(expected));
            }
            Step::PollMany(index, limit) => {
                let pair = index.get_mut(&mut self.pairs);
                let waker = Waker::from(Arc::clone(&pair.wakes));
                let mut buffer = VecDeque::new();
                let mut cx = Context::from_waker(&waker);
                let polled = pair.channel.poll_recv_many(&mut cx, &mut buffer, limit);
                let expected: Vec<_> = (0..limit.max(1))
                    .map_while(|_| pair.model.receive())
                    .collect();
                pair.model.is_parked = expected.is_empty() && pair.model.end.is_none();
                prop_assert_eq!(polled.is_pending(), pair.model.is_parked);
                prop_assert!(polled.is_pending() || polled == Poll::Ready(expected.len()));
                let got: Vec<_> = buffer
                    .into_iter()
                    .map(|delivery| delivery.map(Shared::into_message))
                    .collect();
                prop_assert_eq!(got, expected);
            }
            Step::PollEnd(index) => {
                let pair = index.get_mut(&mut self.pairs);
                let waker = Waker::from(Arc::clone(&pair.wakes));
                let polled = pair.channel.poll_end(&mut Context::from_waker(&waker));
                pair.model.is_parked_for_end = pair.model.end.is_none();
                prop_assert_eq!(polled, pair.model.end.map_or(Poll::Pending, Poll::Ready));
            }
            Step::Drop(index) => {
                self.pairs.swap_remove(index.index(self.pairs.len()));
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let (mut live, mut all) = (0, 0);
        for topic in 0..TOPICS {
            let subscribers = self.subscribed(topic).count();
            all += subscribers;
            live += usize::from(subscribers > 0);
            if subscribers == 0 {
                self.by_topic[topic] = Counted::default();
            }
            prop_assert_eq!(self.topics[topic].subscribers(), subscribers);
            prop_assert_eq!(counted(self.topics[topic].counts()), self.by_topic[topic]);
        }
        prop_assert_eq!(self.broadcaster.topics(), live);
        prop_assert_eq!(self.broadcaster.subscribers(), all);
        prop_assert_eq!(counted(self.broadcaster.counts()), self.in_all);
        for Pair {
            channel,
            model,
            wakes,
        } in &self.pairs
        {
            prop_assert_eq!(wakes.0.load(Ordering::Relaxed), model.wakes);
            prop_assert_eq!(channel.end(), model.end);
            let counts = channel.counts();
            prop_assert_eq!(
                (counts.received, counts.missed, counts.coalesced),
                (model.received, model.missed, model.coalesced)
            );
            prop_assert_eq!(counts.waiting, model.waiting());
        }
        Ok(())
    }
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for (number, step) in (0..).zip(steps) {
        world.step(number, step)?;
        world.check()?;
    }

    // Once nobody can publish, each channel gives what waits and ends; the parked ones are woken for it.
    let World {
        broadcaster,
        topics,
        pairs,
        ..
    } = world;
    drop((broadcaster, topics));
    for Pair {
        mut channel,
        wakes,
        mut model,
    } in pairs
    {
        model.end.get_or_insert(End::Closed);
        model.wake();
        prop_assert_eq!(wakes.0.load(Ordering::Relaxed), model.wakes);
        while let Some(expected) = model.receive() {
            prop_assert_eq!(channel.end(), None);
            prop_assert_eq!(channel.try_recv(), Ok(expected));
        }
        prop_assert_eq!(channel.try_recv(), Err(TryRecvError::Ended));
        prop_assert_eq!(channel.end(), model.end);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn b1_b2_b3_channels_do_what_the_model_says(steps in prop::collection::vec(step(), 0..200)) {
        run(steps)?;
    }
}

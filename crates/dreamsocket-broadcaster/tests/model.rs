//! B1, B2, B3: any sequence of calls does what a model of a few lines says, wakes included.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, Delivery, Missed, Topic, TryRecvError,
};
use proptest::prelude::*;
use proptest::sample::Index;

const TOPICS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Subscribe {
        topic: usize,
        capacity: usize,
    },
    Publish {
        topic: usize,
    },
    Receive(Index),
    /// Receives, and parks the reader if nothing waits.
    Poll(Index),
    Drop(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        2 => (0..TOPICS, 1..5_usize)
            .prop_map(|(topic, capacity)| Step::Subscribe { topic, capacity }),
        8 => (0..TOPICS).prop_map(|topic| Step::Publish { topic }),
        4 => index().prop_map(Step::Receive),
        4 => index().prop_map(Step::Poll),
        1 => index().prop_map(Step::Drop),
    ]
}

/// A channel beside the model of one.
struct Pair {
    channel: Channel<u32>,
    wakes: Arc<Wakes>,
    model: Model,
}

struct Model {
    topic: usize,
    capacity: usize,
    waiting: VecDeque<u32>,
    missed: u64,
    is_parked: bool,
    wakes: usize,
}

impl Model {
    fn publish(&mut self, message: u32) {
        self.waiting.push_back(message);
        if self.waiting.len() > self.capacity {
            self.waiting.pop_front();
            self.missed += 1;
        }
        if std::mem::take(&mut self.is_parked) {
            self.wakes += 1;
        }
    }

    fn receive(&mut self) -> Option<Delivery<u32>> {
        match std::mem::take(&mut self.missed) {
            0 => self.waiting.pop_front().map(Delivery::Message),
            missed => Some(Delivery::Missed(Missed::new(
                name(self.topic),
                Some(missed),
            ))),
        }
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

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let broadcaster = Broadcaster::new();
    let topics: Vec<Topic<u32>> = (0..TOPICS)
        .map(|topic| broadcaster.topic(name(topic)))
        .collect();
    let mut pairs: Vec<Pair> = Vec::new();

    for (number, step) in (0..).zip(steps) {
        match step {
            Step::Subscribe { topic, capacity } => pairs.push(Pair {
                channel: topics[topic].subscribe_with(ChannelOptions::new().capacity(capacity)),
                wakes: Arc::default(),
                model: Model {
                    topic,
                    capacity,
                    waiting: VecDeque::new(),
                    missed: 0,
                    is_parked: false,
                    wakes: 0,
                },
            }),
            Step::Publish { topic } => {
                let mut expected = 0;
                for pair in pairs.iter_mut().filter(|pair| pair.model.topic == topic) {
                    pair.model.publish(number);
                    expected += 1;
                }
                let published = topics[topic].publish(number);
                prop_assert_eq!(
                    published.map_or(usize::MAX, |published| published.local),
                    expected
                );
            }
            Step::Receive(_) | Step::Poll(_) | Step::Drop(_) if pairs.is_empty() => {}
            Step::Receive(index) => {
                let Pair { channel, model, .. } = index.get_mut(&mut pairs);
                prop_assert_eq!(
                    channel.try_recv(),
                    model.receive().ok_or(TryRecvError::Empty)
                );
            }
            Step::Poll(index) => {
                let Pair {
                    channel,
                    model,
                    wakes,
                } = index.get_mut(&mut pairs);
                let waker = Waker::from(Arc::clone(wakes));
                let polled = pin!(channel.recv()).poll(&mut Context::from_waker(&waker));
                let expected = model.receive();
                model.is_parked = expected.is_none();
                prop_assert_eq!(
                    polled,
                    expected.map_or(Poll::Pending, |delivery| Poll::Ready(Some(delivery)))
                );
            }
            Step::Drop(index) => {
                pairs.swap_remove(index.index(pairs.len()));
            }
        }

        let subscribers = |topic| {
            pairs
                .iter()
                .filter(|pair: &&Pair| pair.model.topic == topic)
                .count()
        };
        for (topic, handle) in topics.iter().enumerate() {
            prop_assert_eq!(handle.subscribers(), subscribers(topic));
        }
        let live = (0..TOPICS).filter(|&topic| subscribers(topic) > 0).count();
        prop_assert_eq!(broadcaster.topics(), live);
        for Pair { model, wakes, .. } in &pairs {
            prop_assert_eq!(wakes.0.load(Ordering::Relaxed), model.wakes);
        }
    }

    // Once nobody can publish, each channel gives what waits and ends; the parked ones are woken for it.
    drop((broadcaster, topics));
    for Pair {
        mut channel,
        wakes,
        mut model,
    } in pairs
    {
        let expected = model.wakes + usize::from(model.is_parked);
        prop_assert_eq!(wakes.0.load(Ordering::Relaxed), expected);
        while let Some(expected) = model.receive() {
            prop_assert_eq!(channel.try_recv(), Ok(expected));
        }
        prop_assert_eq!(channel.try_recv(), Err(TryRecvError::Ended));
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

//! Wakers and messages that panic, and links that do or end, on engines that reach other machines: whatever they do, nobody
//! loses anything by it and is not told (B2, B5, B7, B9). Over a broker in memory; time is paused. What else is foreign code
//! is in `foreign_code.rs`.

#![expect(clippy::panic, reason = "what panics is a test's")]

mod broker;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use broker::{Broker, Fate, Kind};
use dreamsocket_broadcaster::link::{Link, Node};
use dreamsocket_broadcaster::{
    Broadcaster, Channel, Delivery, History, Position, RemoteOptions, Topic,
};
use tokio::time;

/// A message, or a gap with its count.
type Item = Result<u32, Option<u64>>;

const UNKNOWN: Item = Err(None);

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

/// Polls once with a waker that panics; it must not be ready.
fn park(future: impl Future) {
    let mut future = pin!(future);
    poll(future.as_mut());
}

fn poll<F: Future>(future: Pin<&mut F>) {
    let waker = Waker::from(Arc::new(PanickingWaker));
    let polled = future.poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

/// A subscriber whose waker panics when something comes. It stays as long as what is given.
fn panicking(topic: &Topic<u32>) -> Channel<u32> {
    let mut channel = topic.subscribe();
    park(channel.recv());
    channel
}

async fn settle() {
    time::sleep(Duration::from_millis(150)).await;
}

/// All that has come a moment later.
async fn drain(channel: &mut Channel<u32>) -> Vec<Item> {
    settle().await;
    let next = || match channel.try_recv().ok()? {
        Delivery::Message(number) => Some(Ok(number)),
        Delivery::Missed(missed) => Some(Err(missed.count)),
    };
    std::iter::from_fn(next).collect()
}

fn options() -> RemoteOptions {
    RemoteOptions::new()
}

fn kept() -> RemoteOptions {
    options().history(History::last(10))
}

/// Loses the first message to node 1.
fn lose_the_first(broker: &Broker) {
    let mut is_first = true;
    broker.filter(move |node, topic, kind| {
        let is_meant = node == 1 && kind == Kind::Message && !topic.starts_with('$');
        if is_meant && std::mem::take(&mut is_first) {
            Fate::IsLost
        } else {
            Fate::Arrives
        }
    });
}

#[tokio::test(start_paused = true)]
async fn b2_a_waker_that_panics_at_a_gap_does_not_lose_the_message_behind_it() {
    for options in [options, kept] {
        let broker = Broker::new();
        let here: Broadcaster<u32> = broker.connected(options()).await;
        let there: Broadcaster<u32> = broker.connected(options()).await;
        let (here, there) = (here.topic("lobby"), there.topic("lobby"));
        let _parked = panicking(&there);
        let mut channel = there.subscribe();
        settle().await;
        here.publish(0).unwrap();
        assert_eq!(drain(&mut channel).await, [Ok(0)]);
        let _parked = panicking(&there);
        lose_the_first(&broker);
        for number in 1..4 {
            here.publish(number).unwrap();
        }
        let expected = [Err(Some(1)), Ok(2), Ok(3)];
        assert_eq!(drain(&mut channel).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn b5_a_waker_that_panics_at_a_gap_does_not_keep_others_from_what_was_kept() {
    let broker = Broker::new();
    let here: Broadcaster<u32> = broker.connected(kept()).await;
    here.topic("lobby").publish(1).unwrap();
    settle().await;
    broker.stop();
    let there: Broadcaster<u32> = broker.node(kept());
    let there = there.topic("lobby");
    // It was subscribed before there was a connection: that is a gap.
    let _parked = panicking(&there);
    settle().await;
    broker.start();
    settle().await;
    assert_eq!(drain(&mut there.subscribe_last(10)).await, [Ok(1)]);
}

#[tokio::test(start_paused = true)]
async fn b7_a_waker_that_panics_at_a_gap_does_not_keep_other_topics_from_theirs() {
    let broker = Broker::new();
    let node: Broadcaster<u32> = broker.connected(options()).await;
    let topics: Vec<_> = (0..10).map(|name| node.topic(name.to_string())).collect();
    let _parked: Vec<_> = topics.iter().map(panicking).collect();
    let mut channels: Vec<_> = topics.iter().map(Topic::subscribe).collect();
    settle().await;
    broker.cut(0);
    for channel in &mut channels {
        assert_eq!(drain(channel).await, [UNKNOWN]);
    }
}

#[tokio::test(start_paused = true)]
async fn b1_a_waker_that_panics_at_a_confirmation_does_not_keep_others_from_theirs() {
    let broker = Broker::new();
    let node: Broadcaster<u32> = broker.connected(options()).await;
    let topic = node.topic("lobby");
    let mut parked = Box::pin(topic.publish_confirmed(1));
    poll(parked.as_mut());
    topic.publish_confirmed(2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b7_wakers_that_panic_as_a_connection_is_lost_do_not_end_the_link() {
    let broker = Broker::new();
    let node: Broadcaster<u32> = broker.connected(options()).await;
    let topic = node.topic("lobby");
    broker.ignore(0);
    let mut parked = [1, 2].map(|number| Box::pin(topic.publish_confirmed(number)));
    for parked in &mut parked {
        poll(parked.as_mut());
    }
    settle().await;
    broker.cut(0);
    settle().await;
    assert!(node.health().is_ready());
    topic.publish_confirmed(3).await.unwrap();
}

/// Says that it is connected, and is at its end, by a panic if so.
struct EndsAtOnce {
    is_panicking: bool,
}

impl Link for EndsAtOnce {
    const KEEPS_HISTORY: bool = true;

    async fn run(self, node: Node) {
        let _connected = node.connected("nowhere", usize::MAX);
        assert!(!self.is_panicking, "on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn b5_who_begins_when_the_link_has_ended_is_told_a_gap_in_time() {
    for is_panicking in [false, true] {
        let link = EndsAtOnce { is_panicking };
        let node: Broadcaster<u32> = Broadcaster::with_link(link, kept());
        settle().await;
        assert!(!node.health().is_ready());
        let topic = node.topic("lobby");
        let mut last = topic.subscribe_last(5);
        let mut behind = topic.subscribe_from(&Position::new(1, 1));
        time::sleep(Duration::from_secs(6)).await;
        for channel in [&mut last, &mut behind] {
            assert_eq!(drain(channel).await, [UNKNOWN]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b9_a_message_whose_deserialize_panics_is_a_gap() {
    #[derive(Clone, Debug, PartialEq, serde::Serialize)]
    struct Touchy(u32);

    impl<'de> serde::Deserialize<'de> for Touchy {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let number = u32::deserialize(deserializer)?;
            assert_ne!(number, 2, "the test's panic");
            Ok(Self(number))
        }
    }

    let broker = Broker::new();
    let node = broker.connected::<Touchy>(options()).await;
    let mut channel = node.topic("lobby").subscribe();
    for number in 1..=3 {
        node.topic("lobby").publish(Touchy(number)).unwrap();
    }
    settle().await;
    assert_eq!(channel.try_recv(), Ok(Delivery::Message(Touchy(1))));
    assert!(matches!(channel.try_recv(), Ok(Delivery::Missed(missed)) if missed.count == Some(1)));
    assert_eq!(channel.try_recv(), Ok(Delivery::Message(Touchy(3))));
}

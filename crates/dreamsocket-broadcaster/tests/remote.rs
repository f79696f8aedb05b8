//! What the contract says of engines that reach other machines (B1, B2, B6, B7, B9), over a broker in memory that loses,
//! doubles, is cut and restarts when it is told to. Time is paused: it jumps to whatever is waited for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker::{Broker, Fate, Kind};
use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, Delivery, PublishError, RemoteOptions, TryRecvError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{self, Instant};

/// A message, or a gap with its count.
type Item = Result<u32, Option<u64>>;

const UNKNOWN: Item = Err(None);

fn gap(count: u64) -> Item {
    Err(Some(count))
}

fn item(delivery: Delivery<u32>) -> Item {
    match delivery {
        Delivery::Message(number) => Ok(number),
        Delivery::Missed(missed) => Err(missed.count),
    }
}

async fn settle() {
    time::sleep(Duration::from_millis(50)).await;
}

/// All that has come a moment later.
async fn drain(channel: &mut Channel<u32>) -> Vec<Item> {
    settle().await;
    std::iter::from_fn(|| channel.try_recv().ok().map(item)).collect()
}

/// The next item, and how long it took to come.
async fn next(channel: &mut Channel<u32>) -> (Item, Duration) {
    let start = Instant::now();
    let delivery = time::timeout(Duration::from_secs(60), channel.recv());
    (item(delivery.await.unwrap().unwrap()), start.elapsed())
}

fn options() -> RemoteOptions {
    RemoteOptions::new()
}

async fn nodes<M>(broker: &Broker) -> [Broadcaster<M>; 2]
where
    M: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    [
        broker.connected(options()).await,
        broker.connected(options()).await,
    ]
}

/// Loses the messages to a node whose places in the order are named, counted from 0.
fn lose(broker: &Broker, node: usize, kind: Kind, lost: impl Fn(usize) -> bool + Send + 'static) {
    let mut count = 0;
    broker.filter(move |to, topic, what| {
        if to != node || what != kind || topic.starts_with('$') {
            return Fate::Arrives;
        }
        count += 1;
        if lost(count - 1) {
            Fate::IsLost
        } else {
            Fate::Arrives
        }
    });
}

#[tokio::test(start_paused = true)]
async fn b2_all_nodes_see_the_messages_of_all_nodes_in_order_and_once() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut at_one = one.topic("lobby").subscribe();
    let mut at_two = two.topic("lobby").subscribe();
    settle().await;
    for number in 0..100 {
        let node = if number % 3 == 0 { &one } else { &two };
        assert_eq!(node.topic("lobby").publish(number).unwrap().local, 1);
    }
    let seen = drain(&mut at_one).await;
    assert_eq!(seen.len(), 100);
    assert_eq!(drain(&mut at_two).await, seen, "the broker's order");
    let of_one: Vec<_> = (0..100).step_by(3).map(Ok).collect();
    let is_of_one = |item: &&Item| item.is_ok_and(|number| number % 3 == 0);
    assert_eq!(
        seen.iter().filter(is_of_one).copied().collect::<Vec<_>>(),
        of_one
    );
    // And nothing comes later.
    time::sleep(Duration::from_secs(100)).await;
    assert_eq!(at_one.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(one.health().gaps, 0);
}

#[tokio::test(start_paused = true)]
async fn b1_who_subscribes_and_then_publishes_gets_its_own_message() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut mine = one.topic("lobby").subscribe();
    assert_eq!(one.topic("lobby").publish(1).unwrap().local, 1);
    assert_eq!(drain(&mut mine).await, [Ok(1)]);
    assert_eq!(two.topic("lobby").publish(2).unwrap().local, 0);
    assert_eq!(drain(&mut mine).await, [Ok(2)]);
}

#[tokio::test(start_paused = true)]
async fn b2_what_the_broker_loses_is_a_gap_in_its_place_with_its_count() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut channel = two.topic("lobby").subscribe();
    let mut other = one.topic("lobby").subscribe();
    settle().await;
    lose(&broker, 1, Kind::Message, |place| {
        [1, 4, 5, 6].contains(&place)
    });
    for number in 0..9 {
        one.topic("lobby").publish(number).unwrap();
    }
    let expected = [Ok(0), gap(1), Ok(2), Ok(3), gap(3), Ok(7), Ok(8)];
    assert_eq!(drain(&mut channel).await, expected);
    assert_eq!(two.health().gaps, 2);
    assert_eq!(drain(&mut other).await, (0..9).map(Ok).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn b2_what_comes_twice_is_handed_on_once() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut channel = two.topic("lobby").subscribe();
    settle().await;
    broker.filter(|_, _, _| Fate::ComesTwice);
    for number in 0..9 {
        one.topic("lobby").publish(number).unwrap();
    }
    assert_eq!(
        drain(&mut channel).await,
        (0..9).map(Ok).collect::<Vec<_>>()
    );
    assert_eq!(two.health().doubles, 9);
}

#[tokio::test(start_paused = true)]
async fn b2_the_loss_of_the_last_message_is_told_within_five_seconds() {
    for lost_announcements in [0, 1] {
        let broker = Broker::new();
        let [one, two] = nodes(&broker).await;
        let mut channel = two.topic("lobby").subscribe();
        settle().await;
        one.topic("lobby").publish(1).unwrap();
        assert_eq!(drain(&mut channel).await, [Ok(1)]);
        lose(&broker, 1, Kind::Message, |_| true);
        one.topic("lobby").publish(2).unwrap();
        one.topic("lobby").publish(3).unwrap();
        settle().await;
        lose(&broker, 1, Kind::Announcement, move |place| {
            place < lost_announcements
        });
        let (item, took) = next(&mut channel).await;
        assert_eq!(item, gap(2));
        assert!(took < Duration::from_secs(5), "{took:?}");
        one.topic("lobby").publish(4).unwrap();
        assert_eq!(drain(&mut channel).await, [Ok(4)]);
    }
}

/// Of a publisher that has not been heard, the account begins with what it says itself.
#[tokio::test(start_paused = true)]
async fn b2_the_loss_of_the_first_message_of_a_publisher_is_told() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut channel = two.topic("lobby").subscribe();
    time::sleep(Duration::from_secs(3)).await;
    lose(&broker, 1, Kind::Message, |place| place == 0);
    one.topic("lobby").publish(1).unwrap();
    let (item, took) = next(&mut channel).await;
    assert_eq!(item, UNKNOWN);
    assert!(took < Duration::from_secs(5), "{took:?}");

    let mut another = two.topic("kitchen").subscribe();
    time::sleep(Duration::from_secs(3)).await;
    lose(&broker, 1, Kind::Message, |place| place == 0);
    one.topic("kitchen").publish(1).unwrap();
    one.topic("kitchen").publish(2).unwrap();
    assert_eq!(drain(&mut another).await, [UNKNOWN, Ok(2)]);
}

#[tokio::test(start_paused = true)]
async fn b2_who_comes_late_has_missed_nothing() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    one.topic("lobby").publish(1).unwrap();
    one.topic("lobby").publish(2).unwrap();
    settle().await;
    let mut channel = two.topic("lobby").subscribe();
    time::sleep(Duration::from_secs(10)).await;
    assert_eq!(channel.try_recv(), Err(TryRecvError::Empty));
    one.topic("lobby").publish(3).unwrap();
    assert_eq!(drain(&mut channel).await, [Ok(3)]);
}

#[tokio::test(start_paused = true)]
async fn b2_a_topic_that_was_quiet_for_long_goes_on_without_a_gap() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut channel = two.topic("lobby").subscribe();
    for number in 0..3 {
        one.topic("lobby").publish(number).unwrap();
        one.topic("other").publish(number).unwrap();
        assert_eq!(drain(&mut channel).await, [Ok(number)]);
        time::sleep(Duration::from_secs(1_000)).await;
    }
    assert_eq!(two.health().gaps, 0);
}

#[tokio::test(start_paused = true)]
async fn b7_a_lost_connection_is_told_once_before_any_later_message() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut channel = two.topic("lobby").subscribe();
    let mut quiet = two.topic("quiet").subscribe();
    let mut unharmed = one.topic("lobby").subscribe();
    settle().await;
    one.topic("lobby").publish(1).unwrap();
    settle().await;
    broker.bar(1);
    one.topic("lobby").publish(2).unwrap();
    settle().await;
    broker.admit(1);
    settle().await;
    one.topic("lobby").publish(3).unwrap();
    assert_eq!(drain(&mut channel).await, [Ok(1), UNKNOWN, Ok(3)]);
    assert_eq!(drain(&mut quiet).await, [UNKNOWN]);
    assert_eq!(drain(&mut unharmed).await, [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(two.health().disconnections, 1);
    assert!(two.health().is_ready());
    // The announcement of what was lost in it is nothing new.
    time::sleep(Duration::from_secs(10)).await;
    assert_eq!(channel.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(quiet.try_recv(), Err(TryRecvError::Empty));
}

/// Hours later, say: it is no part of what was lost with the connection, and that was told long ago.
#[tokio::test(start_paused = true)]
async fn b2_what_is_lost_long_after_a_lost_connection_is_told() {
    for is_last in [false, true] {
        let broker = Broker::new();
        let [one, two] = nodes(&broker).await;
        let mut channel = two.topic("lobby").subscribe();
        settle().await;
        one.topic("lobby").publish(1).unwrap();
        time::sleep(Duration::from_secs(5)).await;
        assert_eq!(drain(&mut channel).await, [Ok(1)]);
        broker.cut(1);
        assert_eq!(drain(&mut channel).await, [UNKNOWN]);
        time::sleep(Duration::from_secs(5)).await;
        lose(&broker, 1, Kind::Message, |place| place == 0);
        one.topic("lobby").publish(2).unwrap();
        if is_last {
            let (item, took) = next(&mut channel).await;
            assert_eq!(item, UNKNOWN);
            assert!(took < Duration::from_secs(5), "{took:?}");
        } else {
            one.topic("lobby").publish(3).unwrap();
            assert_eq!(drain(&mut channel).await, [UNKNOWN, Ok(3)]);
        }
        time::sleep(Duration::from_secs(10)).await;
        assert_eq!(drain(&mut channel).await, []);
        assert_eq!(two.health().gaps, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn b7_without_a_connection_publishing_fails_at_once() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut mine = one.topic("lobby").subscribe();
    let mut channel = two.topic("lobby").subscribe();
    settle().await;
    broker.stop();
    settle().await;
    assert!(!one.health().is_connected);
    let refused = one.topic("lobby").publish(1);
    assert!(matches!(refused, Err(PublishError::Away)), "{refused:?}");
    let refused = one.topic("lobby").publish_confirmed(2).await;
    assert!(matches!(refused, Err(PublishError::Away)), "{refused:?}");
    // Who comes meanwhile may miss something, too.
    let mut late = two.topic("late").subscribe();
    broker.start();
    settle().await;
    assert!(one.health().is_ready() && two.health().is_ready());
    one.topic("lobby").publish(3).unwrap();
    assert_eq!(drain(&mut mine).await, [UNKNOWN, Ok(3)]);
    assert_eq!(drain(&mut channel).await, [UNKNOWN, Ok(3)]);
    assert_eq!(drain(&mut late).await, [UNKNOWN]);
    assert_eq!(one.health().broker.as_deref(), Some("life 1"));
}

/// What was with the link when the connection was lost is nobody's any more: a hole, and the last of it is announced.
#[tokio::test(start_paused = true)]
async fn b7_what_was_under_way_when_the_publisher_was_cut_off_is_a_gap() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut channel = two.topic("lobby").subscribe();
    settle().await;
    one.topic("lobby").publish(1).unwrap();
    settle().await;
    broker.ignore(0);
    for number in 2..5 {
        one.topic("lobby").publish(number).unwrap();
    }
    assert_eq!(drain(&mut channel).await, [Ok(1)]);
    broker.cut(0);
    let (item, took) = next(&mut channel).await;
    assert_eq!(item, gap(3));
    assert!(took < Duration::from_secs(5), "{took:?}");
    one.topic("lobby").publish(9).unwrap();
    assert_eq!(drain(&mut channel).await, [Ok(9)]);
}

/// Both announcements went the way of the message, long before the next connection. That one may be as bad.
#[tokio::test(start_paused = true)]
async fn b7_the_loss_of_the_last_message_is_told_after_an_outage_however_long() {
    for connections in 1..3 {
        let broker = Broker::new();
        let [one, two] = nodes(&broker).await;
        let mut channel = two.topic("lobby").subscribe();
        settle().await;
        one.topic("lobby").publish(1).unwrap();
        assert_eq!(drain(&mut channel).await, [Ok(1)]);
        broker.ignore(0);
        one.topic("lobby").publish(2).unwrap();
        for _ in 0..connections {
            broker.ignore(0);
            time::sleep(Duration::from_secs(4)).await;
            broker.bar(0);
            time::sleep(Duration::from_secs(250)).await;
            broker.admit(0);
            while !one.health().is_connected {
                time::sleep(Duration::from_millis(1)).await;
            }
        }
        let (item, took) = next(&mut channel).await;
        assert_eq!(item, gap(1));
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn b7_subscriptions_come_back_at_the_rate_that_was_asked_for() {
    const TOPICS: usize = 1_000;
    let broker = Broker::new();
    let node = broker
        .connected::<u32>(options().resubscribe_rate(500))
        .await;
    let mut channels: Vec<_> = (0..TOPICS)
        .map(|topic| node.topic(format!("topic {topic}")).subscribe())
        .collect();
    settle().await;
    assert_eq!(broker.topics(0).len(), TOPICS);
    broker.cut(0);
    time::sleep(Duration::from_millis(1_050)).await;
    let back = broker.topics(0).len();
    assert!((400..=600).contains(&back), "{back}");
    assert!(node.health().is_connected && !node.health().is_ready());
    time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(broker.topics(0).len(), TOPICS);
    assert!(node.health().is_ready());
    for channel in &mut channels {
        assert_eq!(drain(channel).await, [UNKNOWN]);
    }
}

#[tokio::test(start_paused = true)]
async fn b1_a_confirmation_comes_when_the_broker_has_the_message() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut channel = two.topic("lobby").subscribe();
    settle().await;
    for number in 0..3 {
        one.topic("lobby").publish_confirmed(number).await.unwrap();
        assert_eq!(broker.brought(1, Kind::Message), number as usize + 1);
    }
    assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1), Ok(2)]);
    // Without subscribers, too.
    assert_eq!(
        one.topic("empty").publish_confirmed(1).await.unwrap().local,
        0
    );
}

#[tokio::test(start_paused = true)]
async fn b1_a_confirmation_that_does_not_come_is_an_error_in_time() {
    let broker = Broker::new();
    let node = broker
        .connected(options().confirm_timeout(Duration::from_secs(2)))
        .await;
    broker.filter(|_, _, kind| match kind {
        Kind::Echo => Fate::IsLost,
        Kind::Message | Kind::Announcement => Fate::Arrives,
    });
    let start = Instant::now();
    let unconfirmed = node.topic("lobby").publish_confirmed(1).await;
    assert!(
        matches!(unconfirmed, Err(PublishError::Unconfirmed)),
        "{unconfirmed:?}"
    );
    assert_eq!(start.elapsed().as_secs(), 2);

    // A lost connection is not waited for.
    let start = Instant::now();
    let cut = broker.clone();
    tokio::spawn(async move {
        time::sleep(Duration::from_millis(500)).await;
        cut.cut(0);
    });
    let unconfirmed = node.topic("lobby").publish_confirmed(1).await;
    assert!(
        matches!(unconfirmed, Err(PublishError::Unconfirmed)),
        "{unconfirmed:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn b1_a_lost_echo_is_sent_again() {
    let broker = Broker::new();
    let node = broker.connected(options()).await;
    let lost = Arc::new(AtomicUsize::new(2));
    broker.filter(move |_, _, kind| {
        let left = lost.load(Ordering::Relaxed);
        if kind == Kind::Echo && left > 0 {
            lost.store(left - 1, Ordering::Relaxed);
            return Fate::IsLost;
        }
        Fate::Arrives
    });
    let start = Instant::now();
    node.topic("lobby").publish_confirmed(1).await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn b2_one_subscriber_is_left_out_whatever_node_it_is_on() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut mine = one.topic("lobby").subscribe();
    let mut beside = one.topic("lobby").subscribe();
    let mut far = two.topic("lobby").subscribe();
    settle().await;
    let topic = one.topic("lobby");
    assert_eq!(topic.publish_except(mine.id(), 1).unwrap().local, 1);
    assert_eq!(topic.publish_except(far.id(), 2).unwrap().local, 2);
    assert_eq!(topic.publish(3).unwrap().local, 2);
    assert_eq!(drain(&mut mine).await, [Ok(2), Ok(3)]);
    assert_eq!(drain(&mut beside).await, [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(drain(&mut far).await, [Ok(1), Ok(3)]);
}

#[tokio::test(start_paused = true)]
async fn b6_a_node_gets_only_the_topics_that_somebody_on_it_subscribes_to() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let channel = two.topic("lobby").subscribe();
    let again = two.topic("lobby").subscribe();
    settle().await;
    assert_eq!((one.subscribers(), two.subscribers()), (0, 2));
    assert_eq!(broker.topics(1), ["lobby"]);
    one.topic("lobby").publish(1).unwrap();
    one.topic("kitchen").publish(1).unwrap();
    settle().await;
    assert_eq!(broker.brought(0, Kind::Message), 0);
    assert_eq!(broker.brought(1, Kind::Message), 1);
    drop(channel);
    settle().await;
    assert_eq!(broker.topics(1), ["lobby"]);
    drop(again);
    settle().await;
    assert_eq!(broker.topics(1).len(), 0);
    one.topic("lobby").publish(2).unwrap();
    settle().await;
    assert_eq!(broker.brought(1, Kind::Message), 1);
    assert_eq!(two.topics(), 0);
}

#[tokio::test(start_paused = true)]
async fn b6_a_name_that_no_broker_takes_is_never_asked_for() {
    let broker = Broker::new();
    let node = broker.connected::<u32>(options()).await;
    let long = "x".repeat(10_000);
    let _channels = ["lobby", long.as_str()].map(|topic| node.topic(topic).subscribe());
    settle().await;
    assert_eq!(broker.topics(0), ["lobby"]);
    broker.stop();
    settle().await;
    broker.start();
    settle().await;
    assert_eq!(broker.topics(0), ["lobby"]);
}

#[tokio::test(start_paused = true)]
async fn b6_leaving_and_coming_back_is_carried_out_in_order() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    for _ in 0..10 {
        drop(two.topic("lobby").subscribe());
    }
    let mut channel = two.topic("lobby").subscribe();
    settle().await;
    one.topic("lobby").publish(1).unwrap();
    assert_eq!(drain(&mut channel).await, [Ok(1)]);
}

#[tokio::test(start_paused = true)]
async fn b9_what_cannot_be_read_is_a_gap_and_counted_and_nothing_worse() {
    let broker = Broker::new();
    let texts = broker.connected::<String>(options()).await;
    let numbers = broker.connected::<u32>(options()).await;
    let mut channel = numbers.topic("lobby").subscribe();
    settle().await;
    texts.topic("lobby").publish("1".to_owned()).unwrap();
    numbers.topic("lobby").publish(2).unwrap();
    assert_eq!(drain(&mut channel).await, [gap(1), Ok(2)]);
    // What no node has made: nobody knows what it was.
    for frame in [&b""[..], b"hello", b"\x02\x01\x01", b"\x01\x01\x01\0\0"] {
        broker.publish("lobby", frame);
    }
    numbers.topic("lobby").publish(3).unwrap();
    assert_eq!(drain(&mut channel).await, [UNKNOWN, Ok(3)]);
    assert_eq!(numbers.health().undecodable, 5);
    assert!(numbers.health().is_ready());
}

#[tokio::test(start_paused = true)]
async fn b9_what_cannot_be_sent_is_refused_and_no_gap() {
    let broker = Broker::new();
    let node = broker.connected::<String>(options().max_message(10)).await;
    let mut channel = node.topic("lobby").subscribe();
    let topic = node.topic("lobby");
    topic.publish("12345678".to_owned()).unwrap();
    let refused = topic.publish("123456789".to_owned());
    assert!(
        matches!(refused, Err(PublishError::TooLarge { limit: 10, got: 11 })),
        "{refused:?}"
    );
    topic.publish("1".to_owned()).unwrap();
    settle().await;
    assert_eq!(
        channel.try_recv(),
        Ok(Delivery::Message("12345678".to_owned()))
    );
    assert_eq!(channel.try_recv(), Ok(Delivery::Message("1".to_owned())));

    let long = node.topic("x".repeat(513));
    let silent = long.subscribe();
    let refused = long.publish("1".to_owned());
    assert!(
        matches!(
            refused,
            Err(PublishError::NameTooLong {
                limit: 512,
                got: 513
            })
        ),
        "{refused:?}"
    );
    node.topic("x".repeat(512)).publish("1".to_owned()).unwrap();
    settle().await;
    assert_eq!(broker.topics(0), ["lobby"]);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn b3_channels_keep_their_policies_and_tell_gaps_of_both_kinds() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let topic = two.topic("lobby");
    let capacity = |count| ChannelOptions::new().capacity(count);
    let mut oldest = topic.subscribe_with(capacity(2));
    let mut newest = topic.subscribe_with(capacity(2).drop_newest());
    let mut latest = topic.subscribe_with(capacity(2).latest_per_key(|number| number % 2));
    let mut ending = topic.subscribe_with(capacity(8).end_when_full());
    settle().await;
    lose(&broker, 1, Kind::Message, |place| place == 1);
    for number in 0..4 {
        one.topic("lobby").publish(number).unwrap();
    }
    assert_eq!(drain(&mut oldest).await, [gap(2), Ok(2), Ok(3)]);
    assert_eq!(drain(&mut newest).await, [Ok(0), gap(1), Ok(2), gap(1)]);
    assert_eq!(drain(&mut latest).await, [Ok(2), gap(1), Ok(3)]);
    // The gap is not its fault: it goes on.
    assert_eq!(drain(&mut ending).await, [Ok(0), gap(1), Ok(2), Ok(3)]);
}

#[tokio::test(start_paused = true)]
async fn announcements_of_many_topics_are_spread() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let topics = 5_000;
    let channels: Vec<_> = (0..topics)
        .map(|topic| two.topic(format!("topic {topic}")).subscribe())
        .collect();
    settle().await;
    for topic in 0..topics {
        one.topic(format!("topic {topic}")).publish(1).unwrap();
    }
    time::sleep(Duration::from_millis(1_120)).await;
    let first = broker.brought(1, Kind::Announcement);
    assert!((1..=1_100).contains(&first), "{first}");
    time::sleep(Duration::from_millis(3_800)).await;
    assert_eq!(broker.brought(1, Kind::Announcement), topics * 2);
    time::sleep(Duration::from_secs(100)).await;
    assert_eq!(broker.brought(1, Kind::Announcement), topics * 2);
    drop(channels);
}

/// The last handle goes: what was published is still sent, with its last number, and the link ends.
#[tokio::test(start_paused = true)]
async fn what_was_published_last_is_still_sent() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut channel = two.topic("lobby").subscribe();
    settle().await;
    lose(&broker, 1, Kind::Message, |place| place == 9);
    for number in 0..10 {
        one.topic("lobby").publish(number).unwrap();
    }
    drop(one);
    let mut expected: Vec<_> = (0..9).map(Ok).collect();
    expected.push(gap(1));
    assert_eq!(drain(&mut channel).await, expected);
    assert_eq!(broker.topics(0).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_channel_goes_on_when_this_process_can_publish_no_more() {
    let broker = Broker::new();
    let [one, two] = nodes(&broker).await;
    let mut channel = two.topic("lobby").subscribe();
    drop(two);
    settle().await;
    one.topic("lobby").publish(1).unwrap();
    assert_eq!(drain(&mut channel).await, [Ok(1)]);
    drop(channel);
    settle().await;
    assert_eq!(broker.topics(1).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn b6_the_topics_that_are_listed_are_those_with_subscribers_here() {
    let broker = Broker::new();
    let [here, there] = nodes::<u32>(&broker).await;
    let _here = ["garden", "attic", "garden"].map(|name| here.topic(name).subscribe());
    let _there = there.topic("cellar").subscribe();
    settle().await;
    let topics = here.list_topics(10, |_| true);
    let topics: Vec<_> = topics
        .iter()
        .map(|topic| (&*topic.name, topic.subscribers))
        .collect();
    assert_eq!(topics, [("garden", 2), ("attic", 1)]);
}

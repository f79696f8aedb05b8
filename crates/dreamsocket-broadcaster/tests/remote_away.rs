//! What was published without a connection (B7, `queue_while_away`) and the account of what is missing (B2): over a broker
//! in memory, on a paused clock.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;

use std::time::Duration;

use broker::{Broker, Fate, Kind};
use dreamsocket_broadcaster::{Broadcaster, Channel, Delivery, PublishError, RemoteOptions};
use tokio::time;

/// A message, or a gap with its count.
type Item = Result<u32, Option<u64>>;

const UNKNOWN: Item = Err(None);

async fn settle() {
    time::sleep(Duration::from_millis(50)).await;
}

/// All that has come a few seconds later, when what was published last was announced.
async fn drain(channel: &mut Channel<u32>) -> Vec<Item> {
    time::sleep(Duration::from_secs(10)).await;
    let deliveries = std::iter::from_fn(|| channel.try_recv().ok());
    deliveries
        .map(|delivery| match delivery {
            Delivery::Message(number) => Ok(number),
            Delivery::Missed(missed) => Err(missed.count),
        })
        .collect()
}

/// Two nodes, of which the first one publishes 1 and is cut off.
async fn cut_off(broker: &Broker) -> [Broadcaster<u32>; 2] {
    let options = || RemoteOptions::new().queue_while_away();
    let nodes = [
        broker.connected(options()).await,
        broker.connected(options()).await,
    ];
    nodes[0].topic("lobby").publish(1).unwrap();
    settle().await;
    broker.bar(0);
    settle().await;
    nodes
}

/// Loses the first message to the second node.
fn lose_one(broker: &Broker) {
    let mut is_lost = false;
    broker.filter(move |node, _, kind| {
        if (node, kind) != (1, Kind::Message) || is_lost {
            return Fate::Arrives;
        }
        is_lost = true;
        Fate::IsLost
    });
}

#[tokio::test(start_paused = true)]
async fn b2_who_comes_while_a_message_waits_has_not_missed_the_one_before() {
    let broker = Broker::new();
    let [one, two] = cut_off(&broker).await;
    one.topic("lobby").publish(2).unwrap();
    time::sleep(Duration::from_secs(20)).await;
    let mut channel = two.topic("lobby").subscribe();
    time::sleep(Duration::from_secs(40)).await;
    broker.admit(0);
    assert_eq!(drain(&mut channel).await, [Ok(2)]);
}

#[tokio::test(start_paused = true)]
async fn b2_what_waited_and_was_then_lost_is_told_to_who_came_meanwhile() {
    for count in 1..4 {
        let broker = Broker::new();
        let [one, two] = cut_off(&broker).await;
        for number in 0..count {
            one.topic("other").publish(number).unwrap();
            time::sleep(Duration::from_secs(5)).await;
        }
        let mut channel = two.topic("other").subscribe();
        time::sleep(Duration::from_secs(20)).await;
        lose_one(&broker);
        broker.admit(0);
        let mut expected = vec![UNKNOWN];
        expected.extend((1..count).map(Ok));
        assert_eq!(drain(&mut channel).await, expected, "of {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn b7_what_a_restart_loses_is_told_once_however_late_its_publisher_is_back() {
    let broker = Broker::new();
    let options = || RemoteOptions::new().queue_while_away();
    let one: Broadcaster<u32> = broker.connected(options()).await;
    let two: Broadcaster<u32> = broker.connected(options()).await;
    let mut channel = two.topic("lobby").subscribe();
    settle().await;
    one.topic("lobby").publish(1).unwrap();
    settle().await;
    lose_one(&broker);
    one.topic("lobby").publish(2).unwrap();
    settle().await;
    broker.bar(0);
    broker.stop();
    settle().await;
    one.topic("lobby").publish(3).unwrap();
    broker.start();
    assert_eq!(drain(&mut channel).await, [Ok(1), UNKNOWN]);
    broker.admit(0);
    assert_eq!(drain(&mut channel).await, [Ok(3)]);
}

#[tokio::test(start_paused = true)]
async fn b7_messages_wait_for_the_connection_in_order_and_within_a_bound() {
    let broker = Broker::new();
    let one = broker
        .connected(RemoteOptions::new().queue_while_away().max_queue(1_000))
        .await;
    let two = broker.connected::<u32>(RemoteOptions::new()).await;
    let mut mine = one.topic("lobby").subscribe();
    settle().await;
    broker.stop();
    settle().await;
    let mut accepted = 0;
    let refused = loop {
        match one.topic("lobby").publish(accepted) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100);
    };
    assert!(
        matches!(refused, PublishError::Full { limit: 1_000 }),
        "{refused:?}"
    );
    assert!(accepted > 5);
    assert!((1..=1_000).contains(&one.health().queued_bytes));
    broker.start();
    // This node's subscriptions come first.
    let mut expected = vec![UNKNOWN];
    expected.extend((0..accepted).map(Ok));
    assert_eq!(drain(&mut mine).await, expected);
    assert_eq!(one.health().queued_bytes, 0);
    drop(two);
}

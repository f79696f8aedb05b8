//! What only real brokers show (B1, B2, B6, B7): a network that is cut or silent, clients and servers that drop what is too
//! much, a server that is killed. The rest is in the kit (`conformance.rs`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod proxy;

use std::time::Duration;

use brokers::{Nats, Redis};
use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, Delivery, PublishError, RemoteOptions,
};
use proxy::Proxy;
use tokio::time::{self, Instant};

fn options() -> RemoteOptions {
    RemoteOptions::new()
}

async fn connect(url: &str, options: RemoteOptions) -> Broadcaster<u32> {
    if url.starts_with("redis") {
        Broadcaster::connect_redis(url, options).await.unwrap()
    } else {
        Broadcaster::connect_nats(url, options).await.unwrap()
    }
}

async fn when(what: &str, limit: Duration, condition: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not in {limit:?}: {what}");
        time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

async fn when_ready(node: &Broadcaster<u32>) {
    when("ready", Duration::from_secs(10), || {
        node.health().is_ready()
    })
    .await;
}

async fn next(channel: &mut Channel<u32>) -> Result<u32, Option<u64>> {
    let delivery = time::timeout(Duration::from_secs(10), channel.recv()).await;
    match delivery.unwrap().unwrap() {
        Delivery::Message(number) => Ok(number),
        Delivery::Missed(missed) => Err(missed.count),
    }
}

/// A node behind a proxy and one that is not.
async fn one_behind_a_proxy(url: &str) -> (Proxy, Broadcaster<u32>, Broadcaster<u32>) {
    let proxy = Proxy::start(url).await;
    let behind = connect(&proxy.url(), options()).await;
    let direct = connect(url, options()).await;
    (proxy, behind, direct)
}

async fn a_cut(url: &str) {
    let (proxy, behind, direct) = one_behind_a_proxy(url).await;
    let mut channel = behind.topic("lobby").subscribe();
    let mut unharmed = direct.topic("lobby").subscribe();
    when_ready(&behind).await;
    when_ready(&direct).await;
    direct.topic("lobby").publish(1).unwrap();
    assert_eq!(next(&mut channel).await, Ok(1));
    proxy.refuse();
    when("away", Duration::from_secs(5), || {
        !behind.health().is_connected
    })
    .await;
    assert!(matches!(
        behind.topic("lobby").publish(2),
        Err(PublishError::Away)
    ));
    direct.topic("lobby").publish(3).unwrap();
    time::sleep(Duration::from_millis(500)).await;
    proxy.accept();
    assert_eq!(next(&mut channel).await, Err(None));
    when_ready(&behind).await;
    direct.topic("lobby").publish(4).unwrap();
    behind.topic("lobby").publish(5).unwrap();
    let mut both = [next(&mut channel).await, next(&mut channel).await];
    both.sort();
    assert_eq!(both, [Ok(4), Ok(5)]);
    for number in [1, 3] {
        assert_eq!(next(&mut unharmed).await, Ok(number));
    }
    assert_eq!(behind.health().disconnections, 1);
    assert_eq!(direct.health().disconnections, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_cut_is_told_to_who_was_cut_off_over_nats() {
    a_cut(&Nats::start().await.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_cut_is_told_to_who_was_cut_off_over_redis() {
    a_cut(&Redis::start().await.url()).await;
}

/// It goes on saying that it is connected, and this node sends nothing that would fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_nats_client_that_was_closed_is_noticed_without_a_publish() {
    let nats = Nats::start().await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let node = Broadcaster::<u32>::with_nats(client.clone(), options()).await;
    let node = node.unwrap();
    let _channel = node.topic("lobby").subscribe();
    when_ready(&node).await;
    client.drain().await.unwrap();
    when("away", Duration::from_secs(10), || {
        !node.health().is_connected
    })
    .await;
    assert!(matches!(
        node.topic("lobby").publish(1),
        Err(PublishError::Away)
    ));
}

/// Nothing is closed, and nothing comes through: only a missing answer shows it.
async fn a_silence(url: &str) {
    let (proxy, behind, direct) = one_behind_a_proxy(url).await;
    let mut channel = behind.topic("lobby").subscribe();
    when_ready(&behind).await;
    proxy.hold();
    direct.topic("lobby").publish(1).unwrap();
    let noticed = when("away", Duration::from_secs(15), || {
        !behind.health().is_connected
    })
    .await;
    assert!(noticed < Duration::from_secs(10), "{noticed:?}");
    proxy.accept();
    assert_eq!(next(&mut channel).await, Err(None));
    when_ready(&behind).await;
    direct.topic("lobby").publish(2).unwrap();
    assert_eq!(next(&mut channel).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_silent_connection_is_given_up_over_nats() {
    a_silence(&Nats::start().await.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_silent_connection_is_given_up_over_redis() {
    a_silence(&Redis::start().await.url()).await;
}

/// A node is cut off while it publishes, and does not know it yet. Gives what came elsewhere.
async fn under_way(url: &str) -> Vec<Result<u32, Option<u64>>> {
    const MESSAGES: u32 = 10;
    let (proxy, behind, direct) = one_behind_a_proxy(url).await;
    let mut channel = direct.topic("lobby").subscribe();
    when_ready(&direct).await;
    behind.topic("lobby").publish_confirmed(0).await.unwrap();
    assert_eq!(next(&mut channel).await, Ok(0));
    proxy.hold();
    for number in 1..=MESSAGES {
        behind.topic("lobby").publish(number).unwrap();
        time::sleep(Duration::from_millis(10)).await;
    }
    when("away", Duration::from_secs(15), || {
        !behind.health().is_connected
    })
    .await;
    proxy.accept();
    when_ready(&behind).await;
    behind.topic("lobby").publish(MESSAGES + 1).unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&Ok(MESSAGES + 1)) {
        seen.push(next(&mut channel).await);
    }
    seen
}

/// The client had written them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_what_was_under_way_is_a_gap_over_nats() {
    let seen = under_way(&Nats::start().await.url()).await;
    assert_eq!(seen, [Err(Some(10)), Ok(11)]);
}

/// The client had no answer to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_what_was_under_way_is_sent_again_over_redis() {
    let seen = under_way(&Redis::start().await.url()).await;
    assert_eq!(seen, (1..=11).map(Ok).collect::<Vec<_>>());
}

async fn another_life(url: &str, restart: impl AsyncFn()) {
    let node = connect(url, options()).await;
    let first = node.health().broker.unwrap();
    restart().await;
    when("back", Duration::from_secs(10), || {
        let health = node.health();
        health.is_connected && health.disconnections > 0
    })
    .await;
    assert_ne!(node.health().broker.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_restarted_server_is_another_life_over_nats() {
    let server = Nats::start().await;
    another_life(&server.url(), || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_restarted_server_is_another_life_over_redis() {
    let server = Redis::start().await;
    another_life(&server.url(), || server.restart()).await;
}

/// As many as make a difference between at once and bit by bit.
async fn many_topics(url: &str, restart: impl AsyncFn()) {
    const TOPICS: usize = 5_000;
    let node = connect(url, options().resubscribe_rate(2_500)).await;
    let mut channels: Vec<_> = (0..TOPICS)
        .map(|topic| node.topic(format!("topic {topic}")).subscribe())
        .collect();
    when_ready(&node).await;
    restart().await;
    let start = Instant::now();
    for channel in &mut channels {
        assert_eq!(next(channel).await, Err(None));
    }
    when_ready(&node).await;
    // A tenth of a second's share comes at once.
    assert!(
        start.elapsed() > Duration::from_millis(1_500),
        "{:?}",
        start.elapsed()
    );
    node.topic("topic 0").publish(1).unwrap();
    assert_eq!(next(&mut channels[0]).await, Ok(1));
    assert_eq!(node.health().gaps, TOPICS as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_many_topics_come_back_bit_by_bit_over_nats() {
    let server = Nats::start().await;
    many_topics(&server.url(), || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_many_topics_come_back_bit_by_bit_over_redis() {
    let server = Redis::start().await;
    many_topics(&server.url(), || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_wrong_address_is_an_error_at_once() {
    let node = Broadcaster::<u32>::connect_nats("nats://127.0.0.1:1", options()).await;
    assert_eq!(
        node.unwrap_err().to_string(),
        "could not connect to the broker"
    );
    let node = Broadcaster::<u32>::connect_redis("redis://127.0.0.1:1", options()).await;
    assert_eq!(
        node.unwrap_err().to_string(),
        "could not connect to the broker"
    );
    let node = Broadcaster::<u32>::connect_redis("not a url", options()).await;
    assert!(node.is_err());
}

/// Checks that what is missing is told with its exact count; returns how many that were.
async fn count_gaps(channel: &mut Channel<u32>, messages: u32) -> u64 {
    let mut expected = 0;
    let mut missed = 0;
    while expected < messages {
        match next(channel).await {
            Ok(number) => {
                assert_eq!(number, expected);
                expected += 1;
            }
            Err(count) => {
                let count = count.unwrap();
                missed += count;
                expected += u32::try_from(count).unwrap();
            }
        }
    }
    missed
}

/// The client drops what does not fit into a subscription's channel, and the numbers tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_what_a_nats_client_drops_is_a_gap_with_its_count() {
    const MESSAGES: u32 = 20_000;
    let server = Nats::start().await;
    let client = async_nats::ConnectOptions::new()
        .subscription_capacity(4)
        .connect(server.url())
        .await
        .unwrap();
    let slow = Broadcaster::<u32>::with_nats(client, options())
        .await
        .unwrap();
    let fast = connect(&server.url(), options()).await;
    let capacity = ChannelOptions::new().capacity(MESSAGES as usize);
    let mut channel = slow.topic("lobby").subscribe_with(capacity);
    when_ready(&slow).await;
    // The publisher's first message makes it known there.
    fast.topic("lobby").publish(0).unwrap();
    assert_eq!(next(&mut channel).await, Ok(0));
    let topic = fast.topic("lobby");
    for number in 0..MESSAGES {
        while topic.publish(number).is_err() {
            time::sleep(Duration::from_millis(1)).await;
        }
    }
    let missed = count_gaps(&mut channel, MESSAGES).await;
    assert!(missed > 0, "nothing was dropped: this tests nothing");
    assert!(slow.health().gaps > 0);
}

/// The server ends the connection of who does not read, which is a gap like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b2_what_a_redis_server_drops_is_a_gap() {
    let server = Redis::start().await;
    server
        .configure("client-output-buffer-limit", "pubsub 2mb 1mb 5")
        .await;
    let slow = connect(&server.url(), options()).await;
    // A key function that blocks: nobody should write one, and it holds up what comes to this node.
    let topic = slow.topic("lobby");
    let stall = ChannelOptions::new().latest_per_key(|number: &u32| {
        if *number == 0 {
            std::thread::sleep(Duration::from_secs(2));
        }
        *number
    });
    let stalling = topic.subscribe_with(stall);
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(1_000_000));
    when_ready(&slow).await;
    let text = connect_texts(&server.url()).await;
    let fast = connect(&server.url(), options()).await;
    fast.topic("lobby").publish(0).unwrap();
    // Large ones that nobody there can read, so that the buffers of the system do not take them all.
    for _ in 0..60 {
        let _ = text.topic("lobby").publish("x".repeat(300_000));
        time::sleep(Duration::from_millis(10)).await;
    }
    while next(&mut channel).await != Err(None) {}
    assert!(slow.health().disconnections > 0);
    drop(stalling);
}

async fn connect_texts(url: &str) -> Broadcaster<String> {
    let options = options().max_queue(64 * 1024 * 1024);
    Broadcaster::connect_redis(url, options).await.unwrap()
}

/// What the server itself says is subscribed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b6_a_redis_server_has_only_the_topics_that_somebody_subscribes_to() {
    let server = Redis::start().await;
    let node = connect(&server.url(), options().prefix("mine")).await;
    let channels = ["a", "b"].map(|topic| node.topic(topic).subscribe());
    when_ready(&node).await;
    let has = |expected: &'static [&'static str]| {
        let server = &server;
        async move {
            for _ in 0..200 {
                if server.channels("mine:?").await == expected {
                    return true;
                }
                time::sleep(Duration::from_millis(10)).await;
            }
            false
        }
    };
    assert!(has(&["mine:a", "mine:b"]).await);
    let [a, b] = channels;
    drop(a);
    assert!(has(&["mine:b"]).await);
    drop(b);
    assert!(has(&[]).await);
    assert_eq!(
        server.channels("mine:*").await.len(),
        1,
        "its own, for echoes"
    );
    drop(node);
    for _ in 0..200 {
        if server.channels("mine:*").await.is_empty() {
            return;
        }
        time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the node is gone and its connection is not");
}

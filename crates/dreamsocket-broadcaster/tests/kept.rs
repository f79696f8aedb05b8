//! B5 over real servers: what they keep bridges their own restart, what they lost is told, and what they cannot keep is an
//! error when connecting.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod proxy;

use std::error::Error;
use std::time::Duration;

use async_nats::connection::State;

use brokers::{Nats, Redis};
use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, Delivery, History, Position, PublishError, RemoteOptions,
    Topic,
};
use proxy::Proxy;
use tokio::time;

/// How long anything may take that has to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message, or a gap with its count.
type Item = Result<u32, Option<u64>>;

fn options() -> RemoteOptions {
    RemoteOptions::new().history(History::last(10))
}

async fn next(channel: &mut Channel<u32>) -> Item {
    let delivery = time::timeout(PATIENCE, channel.recv()).await;
    match delivery.unwrap().unwrap() {
        Delivery::Message(number) => Ok(number),
        Delivery::Missed(missed) => Err(missed.count),
    }
}

async fn expect(channel: &mut Channel<u32>, items: impl IntoIterator<Item = Item>) {
    for item in items {
        assert_eq!(next(channel).await, item);
    }
}

/// Publishes as soon as the broker takes it.
async fn publish(topic: &Topic<u32>, number: u32) {
    let publishing = async {
        while topic.publish(number).is_err() {
            time::sleep(Duration::from_millis(10)).await;
        }
    };
    time::timeout(PATIENCE, publishing).await.unwrap();
}

/// A subscriber that has everything gets what comes after a restart without a gap, and positions hold.
async fn check_bridge(here: &Broadcaster<u32>, there: &Broadcaster<u32>, restart: impl AsyncFn()) {
    let (here, there) = (here.topic("lobby"), there.topic("lobby"));
    let mut channel = there.subscribe_last(10);
    publish(&here, 0).await;
    publish(&here, 1).await;
    expect(&mut channel, [Ok(0), Ok(1)]).await;
    let position = channel.position().unwrap();
    restart().await;
    publish(&here, 2).await;
    publish(&here, 3).await;
    expect(&mut channel, [Ok(2), Ok(3)]).await;
    let mut late = there.subscribe_from(&position);
    expect(&mut late, [Ok(2), Ok(3)]).await;
}

async fn over_nats(nats: &Nats, options: RemoteOptions) -> Broadcaster<u32> {
    Broadcaster::connect_nats(&nats.url(), options)
        .await
        .unwrap()
}

async fn over_redis(redis: &Redis) -> Broadcaster<u32> {
    Broadcaster::connect_redis(&redis.url(), options())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_nats_bridges_its_restart_by_what_is_in_its_files() {
    let nats = Nats::start_with("-js -sd FOLDER").await;
    let here = over_nats(&nats, options()).await;
    let there = over_nats(&nats, options()).await;
    check_bridge(&here, &there, async || nats.restart().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_nats_in_memory_loses_what_it_kept_by_a_restart() {
    let nats = Nats::start_with("-js -sd FOLDER").await;
    let here = over_nats(&nats, options().history_in_memory()).await;
    let topic = here.topic("lobby");
    let mut channel = topic.subscribe_last(10);
    publish(&topic, 0).await;
    expect(&mut channel, [Ok(0)]).await;
    let position = channel.position().unwrap();
    nats.restart().await;
    expect(&mut channel, [Err(None)]).await;
    publish(&topic, 1).await;
    expect(&mut channel, [Ok(1)]).await;
    expect(&mut topic.subscribe_from(&position), [Err(None), Ok(1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_a_stream_that_is_deleted_under_way_is_a_gap_and_another_one_is_made() {
    let nats = Nats::start_with("-js -sd FOLDER").await;
    let here = over_nats(&nats, options()).await;
    let topic = here.topic("lobby");
    let mut channel = topic.subscribe_last(10);
    publish(&topic, 0).await;
    expect(&mut channel, [Ok(0)]).await;
    nats.delete_stream("dreamsocket_kept").await;
    // This one finds out, and waits for the next stream.
    publish(&topic, 1).await;
    expect(&mut channel, [Err(None), Ok(1)]).await;
    expect(&mut topic.subscribe_last(10), [Ok(1)]).await;
}

/// Nobody tells them, and the stream is there again before they could miss it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_nodes_that_do_not_publish_find_out_that_a_stream_was_deleted() {
    let nats = Nats::start_with("-js -sd FOLDER").await;
    let here = over_nats(&nats, options()).await.topic("lobby");
    let there = over_nats(&nats, options()).await.topic("lobby");
    let mut channel = there.subscribe_last(10);
    for number in 0..5 {
        publish(&here, number).await;
    }
    expect(&mut channel, (0..5).map(Ok)).await;
    nats.delete_stream("dreamsocket_kept").await;
    for number in 5..8 {
        publish(&here, number).await;
    }
    expect(&mut channel, [Err(None), Ok(5), Ok(6), Ok(7)]).await;
    // And when nobody makes another one.
    nats.delete_stream("dreamsocket_kept").await;
    expect(&mut channel, [Err(None)]).await;
    publish(&here, 8).await;
    expect(&mut channel, [Ok(8)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_a_nats_server_that_cannot_keep_it_is_an_error_that_says_so() {
    let reason = |error: &dyn Error| error.source().unwrap().to_string();
    let plain = Nats::start().await;
    let error = Broadcaster::<u32>::connect_nats(&plain.url(), options()).await;
    let reason_given = reason(&error.unwrap_err());
    assert!(reason_given.contains("-js"), "{reason_given}");

    let nats = Nats::start_with("-js -sd FOLDER").await;
    let _here = over_nats(&nats, options()).await;
    let _same = over_nats(&nats, options()).await;
    let other = RemoteOptions::new().history(History::last(11));
    let error = Broadcaster::<u32>::connect_nats(&nats.url(), other.clone()).await;
    let reason_given = reason(&error.unwrap_err());
    assert!(
        reason_given.contains("different configuration"),
        "{reason_given}"
    );
    let _elsewhere = over_nats(&nats, other.prefix("other")).await;
}

/// What is published live passes through what is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_the_least_that_jetstream_may_keep_is_a_bound_and_has_room_for_the_largest_message() {
    const LARGEST: usize = 1024 * 1024 - 1024;
    let nats = Nats::start_with_jetstream().await;
    let options = options().history_bytes(0);
    let here = Broadcaster::connect_nats(&nats.url(), options).await;
    let topic = here.unwrap().topic("x".repeat(512));
    let mut channel = topic.subscribe_last(1);
    for letter in ["a", "b", "c"] {
        // In JSON there are quotes around it.
        let message = letter.repeat(LARGEST - 2);
        topic.publish_confirmed(message.clone()).await.unwrap();
        let delivery = time::timeout(PATIENCE, channel.recv()).await;
        let is_it = delivery.unwrap() == Some(Delivery::Message(message));
        assert!(is_it, "{letter}");
    }
    let client = async_nats::connect(nats.url()).await.unwrap();
    let subject = "$JS.API.STREAM.INFO.dreamsocket_kept";
    let answer = client.request(subject, "".into()).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    let bound = answer["config"]["max_bytes"].as_i64().unwrap();
    assert!(bound > 0, "{bound}");
    assert!(answer["state"]["bytes"].as_i64().unwrap() <= bound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_who_begins_when_the_nats_client_was_closed_is_told_a_gap() {
    let nats = Nats::start_with_jetstream().await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let node = Broadcaster::<u32>::with_nats(client.clone(), options()).await;
    let topic = node.unwrap().topic("lobby");
    client.drain().await.unwrap();
    let publishing = async {
        while topic.publish(0).is_ok() {
            time::sleep(Duration::from_millis(10)).await;
        }
    };
    time::timeout(PATIENCE, publishing).await.unwrap();
    expect(&mut topic.subscribe_last(10), [Err(None)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_redis_bridges_lost_connections() {
    let redis = Redis::start().await;
    let (here, there) = (over_redis(&redis).await, over_redis(&redis).await);
    check_bridge(&here, &there, async || {
        for kind in ["normal", "pubsub"] {
            let _: u64 = redis.ask(&format!("CLIENT KILL TYPE {kind}")).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_redis_without_a_log_loses_what_it_kept_by_a_restart() {
    let redis = Redis::start().await;
    let here = over_redis(&redis).await;
    let topic = here.topic("lobby");
    let mut channel = topic.subscribe_last(10);
    publish(&topic, 0).await;
    expect(&mut channel, [Ok(0)]).await;
    let position = channel.position().unwrap();
    redis.restart().await;
    expect(&mut channel, [Err(None)]).await;
    publish(&topic, 1).await;
    expect(&mut channel, [Ok(1)]).await;
    drop(channel);
    let there = over_redis(&redis).await.topic("lobby");
    expect(&mut there.subscribe_from(&position), [Err(None), Ok(1)]).await;
}

/// Nothing tells that the stream is gone, and the next one's ids, which are times, are lower.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_a_redis_stream_that_is_lost_as_the_clock_is_set_back_costs_no_message() {
    let redis = Redis::start().await;
    let (here, there) = (over_redis(&redis).await, over_redis(&redis).await);
    let (here, there) = (here.topic("lobby"), there.topic("lobby"));
    let mut channel = there.subscribe_last(10);
    publish(&here, 0).await;
    expect(&mut channel, [Ok(0)]).await;
    // Some two centuries ahead of what the clock says later.
    let _: String = redis
        .ask("XSETID dreamsocket:history:lobby 9000000000000-0")
        .await;
    publish(&here, 1).await;
    expect(&mut channel, [Ok(1)]).await;
    redis.flush().await;
    for number in 2..4 {
        publish(&here, number).await;
        expect(&mut channel, [Ok(number)]).await;
    }
    expect(&mut there.subscribe_last(10), [Ok(2), Ok(3)]).await;
    let late = over_redis(&redis).await.topic("lobby");
    expect(&mut late.subscribe_last(10), [Ok(2), Ok(3)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_redis_may_forget_its_scripts() {
    let redis = Redis::start().await;
    let here = over_redis(&redis).await;
    let topic = here.topic("lobby");
    let mut channel = topic.subscribe_last(10);
    publish(&topic, 0).await;
    expect(&mut channel, [Ok(0)]).await;
    let _: String = redis.ask("SCRIPT FLUSH").await;
    publish(&topic, 1).await;
    expect(&mut channel, [Ok(1)]).await;
    assert_eq!(here.health().disconnections, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_a_redis_stream_is_bounded_by_count_and_age_and_expires() {
    let redis = Redis::start().await;
    let history = History::last(10).max_age(Duration::from_secs(2));
    let options = RemoteOptions::new().history(history);
    let here: Broadcaster<u32> = Broadcaster::connect_redis(&redis.url(), options)
        .await
        .unwrap();
    let topic = here.topic("lobby");
    for number in 0..50 {
        topic.publish_confirmed(number).await.unwrap();
    }
    let length: u64 = redis.ask("XLEN dreamsocket:history:lobby").await;
    assert_eq!(length, 11, "one more than asked for");
    let left: i64 = redis.ask("PTTL dreamsocket:history:lobby").await;
    assert!(left > 0 && left <= 2_000);
    time::sleep(Duration::from_millis(2_100)).await;
    let is_there: u64 = redis.ask("EXISTS dreamsocket:history:lobby").await;
    assert_eq!(is_there, 0);
    let mut channel = topic.subscribe_from(&Position::new(1, 1));
    expect(&mut channel, [Err(None)]).await;
}

/// Longer ago than brokers count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_messages_may_be_kept_for_any_time() {
    let redis = Redis::start().await;
    let nats = Nats::start_with_jetstream().await;
    let history = History::last(10).max_age(Duration::MAX);
    let options = || RemoteOptions::new().history(history.clone());
    let on_redis = Broadcaster::connect_redis(&redis.url(), options()).await;
    for node in [over_nats(&nats, options()).await, on_redis.unwrap()] {
        let topic = node.topic("lobby");
        for number in 0..2 {
            topic.publish_confirmed(number).await.unwrap();
        }
        expect(&mut topic.subscribe_last(10), [Ok(0), Ok(1)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_pages_of_a_long_stream_come_whole() {
    const COUNT: u32 = 2_500;
    let redis = Redis::start().await;
    let nats = Nats::start_with("-js -sd FOLDER").await;
    let options = || RemoteOptions::new().history(History::last(COUNT as usize));
    for is_redis in [true, false] {
        let node = async || -> Broadcaster<u32> {
            if is_redis {
                let node = Broadcaster::connect_redis(&redis.url(), options()).await;
                node.unwrap()
            } else {
                over_nats(&nats, options()).await
            }
        };
        let here = node().await.topic("lobby");
        for number in 0..COUNT {
            publish(&here, number).await;
        }
        here.publish_confirmed(COUNT).await.unwrap();
        let there = node().await.topic("lobby");
        let mut channel = there.subscribe_last(COUNT as usize);
        expect(&mut channel, (1..=COUNT).map(Ok)).await;
    }
}

/// Who is subscribed gets a burst that is longer than what is kept, as without history.
async fn check_burst(here: &Broadcaster<u32>, there: &Broadcaster<u32>) {
    let (here, there) = (here.topic("lobby"), there.topic("lobby"));
    let mut channel = there.subscribe_with(ChannelOptions::new().capacity(1_000).last(10));
    publish(&here, 0).await;
    expect(&mut channel, [Ok(0)]).await;
    for round in 0..20 {
        let burst = round * 500 + 1..=round * 500 + 500;
        for number in burst.clone() {
            publish(&here, number).await;
        }
        expect(&mut channel, burst.map(Ok)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_a_burst_longer_than_what_is_kept_arrives_over_nats() {
    let nats = Nats::start_with_jetstream().await;
    let here = over_nats(&nats, options()).await;
    let there = over_nats(&nats, options()).await;
    check_burst(&here, &there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_a_burst_longer_than_what_is_kept_arrives_over_redis() {
    let redis = Redis::start().await;
    let (here, there) = (over_redis(&redis).await, over_redis(&redis).await);
    check_burst(&here, &there).await;
}

/// The client takes messages without a connection, and sends them over the next one before anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_what_is_published_at_a_cut_is_kept_behind_what_was_in_flight() {
    let nats = Nats::start_with_jetstream().await;
    let proxy = Proxy::start(&nats.url()).await;
    let client = async_nats::connect(proxy.url()).await.unwrap();
    let options = || RemoteOptions::new().history(History::last(50));
    let cut_off = Broadcaster::<u32>::with_nats(client.clone(), options().queue_while_away());
    let cut_off = cut_off.await.unwrap().topic("lobby");
    let there = over_nats(&nats, options()).await.topic("lobby");
    let mut channel = there.subscribe_last(50);
    cut_off.publish(0).unwrap();
    expect(&mut channel, [Ok(0)]).await;
    proxy.hold();
    for number in 1..4 {
        cut_off.publish(number).unwrap();
    }
    time::sleep(Duration::from_millis(200)).await;
    proxy.refuse();
    while client.connection_state() == State::Connected {
        tokio::task::yield_now().await;
    }
    for number in 4..24 {
        cut_off.publish(number).unwrap();
    }
    proxy.accept();
    expect(&mut channel, (1..24).map(Ok)).await;
    let late = over_nats(&nats, options()).await.topic("lobby");
    expect(&mut late.subscribe_last(24), (0..24).map(Ok)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_what_jetstream_refuses_is_not_confirmed() {
    let nats = Nats::start_with_jetstream().await;
    let options = || options().confirm_timeout(Duration::from_secs(1));
    let topic = over_nats(&nats, options()).await.topic("lobby");
    topic.publish_confirmed(0).await.unwrap();
    nats.seal_stream("dreamsocket_kept").await;
    for number in 1..3 {
        let refused = topic.publish_confirmed(number).await;
        assert!(
            matches!(refused, Err(PublishError::Unconfirmed)),
            "{refused:?}"
        );
    }
}

/// Nothing that was said after them shows that they are missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_last_messages_that_jetstream_refuses_for_a_while_are_told() {
    let nats = Nats::start_with_jetstream().await;
    let impatient = options().confirm_timeout(Duration::from_secs(1));
    let here = over_nats(&nats, impatient).await.topic("lobby");
    let there = over_nats(&nats, options()).await.topic("lobby");
    let mut channel = there.subscribe_last(10);
    publish(&here, 0).await;
    expect(&mut channel, [Ok(0)]).await;
    let allow = async |size: i32| {
        let stream = "dreamsocket_kept";
        nats.configure_stream(stream, "max_msg_size", size).await;
    };
    allow(1).await;
    for number in 1..3 {
        publish(&here, number).await;
    }
    // By then they were refused.
    assert!(here.publish_confirmed(3).await.is_err());
    allow(-1).await;
    expect(&mut channel, [Err(Some(2)), Ok(3)]).await;
    publish(&here, 4).await;
    expect(&mut channel, [Ok(4)]).await;
}

/// A node subscribes, plain topics and others, while JetStream refuses all that it publishes.
async fn check_ready_while_refused(options: RemoteOptions) {
    let nats = Nats::start_with_jetstream().await;
    let history = History::last(10).only(|name| name.starts_with("kept"));
    let here = over_nats(&nats, options.history(history)).await;
    let (topic, plain) = (here.topic("kept"), here.topic("plain"));
    publish(&topic, 0).await;
    nats.configure_stream("dreamsocket_kept", "max_msg_size", 1)
        .await;
    let refused = topic.publish_confirmed(1).await;
    assert!(
        matches!(refused, Err(PublishError::Unconfirmed)),
        "{refused:?}"
    );
    let publishing = async {
        loop {
            publish(&topic, 2).await;
            time::sleep(Duration::from_millis(500)).await;
        }
    };
    let subscribing = async {
        let mut channel = plain.subscribe();
        let _other = here.topic("kept/other").subscribe_last(10);
        while !here.health().is_ready() {
            time::sleep(Duration::from_millis(10)).await;
        }
        // One that waits when another one is refused is not confirmed.
        while plain.publish_confirmed(3).await.is_err() {}
        expect(&mut channel, [Ok(3)]).await;
    };
    let ready = async {
        tokio::select! {
            () = publishing => {}
            () = subscribing => {}
        }
    };
    let is_ready = time::timeout(PATIENCE, ready).await.is_ok();
    assert!(is_ready, "{:?}", here.health());
    assert_eq!(here.health().disconnections, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_node_is_ready_while_jetstream_refuses_what_it_publishes() {
    check_ready_while_refused(RemoteOptions::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_node_whose_publishers_wait_for_ever_goes_on_while_jetstream_refuses() {
    let patient = RemoteOptions::new().confirm_timeout(Duration::MAX);
    check_ready_while_refused(patient).await;
}

/// The echo behind what is refused comes back nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_what_redis_refuses_is_not_confirmed() {
    let redis = Redis::start().await;
    let options = options().confirm_timeout(Duration::from_secs(1));
    let broadcaster: Broadcaster<u32> = Broadcaster::connect_redis(&redis.url(), options)
        .await
        .unwrap();
    let topic = broadcaster.topic("lobby");
    for number in 0..5 {
        while topic.publish_confirmed(number).await.is_err() {
            time::sleep(Duration::from_millis(10)).await;
        }
        redis.configure("maxmemory", "1").await;
        let refused = topic.publish_confirmed(number).await;
        assert!(
            matches!(refused, Err(PublishError::Unconfirmed)),
            "{refused:?}"
        );
        redis.configure("maxmemory", "0").await;
    }
}

/// What is refused ends the connection, and the next one would end as soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_redis_without_memory_is_not_connected_to_without_a_pause() {
    let redis = Redis::start().await;
    let broadcaster = over_redis(&redis).await;
    let topic = broadcaster.topic("lobby");
    topic.publish_confirmed(0).await.unwrap();
    redis.configure("maxmemory", "1").await;
    let lost = || broadcaster.health().disconnections;
    let end = time::Instant::now() + Duration::from_secs(3);
    while time::Instant::now() < end {
        let _ = topic.publish(1);
        time::sleep(Duration::from_millis(1)).await;
    }
    // The pauses add up to the time but for the last, and none is shorter than half of what it may be.
    let lost = lost();
    assert!((2..=9).contains(&lost), "{lost} times in 3 s");
    redis.configure("maxmemory", "0").await;
    let mut channel = topic.subscribe();
    let arrived = async {
        loop {
            publish(&topic, 2).await;
            if next(&mut channel).await == Ok(2) {
                return;
            }
        }
    };
    time::timeout(PATIENCE, arrived).await.unwrap();
}

/// What Redis has not sent yet to a client that subscribes is bounded, to 32 MB by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_a_replay_from_redis_may_be_larger_than_what_waits_for_a_connection() {
    const COUNT: usize = 40;
    let redis = Redis::start().await;
    let connect = async || -> Broadcaster<String> {
        let options = RemoteOptions::new().history(History::last(50));
        let connected = Broadcaster::connect_redis(&redis.url(), options).await;
        connected.unwrap()
    };
    let here = connect().await;
    for number in 0..COUNT {
        let message = format!("{number} {}", "x".repeat(900_000));
        here.topic("lobby")
            .publish_confirmed(message)
            .await
            .unwrap();
    }
    for topic in 0..100 {
        let topic = here.topic(topic.to_string());
        topic.publish_confirmed("x".repeat(500_000)).await.unwrap();
    }
    let there = connect().await;
    let mut channel = there.topic("lobby").subscribe_last(COUNT);
    let others = (0..100).map(|topic| there.topic(topic.to_string()).subscribe_last(1));
    let others: Vec<_> = others.collect();
    let next = async |channel: &mut Channel<String>| {
        let delivery = time::timeout(PATIENCE, channel.recv()).await;
        match delivery.unwrap().unwrap() {
            Delivery::Message(message) => message,
            Delivery::Missed(missed) => panic!("{missed:?}"),
        }
    };
    for number in 0..COUNT {
        let message = next(&mut channel).await;
        assert!(message.starts_with(&format!("{number} ")));
    }
    for mut channel in others {
        assert_eq!(next(&mut channel).await.len(), 500_000);
    }
    assert_eq!(there.health().disconnections, 0);
}

/// The stream is read in pages, and what is published meanwhile is no part of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_who_subscribes_to_a_long_redis_stream_gets_what_is_published_at_once() {
    let redis = Redis::start().await;
    let options = RemoteOptions::new().history(History::last(2_000));
    let connect = async || {
        let connected = Broadcaster::connect_redis(&redis.url(), options.clone()).await;
        connected.unwrap().topic("lobby")
    };
    let here = connect().await;
    for number in 0..2_000 {
        publish(&here, number).await;
    }
    here.publish_confirmed(2_000).await.unwrap();
    for number in 2_001..2_006 {
        let there = connect().await;
        let mut channel = there.subscribe();
        publish(&there, number).await;
        expect(&mut channel, [Ok(number)]).await;
    }
}

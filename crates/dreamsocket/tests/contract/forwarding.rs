//! S3 and the end of B3: prepared messages, topics forwarded to the outbox, and channels that end when they lag.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use dreamsocket::testing::Client;
use dreamsocket::{
    Broadcaster, ChannelOptions, CodedTopic, Config, Delivery, Forward, Message, OnMissed,
    Prepared, Topic, continue_connection,
};

use crate::stage::{Act, ECHO, IGNORE, Stage, act};

fn topic() -> Topic<Prepared> {
    Broadcaster::new().topic("prices")
}

fn tell(missed: dreamsocket::Missed) -> OnMissed {
    let dreamsocket::Missed { count, source, .. } = missed;
    let text = format!("missed {count:?} of {source}");
    OnMissed::Notice(Prepared::text(text))
}

/// A client that does not read, on a transport and with an outbox that hold little, with the topic forwarded to it.
fn stalled(
    topic: &Topic<Prepared>,
    options: ChannelOptions<Prepared>,
    on_missed: fn(dreamsocket::Missed) -> OnMissed,
) -> (Client, std::sync::Arc<Stage>, Forward) {
    let config = Config::default().with_outbox(1_000);
    let stage = Stage::new(IGNORE)
        .with_config(config)
        .with(|builder| builder.with_buffer(64));
    let (mut client, stage) = stage.connect();
    client.stall();
    let channel = topic.subscribe_with(options);
    let forward = client.connection().forward(channel, on_missed);
    (client, stage, forward)
}

#[tokio::test(start_paused = true)]
async fn s3_prepared_messages_keep_their_place_among_others() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    let connection = client.connection().clone();
    let large = Prepared::binary(vec![7; 100_000]);
    connection.send_text("first").await.unwrap();
    connection.send_prepared(&large).await.unwrap();
    connection
        .try_send_prepared(&Prepared::text("third"))
        .unwrap();
    connection
        .send_prepared(&Prepared::json(&[1, 2]).unwrap())
        .await
        .unwrap();
    connection.send_text("last").await.unwrap();
    client.expect_text("first").await;
    client.expect_binary(large.payload()).await;
    client.expect_text("third").await;
    client.expect_text("[1,2]").await;
    client.expect_text("last").await;
}

#[tokio::test(start_paused = true)]
async fn s3_a_prepared_message_takes_room_like_any_other() {
    let config = Config::default().with_outbox(1_000);
    let (mut client, _stage) = Stage::new(IGNORE)
        .with_config(config)
        .with(|builder| builder.with_buffer(64))
        .connect();
    client.stall();
    let connection = client.connection().clone();
    let message = Prepared::binary(vec![1; 400]);
    connection.try_send_prepared(&message).unwrap();
    connection.try_send_prepared(&message).unwrap();
    assert!(connection.try_send_prepared(&message).is_err());
    assert_eq!(connection.buffered_bytes(), 2 * (400 + 64));
}

#[tokio::test(start_paused = true)]
async fn s3_a_forwarded_topic_does_not_run_on_message() {
    let topic = topic();
    let (mut client, stage) = Stage::new(ECHO).connect();
    let forward = client.connection().forward(topic.subscribe(), tell);
    for number in 0..500 {
        topic.publish(Prepared::text(number.to_string())).unwrap();
        client.expect_text(number.to_string()).await;
    }
    client.send_text("and the peer is heard").await;
    client.expect_text("and the peer is heard").await;
    assert_eq!(stage.messages(), ["and the peer is heard"]);

    // It ends with the handle.
    drop(forward);
    client.expect_nothing().await;
    assert_eq!(topic.subscribers(), 0);
    topic.publish(Prepared::text("nobody")).unwrap();
    client.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn s3_a_message_moves_when_there_is_room_and_the_channel_tells_its_gap() {
    let topic = topic();
    let options = ChannelOptions::new().capacity(8);
    let (mut client, _stage, _forward) = stalled(&topic, options, tell);
    for number in 0..1_000 {
        topic
            .publish(Prepared::text(format!("{number:0>500}")))
            .unwrap();
        tokio::task::yield_now().await;
    }
    // No send timeout applies, and the outbox holds no more than its bound.
    dreamsocket::testing::advance(std::time::Duration::from_secs(15)).await;
    assert!(client.connection().buffered_bytes() <= 1_000);
    client.unstall().await;
    // A run without gaps, the gap with its exact count, and the eight that waited.
    let mut expected = 0;
    let missed: u64 = loop {
        let text = client.receive_text().await;
        if let Some(count) = text.strip_prefix("missed Some(") {
            break count.split(')').next().unwrap().parse().unwrap();
        }
        assert_eq!(text.trim_start_matches('0').parse().unwrap_or(0), expected);
        expected += 1;
    };
    assert_eq!(expected + missed, 992);
    assert!(expected <= 4, "{expected} left the channel without room");
    for number in 992..1_000 {
        client.expect_text(format!("{number:0>500}")).await;
    }
    client.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn s3_more_than_the_outbox_holds_goes_to_a_peer_that_reads_as_fast() {
    let topic = topic();
    let config = Config::default().with_outbox(1_000);
    let (mut client, _stage) = Stage::new(IGNORE).with_config(config).connect();
    let channel = topic.subscribe_with(ChannelOptions::new().capacity(20));
    let _forward = client.connection().forward(channel, tell);
    for number in 0..20 {
        topic
            .publish(Prepared::text(format!("{number:0>500}")))
            .unwrap();
    }
    let begin = tokio::time::Instant::now();
    for number in 0..20 {
        client.expect_text(format!("{number:0>500}")).await;
    }
    assert!(begin.elapsed().is_zero(), "nothing is to be waited for");
}

fn numbers() -> Topic<u32> {
    Broadcaster::new().topic("numbers")
}

#[tokio::test(start_paused = true)]
async fn s3_a_codec_prepares_a_message_once_for_all_connections() {
    static ENCODED: AtomicUsize = AtomicUsize::new(0);
    let coded = CodedTopic::new(numbers(), |number, _| {
        ENCODED.fetch_add(1, Relaxed);
        Ok(Prepared::text(format!("number {number}")))
    });
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (client, stage) = Stage::new(IGNORE).connect();
        let forward = client.connection().forward(coded.subscribe(), tell);
        clients.push((client, stage, forward));
    }
    let mut typed = coded.topic().subscribe();
    for number in 1..=10 {
        coded.topic().publish(number).unwrap();
        for (client, ..) in &mut clients {
            client.expect_text(format!("number {number}")).await;
        }
        assert_eq!(typed.recv().await, Some(Delivery::Message(number)));
    }
    assert_eq!(ENCODED.load(Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn s3_each_of_two_codecs_of_a_topic_has_its_say() {
    let topic = numbers();
    let decimal = CodedTopic::new(topic.clone(), |number, _| {
        Ok(Prepared::text(format!("{number}")))
    });
    let hexadecimal = CodedTopic::new(topic.clone(), |number, _| {
        Ok(Prepared::text(format!("{number:#x}")))
    });
    let (mut one, _stage) = Stage::new(IGNORE).connect();
    let (mut other, _other) = Stage::new(IGNORE).connect();
    let _forward = one.connection().forward(decimal.subscribe(), tell);
    let _second = other.connection().forward(hexadecimal.subscribe(), tell);
    for number in [10, 11] {
        topic.publish(number).unwrap();
        one.expect_text(number.to_string()).await;
        other.expect_text(format!("{number:#x}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn s3_what_a_codec_cannot_encode_is_a_gap_of_one() {
    let coded = CodedTopic::new(numbers(), |number, _| match number {
        2 => Err("two is not told".into()),
        3 => panic!("on purpose"),
        _ => Ok(Prepared::text(number.to_string())),
    });
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    let _forward = client.connection().forward(coded.subscribe(), tell);
    for number in 1..=4 {
        coded.topic().publish(number).unwrap();
    }
    client.expect_text("1").await;
    client.expect_text("missed Some(1) of numbers").await;
    client.expect_text("missed Some(1) of numbers").await;
    client.expect_text("4").await;
}

#[tokio::test(start_paused = true)]
async fn s3_forwarded_topics_take_turns() {
    let topics = [topic(), topic()];
    let (mut client, _stage) = Stage::new(IGNORE)
        .with_config(Config::default().with_outbox(1_000))
        .connect();
    let channels = topics.each_ref().map(|topic| {
        let channel = topic.subscribe();
        for _ in 0..50 {
            topic.publish(Prepared::binary(vec![0; 500])).unwrap();
        }
        topic.publish(Prepared::text("last")).unwrap();
        channel
    });
    let connection = client.connection().clone();
    let _forwards = channels.map(|channel| connection.forward(channel, tell));
    let mut ends = Vec::new();
    for number in 0..2 * 51 {
        if let dreamsocket::testing::Received::Text(_) = client.receive().await {
            ends.push(number);
        }
    }
    assert!(ends[0] > 90, "one came before the other: {ends:?}");
}

#[tokio::test(start_paused = true)]
async fn s2_what_was_sent_before_a_topic_was_forwarded_goes_out_before_it() {
    let topic = topic();
    let config = Config::default().with_outbox(100_000);
    let (mut client, _stage) = Stage::new(IGNORE)
        .with_config(config)
        .with(|builder| builder.with_buffer(64))
        .connect();
    client.stall();
    let connection = client.connection().clone();
    let mut forwards = Vec::new();
    // The first ones are being written, the next ones taken by the session, and the last ones still queued.
    for round in 0..4 {
        for number in 0..300 {
            connection
                .try_send_text(format!("{round} {number}"))
                .unwrap();
        }
        let name = format!("topic {round}");
        let topic = Broadcaster::new().topic(name.as_str());
        forwards.push(connection.forward(topic.subscribe(), tell));
        topic.publish(Prepared::text(name)).unwrap();
        dreamsocket::testing::settle().await;
    }
    drop(topic);
    client.unstall().await;
    let mut sent = 0;
    let mut forwarded = 0;
    while forwarded < 4 {
        let text = client.receive_text().await;
        if let Some(round) = text.strip_prefix("topic ") {
            let round: usize = round.parse().unwrap();
            assert!(sent >= (round + 1) * 300, "{round} behind {sent}");
            forwarded += 1;
        } else {
            sent += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s3_forwarding_ends_with_the_connection() {
    let topic = topic();
    let (mut client, _stage) = Stage::new(ECHO).connect();
    let connection = client.connection().clone();
    let _forward = connection.forward(topic.subscribe(), tell);
    client.expect_nothing().await;
    assert_eq!(topic.subscribers(), 1);
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(topic.subscribers(), 0);
    let _late = connection.forward(topic.subscribe(), tell);
    assert_eq!(
        topic.subscribers(),
        0,
        "a closed connection forwards nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn s3_on_missed_may_end_the_connection_with_1013() {
    let topic = topic();
    let options = ChannelOptions::new().capacity(2);
    let (mut client, stage, _forward) = stalled(&topic, options, |_| OnMissed::End);
    for _ in 0..100 {
        topic.publish(Prepared::binary(vec![0; 500])).unwrap();
        tokio::task::yield_now().await;
    }
    client.unstall().await;
    while let dreamsocket::testing::Received::Binary(_) = client.receive().await {}
    client.ended().await;
    let seen = stage.seen();
    assert!(
        seen.last().unwrap().contains("closed 1013 lagged"),
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn s3_a_panic_in_on_missed_ends_the_connection_with_1011() {
    let topic = topic();
    let (mut client, stage) = Stage::new(IGNORE).connect();
    let channel = topic.subscribe_with(ChannelOptions::new().capacity(1));
    topic.publish(Prepared::text("lost")).unwrap();
    topic.publish(Prepared::text("kept")).unwrap();
    let _forward = client
        .connection()
        .forward(channel, |_| panic!("on purpose"));
    client.expect_closed(1011).await;
    client.ended().await;
    let seen = stage.seen();
    assert!(
        seen.last().unwrap().contains("closed 1011 panicked"),
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn b3_a_forwarded_channel_that_ends_closes_with_1013_while_the_peer_does_not_read() {
    let topic = topic();
    let options = ChannelOptions::new().capacity(4).end_when_full();
    let (mut client, stage, _forward) = stalled(&topic, options, tell);
    for _ in 0..100 {
        topic.publish(Prepared::binary(vec![0; 500])).unwrap();
        tokio::task::yield_now().await;
    }
    // The close begins without any reading, and without waiting for it; nobody is subscribed any more.
    let begin = tokio::time::Instant::now();
    client.connection().closed().await;
    assert!(begin.elapsed().is_zero());
    assert_eq!(topic.subscribers(), 0);
    client.unstall().await;
    while let dreamsocket::testing::Received::Binary(_) = client.receive().await {}
    client.ended().await;
    let seen = stage.seen();
    assert!(
        seen.last().unwrap().contains("closed 1013 lagged"),
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn b3_a_forwarded_channel_that_ends_closes_with_1013_also_while_the_peer_reads() {
    let topic = topic();
    let options = ChannelOptions::new().capacity(4).end_when_full();
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    let channel = topic.subscribe_with(options);
    let _forward = client.connection().forward(channel, tell);
    // More at once than it holds, before the session has its turn.
    for number in 0..5 {
        topic.publish(Prepared::text(number.to_string())).unwrap();
    }
    assert_eq!(client.expect_closed(1013).await, "too far behind");
}

#[tokio::test(start_paused = true)]
async fn s3_a_topic_that_ends_ends_its_forwarding_and_nothing_else() {
    let topic = topic();
    let (mut client, _stage) = Stage::new(ECHO).connect();
    let _forward = client.connection().forward(topic.subscribe(), tell);
    topic.publish(Prepared::text("the last")).unwrap();
    drop(topic);
    client.expect_text("the last").await;
    client.send_text("and on").await;
    client.expect_text("and on").await;
    assert!(!client.connection().is_closed());
}

#[tokio::test(start_paused = true)]
async fn b3_a_selected_channel_that_ends_closes_with_1013() {
    const HOLD: Act = act!(|_, message, _, stage| {
        if let Message::Text(_) = message {
            stage.hold().await;
        }
        Ok(continue_connection())
    });
    let topic = Broadcaster::new().topic("events");
    let options = ChannelOptions::new().capacity(2).end_when_full();
    let channel = topic.subscribe_with(options);
    let (mut client, stage) = Stage::new(HOLD).with_selector(channel).connect();
    client.send_text("hold").await;
    for number in 0..3 {
        topic.publish(number.to_string()).unwrap();
    }
    stage.release();
    assert_eq!(client.expect_closed(1013).await, "too far behind");
    client.ended().await;
    assert_eq!(
        stage.seen(),
        [
            "init",
            "hold",
            "closed 1013 lagged clean",
            "on_close 2, closed 1013 lagged clean"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn s3_a_peer_that_takes_nothing_of_a_forwarded_topic_is_closed_after_the_stall_timeout() {
    let topic = topic();
    let options = ChannelOptions::new().capacity(4);
    let (client, _stage, _forward) = stalled(&topic, options, tell);
    for _ in 0..100 {
        topic.publish(Prepared::binary(vec![0; 500])).unwrap();
        tokio::task::yield_now().await;
    }
    dreamsocket::testing::advance(std::time::Duration::from_secs(29)).await;
    assert!(!client.connection().is_closed());
    dreamsocket::testing::advance(std::time::Duration::from_secs(2)).await;
    assert!(client.connection().is_closed());
}

#[tokio::test(start_paused = true)]
async fn s3_a_forwarded_topic_that_says_nothing_makes_no_outbox_full() {
    for says_something in [false, true] {
        let topic = topic();
        let (mut client, _stage, _forward) = stalled(&topic, ChannelOptions::new(), tell);
        let coded = CodedTopic::new(Broadcaster::new().topic("numbers"), |number: &u32, _| {
            Ok(Prepared::text(number.to_string()))
        });
        let _coded = client.connection().forward(coded.subscribe(), tell);
        client.connection().send_binary(vec![0; 500]).await.unwrap();
        dreamsocket::testing::settle().await;
        if says_something {
            coded.topic().publish(1).unwrap();
        }
        dreamsocket::testing::advance(std::time::Duration::from_secs(31)).await;
        assert_eq!(client.connection().is_closed(), says_something);
        client.unstall().await;
        client.expect_binary(vec![0; 500]).await;
    }
}

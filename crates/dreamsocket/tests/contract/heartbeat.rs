//! L9: when a peer is called dead and when not; round trips; the bucket of control frames.

use std::time::Duration;

use dreamsocket::testing::{Frame, Received, advance, settle};
use dreamsocket::{Config, Message, continue_connection};
use tokio::time::Instant;

use crate::stage::{Act, ECHO, HOLD_AND_ECHO, IGNORE, Stage, act, always};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn l9_a_silent_peer_is_pinged_after_30_and_60_seconds_and_lost_after_90() {
    let (mut client, stage) = Stage::new(IGNORE).connect();
    client.mute();
    let begin = Instant::now();
    client.expect_ping().await;
    assert_eq!(begin.elapsed(), 30 * SECOND);
    client.expect_ping().await;
    assert_eq!(begin.elapsed(), 60 * SECOND);
    client.expect_closed(1006).await;
    assert_eq!(begin.elapsed(), 90 * SECOND);
    client.ended().await;
    assert_eq!(begin.elapsed(), 90 * SECOND);
    assert_eq!(stage.messages(), ["closed 1006 lost unclean"]);
}

#[tokio::test(start_paused = true)]
async fn l9_intervals_of_many_minutes_are_exact() {
    let config = Config::default().with_heartbeat(Some(1_000 * SECOND));
    let (mut client, _stage) = Stage::new(IGNORE).with_config(config).connect();
    client.mute();
    let begin = Instant::now();
    for interval in 1..3 {
        // The kit waits for two minutes.
        advance(999 * SECOND).await;
        client.expect_ping().await;
        assert_eq!(begin.elapsed(), interval * 1_000 * SECOND);
    }
    advance(999 * SECOND).await;
    client.expect_closed(1006).await;
    assert_eq!(begin.elapsed(), 3_000 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn l9_an_interval_that_is_set_late_holds_from_then() {
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    client.mute();
    advance(SECOND).await;
    let begin = Instant::now();
    let config = Config::default().with_heartbeat(Some(10 * SECOND));
    client.connection().set_bounds(config);
    client.expect_ping().await;
    assert_eq!(begin.elapsed(), 9 * SECOND);
    client.expect_ping().await;
    assert_eq!(begin.elapsed(), 19 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn l9_nearer_deadlines_are_exact_and_so_is_the_heartbeat_behind_them() {
    let config = Config::default()
        .with_handler_timeout(Some(5 * SECOND))
        .with_close_time(2 * SECOND);
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).with_config(config).connect();
    // The alarm goes off for a handler that has returned.
    advance(SECOND).await;
    client.send_text("hold").await;
    advance(SECOND).await;
    stage.release();
    client.expect_text("hold").await;
    client.mute();
    let begin = Instant::now();
    client.send_text("a sign of life").await;
    client.expect_text("a sign of life").await;
    client.expect_ping().await;
    assert_eq!(begin.elapsed(), 30 * SECOND);
    let begin = Instant::now();
    client.send_text("hold").await;
    client.expect_closed(1011).await;
    assert_eq!(begin.elapsed(), 5 * SECOND);
    client.ended().await;
    assert_eq!(begin.elapsed(), 7 * SECOND);
}

/// The runtime's timers are as fine as a millisecond, and go off late rather than early.
#[tokio::test(start_paused = true)]
async fn l9_a_message_between_the_end_of_an_interval_and_the_alarm_loses_no_later_one() {
    tokio::time::advance(Duration::from_micros(500)).await;
    let (mut client, _stage) = Stage::new(ECHO).connect();
    let begin = Instant::now();
    settle().await;
    advance(29 * SECOND).await;
    let end = begin + 30 * SECOND + Duration::from_micros(100);
    tokio::time::advance(end - Instant::now()).await;
    client.send_text("just then").await;
    client.expect_text("just then").await;
    assert!(end.elapsed() < MILLISECOND / 4);
    client.mute();
    client.expect_ping().await;
    assert!(end.elapsed() < 31 * SECOND);
    client.expect_ping().await;
    client.expect_closed(1006).await;
}

#[tokio::test(start_paused = true)]
async fn l9_a_peer_that_answers_stays() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    advance(3_600 * SECOND).await;
    client.send_text("still here").await;
    client.expect_text("still here").await;
}

#[tokio::test(start_paused = true)]
async fn l9_any_byte_is_a_sign_of_life() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    client.mute();
    for byte in Frame::text("slowly").to_bytes() {
        advance(29 * SECOND).await;
        client.send_raw([byte]).await;
    }
    assert_eq!(client.receive().await, Received::Text("slowly".into()));
}

#[tokio::test(start_paused = true)]
async fn l9_no_heartbeat_if_there_is_to_be_none() {
    let config = Config::default().with_heartbeat(None);
    let (mut client, _stage) = Stage::new(ECHO).with_config(config).connect();
    client.mute();
    advance(3_600 * SECOND).await;
    client.send_text("hello").await;
    assert_eq!(client.receive().await, Received::Text("hello".into()));
}

#[tokio::test(start_paused = true)]
async fn l9_the_heartbeat_goes_on_while_a_handler_runs() {
    let config = Config::default().with_handler_timeout(None);
    let (mut client, _stage) = Stage::new(HOLD_AND_ECHO).with_config(config).connect();
    client.send_text("hold").await;
    client.mute();
    let begin = Instant::now();
    client.expect_ping().await;
    client.expect_ping().await;
    client.expect_closed(1006).await;
    assert_eq!(begin.elapsed(), 90 * SECOND);
    client.connection().closed().await;
}

#[tokio::test(start_paused = true)]
async fn l9_the_clock_stands_still_while_the_read_ahead_is_full() {
    let config = Config::default().with_handler_timeout(None);
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO)
        .with_config(config)
        .with(|builder| builder.with_buffer(256))
        .connect();
    client.mute();
    client.send_text("hold").await;
    advance(20 * SECOND).await;
    for _ in 0..20 {
        client.send_binary(vec![0; 1_000]).await;
    }
    assert!(client.unsent_bytes() > 0);
    // What the peer says now could not be read, so that it says nothing proves nothing.
    advance(3_600 * SECOND).await;
    client.expect_nothing().await;
    assert!(!client.connection().is_closed());
    stage.release();
    client.expect_text("hold").await;
    // The silence counts from here.
    let begin = Instant::now();
    client.expect_ping().await;
    assert_eq!(begin.elapsed(), 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn l9_the_heartbeat_and_pongs_go_on_under_a_selector_that_is_always_ready() {
    let (mut client, stage) = Stage::new(act!(|_, _, _, _| Ok(continue_connection())))
        .with_selector(always(std::iter::repeat(String::new())))
        .connect();
    client.mute();
    while stage.messages().is_empty() {
        tokio::task::yield_now().await;
    }
    // Nothing is ever idle here, so the clock moves only by hand, and nothing settles.
    tokio::time::advance(30 * SECOND).await;
    drop(client.ping("from the peer"));
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    client.connection().close(4000, "").await.unwrap();
    client.expect_closed(4000).await;
    let transcript = client.transcript();
    for expected in ["session -> ping", "session -> pong"] {
        assert!(transcript.contains(expected), "{transcript}");
    }
    assert!(stage.seen().len() > 100, "it was not always ready");
}

#[tokio::test(start_paused = true)]
async fn l9_a_process_that_was_suspended_does_not_lose_its_peers() {
    // The clock jumps past all three deadlines, and the peer had no chance to answer.
    let (mut client, _stage) = Stage::new(ECHO).connect();
    settle().await;
    tokio::time::advance(1_000 * SECOND).await;
    settle().await;
    assert!(!client.connection().is_closed());
    client.send_text("still here").await;
    client.expect_text("still here").await;
}

#[tokio::test(start_paused = true)]
async fn l9_what_could_be_read_is_read_before_a_peer_is_called_dead() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    client.mute();
    advance(89 * SECOND).await;
    // The last second passes while the session does not run, and the peer's bytes are there when it does.
    drop(client.send_text("just in time"));
    tokio::time::advance(10 * SECOND).await;
    client.expect_text("just in time").await;
}

#[tokio::test(start_paused = true)]
async fn l5_what_came_of_a_peer_that_is_called_dead_is_delivered_before_its_end() {
    const HOLD: Act = act!(|_, message, _, stage| {
        if matches!(&message, Message::Text(text) if text == "hold") {
            stage.hold().await;
        }
        Ok(continue_connection())
    });
    let config = Config::default().with_handler_timeout(None);
    let (mut client, stage) = Stage::new(HOLD).with_config(config).connect();
    client.mute();
    client.send_text("hold").await;
    client.send(["two", "three"].map(Frame::text)).await;
    advance(89 * SECOND).await;
    assert!(!client.connection().is_closed());
    advance(2 * SECOND).await;
    assert!(
        client.connection().is_closed(),
        "sends do not wait for messages"
    );
    stage.release();
    client.ended().await;
    assert_eq!(
        stage.messages(),
        ["hold", "two", "three", "closed 1006 lost unclean"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_time_is_that_of_the_last_ping_that_was_answered() {
    let config = Config::default().with_heartbeat(None);
    let (mut client, _stage) = Stage::new(ECHO).with_config(config).connect();
    client.mute();
    let connection = client.connection().clone();
    assert_eq!(connection.round_trip_time(), None);
    connection.ping().await.unwrap();
    let ping = client.expect_ping().await;
    advance(25 * MILLISECOND).await;
    client.send([Frame::pong("unasked")]).await;
    assert_eq!(connection.round_trip_time(), None);
    client.send([Frame::pong(ping.clone())]).await;
    assert_eq!(connection.round_trip_time(), Some(25 * MILLISECOND));
    // The same answer again is none.
    advance(SECOND).await;
    client.send([Frame::pong(ping)]).await;
    assert_eq!(connection.round_trip_time(), Some(25 * MILLISECOND));
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_time_is_known_when_pings_overtake_their_answers() {
    let config = Config::default().with_heartbeat(None);
    let (mut client, _stage) = Stage::new(ECHO).with_config(config).connect();
    client.mute();
    let connection = client.connection().clone();
    // A ping every 100 ms over a way that takes 150.
    connection.ping().await.unwrap();
    let first = client.expect_ping().await;
    advance(100 * MILLISECOND).await;
    connection.ping().await.unwrap();
    let second = client.expect_ping().await;
    advance(50 * MILLISECOND).await;
    client.send([Frame::pong(first)]).await;
    assert_eq!(connection.round_trip_time(), Some(150 * MILLISECOND));
    advance(150 * MILLISECOND).await;
    client.send([Frame::pong(second)]).await;
    assert_eq!(connection.round_trip_time(), Some(200 * MILLISECOND));
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_measures_round_trips() {
    let (client, _stage) = Stage::new(ECHO).connect();
    advance(31 * SECOND).await;
    assert_eq!(client.connection().round_trip_time(), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn l9_the_silence_counts_from_where_reading_goes_on() {
    let config = Config::default()
        .with_control_frames(1)
        .with_heartbeat(Some(SECOND));
    let (mut client, _stage) = Stage::new(ECHO).with_config(config).connect();
    client.mute();
    let begin = Instant::now();
    client.send([Frame::pong("unasked")]).await;
    // It takes a second until the next control frame may come, and nothing is there then.
    client.expect_ping().await;
    assert_eq!(begin.elapsed(), 2 * SECOND);
}

// ---- the bucket of control frames

#[tokio::test(start_paused = true)]
async fn a_thousand_pings_are_answered_in_the_end_and_nothing_is_closed() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    let begin = Instant::now();
    client
        .send((0..1_000).map(|number| Frame::ping(number.to_string())))
        .await;
    client.send_text("and a message").await;
    for number in 0..1_000 {
        client.expect_pong(number.to_string()).await;
    }
    client.expect_text("and a message").await;
    let took = begin.elapsed();
    assert!((8 * SECOND..=10 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn past_a_hundred_control_frames_reading_pauses() {
    let check = async |idle: Duration| {
        let (mut client, _stage) = Stage::new(ECHO).connect();
        advance(idle).await;
        client.send((0..150).map(|_| Frame::ping("x"))).await;
        client.send_text("behind").await;
        let mut answered = 0;
        let now = Instant::now();
        while let Ok(Received::Pong(_)) = tokio::time::timeout(MILLISECOND, client.receive()).await
        {
            answered += 1;
        }
        assert!(now.elapsed() <= 150 * MILLISECOND);
        assert!(answered <= 115, "{answered} after {idle:?}");
        client.expect_text("behind").await;
    };
    check(Duration::ZERO).await;
    // A bucket does not overflow while it is full.
    check(25 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn l9_the_clock_stands_still_while_reading_pauses() {
    // A bucket of one, refilled at one a second, and a heartbeat that is quicker than that.
    let config = Config::default()
        .with_control_frames(1)
        .with_heartbeat(Some(SECOND / 10));
    let (mut client, _stage) = Stage::new(ECHO).with_config(config).connect();
    client.mute();
    client.send((0..5).map(|_| Frame::pong("unasked"))).await;
    advance(4 * SECOND).await;
    assert!(!client.connection().is_closed());
}

//! S1, S2 and L6: what a send promises, what is written, and with how many writes.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dreamsocket::testing::{Client, Frame, Received, advance, settle};
use dreamsocket::{
    Config, Connection, Message, Selector, SendError, continue_connection, stop_connection,
};
use tokio::time::Instant;

use crate::logs;
use crate::stage::{Act, ECHO, HOLD_AND_ECHO, IGNORE, Stage, act, always};

const SECOND: Duration = Duration::from_secs(1);
const MIB: usize = 1024 * 1024;

/// A peer that does not read, over a transport that holds `buffer` bytes.
fn stalled(stage: Stage, buffer: usize) -> (Client, Arc<Stage>) {
    let stage = stage.with(|builder| builder.with_buffer(buffer));
    let (mut client, stage) = stage.connect();
    client.stall();
    (client, stage)
}

// ---- order

#[tokio::test(start_paused = true)]
async fn l6_a_thousand_sends_of_ten_tasks_leave_whole_and_in_each_tasks_order() {
    let (mut client, _stage) = Stage::new(IGNORE)
        .with_config(Config::default().with_outbox(20_000))
        .with(|builder| builder.with_buffer(700))
        .connect();
    let send = |task: usize, connection: Connection| async move {
        for number in 0..100 {
            // Sizes on both sides of where payloads are written by reference.
            let filler = "x".repeat((number * 97) % 9_000);
            let message = format!("{task} {number} {filler}");
            connection.send_text(message).await.unwrap();
        }
    };
    for task in 0..10 {
        tokio::spawn(send(task, client.connection().clone()));
    }
    let mut next = [0; 10];
    for _ in 0..1_000 {
        let text = client.receive_text().await;
        let mut words = text.splitn(3, ' ');
        let task: usize = words.next().unwrap().parse().unwrap();
        let number: usize = words.next().unwrap().parse().unwrap();
        assert_eq!(number, next[task], "of task {task}");
        assert_eq!(words.next().unwrap().len(), (number * 97) % 9_000);
        next[task] += 1;
    }
    client.expect_nothing().await;
    assert_eq!(client.connection().buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn l6_large_and_small_messages_keep_their_order() {
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    let connection = client.connection().clone();
    let sizes = [0, 1, 125, 126, 4_095, 4_096, 4_097, 65_535, 65_536, 100_000];
    for size in sizes {
        connection.send_binary(vec![1; size]).await.unwrap();
        connection.send_text("between").await.unwrap();
    }
    for size in sizes {
        client.expect_binary(vec![1; size]).await;
        client.expect_text("between").await;
    }
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn json_goes_both_ways() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    client.send_json(&("a", 1)).await;
    assert_eq!(
        client.expect_json::<(String, u32)>().await,
        ("a".to_owned(), 1)
    );
    let connection = client.connection();
    connection.send_json(&[1, 2]).await.unwrap();
    connection.try_send_json(&[3]).unwrap();
    let not_json = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(matches!(
        connection.send_json(&not_json).await,
        Err(SendError::Json(_))
    ));
    client.expect_text("[1,2]").await;
    client.expect_text("[3]").await;
}

// ---- S1

#[tokio::test(start_paused = true)]
async fn s1_a_send_waits_for_room_then_times_out_and_nothing_of_it_was_sent() {
    let (mut client, _stage) = stalled(Stage::new(IGNORE), 512);
    let connection = client.connection().clone();
    connection.send_binary(vec![1; MIB - 64]).await.unwrap();
    let begin = Instant::now();
    let sent = connection.send_text("no room").await;
    assert!(matches!(sent, Err(SendError::Timeout(_))), "{sent:?}");
    assert_eq!(begin.elapsed(), 10 * SECOND);
    assert!(matches!(
        connection.try_send_text("no room"),
        Err(SendError::Full)
    ));
    assert_eq!(connection.buffered_bytes(), MIB);
    client.unstall().await;
    client.expect_binary(vec![1; MIB - 64]).await;
    connection.send_text("room again").await.unwrap();
    client.expect_text("room again").await;
    assert_eq!(connection.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn s1_a_send_that_waits_goes_on_when_the_peer_reads() {
    let (mut client, _stage) = stalled(Stage::new(IGNORE), 512);
    let connection = client.connection().clone();
    connection.send_binary(vec![1; MIB - 64]).await.unwrap();
    let waiting = tokio::spawn(async move { connection.send_text("patient").await });
    advance(9 * SECOND).await;
    assert!(!waiting.is_finished());
    client.unstall().await;
    waiting.await.unwrap().unwrap();
    client.expect_binary(vec![1; MIB - 64]).await;
    client.expect_text("patient").await;
}

#[tokio::test(start_paused = true)]
async fn s1_a_send_of_a_handler_waits_while_the_session_flushes() {
    const FLOOD: Act = act!(|_, _, connection, _| {
        for _ in 0..100 {
            connection.send_binary(vec![0; 100_000]).await?;
        }
        Ok(stop_connection())
    });
    let (mut client, _stage) = Stage::new(FLOOD).connect();
    client.send_text("go").await;
    for _ in 0..100 {
        client.expect_binary(vec![0; 100_000]).await;
    }
    client.expect_closed(1000).await;
}

#[tokio::test(start_paused = true)]
async fn s1_each_entry_is_charged_its_payload_and_64_bytes() {
    let (client, _stage) = stalled(
        Stage::new(IGNORE).with_config(Config::default().with_outbox(1_000)),
        1,
    );
    let connection = client.connection();
    // 1000 / 64 = 15 empty messages.
    for number in 1..=15 {
        connection.try_send_text("").unwrap();
        assert_eq!(connection.buffered_bytes(), number * 64);
    }
    assert!(matches!(connection.try_send_text(""), Err(SendError::Full)));
}

#[tokio::test(start_paused = true)]
async fn s1_a_message_larger_than_the_outbox_is_admitted_alone() {
    let config = Config::default().with_outbox(1_000);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    let connection = client.connection().clone();
    connection.try_send_binary(vec![1; 5_000]).unwrap();
    assert!(matches!(connection.try_send_text(""), Err(SendError::Full)));
    settle().await;
    assert!(matches!(connection.try_send_text(""), Err(SendError::Full)));
    client.unstall().await;
    client.expect_binary(vec![1; 5_000]).await;

    // With something in the outbox it has to wait until that is gone.
    client.stall();
    connection.try_send_text("small").unwrap();
    assert!(matches!(
        connection.try_send_binary(vec![2; 5_000]),
        Err(SendError::Full)
    ));
    let other = connection.clone();
    let waiting = tokio::spawn(async move { other.send_binary(vec![2; 5_000]).await });
    settle().await;
    assert!(!waiting.is_finished());
    client.unstall().await;
    waiting.await.unwrap().unwrap();
    client.expect_text("small").await;
    client.expect_binary(vec![2; 5_000]).await;
}

#[tokio::test(start_paused = true)]
async fn s1_an_outbox_of_nothing_still_holds_one_message_and_no_more() {
    let config = Config::default().with_outbox(0);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    let connection = client.connection().clone();
    connection.try_send_text("one").unwrap();
    assert!(matches!(
        connection.try_send_text("two"),
        Err(SendError::Full)
    ));
    client.unstall().await;
    client.expect_text("one").await;
    connection.try_send_text("two").unwrap();
    client.expect_text("two").await;
}

#[tokio::test(start_paused = true)]
async fn s1_nobody_overtakes_a_send_that_waits() {
    let config = Config::default().with_outbox(1_000);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    let connection = client.connection().clone();
    connection.send_binary(vec![1; 500]).await.unwrap();
    let other = connection.clone();
    let large = tokio::spawn(async move { other.send_binary(vec![2; 900]).await });
    settle().await;
    // There would be room for this one.
    assert!(matches!(
        connection.try_send_text("small"),
        Err(SendError::Full)
    ));
    let small = tokio::spawn(async move { connection.send_text("small").await });
    settle().await;
    client.unstall().await;
    client.expect_binary(vec![1; 500]).await;
    client.expect_binary(vec![2; 900]).await;
    client.expect_text("small").await;
    large.await.unwrap().unwrap();
    small.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn s1_a_send_that_has_its_room_and_does_not_go_on_keeps_nobody_from_the_rest() {
    let config = Config::default().with_outbox(1_000);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    let connection = client.connection().clone();
    connection.send_binary(vec![1; 900]).await.unwrap();
    let mut waiting = std::pin::pin!(connection.send_text("waited"));
    let polled = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    client.unstall().await;
    client.expect_binary(vec![1; 900]).await;
    connection.try_send_text("did not wait").unwrap();
    waiting.await.unwrap();
    client.expect_text("did not wait").await;
    client.expect_text("waited").await;
}

#[tokio::test(start_paused = true)]
async fn s1_what_goes_out_with_pongs_leaves_its_room() {
    const FILL: Act = act!(|_, message, connection, stage| {
        if let Message::Text(_) = message {
            let sent = std::iter::repeat_with(|| connection.try_send_text(""));
            let count = sent.take_while(Result::is_ok).count();
            stage.note(format!("sent {count}"));
        }
        Ok(continue_connection())
    });
    let config = Config::default().with_outbox(1_000);
    let (mut client, stage) = Stage::new(FILL).with_config(config).connect();
    let pings = std::iter::repeat_n(Frame::ping(""), 32);
    let frames = [Frame::text("fill")].into_iter().chain(pings);
    client.send(frames.chain([Frame::text("again")])).await;
    settle().await;
    assert_eq!(stage.messages(), ["fill", "sent 15", "again", "sent 15"]);
}

#[tokio::test(start_paused = true)]
async fn s1_buffered_bytes_are_those_that_were_accepted() {
    let config = Config::default().with_outbox(1_000);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    let connection = client.connection().clone();
    connection.send_binary(vec![1; 500]).await.unwrap();
    assert_eq!(connection.buffered_bytes(), 564);
    // What waits for room is not in it.
    let other = connection.clone();
    let waiting = tokio::spawn(async move { other.send_binary(vec![2; 900]).await });
    settle().await;
    assert_eq!(connection.buffered_bytes(), 564);
    client.vanish().await;
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(
        connection.buffered_bytes(),
        0,
        "nothing waits in what is closed"
    );
}

#[tokio::test(start_paused = true)]
async fn s1_a_send_that_is_dropped_while_it_waits_sends_nothing_and_leaves_its_room() {
    let config = Config::default().with_outbox(1_000);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    let connection = client.connection().clone();
    connection.send_binary(vec![1; 500]).await.unwrap();
    let dropped = tokio::time::timeout(SECOND, connection.send_binary(vec![2; 900])).await;
    assert!(dropped.is_err());
    connection.try_send_text("small").unwrap();
    client.unstall().await;
    client.expect_binary(vec![1; 500]).await;
    client.expect_text("small").await;
    client.expect_nothing().await;
    assert_eq!(connection.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn s1_a_send_that_panics_for_lack_of_a_runtime_leaves_its_room() {
    let config = Config::default().with_outbox(1_000);
    let (mut client, stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    let connection = client.connection().clone();
    connection.send_binary(vec![1; 500]).await.unwrap();
    let elsewhere = connection.clone();
    let poll = move || {
        let mut context = Context::from_waker(Waker::noop());
        // There is room for this one.
        let mut small = std::pin::pin!(elsewhere.send_text("small"));
        assert!(small.as_mut().poll(&mut context).is_ready());
        let mut large = std::pin::pin!(elsewhere.send_binary(vec![2; 2_000]));
        let _ = large.as_mut().poll(&mut context);
    };
    let polled = std::thread::spawn(poll).join();
    assert!(polled.is_err(), "it has no timer to wait with");
    client.unstall().await;
    client.expect_binary(vec![1; 500]).await;
    client.expect_text("small").await;
    assert_eq!(connection.buffered_bytes(), 0);
    connection.send_binary(vec![3; 1_000]).await.unwrap();
    client.expect_binary(vec![3; 1_000]).await;
    let begin = Instant::now();
    connection.close(1000, "").await.unwrap();
    client.expect_closed(1000).await;
    client.ended().await;
    assert!(begin.elapsed().is_zero(), "no dead place is waited for");
    assert_eq!(stage.messages(), ["closed 1000 stopped clean"]);
}

#[tokio::test(start_paused = true)]
async fn s1_a_send_that_waits_fails_when_the_connection_ends() {
    let (mut client, _stage) = stalled(Stage::new(IGNORE), 512);
    let connection = client.connection().clone();
    connection.send_binary(vec![1; MIB - 64]).await.unwrap();
    let waiting = tokio::spawn(async move { connection.send_text("never").await });
    settle().await;
    client.vanish().await;
    client.ended().await;
    let begin = Instant::now();
    let sent = waiting.await.unwrap();
    assert!(matches!(sent, Err(SendError::SocketClosed)), "{sent:?}");
    assert!(begin.elapsed().is_zero(), "it is told at once");
}

#[tokio::test(start_paused = true)]
async fn s1_a_full_outbox_that_takes_no_byte_for_thirty_seconds_is_closed_with_1013() {
    let logs = logs::capture();
    let (mut client, stage) = stalled(Stage::new(IGNORE), 512);
    let connection = client.connection().clone();
    let begin = Instant::now();
    let flood = tokio::spawn(async move {
        // Whoever goes on after a timeout is the one that stalls.
        loop {
            match connection.send_binary(vec![0; 100_000]).await {
                Ok(()) => {}
                Err(error) if error.is_timeout() => {}
                Err(error) => return error,
            }
        }
    });
    advance(29_999 * SECOND / 1_000).await;
    assert!(!client.connection().is_closed());
    advance(SECOND / 1_000).await;
    assert!(client.connection().is_closed());
    client.ended().await;
    assert_eq!(
        begin.elapsed(),
        35 * SECOND,
        "the close frame has its time, too"
    );
    assert!(flood.await.unwrap().is_closed());
    assert_eq!(stage.messages(), ["closed 1013 lagged unclean"]);
    assert_eq!(logs.loud(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn s1_a_slow_peer_that_takes_a_byte_now_and_then_is_not_stalled() {
    let config = Config::default().with_heartbeat(None);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    let connection = client.connection().clone();
    let flood = tokio::spawn(async move {
        loop {
            match connection.send_binary(vec![0; 100_000]).await {
                Err(error) if error.is_closed() => return,
                _ => {}
            }
        }
    });
    for _ in 0..10 {
        advance(29 * SECOND).await;
        client.stall_after(1).await;
    }
    assert!(!client.connection().is_closed());
    advance(30 * SECOND).await;
    assert!(client.connection().is_closed());
    client.vanish().await;
    flood.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s1_a_stalled_peer_without_a_full_outbox_is_left_alone() {
    let config = Config::default().with_heartbeat(None);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    client.connection().send_text("hello").await.unwrap();
    advance(3_600 * SECOND).await;
    assert!(!client.connection().is_closed());
    client.unstall().await;
    client.expect_text("hello").await;
}

#[tokio::test(start_paused = true)]
async fn s1_an_outbox_is_full_for_who_found_it_so_since_the_last_byte() {
    let config = Config::default().with_heartbeat(None).with_outbox(1_000);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 64);
    let connection = client.connection().clone();
    let mut sent = 0;
    while connection.try_send_binary(vec![0; 300]).is_ok() {
        sent += 1;
        settle().await;
    }
    client.unstall().await;
    for _ in 0..sent {
        client.expect_binary(vec![0; 300]).await;
    }
    // There is room again, and nobody finds it full.
    client.stall();
    connection.try_send_binary(vec![0; 300]).unwrap();
    advance(3_600 * SECOND).await;
    assert!(!connection.is_closed());
    // Nobody waits for room, but somebody was refused.
    while connection.try_send_binary(vec![0; 300]).is_ok() {}
    advance(31 * SECOND).await;
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn s1_control_frames_have_a_reserve_of_their_own() {
    let config = Config::default().with_outbox(100);
    let (mut client, _stage) = stalled(Stage::new(IGNORE).with_config(config), 1);
    let connection = client.connection().clone();
    connection.try_send_binary(vec![1; 1_000]).unwrap();
    settle().await;
    for _ in 0..64 {
        connection.ping().await.unwrap();
    }
    client.unstall().await;
    client.expect_binary(vec![1; 1_000]).await;
    for _ in 0..64 {
        client.expect_ping().await;
    }
}

#[tokio::test(start_paused = true)]
async fn s1_every_ping_of_a_burst_gets_its_pong_in_order() {
    // In one segment: 100 is what the bucket lets through at once, more than the 64 that may wait.
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    client
        .send((0..100).map(|number| Frame::ping(number.to_string())))
        .await;
    for number in 0..100 {
        client.expect_pong(number.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn s1_past_the_reserve_waiting_pongs_give_way_to_the_latest() {
    let (mut client, _stage) = stalled(Stage::new(IGNORE), 512);
    // What is on its way when the transport is full.
    client.connection().try_send_binary(vec![1; 1_000]).unwrap();
    settle().await;
    for number in 0..90 {
        client.send([Frame::ping(number.to_string())]).await;
    }
    client.unstall().await;
    client.expect_binary(vec![1; 1_000]).await;
    settle().await;
    let mut last = None;
    for _ in 0..64 {
        let received = tokio::time::timeout(SECOND, client.receive()).await;
        let Ok(Received::Pong(payload)) = received else {
            break;
        };
        let number: u32 = std::str::from_utf8(&payload).unwrap().parse().unwrap();
        assert!(last < Some(number));
        last = Some(number);
    }
    assert_eq!(last, Some(89), "the latest is answered");
}

#[tokio::test(start_paused = true)]
async fn s1_pings_are_answered_while_the_outbox_is_full() {
    let (mut client, _stage) = stalled(Stage::new(IGNORE), 512);
    let connection = client.connection().clone();
    connection.send_binary(vec![1; MIB - 64]).await.unwrap();
    assert!(matches!(
        connection.try_send_text("full"),
        Err(SendError::Full)
    ));
    client.ping("hello").await;
    client.unstall().await;
    client.expect_binary(vec![1; MIB - 64]).await;
    client.expect_pong("hello").await;
}

// ---- S2

#[tokio::test(start_paused = true)]
async fn s2_a_batch_of_messages_is_answered_with_one_write() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    settle().await;
    client
        .send((0..16).map(|number| Frame::text(number.to_string())))
        .await;
    let traffic = client.traffic();
    assert_eq!((traffic.reads, traffic.writes), (1, 1));
    for number in 0..16 {
        client.expect_text(number.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn s2_what_a_handler_sent_and_its_close_leave_with_one_write() {
    const STOP: Act = act!(|_, _, connection, _| {
        connection.send_text("goodbye").await?;
        Ok(stop_connection())
    });
    let (mut client, _stage) = Stage::new(STOP).connect();
    client.send_text("go").await;
    client.expect_text("goodbye").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(client.traffic().writes, 1);
}

#[tokio::test(start_paused = true)]
async fn s2_an_echo_is_one_read_and_one_write() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    for number in 1..=5 {
        client.send_text("hello").await;
        client.expect_text("hello").await;
        let traffic = client.traffic();
        assert_eq!((traffic.reads, traffic.writes), (number, number));
    }
}

#[tokio::test(start_paused = true)]
async fn s2_flushed_when_a_handler_waits() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).connect();
    client
        .send(["one", "two", "hold", "three"].map(Frame::text))
        .await;
    client.expect_text("one").await;
    client.expect_text("two").await;
    client.expect_nothing().await;
    assert_eq!(client.traffic().writes, 1);
    stage.release();
    client.expect_text("hold").await;
    client.expect_text("three").await;
    assert_eq!(client.traffic().writes, 2);
}

#[tokio::test(start_paused = true)]
async fn s2_flushed_after_64_messages_at_the_latest_even_if_more_are_always_ready() {
    // Watches from within how many messages are handled until a reply is written.
    const WATCH: Act = act!(|state, message, connection, stage| {
        if let Message::Text(_) = message {
            *state = 0;
            connection.send_text("reply").await?;
        } else if connection.buffered_bytes() > 0 {
            stage.note(format!("pending {state}"));
        }
        Ok(continue_connection())
    });
    let always = always((0..50_000).map(|_| String::new()));
    let (mut client, stage) = Stage::new(WATCH).with_selector(always).connect();
    for _ in 0..20 {
        drop(client.send_text("go"));
        client.expect_text("reply").await;
    }
    let seen = stage.seen();
    let pending = seen.iter().filter_map(|line| line.strip_prefix("pending "));
    let most = pending.map(|count| count.parse().unwrap()).max();
    let most: u32 = most.unwrap_or_default();
    assert!(most <= 64, "{most}");
    assert!(seen.len() < 50_000, "it was never always ready");
}

#[tokio::test(start_paused = true)]
async fn s2_a_send_from_outside_is_written_at_once() {
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    settle().await;
    client.connection().send_text("hello").await.unwrap();
    settle().await;
    assert_eq!(client.traffic().writes, 1);
    client.expect_text("hello").await;
}

#[tokio::test(start_paused = true)]
async fn s1_sends_of_on_init_are_sent() {
    async fn on_init(connection: &Connection, _: &()) -> ((), Option<Selector>) {
        connection.send_text("welcome").await.unwrap();
        ((), None)
    }
    async fn on_message((): &mut (), _: Message, _: &Connection, _: &()) -> dreamsocket::Action {
        continue_connection()
    }
    async fn on_close((): (), _: &()) {}
    let mut client = crate::builder().connect((), on_init, on_message, on_close);
    client.expect_text("welcome").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l6_threads_that_send_at_once_wake_the_session_every_time() {
    // A wake-up that is lost leaves a message in the outbox for ever.
    let config = Config::default().with_outbox(4_000).with_heartbeat(None);
    let (mut client, _stage) = Stage::new(IGNORE).with_config(config).connect();
    let send = |task: u32, connection: Connection| async move {
        for number in 0..2_000_u32 {
            let text = format!("{task} {number}");
            connection.send_text(text).await.unwrap();
            if number % 64 == task {
                tokio::task::yield_now().await;
            }
        }
    };
    for task in 0..8 {
        tokio::spawn(send(task, client.connection().clone()));
    }
    let mut next = [0; 8];
    for _ in 0..16_000 {
        let text = client.receive_text().await;
        let (task, number) = text.split_once(' ').unwrap();
        let next = &mut next[task.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<u32>().unwrap(), *next);
        *next += 1;
    }
    assert_eq!(next, [2_000; 8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l6_a_message_that_comes_just_when_the_session_goes_to_sleep_is_sent() {
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    let connection = client.connection().clone();
    const MANY: usize = 20_000;
    // From another thread, at once when the one before is written: the session is about to sleep then.
    let sending = std::thread::spawn(move || {
        for _ in 0..MANY {
            while connection.buffered_bytes() > 0 && !connection.is_closed() {
                std::hint::spin_loop();
            }
            connection.try_send_text("next").unwrap();
        }
    });
    for _ in 0..MANY {
        client.expect_text("next").await;
    }
    sending.join().unwrap();
}

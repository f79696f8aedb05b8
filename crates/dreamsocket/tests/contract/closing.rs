//! L5, L6 and the close codes: who closes, with what, and what is still delivered and sent.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use dreamsocket::testing::{Frame, Received, advance, settle};
use dreamsocket::{
    Config, Connection, Hub, Message, SendError, continue_connection, stop_connection,
    stop_connection_with,
};
use tokio::time::Instant;
use tracing::Level;

use crate::logs;
use crate::stage::{Act, ECHO, HOLD_AND_ECHO, IGNORE, Stage, act};

const SECOND: Duration = Duration::from_secs(1);

// ---- L5

#[tokio::test(start_paused = true)]
async fn l5_connection_closed_comes_last_and_once() {
    const CHECK: Act = act!(|_, message, connection, stage| {
        if let Message::ConnectionClosed(_) = message {
            for sent in [
                connection.send_text("too late").await,
                connection.send_binary(vec![0]).await,
                connection.try_send_text("too late"),
                connection.ping().await,
            ] {
                assert!(matches!(sent, Err(SendError::SocketClosed)), "{sent:?}");
            }
            assert!(connection.is_closed());
            connection.closed().await;
            connection.close(4000, "").await?;
            // What it returns is ignored.
            stage.note("checked");
            return Ok(stop_connection_with(4000, "ignored"));
        }
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(CHECK).connect();
    client.send_text("one").await;
    client
        .send([
            Frame::text("two"),
            Frame::close(4321, "bye"),
            Frame::text("behind"),
        ])
        .await;
    client.expect_closed(4321).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        [
            "init",
            "one",
            "two",
            "closed 4321 peer clean",
            "checked",
            "on_close 3, closed 4321 peer clean"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn l5_messages_before_the_peers_close_are_answered_before_ours() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).connect();
    client.send_text("hold").await;
    client
        .send([
            Frame::text("two"),
            Frame::text("three"),
            Frame::close(1000, ""),
        ])
        .await;
    client.expect_nothing().await;
    assert!(!client.connection().is_closed());
    stage.release();
    client.expect_text("hold").await;
    client.expect_text("two").await;
    client.expect_text("three").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(stage.seen().len(), 6);
}

/// However the bytes were split: the close may have been read with the last message, or while its handler ran.
#[tokio::test(start_paused = true)]
async fn l3_the_handler_of_the_last_message_learns_of_a_close_that_was_read_before() {
    const WATCH: Act = act!(|_, message, connection, stage| {
        match message {
            Message::Text(text) if text == "hold" => stage.hold().await,
            Message::Text(_) => {
                connection.closed().await;
                let sent = connection.send_text("too late").await;
                stage.note(format!("{sent:?}"));
            }
            _ => {}
        }
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(WATCH).connect();
    client.send_text("hold").await;
    client
        .send([Frame::text("last"), Frame::close(1000, "")])
        .await;
    stage.release();
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(
        stage.messages(),
        [
            "hold",
            "last",
            "Err(SocketClosed)",
            "closed 1000 peer clean"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn l5_messages_before_an_end_without_a_close_frame_are_delivered() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).connect();
    client.send_text("hold").await;
    client.send(["two", "three"].map(Frame::text)).await;
    client.vanish().await;
    assert!(
        client.connection().is_closed(),
        "sends do not wait for messages"
    );
    stage.release();
    client.ended().await;
    // The echo of the first one fails, since the peer has gone; that ends it.
    assert_eq!(
        stage.seen(),
        ["init", "hold", "on_close 1, closed 1006 lost unclean"]
    );

    let (mut client, stage) = Stage::new(act!(|_, message, _, stage| {
        if matches!(&message, Message::Text(text) if text == "hold") {
            stage.hold().await;
        }
        Ok(continue_connection())
    }))
    .connect();
    client.send_text("hold").await;
    client.send(["two", "three"].map(Frame::text)).await;
    client.vanish().await;
    stage.release();
    client.ended().await;
    assert_eq!(
        stage.messages(),
        ["hold", "two", "three", "closed 1006 lost unclean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l5_a_peer_that_ends_only_its_writing_side_gets_what_it_asked_for() {
    let (mut client, stage) = Stage::new(ECHO).connect();
    settle().await;
    drop(client.send_text("one"));
    drop(client.send_text("two"));
    client.shut_down_writing().await;
    client.expect_text("one").await;
    client.expect_text("two").await;
    client.expect_closed(1006).await;
    client.ended().await;
    assert_eq!(stage.messages(), ["one", "two", "closed 1006 lost unclean"]);
}

#[tokio::test(start_paused = true)]
async fn l5_messages_before_a_violation_are_delivered() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).connect();
    client.send_text("hold").await;
    client
        .send([
            Frame::text("two"),
            Frame::text(vec![0xff]),
            Frame::text("behind"),
        ])
        .await;
    stage.release();
    client.expect_text("hold").await;
    client.expect_text("two").await;
    client.expect_closed(1007).await;
    client.ended().await;
    assert_eq!(
        stage.messages(),
        ["hold", "two", "closed 1007 protocol unclean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l5_what_waits_behind_a_close_of_ours_is_dropped() {
    const STOP: Act = act!(|_, message, connection, _| match message {
        Message::Text(text) if text == "stop" => Ok(stop_connection()),
        Message::Text(text) if text == "close" => {
            connection.close(1000, "").await?;
            Ok(continue_connection())
        }
        Message::Text(text) if text == "fail" => Err("no luck".into()),
        _ => Ok(continue_connection()),
    });
    for how in ["stop", "close", "fail"] {
        let (mut client, stage) = Stage::new(STOP).connect();
        client.send([how, "two", "three"].map(Frame::text)).await;
        client.ended().await;
        let mut seen = stage.messages();
        seen.retain(|line| !line.starts_with("closed"));
        assert_eq!(seen, [how]);
    }
}

#[tokio::test(start_paused = true)]
async fn l5_custom_messages_behind_a_close_of_ours_are_dropped() {
    const CLOSE: Act = act!(|_, message, connection, _| {
        if let Message::Custom(_) = message {
            connection.close(1000, "").await?;
        }
        Ok(continue_connection())
    });
    let (sender, selector) = dreamsocket::Selector::channel(8);
    for text in ["one", "two", "three"] {
        sender.send(text.to_owned()).await.unwrap();
    }
    let (mut client, stage) = Stage::new(CLOSE).with_selector(selector).connect();
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(
        stage.messages(),
        ["custom one", "closed 1000 stopped clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l5_a_close_of_another_task_comes_before_messages_that_no_handler_has_seen() {
    let (sender, selector) = dreamsocket::Selector::channel(8);
    let (mut client, stage) = Stage::new(IGNORE).with_selector(selector).connect();
    settle().await;
    // Both are there when the session runs again.
    sender.try_send("never seen".to_owned()).unwrap();
    client.connection().close(4000, "").await.unwrap();
    client.expect_closed(4000).await;
    client.ended().await;
    assert_eq!(stage.messages(), ["closed 4000 stopped clean"]);
}

#[tokio::test(start_paused = true)]
async fn l5_connection_closed_is_not_delivered_after_a_stop_an_error_or_a_timeout() {
    const OBEY: Act = act!(|_, message, _, _| match message {
        Message::Text(text) if text == "stop" => Ok(stop_connection()),
        Message::Text(text) if text == "fail" => Err("no luck".into()),
        Message::Text(_) => std::future::pending().await,
        _ => Ok(continue_connection()),
    });
    for how in ["stop", "fail", "sleep"] {
        let (mut client, stage) = Stage::new(OBEY).connect();
        client.send_text(how).await;
        client.ended().await;
        assert_eq!(stage.messages(), [how]);
    }
}

#[tokio::test(start_paused = true)]
async fn l5_connection_closed_is_delivered_after_a_drain_and_a_close_of_another_task() {
    let hub = Hub::new(Config::default());
    let (mut client, stage) = Stage::new(ECHO).with_hub(&hub).connect();
    settle().await;
    hub.drain();
    assert_eq!(
        client.expect_closed(1001).await,
        "the server is shutting down"
    );
    client.ended().await;
    assert_eq!(stage.messages(), ["closed 1001 drained clean"]);

    let (mut client, stage) = Stage::new(ECHO).connect();
    settle().await;
    client.connection().close(1000, "").await.unwrap();
    client.ended().await;
    assert_eq!(stage.messages(), ["closed 1000 stopped clean"]);
}

#[tokio::test(start_paused = true)]
async fn l5_a_handler_that_times_out_beside_a_close_does_not_cut_it_short() {
    let config = Config::default()
        .with_handler_timeout(Some(3 * SECOND))
        .with_close_time(5 * SECOND);
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).with_config(config).connect();
    client.mute();
    let begin = Instant::now();
    client.send_text("hold").await;
    advance(SECOND).await;
    client.connection().close(1000, "").await.unwrap();
    client.ended().await;
    assert_eq!(begin.elapsed(), 6 * SECOND);
    assert_eq!(
        stage.seen(),
        ["init", "hold", "on_close 1, closed 1000 stopped unclean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l5_a_close_that_is_read_ahead_waits_for_the_messages_before_it() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).connect();
    client.send_text("hold").await;
    client
        .send([Frame::text("before it"), Frame::close(1000, "")])
        .await;
    // The session looks again, and still the handler runs.
    client.connection().ping().await.unwrap();
    settle().await;
    stage.release();
    client.ended().await;
    assert_eq!(
        stage.messages(),
        ["hold", "before it", "closed 1000 peer clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l5_connection_closed_is_not_delivered_when_the_drain_time_is_up() {
    let config = Config::default()
        .with_drain_time(2 * SECOND)
        .with_close_time(5 * SECOND);
    let hub = Hub::new(config.clone());
    let stage = Stage::new(ECHO).with_config(config).with_hub(&hub);
    let (mut client, stage) = stage.connect();
    client.mute();
    settle().await;
    let begin = Instant::now();
    hub.drain();
    client.ended().await;
    assert_eq!(begin.elapsed(), 2 * SECOND);
    assert_eq!(
        stage.seen(),
        ["init", "on_close 0, closed 1001 drained unclean"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_spread_closes_one_after_the_other() {
    let config = Config::default().with_drain_spread(8 * SECOND);
    let hub = Hub::new(config);
    let connect = || Stage::new(ECHO).with_hub(&hub).connect().0;
    let mut clients: Vec<_> = (0..4).map(|_| connect()).collect();
    settle().await;
    hub.drain();
    for passed in 0..4 {
        settle().await;
        let closed = clients
            .iter()
            .filter(|client| client.connection().is_closed());
        assert_eq!(closed.count(), 1 + passed);
        advance(2 * SECOND).await;
    }
    for client in &mut clients {
        client.expect_closed(1001).await;
    }
}

#[tokio::test(start_paused = true)]
async fn l5_a_handler_that_runs_at_a_drain_may_finish_and_is_told_of_the_end() {
    let hub = Hub::new(Config::default());
    let (mut client, stage) = Stage::new(act!(|_, message, connection, stage| {
        if let Message::Text(_) = message {
            stage.hold().await;
            assert!(connection.is_closed());
        }
        Ok(continue_connection())
    }))
    .with_hub(&hub)
    .connect();
    client.send_text("hold").await;
    client.send_text("never seen").await;
    hub.drain();
    client.expect_closed(1001).await;
    advance(9 * SECOND).await;
    stage.release();
    client.ended().await;
    assert_eq!(stage.messages(), ["hold", "closed 1001 drained clean"]);
    assert_eq!(hub.drained().await.clean, 1);
}

#[tokio::test(start_paused = true)]
async fn l5_stop_while_the_peers_close_waits_is_the_peers_close() {
    const STOP: Act = act!(|_, _, _, stage| {
        stage.hold().await;
        Ok(stop_connection_with(4000, "ours"))
    });
    let (mut client, stage) = Stage::new(STOP).connect();
    client.send_text("one").await;
    client
        .send([Frame::text("two"), Frame::close(4321, "")])
        .await;
    stage.release();
    client.expect_closed(4321).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        ["init", "one", "on_close 1, closed 4321 peer clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l5_a_close_without_a_code_is_1005() {
    let (mut client, stage) = Stage::new(ECHO).connect();
    client.send([Frame::close_with_payload("")]).await;
    client.expect_closed(1005).await;
    client.ended().await;
    assert_eq!(stage.messages(), ["closed 1005 peer clean"]);
}

// ---- stop, and the codes

#[tokio::test(start_paused = true)]
async fn l6_sends_before_a_stop_leave_before_the_close_frame() {
    const STOP: Act = act!(|_, _, connection, _| {
        for number in 0..100 {
            connection.send_text(number.to_string()).await?;
        }
        connection.send_binary(vec![7; 500_000]).await?;
        Ok(stop_connection())
    });
    let (mut client, _stage) = Stage::new(STOP).connect();
    client.send_text("go").await;
    for number in 0..100 {
        client.expect_text(number.to_string()).await;
    }
    client.expect_binary(vec![7; 500_000]).await;
    client.expect_closed(1000).await;
    client.ended().await;
}

#[tokio::test(start_paused = true)]
async fn l6_a_send_that_waits_for_room_leaves_before_a_close_that_follows_it() {
    let (mut client, stage) = Stage::new(ECHO).connect();
    client.stall();
    settle().await;
    let send = |connection: Connection| async move {
        connection.send_binary(vec![1; 900_000]).await.unwrap();
        connection.send_binary(vec![2; 900_000]).await.unwrap();
        connection.close(4000, "").await.unwrap();
    };
    let sending = tokio::spawn(send(client.connection().clone()));
    settle().await;
    assert!(!sending.is_finished());
    // Another task closes while it waits: it was there first.
    client.connection().close(4001, "").await.unwrap();
    settle().await;
    client.unstall().await;
    client.expect_binary(vec![1; 900_000]).await;
    client.expect_binary(vec![2; 900_000]).await;
    client.expect_closed(4001).await;
    client.ended().await;
    sending.await.unwrap();
    assert_eq!(stage.messages(), ["closed 4001 stopped clean"]);
}

#[tokio::test(start_paused = true)]
async fn l6_a_close_does_not_wait_for_a_send_that_was_dropped() {
    let config = Config::default().with_outbox(1_000);
    let (mut client, _stage) = Stage::new(ECHO)
        .with_config(config)
        .with(|builder| builder.with_buffer(100))
        .connect();
    client.stall();
    let connection = client.connection().clone();
    connection.send_binary(vec![1; 500]).await.unwrap();
    let mut waiting = Box::pin(connection.send_binary(vec![2; 900]));
    let polled = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    connection.close(4000, "").await.unwrap();
    // There is room for it now, but nobody polls it, and it goes before the close frame.
    client.unstall().await;
    client.expect_binary(vec![1; 500]).await;
    client.expect_nothing().await;
    let begin = tokio::time::Instant::now();
    drop(waiting);
    client.expect_closed(4000).await;
    client.ended().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn l6_what_a_peer_that_never_reads_is_owed_is_given_up_after_close_time() {
    let (mut client, stage) = Stage::new(act!(|_, _, connection, _| {
        connection.send_binary(vec![0; 900_000]).await?;
        Ok(stop_connection())
    }))
    .connect();
    client.stall();
    client.send_text("go").await;
    let begin = tokio::time::Instant::now();
    client.ended().await;
    assert_eq!(begin.elapsed(), 5 * SECOND);
    assert_eq!(
        stage.seen(),
        ["init", "go", "on_close 1, closed 1000 stopped unclean"]
    );
}

#[tokio::test(start_paused = true)]
async fn stop_connection_with_closes_with_what_it_says() {
    const STOP: Act = act!(|_, message, _, _| match message {
        Message::Text(text) if text == "long" => Ok(stop_connection_with(3000, "é".repeat(100))),
        Message::Text(_) => Ok(stop_connection_with(4999, "goodbye")),
        _ => Ok(continue_connection()),
    });
    let (mut client, _stage) = Stage::new(STOP).connect();
    client.send_text("short").await;
    assert_eq!(client.expect_closed(4999).await, "goodbye");
    let (mut client, _stage) = Stage::new(STOP).connect();
    client.send_text("long").await;
    // 123 bytes at most, cut at a character.
    assert_eq!(client.expect_closed(3000).await, "é".repeat(61));
}

#[tokio::test(start_paused = true)]
async fn stop_connection_with_a_code_that_must_not_be_sent_closes_with_1011() {
    const STOP: Act = act!(|_, message, _, _| {
        let Message::Text(text) = message else {
            return Ok(continue_connection());
        };
        let code: u16 = text.parse()?;
        Ok(stop_connection_with(code, "reason"))
    });
    for code in ["0", "999", "1004", "1005", "1006", "1015", "2999", "5000"] {
        let logs = logs::capture();
        let (mut client, stage) = Stage::new(STOP).connect();
        client.send_text(code).await;
        client.expect_closed(1011).await;
        client.ended().await;
        assert_eq!(logs.at(Level::ERROR).len(), 1, "{code}");
        assert_eq!(
            stage.seen()[2],
            "on_close 1, closed 1011 stopped clean",
            "{code}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn close_refuses_what_must_not_be_sent_and_closes_nothing() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    let connection = client.connection().clone();
    assert!(connection.close(1005, "").await.is_err());
    assert!(connection.close(1000, "x".repeat(124)).await.is_err());
    client.send_text("still open").await;
    client.expect_text("still open").await;
    connection.close(1000, "x".repeat(123)).await.unwrap();
    assert_eq!(client.expect_closed(1000).await.len(), 123);
}

// ---- the closing handshake

#[tokio::test(start_paused = true)]
async fn a_close_of_both_sides_at_once_is_clean_on_both() {
    // The peer's close frame is on its way when ours is queued.
    let (mut client, stage) = Stage::new(ECHO).connect();
    settle().await;
    client.connection().close(4000, "ours").await.unwrap();
    client.close(4001, "the peer's").await;
    let (code, reason) = match client.receive().await {
        Received::Close(code, reason) => (u16::from(code), reason),
        other => panic!("{other:?}"),
    };
    client.ended().await;
    // Whichever was seen first; each side got exactly one close frame.
    assert_eq!((code, &*reason), (4000, "ours"));
    assert_eq!(client.receive().await, Received::Ended);
    assert_eq!(stage.messages(), ["closed 4000 stopped clean"]);
}

#[tokio::test(start_paused = true)]
async fn a_close_of_both_sides_the_peers_first() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).connect();
    client.send_text("hold").await;
    client.close(4001, "").await;
    client.connection().close(4000, "too late").await.unwrap();
    stage.release();
    client.expect_closed(4001).await;
    client.ended().await;
    assert_eq!(client.receive().await, Received::Ended);
    assert_eq!(
        stage.seen(),
        ["init", "hold", "on_close 1, closed 4001 peer clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_ends_instead_of_answering_our_close_is_not_clean() {
    let (mut client, stage) = Stage::new(ECHO).connect();
    client.mute();
    settle().await;
    client.connection().close(4000, "").await.unwrap();
    client.expect_closed(4000).await;
    client.vanish().await;
    assert_eq!(stage.messages(), ["closed 4000 stopped unclean"]);
}

#[tokio::test(start_paused = true)]
async fn data_behind_our_close_is_ignored_and_the_answer_found() {
    let (mut client, stage) = Stage::new(ECHO).connect();
    client.mute();
    settle().await;
    client.connection().close(4000, "").await.unwrap();
    client.expect_closed(4000).await;
    client.send_binary(vec![0; 500_000]).await;
    client.ping("still there?").await;
    client.send_text("hello?").await;
    client.expect_nothing().await;
    assert!(!client.is_ended());
    client.close(4000, "").await;
    client.ended().await;
    assert_eq!(stage.messages(), ["closed 4000 stopped clean"]);
}

#[tokio::test(start_paused = true)]
async fn after_both_close_frames_the_session_ends_the_transport() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    assert_eq!(client.receive().await, Received::Ended);
    client.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_end_after_a_violation_is_left_after_close_time() {
    let (mut client, stage) = Stage::new(ECHO)
        .with(|builder| builder.with_buffer(100))
        .connect();
    client.stall();
    client.send([Frame::new(3, "unknown")]).await;
    client.send_binary(vec![0; 100_000]).await;
    advance(SECOND).await;
    assert_eq!(
        client.unsent_bytes(),
        0,
        "it is read, lest a reset overtakes our close frame"
    );
    let begin = tokio::time::Instant::now();
    client.ended().await;
    assert_eq!(begin.elapsed(), 4 * SECOND);
    assert_eq!(stage.messages(), ["closed 1002 protocol unclean"]);
}

// ---- a session that never comes to its end

#[test]
fn what_waits_in_another_runtime_fails_when_the_sessions_is_shut_down() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let (here, elsewhere) = (runtime(), runtime());
    let large = "x".repeat(500);
    let client = here.block_on(async {
        let (mut client, _stage) = Stage::new(IGNORE)
            .with_config(Config::default().with_outbox(1_000))
            .with(|builder| builder.with_buffer(64))
            .connect();
        client.stall();
        while client.connection().try_send_text(&*large).is_ok() {
            settle().await;
        }
        client
    });
    let connection = client.connection().clone();
    elsewhere.block_on(async {
        let mut send = Box::pin(connection.send_text(&*large));
        let mut closed = Box::pin(connection.closed());
        let is_waiting = std::future::poll_fn(|context| {
            let is_waiting = send.as_mut().poll(context).is_pending();
            Poll::Ready(is_waiting && closed.as_mut().poll(context).is_pending())
        });
        assert!(is_waiting.await);
        // A runtime may not be dropped where another one runs.
        std::thread::spawn(move || drop(here)).join().unwrap();
        assert!(matches!(send.await, Err(SendError::SocketClosed)));
        closed.await;
    });
    assert!(connection.is_closed());
}

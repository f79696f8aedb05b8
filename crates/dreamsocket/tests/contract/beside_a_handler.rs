//! L3: one handler at a time, and what the session does meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dreamsocket::testing::{Frame, advance, settle};
use dreamsocket::{Action, Closed, Config, Connection, Message, Selector, continue_connection};
use tokio::time::Instant;

use crate::logs;
use crate::stage::{Act, ECHO, HOLD_AND_ECHO, Stage, act};

const SECOND: Duration = Duration::from_secs(1);
const READ_AHEAD: usize = 16 * 1024;

#[tokio::test(start_paused = true)]
async fn l3_one_handler_at_a_time() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    const CHECK: Act = act!(|_, _, connection, _| {
        assert_eq!(RUNNING.fetch_add(1, Ordering::Relaxed), 0);
        connection.send_text("begun").await?;
        tokio::time::sleep(SECOND).await;
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        Ok(continue_connection())
    });
    let selector = Selector::every(SECOND / 3, "tick".to_owned());
    let (mut client, stage) = Stage::new(CHECK).with_selector(selector).connect();
    for _ in 0..10 {
        client.send_text("message").await;
    }
    advance(30 * SECOND).await;
    let seen = stage.seen();
    assert!(seen.iter().filter(|line| *line == "message").count() == 10);
    assert!(seen.iter().filter(|line| *line == "custom tick").count() > 10);
    assert!(!client.is_ended());
}

#[tokio::test(start_paused = true)]
async fn l3_pings_are_answered_in_order_while_a_handler_runs() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).connect();
    client.send_text("hold").await;
    for number in 0..64 {
        client.ping(number.to_string()).await;
    }
    for number in 0..64 {
        client.expect_pong(number.to_string()).await;
    }
    client.send_text("after").await;
    client.expect_nothing().await;
    stage.release();
    client.expect_text("hold").await;
    client.expect_text("after").await;
}

#[tokio::test(start_paused = true)]
async fn l3_what_was_read_ahead_and_is_handled_makes_room() {
    const HOLD: Act = act!(|_, _, _, stage| {
        stage.hold().await;
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(HOLD).connect();
    client.send_text("").await;
    let sizes = [0, 10 * 1024, 5 * 1024];
    client
        .send(sizes.map(|size| Frame::text("x".repeat(size))))
        .await;
    for number in 0..3 {
        stage.release();
        settle().await;
        client.ping(number.to_string()).await;
        client.expect_pong(number.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn s2_pings_that_came_together_are_answered_together() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    settle().await;
    let before = client.traffic().writes;
    client.send((0..20).map(|_| Frame::ping("?"))).await;
    for _ in 0..20 {
        client.expect_pong("?").await;
    }
    assert_eq!(client.traffic().writes - before, 1);
}

#[tokio::test(start_paused = true)]
async fn l3_a_handler_of_five_seconds_under_pings_and_the_heartbeat() {
    const SLOW: Act = act!(|_, message, connection, _| {
        if let Message::Text(text) = message {
            tokio::time::sleep(5 * SECOND).await;
            connection.send_text(text).await?;
        }
        Ok(continue_connection())
    });
    let config = Config::default().with_heartbeat(Some(SECOND));
    let (mut client, _stage) = Stage::new(SLOW).with_config(config).connect();
    let begin = Instant::now();
    client.send_text("work").await;
    client.ping("from the peer").await;
    client.expect_pong("from the peer").await;
    for _ in 0..4 {
        client.expect_ping().await;
    }
    client.expect_text("work").await;
    assert_eq!(begin.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn l3_what_a_handler_sends_is_flushed_while_it_waits() {
    const SEND_AND_HOLD: Act = act!(|_, _, connection, stage| {
        connection.send_text("before").await?;
        stage.hold().await;
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(SEND_AND_HOLD).connect();
    client.send_text("go").await;
    client.expect_text("before").await;
    client.connection().send_text("from outside").await.unwrap();
    client.expect_text("from outside").await;
    stage.release();
}

#[tokio::test(start_paused = true)]
async fn l3_at_most_one_read_buffer_is_read_ahead() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO)
        .with(|builder| builder.with_buffer(1024))
        .connect();
    client.send_text("hold").await;
    let before = client.traffic().bytes_read;
    for _ in 0..100 {
        client.send_binary(vec![0; 1000]).await;
    }
    let ahead = client.traffic().bytes_read - before;
    assert!(ahead <= READ_AHEAD, "{ahead}");
    assert!(ahead > READ_AHEAD - 2048, "{ahead}");
    stage.release();
    client.expect_text("hold").await;
    settle().await;
    assert_eq!(stage.messages().len(), 101);
    assert_eq!(client.unsent_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn l3_a_large_message_does_not_make_the_read_ahead_larger() {
    let (mut client, _stage) = Stage::new(HOLD_AND_ECHO)
        .with(|builder| builder.with_buffer(4 * 1024 * 1024))
        .connect();
    // The buffer grows for the large message; what stands behind it may not fill what is left of that.
    let mut frames = vec![Frame::binary(vec![0; 700_000]), Frame::text("hold")];
    frames.extend((0..1_000).map(|_| Frame::binary(vec![0; 1_000])));
    let large = 700_014 + 10;
    client.send(frames).await;
    let ahead = client.traffic().bytes_read - large;
    assert!(ahead <= 2 * READ_AHEAD, "{ahead}");
}

#[tokio::test(start_paused = true)]
async fn l3_a_large_message_streams_in_through_a_small_transport() {
    let (mut client, _stage) = Stage::new(ECHO)
        .with(|builder| builder.with_buffer(1000))
        .connect();
    let text = "x".repeat(1024 * 1024);
    client.send_text(&text).await;
    client.expect_text(&text).await;
}

#[tokio::test(start_paused = true)]
async fn l3_what_lies_behind_a_full_read_ahead_is_seen_when_there_is_room() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO)
        .with(|builder| builder.with_buffer(256))
        .connect();
    client.send_text("hold").await;
    for _ in 0..20 {
        client.send_binary(vec![0; 1000]).await;
    }
    client.ping("behind").await;
    client.close(1000, "").await;
    client.expect_nothing().await;
    assert!(!client.connection().is_closed());
    stage.release();
    client.expect_text("hold").await;
    client.expect_pong("behind").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(stage.seen().len(), 1 + 21 + 1 + 1);
}

#[tokio::test(start_paused = true)]
async fn l3_a_write_error_is_seen_behind_a_full_read_ahead() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO)
        .with(|builder| builder.with_buffer(256))
        .connect();
    client.send_text("hold").await;
    for _ in 0..20 {
        client.send_binary(vec![0; 1000]).await;
    }
    client.vanish().await;
    assert!(!client.connection().is_closed());
    client.connection().send_text("into nothing").await.unwrap();
    settle().await;
    // Over HTTP/2 the first write meets the reset that the second one sees, as over TCP.
    let _ = client.connection().send_text("once more").await;
    settle().await;
    client.connection().closed().await;
    stage.release();
    client.ended().await;
    let seen = stage.seen();
    assert_eq!(
        seen.last().unwrap().split_once(',').unwrap().1,
        " closed 1006 lost unclean"
    );
}

#[tokio::test(start_paused = true)]
async fn l3_a_peer_that_is_gone_does_not_cancel_a_handler() {
    const WAIT: Act = act!(|_, message, connection, stage| {
        if let Message::Text(_) = message {
            connection.closed().await;
            stage.note("closed() resolved");
            tokio::time::sleep(10 * SECOND).await;
            stage.note("done");
        }
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(WAIT).connect();
    client.send_text("go").await;
    let begin = Instant::now();
    client.vanish().await;
    client.ended().await;
    assert_eq!(begin.elapsed(), 10 * SECOND);
    assert_eq!(
        stage.messages(),
        [
            "go",
            "closed() resolved",
            "done",
            "closed 1006 lost unclean"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn l3_closed_resolves_as_soon_as_sends_fail() {
    const WATCH: Act = act!(|_, message, connection, stage| {
        if let Message::Text(_) = message {
            connection.closed().await;
            let sent = connection.send_text("too late").await;
            stage.note(format!("{sent:?}"));
        }
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(WATCH).connect();
    client.send_text("go").await;
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(
        stage.messages(),
        ["go", "Err(SocketClosed)", "closed 1000 peer clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l3_a_handler_that_never_returns_is_cut_after_sixty_seconds() {
    struct Tell(Arc<AtomicUsize>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    async fn on_init(_: &Connection, _: &Arc<AtomicUsize>) -> (u32, Option<Selector>) {
        (0, None)
    }
    async fn on_message(
        state: &mut u32,
        message: Message,
        _: &Connection,
        dropped: &Arc<AtomicUsize>,
    ) -> Action {
        assert!(!matches!(message, Message::ConnectionClosed(_)));
        let _tell = Tell(Arc::clone(dropped));
        *state = 7;
        std::future::pending().await
    }
    async fn on_close(state: u32, closed: Closed, _: &Arc<AtomicUsize>) {
        assert_eq!((state, closed.code), (7, 1011.into()));
        assert_eq!(closed.cause, dreamsocket::Cause::TimedOut);
    }
    let logs = logs::capture();
    let dropped = Arc::default();
    let mut client = crate::builder().connect(Arc::clone(&dropped), on_init, on_message, on_close);
    client.send_text("go").await;
    advance(Duration::from_millis(59_999)).await;
    client.expect_nothing().await;
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    advance(Duration::from_millis(1)).await;
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    client.expect_closed(1011).await;
    client.ended().await;
    assert_eq!(logs.loud().len(), 1, "{:?}", logs.loud());
}

#[tokio::test(start_paused = true)]
async fn l3_each_message_has_the_handler_time_for_itself() {
    const SLOW: Act = act!(|_, _, connection, _| {
        tokio::time::sleep(40 * SECOND).await;
        connection.send_text("done").await?;
        Ok(continue_connection())
    });
    let (mut client, _stage) = Stage::new(SLOW).connect();
    client.send_text("one").await;
    client.send_text("two").await;
    client.expect_text("done").await;
    client.expect_text("done").await;
}

#[tokio::test(start_paused = true)]
async fn l3_without_a_handler_timeout_a_handler_may_take_for_ever() {
    let config = Config::default().with_handler_timeout(None);
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).with_config(config).connect();
    client.send_text("hold").await;
    advance(3_600 * SECOND).await;
    client.expect_nothing().await;
    stage.release();
    client.expect_text("hold").await;
}

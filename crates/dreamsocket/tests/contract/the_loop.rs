//! L1–L4 and L10: in what order and when handlers run, and what the session does meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dreamsocket::testing::{self, Frame, advance, settle};
use dreamsocket::{
    Action, Closed, Config, Connection, Hub, Message, Selector, SendError, continue_connection,
    stop_connection,
};
use tokio::time::Instant;

use crate::logs;
use crate::stage::{Act, ECHO, HOLD_AND_ECHO, IGNORE, Stage, act, always, block};

const SECOND: Duration = Duration::from_secs(1);
const READ_AHEAD: usize = 16 * 1024;

// ---- L1

#[tokio::test(start_paused = true)]
async fn l1_messages_that_came_early_wait_for_on_init() {
    let (mut client, stage) = Stage::new(ECHO)
        .with(|builder| builder.with_early([Frame::text("with the request")]))
        .with_init_time(SECOND)
        .connect();
    client.send_text("during on_init").await;
    client.expect_nothing().await;
    assert!(stage.seen().is_empty());
    advance(SECOND).await;
    client.expect_text("with the request").await;
    client.expect_text("during on_init").await;
    assert_eq!(stage.seen(), ["init", "with the request", "during on_init"]);
}

#[tokio::test(start_paused = true)]
async fn l1_a_frame_that_came_in_part_with_the_request_is_whole_in_the_end() {
    for at in 1..Frame::text("hello").to_bytes().len() {
        let bytes = Frame::text("hello").to_bytes();
        let (mut client, _stage) = Stage::new(ECHO).connect();
        client.send_raw(&bytes[..at]).await;
        client.send_raw(&bytes[at..]).await;
        client.expect_text("hello").await;
    }
}

#[tokio::test(start_paused = true)]
async fn l1_pings_are_answered_while_on_init_runs() {
    let (mut client, _stage) = Stage::new(ECHO).with_init_time(5 * SECOND).connect();
    client.ping("1").await;
    client.expect_pong("1").await;
    assert_eq!(client.connection().buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn l1_on_init_that_never_returns_is_cut_after_ten_seconds_and_nothing_else_runs() {
    let logs = logs::capture();
    let (mut client, stage) = Stage::new(ECHO).with_init_time(1_000 * SECOND).connect();
    client.send_text("too early").await;
    advance(Duration::from_millis(9_999)).await;
    client.expect_nothing().await;
    advance(Duration::from_millis(1)).await;
    client.expect_closed(1011).await;
    client.ended().await;
    assert!(stage.seen().is_empty());
    assert_eq!(logs.loud().len(), 1, "{:?}", logs.loud());
}

#[tokio::test(start_paused = true)]
async fn l1_a_peer_that_closes_during_on_init_gets_its_answer_at_once() {
    let (mut client, stage) = Stage::new(ECHO).with_init_time(5 * SECOND).connect();
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    assert!(stage.seen().is_empty());
    client.ended().await;
    assert_eq!(
        stage.seen(),
        [
            "init",
            "closed 1000 peer clean",
            "on_close 1, closed 1000 peer clean"
        ]
    );
}

// ---- L2

/// Does what the text says.
const OBEY: Act = act!(|_, message, connection, stage| match message {
    Message::Text(text) => match &*text {
        "stop" => Ok(stop_connection()),
        "fail" => Err("no luck".into()),
        "panic" => panic!("on purpose"),
        "sleep" => {
            tokio::time::sleep(100 * SECOND).await;
            Ok(continue_connection())
        }
        "close" => {
            connection.close(4000, "enough").await?;
            Ok(continue_connection())
        }
        "flood" => {
            while connection.send_binary(vec![0; 60_000]).await.is_ok() {}
            stage.note("refused");
            Ok(continue_connection())
        }
        _ => Ok(continue_connection()),
    },
    _ => Ok(continue_connection()),
});

#[tokio::test(start_paused = true)]
async fn l2_on_close_runs_once_with_the_last_state_whatever_ended_the_connection() {
    let check = async |text: &str, code: u16, expected: &str| {
        let (mut client, stage) = Stage::new(OBEY).connect();
        client.send_text("first").await;
        client.send_text(text).await;
        client.expect_closed(code).await;
        client.ended().await;
        let mut seen = stage.seen();
        seen.retain(|line| line.starts_with("on_close"));
        assert_eq!(seen, [format!("on_close {expected}")], "{text}");
    };
    check("stop", 1000, "2, closed 1000 stopped clean").await;
    check("fail", 1011, "2, closed 1011 failed clean").await;
    check("panic", 1011, "2, closed 1011 panicked clean").await;
    check("sleep", 1011, "2, closed 1011 timed out clean").await;
    // These are told of the end, which is one message more.
    check("close", 4000, "3, closed 4000 stopped clean").await;
}

#[tokio::test(start_paused = true)]
async fn l2_on_close_runs_once_whatever_the_peer_did() {
    async fn check<F: Future<Output = testing::Client>>(
        misbehave: impl FnOnce(testing::Client) -> F,
        expected: &str,
    ) {
        let (mut client, stage) = Stage::new(ECHO).connect();
        client.send_text("first").await;
        client.expect_text("first").await;
        let mut client = misbehave(client).await;
        client.ended().await;
        assert_eq!(
            stage.seen(),
            [
                "init".to_owned(),
                "first".to_owned(),
                expected.to_owned(),
                format!("on_close 2, {expected}"),
            ]
        );
    }
    let close = |mut client: testing::Client| async move {
        client.close(4001, "bye").await;
        client
    };
    check(close, "closed 4001 peer clean").await;
    let vanish = |mut client: testing::Client| async move {
        client.vanish().await;
        client
    };
    check(vanish, "closed 1006 lost unclean").await;
    let end = |mut client: testing::Client| async move {
        client.shut_down_writing().await;
        client
    };
    check(end, "closed 1006 lost unclean").await;
    let cheat = |mut client: testing::Client| async move {
        client.send([Frame::text("bare").unmasked()]).await;
        client.expect_closed(1002).await;
        client
    };
    check(cheat, "closed 1002 protocol unclean").await;
    let fall_silent = |mut client: testing::Client| async move {
        client.mute();
        client
    };
    check(fall_silent, "closed 1006 lost unclean").await;
}

#[tokio::test(start_paused = true)]
async fn l2_on_close_takes_the_state_alone_or_with_how_it_ended() {
    type Seen = std::sync::Mutex<Vec<String>>;
    async fn on_init(_: &Connection, _: &Arc<Seen>) -> (&'static str, Option<Selector>) {
        ("state", None)
    }
    async fn on_message(_: &mut &str, _: Message, _: &Connection, _: &Arc<Seen>) -> Action {
        stop_connection()
    }
    async fn plain(state: &str, seen: &Arc<Seen>) {
        seen.lock().unwrap().push(state.to_owned());
    }
    async fn with_closed(state: &'static str, closed: Closed, seen: &Arc<Seen>) {
        let line = format!("{state} {} {}", closed.code, closed.reason);
        seen.lock().unwrap().push(line);
    }
    let seen: Arc<Seen> = Arc::default();
    let mut client = crate::builder().connect(Arc::clone(&seen), on_init, on_message, plain);
    client.send_text("go").await;
    client.ended().await;
    let mut client = crate::builder().connect(Arc::clone(&seen), on_init, on_message, with_closed);
    client.send_text("go").await;
    client.ended().await;
    assert_eq!(*seen.lock().unwrap(), ["state", "state 1000 "]);
}

#[tokio::test(start_paused = true)]
async fn l2_on_close_runs_after_the_connection_is_closed_or_close_time_is_up() {
    let (mut client, stage) = Stage::new(OBEY).connect();
    client.mute();
    client.send_text("stop").await;
    client.expect_closed(1000).await;
    advance(Duration::from_millis(4_999)).await;
    assert_eq!(stage.seen(), ["init", "stop"]);
    advance(Duration::from_millis(1)).await;
    assert_eq!(stage.seen(), ["on_close 1, closed 1000 stopped unclean"]);
    assert!(client.is_ended());
}

#[tokio::test(start_paused = true)]
async fn l2_on_close_is_cut_after_close_time() {
    let logs = logs::capture();
    let (mut client, stage) = Stage::new(OBEY)
        .with_on_close_time(1_000 * SECOND)
        .connect();
    client.send_text("stop").await;
    client.expect_closed(1000).await;
    assert_eq!(stage.seen().len(), 3);
    advance(Duration::from_millis(4_999)).await;
    assert!(!client.is_ended());
    advance(Duration::from_millis(1)).await;
    assert!(client.is_ended());
    client.ended().await;
    assert!(stage.seen().is_empty());
    assert_eq!(logs.loud().len(), 1, "{:?}", logs.loud());
}

#[tokio::test(start_paused = true)]
async fn l2_neither_handler_timeout_nor_the_end_of_a_drain_touch_on_close() {
    let config = Config::default()
        .with_handler_timeout(Some(SECOND))
        .with_drain_time(SECOND);
    let hub = Hub::new(config);
    let (mut client, stage) = Stage::new(OBEY)
        .with_hub(&hub)
        .with_on_close_time(4 * SECOND)
        .connect();
    hub.drain();
    client.expect_closed(1001).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        [
            "init",
            "closed 1001 drained clean",
            "on_close 1, closed 1001 drained clean",
            "on_close is done"
        ]
    );
    assert_eq!(hub.drained().await.clean, 1);
}

#[tokio::test(start_paused = true)]
async fn l2_a_drain_whose_time_is_up_cuts_the_handler_and_still_runs_on_close() {
    let hub = Hub::new(Config::default());
    let (mut client, stage) = Stage::new(OBEY).with_hub(&hub).connect();
    client.send_text("sleep").await;
    hub.drain();
    client.expect_closed(1001).await;
    advance(Duration::from_millis(9_999)).await;
    assert!(!client.is_ended());
    advance(Duration::from_millis(1)).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        ["init", "sleep", "on_close 1, closed 1001 drained clean"]
    );
    assert_eq!(hub.drained().await.cut, 1);
}

#[tokio::test(start_paused = true)]
async fn l2_on_close_runs_after_connection_closed_was_cut() {
    const HANG: Act = act!(|_, message, _, _| {
        if let Message::ConnectionClosed(_) = message {
            std::future::pending::<()>().await;
        }
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(HANG).connect();
    let begin = Instant::now();
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(begin.elapsed(), 60 * SECOND);
    assert_eq!(
        stage.seen(),
        [
            "init",
            "closed 1000 peer clean",
            "on_close 1, closed 1000 peer clean"
        ]
    );
}

// ---- L3

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

// ---- L4

#[tokio::test(start_paused = true)]
async fn l4_messages_arrive_in_order_however_they_are_cut() {
    let frames = [
        Frame::text("one"),
        Frame::text("tw").unfinished(),
        Frame::ping("between"),
        Frame::continuation("o"),
        Frame::binary(vec![3; 300]),
        Frame::text("four"),
    ];
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
    for at in 1..bytes.len() {
        let (mut client, stage) = Stage::new(ECHO).connect();
        client.send_raw(&bytes[..at]).await;
        client.send_raw(&bytes[at..]).await;
        assert_eq!(
            stage.messages(),
            ["one", "two", "300 bytes", "four"],
            "{at}"
        );
        client.expect_text("one").await;
    }
    let (mut client, stage) = Stage::new(ECHO).connect();
    for byte in bytes {
        client.send_raw([byte]).await;
    }
    client.expect_text("one").await;
    client.expect_text("two").await;
    client.expect_text("four").await;
    assert_eq!(stage.messages(), ["one", "two", "300 bytes", "four"]);
}

#[tokio::test(start_paused = true)]
async fn l4_a_selector_that_is_always_ready_and_a_peer_that_always_sends_both_get_their_turn() {
    let selector = always((0..2_000).map(|number| number.to_string()));
    let (mut client, stage) = Stage::new(IGNORE).with_selector(selector).connect();
    client.send((0..2_000).map(|_| Frame::text("peer"))).await;
    let messages = stage.messages();
    assert_eq!(messages.len(), 4_000);
    // Within the first half either has about half: nobody waits for the other to be done.
    let peers = messages[..2_000].iter().filter(|line| *line == "peer");
    let peers = peers.count();
    assert!((600..=1_400).contains(&peers), "{peers}");
}

#[tokio::test(start_paused = true)]
async fn l4_a_quiet_selector_is_heard_through_a_peer_that_always_sends() {
    const TELL: Act = act!(|state, message, _, stage| {
        if matches!(message, Message::Custom(_)) {
            stage.note(format!("after {state}"));
        }
        if *state == 100 {
            // A message of the application comes while the peer's are all there already.
            stage.release();
        }
        Ok(continue_connection())
    });
    let (sender, selector) = Selector::channel(1);
    let (mut client, stage) = Stage::new(TELL).with_selector(selector).connect();
    settle().await;
    client.send((0..60).map(|_| Frame::text("x"))).await;
    sender.send("now".to_owned()).await.unwrap();
    client.send((0..1_000).map(|_| Frame::text("x"))).await;
    let seen = stage.seen();
    let after = seen.iter().find(|line| line.starts_with("after")).unwrap();
    let after: u32 = after.strip_prefix("after ").unwrap().parse().unwrap();
    assert!(after <= 60 + 20, "{after}");
}

#[tokio::test(start_paused = true)]
async fn l4_a_busy_connection_does_not_starve_its_neighbours() {
    const MANY: usize = 200_000;
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    let endless = (0..MANY).map(|_| {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        String::new()
    });
    let selector = always(endless);
    async fn on_init(
        _: &Connection,
        selector: &std::sync::Mutex<Option<Selector<String>>>,
    ) -> ((), Option<Selector<String>>) {
        ((), selector.lock().unwrap().take())
    }
    async fn on_message(
        (): &mut (),
        _: Message<String>,
        _: &Connection,
        _: &std::sync::Mutex<Option<Selector<String>>>,
    ) -> Action<String> {
        continue_connection()
    }
    async fn on_close((): (), _: &std::sync::Mutex<Option<Selector<String>>>) {}
    let dependencies = std::sync::Mutex::new(Some(selector));
    let busy = crate::builder().connect(dependencies, on_init, on_message, on_close);
    let (mut client, _stage) = Stage::new(ECHO).connect();
    for _ in 0..10 {
        // Queued at once; not awaited, since that would wait until the busy one has settled.
        drop(client.send_text("hello"));
        client.expect_text("hello").await;
    }
    let taken = TAKEN.load(Ordering::Relaxed);
    assert!(taken < MANY, "the neighbour had to wait for all of {taken}");
    drop(busy);
}

// ---- L10

#[tokio::test(start_paused = true)]
async fn l10_close_and_ping_in_a_handler_do_not_wait_for_the_peer() {
    const CLOSE: Act = act!(|_, message, connection, stage| {
        if let Message::Text(_) = message {
            let begin = Instant::now();
            connection.ping().await?;
            connection.close(4000, "enough").await?;
            connection.closed().await;
            assert!(connection.is_closed());
            let sent = connection.send_text("after").await;
            stage.note(format!("{sent:?} {:?}", begin.elapsed()));
        }
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(CLOSE).connect();
    client.stall();
    client.send_text("go").await;
    assert_eq!(stage.messages(), ["go", "Err(SocketClosed) 0ns"]);
    client.unstall().await;
    client.expect_ping().await;
    let reason = client.expect_closed(4000).await;
    assert_eq!(reason, "enough");
    client.ended().await;
    assert_eq!(stage.messages(), ["closed 4000 stopped clean"]);
}

#[tokio::test(start_paused = true)]
async fn l10_close_from_another_task() {
    let (mut client, stage) = Stage::new(ECHO).connect();
    settle().await;
    let connection = client.connection().clone();
    tokio::spawn(async move {
        connection.send_text("last words").await.unwrap();
        connection.close(4000, "enough").await.unwrap();
        connection.closed().await;
        assert!(matches!(
            connection.send_text("after").await,
            Err(SendError::SocketClosed)
        ));
        // The first close stands.
        connection.close(4001, "again").await.unwrap();
    });
    client.expect_text("last words").await;
    assert_eq!(client.expect_closed(4000).await, "enough");
    client.ended().await;
    assert_eq!(
        stage.seen(),
        [
            "init",
            "closed 4000 stopped clean",
            "on_close 1, closed 4000 stopped clean"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn l10_closed_wakes_whoever_waits_for_it() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    client.stall();
    settle().await;
    let connection = client.connection().clone();
    let waiting = tokio::spawn(async move { connection.closed().await });
    settle().await;
    assert!(!waiting.is_finished());
    client.connection().close(4000, "").await.unwrap();
    settle().await;
    assert!(waiting.is_finished(), "it waits for no answer of the peer");
}

#[tokio::test(start_paused = true)]
async fn l10_close_from_another_task_while_a_handler_runs() {
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).connect();
    client.send_text("hold").await;
    client.send_text("never seen").await;
    client.connection().close(4000, "").await.unwrap();
    client.expect_closed(4000).await;
    stage.release();
    client.ended().await;
    // Its echo was refused, and an error after the close is not the connection's cause.
    assert_eq!(
        stage.seen(),
        ["init", "hold", "on_close 1, closed 4000 stopped clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l10_drained_awaited_in_a_handler_ends_with_the_drain_time() {
    async fn on_init(_: &Connection, _: &Hub) -> ((), Option<Selector>) {
        ((), None)
    }
    async fn on_message((): &mut (), message: Message, _: &Connection, hub: &Hub) -> Action {
        if let Message::Text(_) = message {
            hub.drain();
            hub.drained().await;
        }
        continue_connection()
    }
    async fn on_close((): (), _: &Hub) {}
    let hub = Hub::new(Config::default());
    let mut client =
        crate::builder()
            .with_hub(&hub)
            .connect(hub.clone(), on_init, on_message, on_close);
    let begin = Instant::now();
    client.send_text("go").await;
    client.expect_closed(1001).await;
    client.ended().await;
    assert_eq!(begin.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn every_time_may_be_without_end() {
    let config = Config::default()
        .with_init_timeout(Duration::MAX)
        .with_handler_timeout(Some(Duration::MAX))
        .with_send_timeout(Duration::MAX)
        .with_heartbeat(Some(Duration::MAX))
        .with_close_time(Duration::MAX)
        .with_stall_timeout(Duration::MAX);
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).with_config(config).connect();
    client.send_text("hold").await;
    advance(SECOND).await;
    client.stall();
    for _ in 0..3 {
        client
            .connection()
            .try_send_binary(vec![0; 300_000])
            .unwrap();
    }
    advance(SECOND).await;
    stage.release();
    client.unstall().await;
    for _ in 0..3 {
        client.expect_binary(vec![0; 300_000]).await;
    }
    client.expect_text("hold").await;
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    client.ended().await;
}

#[tokio::test(start_paused = true)]
async fn every_time_may_be_nothing() {
    // Of no use, but nothing spins or panics.
    let config = Config::default()
        .with_init_timeout(Duration::ZERO)
        .with_handler_timeout(Some(Duration::ZERO))
        .with_send_timeout(Duration::ZERO)
        .with_heartbeat(None)
        .with_close_time(Duration::ZERO)
        .with_stall_timeout(Duration::ZERO);
    let (mut client, _stage) = Stage::new(ECHO)
        .with_config(config)
        .with(|builder| builder.with_buffer(10))
        .connect();
    client.stall();
    client.send_text("hello").await;
    client.send_text("hello again").await;
    advance(SECOND).await;
    client.unstall().await;
    client.expect_text("hello").await;
    client.expect_text("hello again").await;
    client.connection().close(1000, "").await.unwrap();
    client.ended().await;

    let config = Config::default().with_heartbeat(Some(Duration::ZERO));
    let (mut client, _stage) = Stage::new(ECHO).with_config(config).connect();
    client.mute();
    client.ended().await;
}

// ---- time

/// Blocks its thread for longer than any bound, and sends, waits or stops if the text says so.
const BLOCK: Act = act!(|_, message, connection, _| {
    let Message::Text(text) = &message else {
        return Ok(continue_connection());
    };
    match text.as_str() {
        "wait" => tokio::time::sleep(SECOND).await,
        _ => block(3_600 * SECOND).await,
    }
    connection.send_text(text.clone()).await?;
    if text == "stop" {
        return Ok(stop_connection());
    }
    Ok(continue_connection())
});

#[tokio::test(start_paused = true)]
async fn a_handler_that_blocked_leaves_the_close_its_time() {
    let (mut client, stage) = Stage::new(BLOCK).connect();
    client.stall();
    client.send_text("stop").await;
    advance(SECOND).await;
    client.unstall().await;
    client.expect_text("stop").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        ["init", "stop", "on_close 1, closed 1000 stopped clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_blocked_leaves_the_next_one_its_time() {
    let (mut client, _stage) = Stage::new(BLOCK).connect();
    client.send(["block", "wait"].map(Frame::text)).await;
    client.expect_text("block").await;
    client.expect_text("wait").await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_blocked_was_not_idle() {
    let config = Config::default().with_idle_timeout(Some(60 * SECOND));
    let (mut client, _stage) = Stage::new(BLOCK).with_config(config).connect();
    client.send_text("block").await;
    client.expect_text("block").await;
    advance(59 * SECOND).await;
    client.send_text("block").await;
    client.expect_text("block").await;
}

#[tokio::test(start_paused = true)]
async fn l2_a_handler_that_blocked_leaves_on_close_its_time() {
    const BLOCK_AT_END: Act = act!(|_, message, _, _| {
        if let Message::ConnectionClosed(_) = message {
            block(3_600 * SECOND).await;
        }
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(BLOCK_AT_END)
        .with_on_close_time(SECOND)
        .connect();
    client.close(1000, "").await;
    client.ended().await;
    assert_eq!(stage.seen().pop().unwrap(), "on_close is done");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_blocked_leaves_the_peer_time_to_read() {
    const FILL: Act = act!(|_, _, connection, _| {
        while connection.try_send_binary(vec![0; 1024]).is_ok() {}
        let connection = connection.clone();
        tokio::spawn(async move { connection.send_binary(vec![0; 1024]).await });
        block(3_600 * SECOND).await;
        Ok(continue_connection())
    });
    let (mut client, _stage) = Stage::new(FILL)
        .with(|builder| builder.with_buffer(4 * 1024))
        .connect();
    client.stall();
    client.send_text("fill").await;
    // As long as the peer has to take something, and a send would wait.
    advance(9 * SECOND).await;
    assert!(!client.connection().is_closed());
}

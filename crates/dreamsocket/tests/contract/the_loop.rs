//! L1, L2 and L4: in what order handlers run, and whose turn it is.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dreamsocket::testing::{self, Frame, advance, settle};
use dreamsocket::{
    Action, Closed, Config, Connection, Hub, Message, Selector, continue_connection,
    stop_connection,
};
use tokio::time::Instant;

use crate::logs;
use crate::stage::{Act, ECHO, IGNORE, Stage, act, always};

const SECOND: Duration = Duration::from_secs(1);

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
async fn l2_a_spread_drain_ends_those_too_whose_turn_came_with_the_end_of_the_drain_time() {
    for spread in [8, 10] {
        let hub = Hub::new(Config::default().with_drain_spread(spread * SECOND));
        let connect = || Stage::new(OBEY).with_hub(&hub).connect();
        let mut stages: Vec<_> = (0..4).map(|_| connect()).collect();
        // The handler of the last one never returns.
        stages[3].0.send_text("sleep").await;
        hub.drain();
        settle().await;
        // As where the process was suspended: nobody has seen the one pass before the other.
        tokio::time::advance(11 * SECOND).await;
        settle().await;
        for (index, (client, stage)) in stages.iter_mut().enumerate() {
            client.expect_closed(1001).await;
            client.ended().await;
            let seen = stage.seen().pop().unwrap();
            let is_told = seen.starts_with("on_close") && seen.contains("closed 1001 drained");
            assert!(is_told, "{index} of {spread} s: {seen}");
        }
        assert_eq!(hub.drained().await.cut, 1);
    }
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

//! L8: a panic, wherever the application's code may panic, ends that connection and nothing else.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use dreamsocket::testing::{self, Client, advance, settle};
use dreamsocket::{
    Action, BoxError, Broadcaster, Cause, ChannelOptions, Closed, CodedTopic, Config, Connection,
    Hub, Message, OnMissed, Prepared, Selector, continue_connection,
    continue_connection_with_selector, stop_connection,
};
use tracing::Level;

use crate::logs;
use crate::stage::{Act, ECHO, Stage, act};

/// The library's panics are the application's: the default hook would only clutter the test's output.
fn quietly() {
    std::panic::set_hook(Box::new(|info| {
        let is_on_purpose = info
            .payload_as_str()
            .is_none_or(|text| text.starts_with("on purpose"));
        if !is_on_purpose {
            eprintln!("{info}");
        }
    }));
}

/// Ends with 1011 towards the peer, and the session's task with it, unharmed.
async fn expect_panicked(mut client: Client) {
    client.expect_closed(1011).await;
    client.ended().await;
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_on_message_ends_one_connection_and_on_close_gets_the_state_as_it_was_left() {
    quietly();
    const PANIC: Act = act!(|state, message, _, _| match message {
        Message::Text(text) if text == "panic" => {
            *state = 42;
            tokio::task::yield_now().await;
            panic!("on purpose: secret");
        }
        _ => Ok(continue_connection()),
    });
    let logs = logs::capture();
    let (mut other, _other_stage) = Stage::new(ECHO).connect();
    let (mut client, stage) = Stage::new(PANIC).connect();
    client.send_text("panic").await;
    client.expect_closed(1011).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        ["init", "panic", "on_close 42, closed 1011 panicked clean"]
    );
    other.send_text("still here").await;
    other.expect_text("still here").await;

    // Place and type in the log, once; the payload only at `debug`.
    let loud = logs.loud();
    assert_eq!(loud.len(), 1, "{loud:?}");
    assert!(loud[0].starts_with("ERROR"), "{loud:?}");
    assert!(loud[0].contains("::stage::on_message"), "{loud:?}");
    assert!(
        loud[0].contains("String") || loud[0].contains("str"),
        "{loud:?}"
    );
    assert!(!loud[0].contains("secret"), "{loud:?}");
    let quiet = logs.at(Level::DEBUG);
    assert!(
        quiet.iter().any(|line| line.contains("secret")),
        "{quiet:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_on_init_runs_nothing_else() {
    quietly();
    async fn on_init(_: &Connection, _: &()) -> ((), Option<Selector>) {
        panic!("on purpose")
    }
    async fn on_message((): &mut (), _: Message, _: &Connection, _: &()) -> Action {
        unreachable!()
    }
    async fn on_close((): (), _: &()) {
        unreachable!()
    }
    let mut client = crate::builder().connect((), on_init, on_message, on_close);
    client.send_text("early").await;
    expect_panicked(client).await;
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_on_connection_closed_still_runs_on_close() {
    quietly();
    const PANIC: Act = act!(|_, message, _, _| {
        if let Message::ConnectionClosed(_) = message {
            panic!("on purpose");
        }
        Ok(continue_connection())
    });
    let logs = logs::capture();
    let (mut client, stage) = Stage::new(PANIC).connect();
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        [
            "init",
            "closed 1000 peer clean",
            "on_close 1, closed 1000 peer clean"
        ]
    );
    assert_eq!(logs.loud().len(), 1, "{:?}", logs.loud());
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_on_close_ends_the_session_as_usual() {
    quietly();
    async fn on_init(_: &Connection, _: &()) -> ((), Option<Selector>) {
        ((), None)
    }
    async fn on_message((): &mut (), _: Message, _: &Connection, _: &()) -> Action {
        stop_connection()
    }
    async fn on_close((): (), _: &()) {
        panic!("on purpose")
    }
    let logs = logs::capture();
    let mut client = crate::builder().connect((), on_init, on_message, on_close);
    client.send_text("stop").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(logs.loud().len(), 1, "{:?}", logs.loud());
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_a_selectors_map_function() {
    quietly();
    let (sender, selector) = Selector::channel(1);
    let selector = selector.map(|_: u32| -> String { panic!("on purpose") });
    let (client, stage) = Stage::new(ECHO).with_selector(selector).connect();
    sender.send(1).await.unwrap();
    expect_panicked(client).await;
    assert_eq!(
        stage.seen(),
        ["init", "on_close 0, closed 1011 panicked clean"]
    );
}

/// A future and a stream that panics when it is dropped, and never does anything else.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("on purpose");
        }
    }
}

impl Future for Bomb {
    type Output = Action;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Action> {
        Poll::Pending
    }
}

impl futures_core::Stream for Bomb {
    type Item = String;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<String>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_while_the_future_is_made() {
    quietly();
    async fn on_init(_: &Connection, _: &Arc<Mutex<u32>>) -> (u32, Option<Selector>) {
        (7, None)
    }
    fn on_message(
        state: &mut u32,
        _: Message,
        _: &Connection,
        _: &Arc<Mutex<u32>>,
    ) -> Ready<Action> {
        *state += 1;
        if *state > 0 {
            panic!("on purpose");
        }
        ready(continue_connection())
    }
    async fn on_close(state: u32, seen: &Arc<Mutex<u32>>) {
        *seen.lock().unwrap() = state;
    }
    let seen: Arc<Mutex<u32>> = Arc::default();
    let mut client = crate::builder().connect(Arc::clone(&seen), on_init, on_message, on_close);
    client.send_text("go").await;
    expect_panicked(client).await;
    assert_eq!(*seen.lock().unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_the_drop_of_a_future_that_is_cut() {
    quietly();
    type Seen = Arc<Mutex<Option<Closed>>>;
    async fn on_init(_: &Connection, _: &Seen) -> ((), Option<Selector>) {
        ((), None)
    }
    fn on_message((): &mut (), _: Message, _: &Connection, _: &Seen) -> Bomb {
        Bomb
    }
    async fn on_close((): (), closed: Closed, seen: &Seen) {
        *seen.lock().unwrap() = Some(closed);
    }
    let seen: Seen = Arc::default();
    let config = Config::default().with_handler_timeout(Some(Duration::from_secs(1)));
    let mut client = crate::builder().with_config(config).connect(
        Arc::clone(&seen),
        on_init,
        on_message,
        on_close,
    );
    client.send_text("go").await;
    advance(Duration::from_secs(1)).await;
    expect_panicked(client).await;
    assert_eq!(seen.lock().unwrap().as_ref().unwrap().code, 1011.into());
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_the_drop_of_a_selector() {
    quietly();
    // Dropped because the connection ends.
    let (mut client, stage) = Stage::new(ECHO)
        .with_selector(Selector::new().select(Bomb))
        .connect();
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(
        stage
            .seen()
            .iter()
            .filter(|line| line.starts_with("on_close"))
            .count(),
        1
    );

    // Dropped because another takes its place.
    const REPLACE: Act = act!(|_, _, _, _| Ok(continue_connection_with_selector(Selector::new())));
    let (mut client, stage) = Stage::new(REPLACE)
        .with_selector(Selector::new().select(Bomb))
        .connect();
    client.send_text("replace").await;
    expect_panicked(client).await;
    assert_eq!(
        stage.seen(),
        ["init", "replace", "on_close 1, closed 1011 panicked clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_the_drop_of_a_selector_that_nobody_wants_any_more() {
    quietly();
    const TOO_LATE: Act = act!(|_, _, _, _| {
        let selector = Selector::new().select(Bomb);
        Ok(continue_connection_with_selector(selector))
    });
    let (mut client, stage) = Stage::new(TOO_LATE).connect();
    client.close(1000, "").await;
    client.expect_closed(1000).await;
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

/// A payload of the application's memory, as [`Bytes::from_owner`] takes it.
struct Payload(usize, Bomb);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &[7; 10_000][..self.0]
    }
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_the_drop_of_a_payload() {
    quietly();
    // Copied beside others, written by reference, and never written.
    for (size, buffer, reads) in [
        (10, 100_000, true),
        (10_000, 100_000, true),
        (10, 1, false),
        (10_000, 1, false),
    ] {
        let (mut client, stage) = Stage::new(ECHO)
            .with(|builder| builder.with_buffer(buffer))
            .connect();
        let connection = client.connection().clone();
        settle().await;
        if !reads {
            client.stall();
            connection.send_text("first").await.unwrap();
            settle().await;
        }
        let payload = bytes::Bytes::from_owner(Payload(size, Bomb));
        connection.send_binary(payload).await.unwrap();
        let closed = tokio::spawn(async move { connection.closed().await });
        settle().await;
        if !reads {
            client.vanish().await;
        }
        let minute = std::time::Duration::from_secs(60);
        tokio::time::timeout(minute, closed)
            .await
            .unwrap_or_else(|_| panic!("{size} {reads}"))
            .unwrap();
        client.ended().await;
        let seen = stage.seen();
        assert!(
            seen.last().unwrap().starts_with("on_close"),
            "{size} {seen:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_the_drop_of_a_payload_that_the_peer_never_took() {
    quietly();
    let (mut client, stage) = Stage::new(ECHO)
        .with(|builder| builder.with_buffer(1))
        .connect();
    settle().await;
    client.stall();
    let connection = client.connection().clone();
    connection.send_text("first").await.unwrap();
    settle().await;
    let payload = bytes::Bytes::from_owner(Payload(10_000, Bomb));
    connection.send_binary(payload).await.unwrap();
    connection.close(1000, "").await.unwrap();
    client.ended().await;
    assert_eq!(
        stage.seen(),
        [
            "init",
            "closed 1000 stopped unclean",
            "on_close 1, closed 1000 stopped unclean"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_while_the_error_is_boxed() {
    quietly();
    struct Odd;
    impl From<Odd> for BoxError {
        fn from(_: Odd) -> Self {
            panic!("on purpose")
        }
    }
    async fn on_init(_: &Connection, _: &Arc<Mutex<u32>>) -> (u32, Option<Selector>) {
        (7, None)
    }
    async fn on_message(
        _: &mut u32,
        _: Message,
        _: &Connection,
        _: &Arc<Mutex<u32>>,
    ) -> Result<Action, Odd> {
        Err(Odd)
    }
    async fn on_close(state: u32, seen: &Arc<Mutex<u32>>) {
        *seen.lock().unwrap() = state;
    }
    let seen: Arc<Mutex<u32>> = Arc::default();
    let mut client = crate::builder().connect(Arc::clone(&seen), on_init, on_message, on_close);
    client.send_text("go").await;
    expect_panicked(client).await;
    assert_eq!(*seen.lock().unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn l8_messages_behind_a_panic_are_dropped() {
    quietly();
    const PANIC: Act = act!(|_, _, _, _| panic!("on purpose"));
    let (mut client, stage) = Stage::new(PANIC).connect();
    client.send(["one", "two"].map(testing::Frame::text)).await;
    client.expect_closed(1011).await;
    settle().await;
    assert_eq!(
        stage.seen(),
        ["init", "one", "on_close 1, closed 1011 panicked clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_whose_payload_panics_when_it_is_dropped() {
    quietly();
    const PANIC: Act = act!(|_, _, _, _| std::panic::panic_any(Bomb));
    let (mut client, stage) = Stage::new(PANIC).connect();
    client.send_text("go").await;
    client.expect_closed(1011).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        ["init", "go", "on_close 1, closed 1011 panicked clean"]
    );
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_while_the_error_is_shown() {
    quietly();
    #[derive(Debug)]
    struct Odd;
    impl std::fmt::Display for Odd {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("on purpose")
        }
    }
    impl std::error::Error for Odd {}
    const FAIL: Act = act!(|_, _, _, _| Err(Odd.into()));
    let _logs = logs::capture();
    let (mut client, stage) = Stage::new(FAIL).connect();
    client.send_text("go").await;
    client.expect_closed(1011).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        ["init", "go", "on_close 1, closed 1011 panicked clean"]
    );
}

/// A message of a topic whose drop panics.
#[derive(Clone)]
struct Charge(#[expect(dead_code, reason = "it is only dropped")] Arc<Bomb>);

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_the_drop_of_what_waits_in_a_forwarded_channel() {
    quietly();
    const STOP: Act = act!(|_, message, _, _| match message {
        Message::Text(_) => Ok(stop_connection()),
        _ => Ok(continue_connection()),
    });
    for how in ["close", "stop", "drain", "peer", "handle", "lag"] {
        let hub = Hub::new(Config::default());
        let (mut client, stage) = Stage::new(STOP)
            .with_hub(&hub)
            .with(|builder| builder.with_buffer(1))
            .connect();
        client.stall();
        let connection = client.connection().clone();
        connection.send_text("first").await.unwrap();
        settle().await;
        // Nothing of it is taken out of the channel, since the peer does not read.
        let topic = CodedTopic::new(Broadcaster::new().topic("bombs"), |_, _| {
            Ok(Prepared::text("bomb"))
        });
        let forward = connection.forward(topic.subscribe(), |_| OnMissed::End);
        let other = Broadcaster::new().topic("other");
        let options = ChannelOptions::new().capacity(1).end_when_full();
        let _other = connection.forward(other.subscribe_with(options), |_| OnMissed::End);
        settle().await;
        for _ in 0..3 {
            topic.topic().publish(Charge(Arc::new(Bomb))).unwrap();
        }
        match how {
            "close" => connection.close(1000, "").await.unwrap(),
            "stop" => client.send_text("stop").await,
            "drain" => hub.drain(),
            "handle" => {
                drop(forward);
                settle().await;
                client.close(1000, "").await;
            }
            "lag" => {
                for _ in 0..2 {
                    other.publish(Prepared::text("too many")).unwrap();
                }
            }
            _ => client.close(1000, "").await,
        }
        settle().await;
        assert_eq!(topic.topic().subscribers(), 0, "{how}");
        client.unstall().await;
        client.expect_text("first").await;
        client.ended().await;
        let seen = stage.seen();
        let ends = seen.iter().filter(|line| line.starts_with("on_close"));
        assert_eq!(ends.count(), 1, "{how}: {seen:?}");
        assert!(seen.last().unwrap().ends_with(" clean"), "{how}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_the_drop_of_the_dependencies() {
    quietly();
    async fn on_init(_: &Connection, _: &Bomb) -> ((), Option<Selector>) {
        ((), None)
    }
    async fn on_message((): &mut (), _: Message, _: &Connection, _: &Bomb) -> Action {
        continue_connection()
    }
    async fn on_close((): (), _: &Bomb) {}
    let hub = Hub::new(Config::default());
    let mut client = testing::Builder::new()
        .with_hub(&hub)
        .connect(Bomb, on_init, on_message, on_close);
    settle().await;
    hub.drain();
    client.expect_closed(1001).await;
    client.ended().await;
    let report = hub.drained().await;
    assert_eq!((report.clean, report.cut), (1, 0));
    assert_eq!(hub.counts().closed(Cause::Drained), 1);
}

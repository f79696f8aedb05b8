//! L10 and time: nothing that a handler awaits on its own connection waits for the peer, and every wait has its time.

use std::time::Duration;

use dreamsocket::testing::{Frame, advance, settle};
use dreamsocket::{
    Action, Config, Connection, Hub, Message, Selector, SendError, continue_connection,
    stop_connection,
};
use tokio::time::Instant;

use crate::stage::{Act, ECHO, HOLD_AND_ECHO, Stage, act, block};

const SECOND: Duration = Duration::from_secs(1);

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
    let timers = Selector::every(Duration::MAX, "never".to_owned())
        .merge(Selector::after(Duration::MAX, "never".to_owned()));
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO)
        .with_config(config)
        .with_selector(timers)
        .connect();
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

//! The kit itself: expectations that do not come true fail, clearly and without hanging.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use dreamsocket::testing::{Client, Frame, PATIENCE, advance};
use tokio::time::Instant;

use crate::stage::{ECHO, IGNORE, Stage};

/// Runs an expectation that has to fail, and returns the message.
async fn failure(expectation: impl Future<Output = ()>) -> String {
    let mut expectation = std::pin::pin!(AssertUnwindSafe(expectation));
    std::panic::set_hook(Box::new(|_| {}));
    let failed = std::future::poll_fn(|context| {
        let poll = AssertUnwindSafe(|| expectation.as_mut().poll(context));
        match std::panic::catch_unwind(poll) {
            Ok(polled) => polled.map(|()| None),
            Err(payload) => std::task::Poll::Ready(Some(payload)),
        }
    })
    .await;
    let payload = failed.expect("it did not fail");
    *payload.downcast().unwrap()
}

async fn check(expectation: impl AsyncFnOnce(&mut Client), expected: &str) {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    client.send_text("hello").await;
    let message = failure(expectation(&mut client)).await;
    assert!(message.starts_with(expected), "{message}");
    assert!(message.contains("kit.rs:"), "{message}");
    assert!(message.contains("client  -> text \"hello\""), "{message}");
    assert!(message.contains("session -> text \"hello\""), "{message}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_as_expected_fails_with_the_place_and_the_transcript() {
    check(
        async |client| client.expect_text("other").await,
        "expected the text \"other\", got the text \"hello\"",
    )
    .await;
    check(
        async |client| client.expect_binary([0xff]).await,
        "expected the bytes ff, got the text \"hello\"",
    )
    .await;
    check(
        async |client| drop(client.expect_closed(1000).await),
        "expected a close with 1000, got the text \"hello\"",
    )
    .await;
    check(
        async |client| client.expect_nothing().await,
        "expected nothing, got the text \"hello\"",
    )
    .await;
    check(
        async |client| client.expect_pong("x").await,
        "expected the pong \"x\", got the text \"hello\"",
    )
    .await;
    check(
        async |client| drop(client.expect_ping().await),
        "expected a ping, got the text \"hello\"",
    )
    .await;
    check(
        async |client| drop(client.expect_json::<String>().await),
        "expected JSON of a alloc::string::String, which it is not",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_fails_after_a_while_instead_of_hanging() {
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    let begin = Instant::now();
    let message = failure(client.expect_text("never")).await;
    assert!(
        message.starts_with("expected the text \"never\", but nothing came"),
        "{message}"
    );
    let message = failure(client.ended()).await;
    assert!(
        message.starts_with("the session has not ended"),
        "{message}"
    );
    assert_eq!(begin.elapsed(), 2 * PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_closed_sends_no_message() {
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    client.close(1000, "").await;
    let message = failure(async { client.send_text("too late").await }).await;
    assert!(
        message.starts_with("the client has sent its close frame"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn expecting_nothing_passes_over_pings_and_pongs_and_moves_no_clock() {
    let (mut client, _stage) = Stage::new(IGNORE).connect();
    advance(Duration::from_secs(30)).await;
    client.send([Frame::ping("hello")]).await;
    let begin = Instant::now();
    client.expect_nothing().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let transcript = client.transcript();
    assert!(
        transcript.contains("30.000 s  session -> ping"),
        "{transcript}"
    );
    assert!(
        transcript.contains("session -> pong \"hello\""),
        "{transcript}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stalled_client_reads_as_much_as_it_is_told() {
    let (mut client, _stage) = Stage::new(ECHO).connect();
    client.stall();
    client.send_text("hello").await;
    client.stall_after(6).await;
    client.expect_nothing().await;
    client.stall_after(1).await;
    client.expect_text("hello").await;
}

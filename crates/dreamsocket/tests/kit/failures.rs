//! What a test says that fails: where it stands, what was expected, what came instead, and what went before.

use std::time::Duration;

use dreamsocket::testing::{self, Frame, advance};

use crate::app::router;
use crate::failing::failure;

/// The message, with what changes from build to build taken out.
fn held(message: &str) -> String {
    let lines = message.lines().map(|line| match line.split_once("  at ") {
        Some(("", _)) => "  at HERE",
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(start_paused = true)]
async fn a_failing_expectation_shows_what_was_said() {
    let server = testing::serve(router());
    let mut client = server.connect("/chat?user=ada").await;
    client.expect_text("hello ada").await;
    client.send_text("hi").await;
    advance(Duration::from_millis(30_500)).await;
    client
        .send([Frame::text("x".repeat(60)).unfinished()])
        .await;
    client.stall();
    let message = failure(client.expect_text("bye")).await;
    assert!(message.contains("failures.rs:"), "{message}");
    assert_eq!(
        held(&message),
        r#"expected the text "bye", got the text "{\"user\":\"ada\",\"text\":\"hi\"}"
  at HERE
what was sent and received:
      0.000 s  client  -> GET /chat?user=ada
      0.000 s  server  -> 101 Switching Protocols
      0.000 s  session -> text "hello ada"
      0.000 s  client  -> text "hi"
      0.000 s  session -> text "{\"user\":\"ada\",\"text\":\"hi\"}"
     30.000 s  session -> ping 0000000000000001
     30.000 s  client  -> pong, as a reply 0000000000000001
     30.500 s  client  -> text, unfinished "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… (60 bytes)
     30.500 s  client stops reading"#
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_not_expected_shows_the_answer() {
    let server = testing::serve(router());
    let banned = server
        .at("/chat?user=ada")
        .with_header("cookie", "banned=1");
    let message = failure(banned.connect()).await;
    assert!(message.contains("failures.rs:"), "{message}");
    let expected = "the server refused a WebSocket at /chat?user=ada
  at HERE
403 Forbidden
content-type: text/plain; charset=utf-8
x-why: cookie
content-length: 14
";
    let message = held(&message);
    assert!(message.starts_with(expected), "{message}");
    assert!(message.ends_with("\n\nyou are banned"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_was_not_expected_is_a_failure() {
    let server = testing::serve(router());
    let message = failure(server.refused("/chat?user=ada")).await;
    assert_eq!(
        held(&message),
        "the server was to refuse a WebSocket at /chat?user=ada, and has opened it
  at HERE
      0.000 s  client  -> GET /chat?user=ada
      0.000 s  server  -> 101 Switching Protocols
      0.000 s  session -> text \"hello ada\""
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_fails_instead_of_hanging() {
    let server = testing::serve(router());
    let message = failure(server.connect("/never")).await;
    assert_eq!(
        held(&message),
        "the server has not answered within 120s: a WebSocket at /never\n  at HERE"
    );
    let message = failure(server.get("/never")).await;
    assert_eq!(
        held(&message),
        "the server has not answered within 120s: GET /never\n  at HERE"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_drained_takes_nobody() {
    let mut server = testing::serve(router());
    server.drain().await;
    let message = failure(server.connect("/chat?user=ada")).await;
    assert_eq!(
        held(&message),
        "the server takes no connections, since it is drained; asked for a WebSocket at /chat?user=ada\n  at HERE"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_for_says_so() {
    let server = testing::serve(router());
    let message = failure(async { server.at("chat").get().await }).await;
    assert_eq!(message, "a path begins with a slash: chat");
    let message = failure(async { server.at("/a b").get().await }).await;
    assert!(message.starts_with("/a b cannot be requested"), "{message}");
    let message = failure(async { server.at("/").with_header("a b", "c").get().await }).await;
    assert!(message.starts_with("the header \"a b\""), "{message}");
    let offer = server.at("/chat?user=ada").with_subprotocols(["a b"]);
    let message = failure(offer.connect()).await;
    assert!(message.starts_with("this cannot be asked for"), "{message}");
}

#[cfg(feature = "http2")]
#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_for_over_http2_says_so() {
    let server = testing::serve(router());
    let at = || server.at("/chat?user=ada").with_http2();
    for (request, why) in [
        (
            at().with_header("host", "a b"),
            "the host \"a b\" cannot be its `:authority`",
        ),
        (
            at().with_header("host", "a.example")
                .with_header("host", "b.example"),
            "it takes exactly one host",
        ),
        (at().without_header("host"), "it takes exactly one host"),
        (
            at().with_header("upgrade", "websocket"),
            "it has no header `upgrade`",
        ),
        (at().with_header("te", "gzip"), "it has no header `te`"),
    ] {
        let expected = format!("this cannot be asked for over HTTP/2 ({why}):");
        let message = failure(request.clone().connect()).await;
        assert_eq!(
            held(&message),
            format!("{expected} a WebSocket at /chat?user=ada\n  at HERE")
        );
        assert!(message.contains("failures.rs:"), "{message}");
        let message = failure(request.clone().refused()).await;
        assert!(message.starts_with(&expected), "{message}");
        let message = failure(request.clone().get()).await;
        assert!(message.starts_with(&expected), "{message}");
        // It is the test's mistake, and no answer of the server's.
        let message = failure(request.unanswered()).await;
        assert!(message.starts_with(&expected), "{message}");
    }
    // What HTTP/1.1's handshake has and this one does not can be left out, and nothing is missing.
    at().without_header("upgrade").connect().await;
    // What can be said arrives as it is.
    let named = at().with_header("host", "a.example:80");
    named
        .with_header("origin", "http://a.example")
        .connect()
        .await;
}

//! Answers other than 101: their status, headers and body, within bounds.

use std::time::Duration;

use dreamsocket::client::{Connect, ConnectError, Refusal};
use http::StatusCode;

use crate::peer::{Peer, answer_with, listen};
use crate::recorder::Recorder;

fn refused(error: ConnectError) -> Refusal {
    match error {
        ConnectError::Refused(refusal) => *refusal,
        other => panic!("not refused: {other:?}"),
    }
}

async fn refusal_of(response: impl Into<Vec<u8>>) -> Refusal {
    let connect = Connect::new(answer_with(response).await)
        .with_handshake_timeout(Duration::from_millis(500));
    refused(Recorder::new().run(connect).await.unwrap_err())
}

#[tokio::test]
async fn status_headers_and_body_are_told() {
    let refusal =
        refusal_of("HTTP/1.1 403 Forbidden\r\nX-Why: no\r\nContent-Length: 5\r\n\r\nnever").await;
    assert_eq!(refusal.status, StatusCode::FORBIDDEN);
    assert_eq!(refusal.headers["x-why"], "no");
    assert_eq!(
        (&*refusal.body, refusal.is_truncated),
        (&b"never"[..], false)
    );
    assert!(!format!("{refusal:?}").contains("never"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let refusal =
        refusal_of("HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\nContent-Length: 0\r\n\r\n")
            .await;
    assert_eq!(refusal.status, StatusCode::FOUND);
    assert_eq!(refusal.location(), Some("ws://elsewhere/"));
    assert!(!ConnectError::Refused(Box::new(refusal)).is_temporary());
}

#[tokio::test]
async fn a_large_body_is_cut() {
    let body = "x".repeat(100_000);
    let refusal = refusal_of(format!(
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100000\r\n\r\n{body}"
    ))
    .await;
    assert_eq!((refusal.body.len(), refusal.is_truncated), (65_536, true));
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_when_the_time_is_up() {
    let refusal =
        refusal_of("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\nhalf").await;
    assert_eq!((&*refusal.body, refusal.is_truncated), (&b"half"[..], true));
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_cut() {
    let (listener, url) = listen().await;
    let answer = async {
        let mut peer = Peer::accept(&listener).await;
        peer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nhalf")
            .await;
    };
    let recorder = Recorder::new();
    let (error, ()) = tokio::join!(recorder.run(Connect::new(url)), answer);
    let refusal = refused(error.unwrap_err());
    assert_eq!(refusal.status, StatusCode::UNAUTHORIZED);
    assert_eq!((&*refusal.body, refusal.is_truncated), (&b"half"[..], true));
}

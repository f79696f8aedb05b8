//! What keeps a connection from being opened: each thing has its own error, and each phase its own time.

use std::error::Error as _;
use std::time::Duration;

use dreamsocket::client::{Connect, ConnectError, Phase, ResponseError};

use crate::peer::{Peer, answer_with, listen};
use crate::recorder::Recorder;

async fn fail(connect: Connect) -> ConnectError {
    Recorder::new().run(connect).await.unwrap_err()
}

const SOON: Duration = Duration::from_millis(20);

#[tokio::test]
async fn what_is_asked_for_is_checked_before_anything_is_connected() {
    let valid = "ws://127.0.0.1:1/";
    for (connect, line) in [
        (Connect::new("no url"), "the URL is not valid"),
        (
            Connect::new("ftp://localhost/"),
            "no handshake can be made of this: the URI must begin with ws:// or wss://",
        ),
        (
            Connect::new("ws://localhost:99999/"),
            "no handshake can be made of this: the URI's port is not a number up to 65535",
        ),
        (
            Connect::new("ws://localhost/chat#top"),
            "the URL holds a fragment (`#`), which a WebSocket's must not: write `%23` if it belongs to the path",
        ),
        (
            Connect::new("ws://user:secret@localhost/"),
            "the URL holds a user name: send an `Authorization` header instead",
        ),
        (
            Connect::new(valid).with_subprotocols(["a b"]),
            "no handshake can be made of this: each subprotocol must be a token, and there once",
        ),
        (
            Connect::new(valid).with_header("x-a", "line\nbreak"),
            "an extra header has a name or a value that HTTP does not allow",
        ),
        (
            Connect::new(valid).with_header("Sec-WebSocket-Key", "mine"),
            "the header `sec-websocket-key` is the handshake's own",
        ),
        (
            Connect::new(valid).with_header("host", "other"),
            "the header `host` is the handshake's own",
        ),
    ] {
        let error = fail(connect).await;
        assert_eq!(error.to_string(), line);
        assert!(!error.is_temporary());
    }
}

#[test]
fn what_is_asked_for_is_shown_without_its_secrets() {
    let connect = Connect::new("ws://localhost/?token=secret")
        .with_header("authorization", "secret")
        .with_subprotocols(["chat", "bearer.secret"]);
    let shown = format!("{connect:?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("subprotocols: 2"), "{shown}");
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn wss_without_the_feature_names_the_feature() {
    let error = fail(Connect::new("wss://localhost/")).await;
    assert_eq!(
        error.to_string(),
        "`wss://` needs the feature `tls` of dreamsocket"
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let error = fail(Connect::new("ws://no-such-host.invalid/")).await;
    assert!(matches!(error, ConnectError::Dns(_)), "{error:?}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn nobody_listens() {
    let (listener, url) = listen().await;
    drop(listener);
    let error = fail(Connect::new(url)).await;
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
    assert!(error.is_temporary());
}

#[tokio::test]
async fn a_server_that_never_answers() {
    let (listener, url) = listen().await;
    let error = fail(Connect::new(url).with_handshake_timeout(SOON)).await;
    let ConnectError::TimedOut { phase, limit } = error else {
        panic!("{error:?}")
    };
    assert_eq!((phase, limit), (Phase::Handshake, SOON));
    drop(listener);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_that_never_answers_tls_and_one_that_speaks_none() {
    let (listener, url) = listen().await;
    let url = url.replace("ws:", "wss:");
    let error = fail(Connect::new(url.as_str()).with_tls_timeout(SOON)).await;
    assert_eq!(error.to_string(), "the TLS handshake took longer than 20ms");
    assert!(error.is_temporary());

    let plain = async {
        let (_first, _) = listener.accept().await.unwrap();
        let (mut io, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut io, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut io, &mut Vec::new()).await;
    };
    let (error, ()) = tokio::join!(fail(Connect::new(url)), crate::peer::within(plain));
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
    assert!(!error.is_temporary());
}

#[tokio::test]
async fn a_server_that_hangs_up_or_speaks_something_else() {
    let (listener, url) = listen().await;
    let hang_up = async { drop(Peer::accept(&listener).await) };
    let (error, ()) = tokio::join!(fail(Connect::new(url)), hang_up);
    assert!(matches!(error, ConnectError::Http(_)), "{error:?}");
    assert!(error.is_temporary());

    let error = fail(Connect::new(answer_with("SSH-2.0-server\r\n").await)).await;
    assert!(matches!(error, ConnectError::Http(_)), "{error:?}");
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nX-Long: {}",
        "x".repeat(1 << 20)
    );
    let error = fail(Connect::new(answer_with(head).await)).await;
    assert_eq!(
        error.to_string(),
        "the head of the response is larger than 16384 bytes, or has more than 100 headers"
    );
}

async fn check_invalid(connect: fn(String) -> Connect, headers: &'static str, rule: ResponseError) {
    let (listener, url) = listen().await;
    let answer = async {
        let mut peer = Peer::accept(&listener).await;
        peer.switch(headers, b"").await;
        peer.expect_end().await;
    };
    let (error, ()) = tokio::join!(fail(connect(url)), answer);
    let ConnectError::InvalidResponse(broken) = error else {
        panic!("{error:?}")
    };
    assert_eq!(broken, rule);
}

#[tokio::test]
async fn what_was_not_offered_is_refused() {
    check_invalid(
        Connect::new,
        "Sec-WebSocket-Protocol: chat\r\n",
        ResponseError::UnofferedSubprotocol,
    )
    .await;
    check_invalid(
        |url| Connect::new(url).with_subprotocols(["soap"]),
        "Sec-WebSocket-Protocol: chat\r\n",
        ResponseError::UnofferedSubprotocol,
    )
    .await;
    check_invalid(
        Connect::new,
        "Sec-WebSocket-Extensions: x-unknown\r\n",
        ResponseError::UnofferedExtension,
    )
    .await;
}

#[tokio::test]
async fn a_wrong_accept_is_refused() {
    let url = answer_with(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )
    .await;
    let error = fail(Connect::new(url)).await;
    assert!(
        matches!(
            error,
            ConnectError::InvalidResponse(ResponseError::WrongAccept)
        ),
        "{error:?}"
    );
}

//! Interop with tokio-tungstenite in both roles: each kind of message, pings, and both kinds of ends. (What has compression is
//! in `tests/interop`; tungstenite has none.)

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, connect_async};

const PATIENCE: Duration = Duration::from_secs(30);

async fn receive<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut WebSocketStream<S>) -> Message {
    let message = timeout(PATIENCE, peer.next()).await.unwrap();
    message.unwrap().unwrap()
}

/// Has everything echoed: the same whether tungstenite is the client or the server.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut WebSocketStream<S>) {
    for message in [
        Message::text("hello"),
        Message::text("aä€😀 ひらがな"),
        Message::text(""),
        Message::text("long ".repeat(200_000)),
        Message::binary((0..=255).collect::<Vec<u8>>()),
        Message::binary(Bytes::new()),
        Message::binary(vec![7; 1024 * 1024]),
    ] {
        peer.send(message.clone()).await.unwrap();
        assert_eq!(receive(peer).await, message);
    }
    let payload = Bytes::from_static(b"payload");
    peer.send(Message::Ping(payload.clone())).await.unwrap();
    assert_eq!(receive(peer).await, Message::Pong(payload));
    for number in 0..200 {
        peer.feed(Message::text(number.to_string())).await.unwrap();
    }
    peer.flush().await.unwrap();
    for number in 0..200 {
        assert_eq!(receive(peer).await, Message::text(number.to_string()));
    }
}

/// Closes with a code; the same code comes back, and then the end.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut peer: WebSocketStream<S>) {
    let frame = CloseFrame {
        code: 4001.into(),
        reason: "bye".into(),
    };
    peer.close(Some(frame)).await.unwrap();
    let Message::Close(Some(answer)) = receive(&mut peer).await else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(answer.code), 4001);
    assert!(timeout(PATIENCE, peer.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn as_a_client_of_the_echo() {
    let mut echo = Command::new(env!("CARGO_BIN_EXE_echo"))
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(echo.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap();
    let line = line.unwrap().unwrap();
    let address = line.strip_prefix("listening on ").unwrap();
    let url = format!("ws://{address}/echo");
    let connect = async || connect_async(&url).await.unwrap().0;

    let mut peer = connect().await;
    talk(&mut peer).await;
    close(peer).await;

    // One that goes without a word troubles nobody else.
    let mut peer = connect().await;
    peer.send(Message::text("hello")).await.unwrap();
    drop(peer);
    let mut peer = connect().await;
    talk(&mut peer).await;
}

#[tokio::test]
async fn as_a_server_of_echo_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    for (is_clean, expected) in [
        (true, "closed 4001 peer clean"),
        (false, "closed 1006 lost unclean"),
    ] {
        let client = Command::new(env!("CARGO_BIN_EXE_echo-client"))
            .arg(&url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (io, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut peer = accept_async(io).await.unwrap();
        talk(&mut peer).await;
        if is_clean {
            close(peer).await;
        } else {
            drop(peer);
        }
        let output = timeout(PATIENCE, client.wait_with_output()).await.unwrap();
        let output = output.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((said.trim(), output.status.success()), (expected, is_clean));
    }
}

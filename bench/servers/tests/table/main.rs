//! Every server of the table does what the load generator relies on. A peer that is added to the table is checked by that.

mod deflate;
mod raw;
mod running;
mod tls;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::running::{Running, servers, web_sockets_with};

async fn connect(server: &Running, path: &str) -> WebSocketStream<TcpStream> {
    let tcp = TcpStream::connect(&server.address).await.unwrap();
    open(tcp, &format!("ws://{}{path}", server.address)).await
}

async fn open<S: AsyncRead + AsyncWrite + Unpin>(transport: S, url: &str) -> WebSocketStream<S> {
    let opened = tokio_tungstenite::client_async(url, transport).await;
    opened.unwrap_or_else(|error| panic!("{url}: {error}")).0
}

/// The next message, which has to come soon.
async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Message {
    let next = timeout(Duration::from_secs(10), socket.next()).await;
    next.expect("nothing came").expect("it ended").unwrap()
}

/// Sends "start" until `listener` has got it. A handshake is answered before the connection is subscribed.
async fn start(
    speaker: Option<&mut WebSocketStream<TcpStream>>,
    listener: &mut WebSocketStream<TcpStream>,
) {
    let mut speaker = speaker;
    for _ in 0..100 {
        let speaker = speaker.as_deref_mut().unwrap_or(listener);
        speaker.send(Message::text("start")).await.unwrap();
        if timeout(Duration::from_millis(100), listener.next())
            .await
            .is_ok()
        {
            return;
        }
    }
    panic!("nothing came");
}

/// The next message that is not a "start".
async fn next_in_order(socket: &mut WebSocketStream<TcpStream>) -> Message {
    loop {
        let message = next(socket).await;
        if message != Message::text("start") {
            return message;
        }
    }
}

fn numbered(number: u32) -> Message {
    if number.is_multiple_of(2) {
        Message::text(format!("message {number}"))
    } else {
        Message::binary(number.to_be_bytes().repeat(300))
    }
}

async fn check_echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
    for message in [Message::text("a"), Message::binary(vec![7; 1024 * 1024])] {
        socket.send(message.clone()).await.unwrap();
        assert!(next(&mut socket).await == message);
    }
    for number in 0..200 {
        socket.feed(numbered(number)).await.unwrap();
    }
    socket.flush().await.unwrap();
    for number in 0..200 {
        assert_eq!(next(&mut socket).await, numbered(number));
    }
}

#[tokio::test]
async fn echo() {
    for server in web_sockets_with(|_| true) {
        let running = server.start(&[]);
        check_echo(connect(&running, "/echo").await).await;
    }
}

#[tokio::test]
async fn what_is_published_reaches_all_subscribers_in_order() {
    for server in web_sockets_with(|_| true) {
        let running = server.start(&[]);
        check_fan_out(&running, "/sub").await;
        if server.name == "dreamsocket" {
            check_fan_out(&running, "/sub-handled").await;
            check_echo(connect(&running, "/topic").await).await;
        }
    }
}

async fn check_fan_out(running: &Running, path: &str) {
    let mut publisher = connect(running, "/pub").await;
    let mut subscribers = Vec::new();
    for _ in 0..3 {
        let mut subscriber = connect(running, path).await;
        start(Some(&mut publisher), &mut subscriber).await;
        subscribers.push(subscriber);
    }
    // What a subscriber says is ignored.
    subscribers[0].send(Message::text("ignored")).await.unwrap();
    for number in 0..1000 {
        publisher.feed(numbered(number)).await.unwrap();
    }
    publisher.flush().await.unwrap();
    for subscriber in &mut subscribers {
        for number in 0..1000 {
            assert_eq!(next_in_order(subscriber).await, numbered(number));
        }
    }
}

#[tokio::test]
async fn what_is_said_in_a_room_reaches_everybody_in_it_and_nobody_else() {
    for server in web_sockets_with(|_| true) {
        let running = server.start(&[]);
        let mut rooms = Vec::new();
        for room in ["/chat/a", "/chat/a", "/chat/b"] {
            let mut socket = connect(&running, room).await;
            start(None, &mut socket).await;
            rooms.push(socket);
        }
        for number in 0..100 {
            rooms[0].send(numbered(number)).await.unwrap();
        }
        rooms[2].send(Message::text("b")).await.unwrap();
        for member in &mut rooms[..2] {
            for number in 0..100 {
                assert_eq!(next_in_order(member).await, numbered(number));
            }
        }
        assert_eq!(next_in_order(&mut rooms[2]).await, Message::text("b"));
    }
}

#[test]
fn what_is_not_supported_ends_with_status_2() {
    for server in servers() {
        for (is_able, feature, args) in [
            (server.deflate, "deflate", &["--deflate"][..]),
            (
                server.tls,
                "tls",
                &["--tls-cert", "cert.pem", "--tls-key", "key.pem"],
            ),
        ] {
            if is_able {
                continue;
            }
            let output = server.command(args).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let expected = format!("{}: not supported: {feature}\n", server.name);
            assert_eq!((output.status.code(), said), (Some(2), expected));
        }
    }
}

#[test]
fn a_signal_ends_it_well() {
    for server in servers() {
        let running = server.start(&[]);
        assert!(running.terminate().success(), "{}", server.name);
    }
}

//! The small client, against a server that does just what the test says.

use std::time::Duration;

use dreamsocket::client::{Connect, Received, Socket, SocketError};
use dreamsocket::{Cause, Config};

use crate::peer::{CLOSE, PING, PONG, Peer, TEXT, listen, within};

async fn open(config: Config) -> (Socket, Peer) {
    let (listener, url) = listen().await;
    let (socket, peer) = tokio::join!(
        within(Connect::new(url).with_config(config).open()),
        Peer::open(&listener)
    );
    (socket.unwrap(), peer)
}

#[tokio::test]
async fn messages_pings_and_pongs() {
    let (mut socket, mut peer) = open(Config::default()).await;
    socket.send_text("hello").await.unwrap();
    peer.expect(TEXT, b"hello").await;
    socket.ping("are you there").await.unwrap();
    peer.expect(PING, b"are you there").await;
    peer.send(PONG, b"are you there").await;
    peer.send(PING, b"and you").await;
    peer.send(TEXT, b"hi").await;
    for received in [
        Received::Pong("are you there".into()),
        Received::Ping("and you".into()),
        Received::Text("hi".into()),
    ] {
        assert_eq!(within(socket.receive()).await, Some(received));
    }
    peer.expect(PONG, b"and you").await;
    let too_long = socket.ping([0; 126]).await;
    assert_eq!(too_long, Err(SocketError::PingTooLong { got: 126 }));
}

#[tokio::test]
async fn a_query_without_a_path_is_sent() {
    let (listener, url) = listen().await;
    let url = url.replace("/path?query", "?token=abc");
    let (socket, peer) = tokio::join!(within(Socket::connect(url)), Peer::open(&listener));
    socket.unwrap();
    let line = peer.request.lines().next();
    assert_eq!(line, Some("GET /?token=abc HTTP/1.1"));
}

#[tokio::test]
async fn receiving_may_be_given_up_at_any_byte() {
    let (mut socket, mut peer) = open(Config::default()).await;
    let message = crate::peer::frame(TEXT, b"piece by piece");
    for byte in message {
        peer.write(&[byte]).await;
        let given_up = tokio::time::timeout(Duration::from_millis(1), socket.receive()).await;
        if let Ok(received) = given_up {
            assert_eq!(received, Some(Received::Text("piece by piece".into())));
            return;
        }
    }
    let received = within(socket.receive()).await;
    assert_eq!(received, Some(Received::Text("piece by piece".into())));
}

#[tokio::test]
async fn a_close_of_ours_waits_for_the_answer_and_the_end() {
    let (mut socket, mut peer) = open(Config::default()).await;
    assert!(socket.close(1005, "").await.is_err());
    let server = async {
        peer.expect(CLOSE, b"\x0f\xa0done").await;
        peer.send(TEXT, b"too late").await;
        peer.close(4000).await;
        drop(peer);
    };
    let (closed, ()) = tokio::join!(within(socket.close(4000, "done")), server);
    let closed = closed.unwrap();
    assert_eq!((closed.clean, closed.cause), (true, Cause::Stopped));
    assert_eq!(within(socket.receive()).await, None);
    assert_eq!(socket.closed(), Some(&closed));
    assert_eq!(socket.send_text("more").await, Err(SocketError::Closed));
    assert_eq!(
        within(socket.close(1000, "")).await.unwrap(),
        closed,
        "the first stands"
    );
}

#[tokio::test]
async fn a_close_that_is_not_answered_is_bounded() {
    let config = Config::default().with_close_time(Duration::from_millis(20));
    let (mut socket, mut peer) = open(config).await;
    let closed = within(socket.close(1000, "")).await.unwrap();
    assert!(!closed.clean);
    drop(socket);
    peer.expect_close(1000).await;
    assert_eq!(peer.frame().await, None);
}

#[tokio::test]
async fn a_close_of_the_server_is_answered() {
    let (mut socket, mut peer) = open(Config::default()).await;
    peer.send(TEXT, b"last").await;
    peer.close(1001).await;
    let server = async {
        peer.expect(CLOSE, &1001_u16.to_be_bytes()).await;
        drop(peer);
    };
    assert_eq!(
        within(socket.receive()).await,
        Some(Received::Text("last".into()))
    );
    let (end, ()) = tokio::join!(within(socket.receive()), server);
    assert_eq!(end, None);
    let closed = socket.closed().unwrap();
    assert_eq!(
        (closed.code.into(), closed.clean, closed.cause),
        (1001_u16, true, Cause::Peer)
    );
}

#[tokio::test]
async fn a_violation_a_bound_and_a_loss() {
    let (mut socket, mut peer) = open(Config::default().with_max_message(3)).await;
    peer.send(TEXT, b"four").await;
    let server = async {
        peer.expect_close(1009).await;
        assert_eq!(
            peer.frame().await,
            None,
            "the client's writing side is shut"
        );
        drop(peer);
    };
    let (end, ()) = tokio::join!(within(socket.receive()), server);
    assert_eq!((end, socket.closed().unwrap().cause), (None, Cause::Limit));

    let (mut socket, mut peer) = open(Config::default()).await;
    peer.write(b"\x81\x80\0\0\0\0").await;
    let server = async {
        peer.expect_close(1002).await;
        drop(peer);
    };
    let (end, ()) = tokio::join!(within(socket.receive()), server);
    assert_eq!(
        (end, socket.closed().unwrap().cause),
        (None, Cause::Protocol)
    );

    let (mut socket, peer) = open(Config::default()).await;
    drop(peer);
    assert_eq!(within(socket.receive()).await, None);
    let closed = socket.closed().unwrap();
    assert_eq!((closed.code.into(), closed.cause), (1006_u16, Cause::Lost));
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_a_timeout() {
    let config = Config::default().with_send_timeout(Duration::from_millis(20));
    let (mut socket, _peer) = open(config).await;
    // More than the buffers of both sockets hold.
    let sent = within(socket.send_binary(vec![0; 32 * 1024 * 1024])).await;
    assert_eq!(sent, Err(SocketError::Timeout));
}

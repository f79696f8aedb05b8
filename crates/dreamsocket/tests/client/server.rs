//! Against our own server: both sides are the same loop.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::any;
use bytes::Bytes;
use dreamsocket::client::{Connect, Received, connect_websocket};
use dreamsocket::{
    Action, Close, Config, Connection, Hub, Message, Selector, SendError, Server, Upgrade,
    continue_connection, stop_connection_with,
};
use tokio::sync::mpsc;

use crate::peer::{Peer, TEXT, frame, listen, within};
use crate::recorder::Recorder;

async fn echo(request: Request) -> impl IntoResponse {
    Upgrade::new(request)
        .with_subprotocols(["echo.v2", "echo.v1"])
        .run((), on_init, on_message, on_close)
}

async fn on_init(_: &Connection, (): &()) -> ((), Option<Selector>) {
    ((), None)
}

async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    (): &(),
) -> Result<Action, SendError> {
    match message {
        Message::Text(text) if text.as_str() == "bye" => {
            return Ok(stop_connection_with(4001, "bye"));
        }
        Message::Text(text) => connection.send_text(text).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        Message::Custom(_) | Message::Missed(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close((): (), (): &()) {}

/// An echo at `/echo`.
pub(crate) fn router() -> Router {
    Router::new().route("/echo", any(echo))
}

async fn serve() -> (SocketAddr, Hub) {
    let server = Server::new(router()).bind("127.0.0.1:0").await.unwrap();
    let (address, hub) = (server.local_addr(), server.hub().clone());
    tokio::spawn(server.run_until_drained());
    (address, hub)
}

#[tokio::test]
async fn an_echo_and_a_close_by_either_side() {
    let (address, hub) = serve().await;
    let url = format!("ws://{address}/echo");
    let mut recorder = Recorder::new();
    let connected = recorder.run(Connect::new(url.as_str())).await.unwrap();
    recorder.expect("init 0").await;
    assert_eq!(connected.response().status(), 101);
    assert_eq!(connected.connection().peer_addr(), Some(address));
    connected.connection().send_text("hello").await.unwrap();
    recorder.expect("text hello").await;
    connected.stop();
    recorder.expect("closed 1000 stopped clean after 2").await;

    let connected = recorder.run(Connect::new(url)).await.unwrap();
    recorder.expect("init 0").await;
    connected.connection().send_text("bye").await.unwrap();
    recorder.expect("closed 4001 peer clean after 1").await;
    assert_eq!(
        within(connected.ended()).await.closed.reason.as_str(),
        "bye"
    );
    hub.drain();
    assert_eq!(within(hub.drained()).await.cut, 0);
}

#[tokio::test]
async fn dropping_the_handle_ends_nothing() {
    let (address, _hub) = serve().await;
    let mut recorder = Recorder::new();
    let connected = recorder
        .run(Connect::new(format!("http://{address}/echo")))
        .await
        .unwrap();
    let connection = connected.connection();
    drop(connected);
    recorder.expect("init 0").await;
    connection.send_text("still here").await.unwrap();
    recorder.expect("text still here").await;
}

#[tokio::test]
async fn a_servers_drain_is_1001_for_its_clients() {
    let (address, hub) = serve().await;
    let mut recorder = Recorder::new();
    let connect = Connect::new(format!("ws://{address}/echo"));
    let _connected = recorder.run(connect).await.unwrap();
    recorder.expect("init 0").await;
    hub.drain();
    recorder.expect("closed 1001 peer clean after 1").await;
    assert_eq!(within(hub.drained()).await.clean, 1);
}

#[tokio::test]
async fn a_subprotocol_is_agreed_on() {
    let (address, _hub) = serve().await;
    let url = format!("ws://{address}/echo");
    for (offered, chosen) in [
        (&["echo.v1", "echo.v2"][..], Some("echo.v2")),
        (&["other"], None),
        (&[], None),
    ] {
        let connect = Connect::new(url.as_str()).with_subprotocols(offered.iter().copied());
        let connected = Recorder::new().run(connect.clone()).await.unwrap();
        assert_eq!(connected.connection().subprotocol(), chosen);
        let socket = within(connect.open()).await.unwrap();
        assert_eq!(socket.subprotocol(), chosen);
        assert_eq!(socket.peer_addr(), Some(address));
        assert_eq!(socket.compression(), None);
    }
}

#[tokio::test]
async fn a_mebibyte_goes_both_ways() {
    let (address, _hub) = serve().await;
    let mut recorder = Recorder::new();
    let connect = Connect::new(format!("ws://{address}/echo"));
    let connected = recorder.run(connect.clone()).await.unwrap();
    recorder.expect("init 0").await;
    let payload = Bytes::from_iter((0..1024 * 1024).map(|index: u32| (index % 251) as u8));
    connected
        .connection()
        .send_binary(payload.clone())
        .await
        .unwrap();
    recorder.expect("binary 1048576").await;

    let mut socket = within(connect.open()).await.unwrap();
    within(socket.send_binary(&payload)).await.unwrap();
    let received = within(socket.receive()).await;
    assert!(
        received == Some(Received::Binary(payload)),
        "as it was sent"
    );
}

#[tokio::test]
async fn frames_in_the_packet_of_the_101_are_not_lost() {
    for is_socket in [false, true] {
        let (listener, url) = listen().await;
        let server = async {
            let mut peer = Peer::accept(&listener).await;
            let early = [frame(TEXT, b"one"), frame(TEXT, b"two")].concat();
            let (whole, half) = early.split_at(7);
            peer.switch("", whole).await;
            peer.write(half).await;
            peer
        };
        if is_socket {
            let (socket, _peer) = tokio::join!(within(Connect::new(url).open()), server);
            let mut socket = socket.unwrap();
            for text in ["one", "two"] {
                let received = within(socket.receive()).await;
                assert_eq!(received, Some(Received::Text(text.into())));
            }
        } else {
            let mut recorder = Recorder::new();
            let (_connected, _peer) = tokio::join!(recorder.run(Connect::new(url)), server);
            for line in ["init 0", "text one", "text two"] {
                recorder.expect(line).await;
            }
        }
    }
}

#[tokio::test]
async fn extra_headers_are_sent_and_the_target_is_whole() {
    let (listener, url) = listen().await;
    let recorder = Recorder::new();
    let connect = Connect::new(url)
        .with_header("authorization", "Bearer abc")
        .with_header("origin", "http://localhost");
    let (connected, peer) = tokio::join!(recorder.run(connect), Peer::open(&listener));
    assert!(connected.is_ok());
    assert!(
        peer.request.starts_with("GET /path?query HTTP/1.1\r\n"),
        "{}",
        peer.request
    );
    assert_eq!(peer.header("authorization"), Some("Bearer abc"));
    assert_eq!(peer.header("origin"), Some("http://localhost"));
    assert_eq!(peer.header("sec-websocket-version"), Some("13"));
    let host = listener.local_addr().unwrap().to_string();
    assert_eq!(peer.header("host"), Some(&*host));
}

#[tokio::test]
async fn an_on_init_that_fails_closes_and_the_dependencies_are_dropped() {
    async fn failing(
        _: &Connection,
        _: &mpsc::Sender<()>,
    ) -> Result<((), Option<Selector>), Close> {
        Err(Close::new(4002, "not today"))
    }
    async fn unused((): &mut (), _: Message, _: &Connection, _: &mpsc::Sender<()>) -> Action {
        continue_connection()
    }
    async fn never((): (), _: &mpsc::Sender<()>) {
        panic!("there is no state");
    }
    let (address, _hub) = serve().await;
    let (sender, mut dropped) = mpsc::channel(1);
    let url = format!("ws://{address}/echo");
    let connected = within(connect_websocket(url, sender, failing, unused, never))
        .await
        .unwrap();
    let ended = within(connected.ended()).await;
    assert_eq!(u16::from(ended.closed.code), 4002);
    assert_eq!(dropped.recv().await, None);
}

#[tokio::test]
async fn a_hub_that_is_full_lets_no_client_connect() {
    let (address, _hub) = serve().await;
    let hub = Hub::new(Config::default().with_max_connections(1));
    let connect = Connect::new(format!("ws://{address}/echo")).with_hub(&hub);
    let recorder = Recorder::new();
    let connected = recorder.run(connect.clone()).await.unwrap();
    let error = recorder.run(connect.clone()).await.unwrap_err();
    assert!(
        error.to_string().contains("1, `Config::max_connections`"),
        "{error}"
    );
    connected.stop();
    within(connected.ended()).await;
    recorder.run(connect).await.unwrap();
}

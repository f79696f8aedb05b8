//! What a stream of HTTP/2 may cost when its peer does not read, with h2's client, whose windows the test opens by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use dreamsocket::{
    Action, BoxError, Config, Connection, Message, Selector, Server, continue_connection,
    upgrade_websocket,
};
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::Method;
use tokio::net::TcpStream;

use crate::client::{TEXT, masked, within};

const MESSAGE: usize = 64 * 1024;

/// How many messages handlers have sent.
type Sent = Arc<AtomicUsize>;

async fn flood(State(sent): State<Sent>, request: Request) -> Response {
    upgrade_websocket(request, sent, on_init, on_message, on_close)
}

async fn on_init(_: &Connection, _: &Sent) -> ((), Option<Selector>) {
    ((), None)
}

/// Sends without end.
async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    sent: &Sent,
) -> Result<Action, BoxError> {
    if let Message::Text(_) = message {
        loop {
            connection.send_binary(vec![0; MESSAGE]).await?;
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(continue_connection())
}

async fn on_close((): (), _: &Sent) {}

async fn serve(config: Config) -> (std::net::SocketAddr, dreamsocket::Hub, Sent) {
    let sent = Sent::default();
    let router = Router::new()
        .route("/", any(flood))
        .with_state(Arc::clone(&sent));
    let server = Server::new(router)
        .with_config(config)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (address, hub) = (server.local_addr(), server.hub().clone());
    tokio::spawn(server.run_until_drained());
    (address, hub, sent)
}

/// A connection whose streams begin with a window of that size.
async fn connect(address: std::net::SocketAddr, window: u32) -> SendRequest<bytes::Bytes> {
    let io = within(TcpStream::connect(address)).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (requests, connection) = within(builder.handshake(io)).await.unwrap();
    tokio::spawn(connection);
    while !requests.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    within(requests.ready()).await.unwrap()
}

async fn open(requests: &mut SendRequest<bytes::Bytes>) -> (SendStream<bytes::Bytes>, RecvStream) {
    let mut request = http::Request::builder()
        .method(Method::CONNECT)
        .uri("http://localhost/")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    let (response, writing) = requests.send_request(request, false).unwrap();
    let response = within(response).await.unwrap();
    assert_eq!(response.status(), 200);
    (writing, response.into_body())
}

/// What was sent goes no further than the outbox, one batch and the buffers of hyper and h2, each of them bounded.
#[tokio::test]
async fn s1_a_window_that_stays_shut_makes_sends_wait() {
    let outbox = 4 * MESSAGE;
    let config = Config::default()
        .with_outbox(outbox)
        .with_send_timeout(Duration::from_millis(200))
        .with_close_time(Duration::from_secs(60));
    let (address, hub, sent) = serve(config).await;
    let mut requests = connect(address, 0).await;
    let (mut writing, _reading) = open(&mut requests).await;
    writing
        .send_data(masked(TEXT, b"go").into(), false)
        .unwrap();
    let before = sent.load(Ordering::Relaxed);
    assert_eq!(before, 0);
    // The send timeout has come when the number stays: the close frame that follows can't go out either.
    let mut last = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sent.load(Ordering::Relaxed);
        if now == last && now > 0 {
            break;
        }
        last = now;
    }
    // The outbox keeps the charge of what was not written whole; beyond it there is at most one batch and 128 KiB.
    assert!(last * MESSAGE <= outbox + 4 * MESSAGE, "{last} messages");
    assert_eq!(hub.connections(), 1);
}

/// As a socket that is dropped keeps nothing, neither does a stream.
#[tokio::test]
async fn a_stream_that_its_session_has_left_is_reset_if_its_peer_does_not_read() {
    let config = Config::default()
        .with_outbox(MESSAGE)
        .with_send_timeout(Duration::from_millis(50))
        .with_close_time(Duration::from_millis(50));
    let (address, hub, _sent) = serve(config).await;
    let mut requests = connect(address, 0).await;
    let (mut writing, mut reading) = open(&mut requests).await;
    writing
        .send_data(masked(TEXT, b"go").into(), false)
        .unwrap();
    let error = within(reading.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL), "{error}");
    assert_eq!(hub.connections(), 0);
    // The connection goes on.
    let _streams = open(&mut requests).await;
}

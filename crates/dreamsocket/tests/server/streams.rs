//! What a stream of HTTP/2 may cost when its peer does not read, with h2's client, whose windows the test opens by hand.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
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

use crate::client::{BINARY, TEXT, masked, within};

const MESSAGE: usize = 64 * 1024;

/// How many messages handlers have sent.
type Sent = Arc<AtomicUsize>;

async fn flood(State(sent): State<Sent>, request: Request) -> Response {
    upgrade_websocket(request, sent, on_init, on_message, on_close)
}

async fn on_init(_: &Connection, _: &Sent) -> ((), Option<Selector>) {
    ((), None)
}

/// Sends without end, or never comes back.
async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    sent: &Sent,
) -> Result<Action, BoxError> {
    if let Message::Binary(_) = message {
        std::future::pending::<()>().await;
    }
    if let Message::Text(_) = message {
        loop {
            connection.send_binary(vec![0; MESSAGE]).await?;
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(continue_connection())
}

async fn on_close((): (), _: &Sent) {}

/// A body that takes a second.
async fn slow() -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let _ = sender.send(Ok::<_, Infallible>("piece")).await;
        }
    });
    Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

async fn serve(config: Config) -> (std::net::SocketAddr, dreamsocket::Hub, Sent) {
    let sent = Sent::default();
    let router = Router::new()
        .route("/", any(flood))
        .route("/slow", any(slow))
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

/// L3: small messages to handlers that are busy wait, each in a frame of its own. h2 counts them, and would end the
/// connection with all that is on it.
#[tokio::test]
async fn l3_many_small_frames_for_busy_handlers_wait_and_end_nothing() {
    let (address, hub, _sent) = serve(Config::default()).await;
    let mut requests = connect(address, 64 * 1024).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let (mut writing, reading) = open(&mut requests).await;
        let message = bytes::Bytes::from(masked(BINARY, &[0; 10]));
        // As many as its window has room for.
        for _ in 0..64 * 1024 / message.len() {
            writing.send_data(message.clone(), false).unwrap();
        }
        streams.push((writing, reading));
    }
    let (mut writing, mut reading) = open(&mut requests).await;
    writing
        .send_data(masked(TEXT, b"go").into(), false)
        .unwrap();
    within(reading.data()).await.unwrap().unwrap();
    assert_eq!(hub.connections(), 21);
}

/// `head_timeout` is for connections on which nothing is open, and this one is not done.
#[tokio::test]
async fn a_body_that_takes_long_is_sent_to_its_end() {
    let config = Config::default().with_head_timeout(Duration::from_millis(100));
    let (address, ..) = serve(config).await;
    let mut requests = connect(address, 64 * 1024).await;
    let request = http::Request::get("http://localhost/slow")
        .body(())
        .unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let mut body = within(response).await.unwrap().into_body();
    let mut length = 0;
    while let Some(data) = within(body.data()).await {
        let data = data.unwrap();
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(length, 50);
}

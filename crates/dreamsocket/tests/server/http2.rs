//! WebSockets over HTTP/2 (RFC 8441), with the clients of two libraries: hyper's, which opens them as a browser does, and
//! h2's for what needs a hand on the frames. Under `Server`, and where it says so under `axum::serve`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use dreamsocket::{Config, Hub};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::app::{App, LARGE, config, listener, long, router};
use crate::client::{CLOSE, Client, PING, TEXT, masked, within};

/// One HTTP/2 connection.
pub(crate) struct Browser {
    requests: SendRequest<Empty<Bytes>>,
    ended: JoinHandle<hyper::Result<()>>,
}

pub(crate) type Stream = Client<TokioIo<Upgraded>>;

impl Browser {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(64 * 1024)
            .handshake(TokioIo::new(io));
        let (requests, connection) = within(handshake).await.unwrap();
        Self {
            requests,
            ended: tokio::spawn(connection),
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Empty<Bytes>>) -> Response<Incoming> {
        within(self.requests.ready()).await.unwrap();
        within(self.requests.send_request(request)).await.unwrap()
    }

    async fn get(&mut self, path: &str) -> (u16, HeaderMap, String) {
        self.get_from("localhost", path).await
    }

    pub(crate) async fn get_from(&mut self, host: &str, path: &str) -> (u16, HeaderMap, String) {
        let request = Request::builder()
            .uri(format!("http://{host}{path}"))
            .body(Empty::new());
        read(self.send(request.unwrap()).await).await
    }

    pub(crate) async fn open(&mut self, path: &str) -> Stream {
        let response = self.send(connect_request(path, &[])).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.version(), Version::HTTP_2);
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        let upgraded = within(hyper::upgrade::on(response)).await.unwrap();
        Client::new(TokioIo::new(upgraded))
    }
}

/// Extended CONNECT, as RFC 8441 §5.1 has it.
pub(crate) fn connect_request(path: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://localhost{path}"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

pub(crate) async fn read(response: Response<Incoming>) -> (u16, HeaderMap, String) {
    let (parts, body) = response.into_parts();
    let body = within(body.collect()).await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (parts.status.as_u16(), parts.headers, body)
}

#[tokio::test]
async fn u1_extended_connect_opens_a_websocket() {
    let mut app = App::start(config()).await;
    let mut browser = Browser::connect(app.address).await;
    let mut client = browser.open("/").await;
    client.echo("hello").await;
    client.send(PING, b"ping").await;
    let pong = client.frame().await.unwrap();
    assert_eq!((pong.opcode, &*pong.payload), (10, &b"ping"[..]));
    client.send(TEXT, b"address").await;
    let address = client.frame().await.unwrap();
    assert!(address.payload.starts_with(b"127.0.0.1:"), "{address:?}");
    client.send(CLOSE, &1000_u16.to_be_bytes()).await;
    let close = client.frame().await.unwrap();
    assert_eq!((close.opcode, &*close.payload), (CLOSE, &[3, 232][..]));
    // The stream ends with END_STREAM, not with a reset.
    assert_eq!(within(client.io.read(&mut [0; 8])).await.unwrap(), 0);
    assert_eq!(app.note().await, "closed after 2: peer");
}

#[tokio::test]
async fn many_websockets_and_requests_share_a_connection() {
    let mut app = App::start(config()).await;
    let mut browser = Browser::connect(app.address).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(browser.open("/").await);
    }
    assert_eq!(app.hub.connections(), 50);
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(TEXT, format!("{number}").as_bytes()).await;
    }
    let (status, _, body) = browser.get("/hello").await;
    assert_eq!((status, &*body), (200, "hello"));
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect_text(&format!("{number}")).await;
    }
    // One of them ends, the others go on.
    let mut last = clients.pop().unwrap();
    last.send(CLOSE, &[3, 232]).await;
    assert_eq!(last.frame().await.unwrap().opcode, CLOSE);
    assert_eq!(app.note().await, "closed after 1: peer");
    clients[0].echo("still here").await;
}

#[tokio::test]
async fn a_stream_whose_handler_is_busy_holds_up_no_other() {
    let mut app = App::start(long()).await;
    let mut browser = Browser::connect(app.address).await;
    let mut busy = browser.open("/").await;
    busy.send(TEXT, b"wait").await;
    assert_eq!(app.note().await, "waiting");
    // More than is read ahead and than its window holds: the writes wait.
    let message = masked(TEXT, &[b'x'; 100]);
    let (mut reading, mut writing) = tokio::io::split(busy.io);
    let flood = tokio::spawn(async move {
        for _ in 0..5000 {
            writing.write_all(&message).await.unwrap();
        }
    });
    let mut other = browser.open("/").await;
    for _ in 0..20 {
        other.echo("not held up").await;
    }
    assert!(!flood.is_finished(), "the window pushes back");
    app.gate.send(true).unwrap();
    // And then all of it comes back.
    let mut echoed = 0;
    let mut chunk = vec![0; 64 * 1024];
    while echoed < 5000 * 102 {
        let count = within(reading.read(&mut chunk)).await.unwrap();
        assert_ne!(count, 0);
        echoed += count;
    }
    within(flood).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_opens_no_window_holds_up_no_other() {
    let mut app = App::start(long()).await;
    let mut browser = Browser::connect(app.address).await;
    let mut client = browser.open("/").await;
    client.send(TEXT, b"fill").await;
    assert_eq!(app.note().await, "filling");
    // It is never read, so that the handler's send waits; the other stream is served meanwhile.
    let mut other = browser.open("/").await;
    for _ in 0..20 {
        other.echo("not held up").await;
    }
    drop(client);
    assert_eq!(app.note().await, "closed after 1: lost");
}

#[tokio::test]
async fn a_reset_stream_is_a_lost_peer() {
    let mut app = App::start(config()).await;
    let io = TcpStream::connect(app.address).await.unwrap();
    let (mut requests, connection) = within(h2::client::handshake(io)).await.unwrap();
    let driving = tokio::spawn(connection);
    for reason in [h2::Reason::CANCEL, h2::Reason::INTERNAL_ERROR] {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://localhost/")
            .header("sec-websocket-version", "13")
            .body(())
            .unwrap();
        let protocol = h2::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        while !requests.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let (response, mut stream) = requests.send_request(request, false).unwrap();
        let mut response = within(response).await.unwrap();
        assert_eq!(response.status(), 200);
        stream
            .send_data(masked(TEXT, b"hello").into(), false)
            .unwrap();
        let echo = within(response.body_mut().data()).await.unwrap().unwrap();
        assert_eq!(&echo[..], b"\x81\x05hello");
        stream.send_reset(reason);
        assert_eq!(app.note().await, "closed after 1: lost");
    }
    driving.abort();
}

#[tokio::test]
async fn a_drain_sends_1001_on_each_stream_and_then_goaway() {
    let mut app = App::start(long()).await;
    let mut browser = Browser::connect(app.address).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(browser.open("/").await);
    }
    app.hub.drain();
    for client in &mut clients {
        let frame = client.frame().await.expect("a close frame");
        assert_eq!((frame.opcode, &frame.payload[..2]), (CLOSE, &[3, 233][..]));
    }
    // No GOAWAY yet: a request is still answered, a new WebSocket is refused.
    let (status, ..) = browser.get("/hello").await;
    assert_eq!(status, 200);
    let (status, _, line) = read(browser.send(connect_request("/", &[])).await).await;
    assert_eq!(status, 503, "{line}");
    for client in &mut clients {
        client.send(CLOSE, &[3, 233]).await;
        assert_eq!(client.frame().await, None);
    }
    drop(clients);
    // GOAWAY ends the connection, without an error.
    within(browser.ended).await.unwrap().unwrap();
    let report = app.ended().await;
    assert_eq!((report.clean, report.cut), (5, 0));
}

#[tokio::test]
async fn l2_a_drain_whose_time_is_up_ends_streams_too() {
    let mut app = App::start(config()).await;
    let mut browser = Browser::connect(app.address).await;
    let mut client = browser.open("/").await;
    client.send(TEXT, b"hang").await;
    assert_eq!(app.note().await, "hanging");
    let report = app.drain().await;
    assert_eq!((report.clean, report.cut), (0, 1));
    assert_eq!(app.note().await, "closed after 1: drained");
}

#[tokio::test]
async fn u2_what_is_no_websocket_gets_a_status_and_no_headers_of_http1() {
    let app = App::start(config()).await;
    let mut browser = Browser::connect(app.address).await;
    let (status, headers, line) = browser.get("/").await;
    assert_eq!(
        (status, &headers["allow"]),
        (405, &"CONNECT".parse().unwrap())
    );
    assert_eq!(line, "a WebSocket is opened with CONNECT on HTTP/2\n");

    let mut request = connect_request("/", &[]);
    request.headers_mut().clear();
    let (status, headers, line) = read(browser.send(request).await).await;
    assert_eq!(
        (status, &headers["sec-websocket-version"]),
        (400, &"13".parse().unwrap())
    );
    assert!(!headers.contains_key("upgrade") && !headers.contains_key("connection"));
    assert!(line.contains("Sec-WebSocket-Version"), "{line}");

    let mut request = connect_request("/", &[]);
    request
        .extensions_mut()
        .insert(Protocol::from_static("telnet"));
    let (status, _, line) = read(browser.send(request).await).await;
    assert_eq!(status, 501, "{line}");

    let bad = [("sec-websocket-protocol", "a b")];
    let (status, _, line) = read(browser.send(connect_request("/", &bad)).await).await;
    assert_eq!(status, 400, "{line}");
}

#[tokio::test]
async fn u3_a_foreign_origin_is_refused_by_the_authority() {
    let app = App::start(config()).await;
    let mut browser = Browser::connect(app.address).await;
    for (origin, expected) in [
        ("http://localhost", 200),
        ("http://localhost:80", 200),
        ("http://localhost:81", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        // What `Host` says does not count beside `:authority`.
        let headers = [("origin", origin), ("host", "evil.example")];
        let response = browser.send(connect_request("/", &headers)).await;
        assert_eq!(response.status(), expected, "{origin}");
    }
}

#[tokio::test]
async fn under_axums_server_it_is_the_same() {
    let hub = Hub::new(config());
    let (router, mut notes, _gate) = router(&hub);
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(axum::serve(listener, router.layer(hub.layer())).into_future());
    let mut browser = Browser::connect(address).await;
    let mut first = browser.open("/").await;
    let mut second = browser.open("/").await;
    first.echo("one").await;
    second.echo("two").await;
    let foreign = [("origin", "https://evil.example")];
    let response = browser.send(connect_request("/", &foreign)).await;
    assert_eq!(response.status(), 403);
    hub.drain();
    first.expect_close(1001).await;
    second.expect_close(1001).await;
    assert_eq!(
        within(notes.recv()).await.unwrap(),
        "closed after 1: drained"
    );
    serving.abort();
}

/// axum sends GOAWAY at once, which ends no stream that is open.
#[tokio::test]
async fn axums_graceful_shutdown_leaves_streams_their_closing_handshake() {
    let hub = Hub::new(long());
    let (router, mut notes, _gate) = router(&hub);
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let running = tokio::spawn({
        let hub = hub.clone();
        async move {
            let server = axum::serve(listener, router.layer(hub.layer()))
                .with_graceful_shutdown(hub.drain_on_signal());
            hub.run(server).await
        }
    });
    let mut browser = Browser::connect(address).await;
    let mut client = browser.open("/").await;
    client.echo("hello").await;
    hub.drain();
    client.expect_close(1001).await;
    drop(client);
    within(browser.ended).await.unwrap().unwrap();
    let report = within(running).await.unwrap().unwrap();
    assert_eq!((report.clean, report.cut), (1, 0));
    assert_eq!(
        within(notes.recv()).await.unwrap(),
        "closed after 1: drained"
    );
}

#[tokio::test]
async fn what_begins_like_http2_and_is_not_is_refused() {
    let app = App::start(config()).await;
    // As far as it goes it could be either; and then it is a request of HTTP/1.1.
    let mut client = Client::connect(app.address).await;
    for piece in ["P", "RI", " * HTTP/2.0\r\n", "\r\nXX"] {
        client.write(piece.as_bytes()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.status, 400);
    // One that begins with the same letter, piece by piece.
    let mut client = Client::connect(app.address).await;
    for piece in [
        "P",
        "OST /hello HTTP/1.1\r\nHost: localhost\r\n",
        "Content-Length: 0\r\n\r\n",
    ] {
        client.write(piece.as_bytes()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.status, 405);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_cut() {
    let config = Config::default().with_head_timeout(Duration::from_millis(50));
    let app = App::start(config).await;
    for said in [&b""[..], b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = Client::connect(app.address).await;
        client.write(said).await;
        let mut rest = Vec::new();
        let _ = within(client.io.read_to_end(&mut rest)).await;
    }
    // Nor is one kept on which nothing is open any more.
    let mut browser = Browser::connect(app.address).await;
    assert_eq!(browser.get("/hello").await.0, 200);
    within(browser.ended).await.unwrap().unwrap();
    // But one with a WebSocket is.
    let mut browser = Browser::connect(app.address).await;
    let mut client = browser.open("/").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.echo("still here").await;
}

#[tokio::test]
async fn many_closing_handshakes_at_once_wait_for_none() {
    let app = App::start(long()).await;
    let mut browser = Browser::connect(app.address).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(browser.open("/").await);
    }
    for client in &mut clients {
        client.send(TEXT, b"hello").await;
        client.send(CLOSE, &[3, 232]).await;
    }
    for client in &mut clients {
        client.expect_text("hello").await;
        assert_eq!(client.frame().await.unwrap().opcode, CLOSE);
        // `close_time` is longer than the patience of this test.
        assert_eq!(client.frame().await, None);
    }
}

#[tokio::test]
async fn a_connection_with_a_request_always_open_is_told_to_go_and_none_fails() {
    let hub = Hub::new(long());
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        "slow"
    };
    let router = axum::Router::new().route("/slow", axum::routing::get(slow));
    let server = dreamsocket::Server::new(router)
        .with_hub(hub.clone())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let browser = Browser::connect(server.local_addr()).await;
    let running = tokio::spawn(server.run_until_drained());
    // As a proxy's connection is: the requests overlap.
    let mut workers = Vec::new();
    for number in 0..3 {
        let mut requests = browser.requests.clone();
        workers.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 7)).await;
            let mut answered = 0;
            // It ends when GOAWAY has come: then there is no more room for requests.
            while requests.ready().await.is_ok() {
                let request = Request::builder().uri("http://localhost/slow");
                let request = request.body(Empty::new()).unwrap();
                match requests.send_request(request).await {
                    Ok(response) => assert_eq!(read(response).await.0, 200),
                    // Sent across the GOAWAY: the client is told that it was not looked at.
                    Err(error) => assert!(error.is_canceled() || is_refused(&error), "{error:?}"),
                }
                answered += 1;
            }
            answered
        }));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    hub.drain();
    // The drain time is longer than the patience of this test.
    within(running).await.unwrap().unwrap();
    for worker in workers {
        assert!(within(worker).await.unwrap() > 0);
    }
    drop(browser);
}

/// RFC 9113 §8.7: the request can be sent again.
fn is_refused(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let error = source.and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| {
        error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM)
    })
}

#[tokio::test]
async fn an_upgrade_by_other_means_is_open_too() {
    let tunnel = async |request: axum::extract::Request| {
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut chunk = [0; 64];
            while let Ok(count @ 1..) = io.read(&mut chunk).await {
                io.write_all(&chunk[..count]).await.unwrap();
            }
        });
        http::StatusCode::OK
    };
    let router = axum::Router::new().route("/", axum::routing::any(tunnel));
    let config = Config::default().with_head_timeout(Duration::from_millis(50));
    let server = dreamsocket::Server::new(router)
        .with_config(config)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut browser = Browser::connect(server.local_addr()).await;
    tokio::spawn(server.run_until_drained());
    let mut stream = browser.open("/").await;
    for _ in 0..10 {
        stream.io.write_all(b"tunnel").await.unwrap();
        let mut back = [0; 6];
        within(stream.io.read_exact(&mut back)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn a_network_that_stalls_for_less_than_the_heartbeat_ends_nothing() {
    // The heartbeat is as it comes: lost after 90 s.
    let app = App::start(Config::default().with_head_timeout(Duration::from_millis(50))).await;
    let (stall, stalled) = tokio::sync::watch::channel(false);
    let proxy = listener().await;
    let address = proxy.local_addr().unwrap();
    let upstream = app.address;
    tokio::spawn(async move {
        let (near, _) = proxy.accept().await.unwrap();
        let far = TcpStream::connect(upstream).await.unwrap();
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        for (mut from, mut to) in [(near_read, far_write), (far_read, near_write)] {
            let mut stalled = stalled.clone();
            tokio::spawn(async move {
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = from.read(&mut chunk).await {
                    stalled.wait_for(|stalled| !stalled).await.unwrap();
                    if to.write_all(&chunk[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let mut browser = Browser::connect(address).await;
    let mut client = browser.open("/").await;
    client.echo("before").await;
    stall.send(true).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stall.send(false).unwrap();
    client.echo("after").await;
}

/// hyper has the whole answer at once, and is done with its body; the connection is not.
#[tokio::test]
async fn a_large_answer_over_a_slow_line_is_not_idle() {
    let app = App::start(long().with_head_timeout(Duration::from_secs(1))).await;
    let mut browser = Browser::connect(app.address).await;
    let request = Request::builder().uri("http://localhost/large");
    let request = request.body(Empty::new()).unwrap();
    let mut body = browser.send(request).await.into_body();
    let mut received = 0;
    while let Some(frame) = within(body.frame()).await {
        received += frame.unwrap().into_data().unwrap().len();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(received, LARGE);
}

//! permessage-deflate through the whole path, over real sockets: what is agreed on, what goes over the wire, and what a
//! peer that means harm gets for it. The codec itself is tested in the protocol crate.

#![expect(clippy::unwrap_used, reason = "a test that cannot connect fails")]

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::BytesMut;
use dreamsocket::{
    Action, Closed, Compression, Config, Connection, Forward, Message, OnMissed, Prepared,
    Selector, SendError, Server, Topic, continue_connection, upgrade_websocket,
};
use dreamsocket_protocol::handshake::{DeflateWish, check_response, client_request};
use dreamsocket_protocol::{DeflateTuning, Engine, Event, Limits, MessageKind, Role};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const KEY: [u8; 16] = *b"sixteen of bytes";

const DEDICATED: DeflateWish = DeflateWish {
    context_takeover: true,
    window_bits: 15,
};

#[derive(Clone)]
struct App {
    topic: Topic<Prepared>,
    closed: Arc<Mutex<Vec<Closed>>>,
}

async fn echo(State(app): State<App>, request: Request) -> Response {
    upgrade_websocket(request, app, on_init, on_message, on_close)
}

async fn on_init(connection: &Connection, app: &App) -> (Forward, Option<Selector>) {
    let forward = connection.forward(app.topic.subscribe(), |_| OnMissed::End);
    (forward, None)
}

async fn on_message(
    _: &mut Forward,
    message: Message,
    connection: &Connection,
    _: &App,
) -> Result<Action, SendError> {
    match message {
        Message::Text(text) => connection.send_text(text).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        _ => {}
    }
    Ok(continue_connection())
}

async fn on_close(_: Forward, closed: Closed, app: &App) {
    app.closed.lock().unwrap().push(closed);
}

/// A server that compresses like this, and what it is made of.
async fn serve(compression: Compression) -> (SocketAddr, App) {
    let app = App {
        topic: dreamsocket::Broadcaster::new().topic("all"),
        closed: Arc::default(),
    };
    let router = Router::new().route("/", any(echo)).with_state(app.clone());
    let config = Config::default().with_compression(compression);
    let server = Server::new(router)
        .with_config(config)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = server.local_addr();
    tokio::spawn(server.run_until_drained());
    (address, app)
}

/// A client that counts the bytes of messages.
struct Client {
    socket: TcpStream,
    engine: Engine,
    buffer: BytesMut,
    received: usize,
}

impl Client {
    /// With the handshake's extensions as they are given; the response's.
    async fn try_connect(address: SocketAddr, extensions: Option<&str>) -> (TcpStream, String) {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = client_request(&"ws://localhost/".parse().unwrap(), KEY, &[], None).unwrap();
        let mut head = "GET / HTTP/1.1\r\n".to_owned();
        for (name, value) in request.headers() {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        if let Some(extensions) = extensions {
            head += &format!("sec-websocket-extensions: {extensions}\r\n");
        }
        socket.write_all((head + "\r\n").as_bytes()).await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.push(socket.read_u8().await.unwrap());
        }
        (socket, String::from_utf8(response).unwrap())
    }

    async fn connect(address: SocketAddr, wish: DeflateWish) -> Self {
        let uri = "ws://localhost/".parse().unwrap();
        let request = client_request(&uri, KEY, &[], Some(wish)).unwrap();
        let offer = request.headers()["sec-websocket-extensions"].to_str();
        let (socket, response) = Self::try_connect(address, Some(offer.unwrap())).await;
        let mut parsed = http::Response::builder().status(101);
        for line in response.lines().skip(1) {
            if let Some((name, value)) = line.split_once(": ") {
                parsed = parsed.header(name, value);
            }
        }
        let checked = check_response(&parsed.body(()).unwrap(), KEY, &[], Some(wish)).unwrap();
        let limits = Limits::new()
            .with_max_message(1 << 30)
            .with_max_frame(1 << 30);
        let engine = Engine::new(Role::Client, limits);
        Self {
            socket,
            engine: match checked.deflate {
                Some(params) => engine.with_deflate(params, DeflateTuning::new()),
                None => engine,
            },
            buffer: BytesMut::new(),
            received: 0,
        }
    }

    /// Sends a text; returns how many bytes went.
    async fn send(&mut self, text: &str) -> usize {
        let mut output = BytesMut::new();
        self.engine
            .encode_message(
                MessageKind::Text,
                text.as_bytes(),
                || [1, 2, 3, 4],
                &mut output,
            )
            .unwrap();
        self.socket.write_all(&output).await.unwrap();
        output.len()
    }

    async fn receive(&mut self) -> Event {
        loop {
            if let Some(event) = self.engine.handle_input(&mut self.buffer) {
                return event;
            }
            let read = self.socket.read_buf(&mut self.buffer);
            let count = tokio::time::timeout(Duration::from_secs(30), read)
                .await
                .unwrap()
                .unwrap();
            assert_ne!(count, 0, "the server has gone");
            self.received += count;
        }
    }

    /// Has a text echoed; returns how many bytes went and came.
    async fn echo(&mut self, text: &str) -> (usize, usize) {
        let before = self.received;
        let sent = self.send(text).await;
        assert_eq!(self.receive().await, Event::Text(text.into()));
        (sent, self.received - before)
    }
}

fn line() -> String {
    (0..20)
        .map(|number| format!("{{\"line\":{number},\"text\":\"hello\"}}"))
        .collect()
}

#[tokio::test]
async fn messages_are_compressed_both_ways_with_shared_compressors() {
    let (address, _) = serve(Compression::shared()).await;
    let mut client = Client::connect(address, DeflateWish::ALONE).await;
    for _ in 0..3 {
        let (sent, received) = client.echo(&line()).await;
        assert!(sent < line().len() / 2 && received < line().len() / 2);
        assert!(received > 20, "nothing of the message before is left");
    }
    // What is shorter than the threshold goes as it is.
    assert_eq!(client.echo("hello").await, (11, 7));
    let large = line().repeat(1000);
    let (sent, received) = client.echo(&large).await;
    assert!(sent < large.len() / 50 && received < large.len() / 50);
}

#[tokio::test]
async fn messages_refer_back_to_earlier_ones_with_dedicated_windows() {
    for bits in [9, 12, 15] {
        let (address, _) = serve(Compression::dedicated(bits)).await;
        let mut client = Client::connect(address, DEDICATED).await;
        // zlib refers at most its window less 262 bytes back.
        let message: String = line().chars().take(200).collect();
        client.echo(&message).await;
        for _ in 0..3 {
            let (sent, received) = client.echo(&message).await;
            assert!(received < 40, "{bits}: {received}");
            assert!(sent < 40, "{bits}: {sent}");
        }
    }
}

#[tokio::test]
async fn what_is_agreed_on_stands_in_the_response() {
    let check = async |compression, offer, expected: Option<&str>| {
        let (address, _) = serve(compression).await;
        let (_, response) = Client::try_connect(address, offer).await;
        assert!(response.starts_with("HTTP/1.1 101"), "{response}");
        let line = response
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-extensions: "));
        assert_eq!(line, expected);
    };
    let offer = Some("permessage-deflate; client_max_window_bits");
    check(Compression::off(), offer, None).await;
    check(Compression::shared(), None, None).await;
    let alone = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    check(Compression::shared(), offer, Some(alone)).await;
    let narrow = "permessage-deflate; server_max_window_bits=11; client_max_window_bits=11";
    check(Compression::dedicated(11), offer, Some(narrow)).await;
    // What zlib can't do is passed over for the next offer; without one, nothing is compressed.
    let eight = "permessage-deflate; server_max_window_bits=8";
    check(Compression::shared(), Some(eight), None).await;
    let fallback = format!("{eight}, permessage-deflate");
    check(
        Compression::dedicated(15),
        Some(&fallback),
        Some("permessage-deflate"),
    )
    .await;
}

#[tokio::test]
async fn u2_extensions_that_are_no_list_are_refused() {
    let (address, _) = serve(Compression::off()).await;
    let (_, response) = Client::try_connect(address, Some("permessage-deflate; =")).await;
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
}

#[tokio::test]
async fn s3_a_prepared_message_fits_every_connection() {
    // One of each kind, each with messages of its own in between.
    let mut clients = Vec::new();
    let mut topics = Vec::new();
    for compression in [
        Compression::off(),
        Compression::shared(),
        Compression::dedicated(15),
        Compression::dedicated(10),
    ] {
        let (address, app) = serve(compression).await;
        clients.push(Client::connect(address, DEDICATED).await);
        topics.push(app.topic);
    }
    let long = line().repeat(10);
    for round in 0..3 {
        for client in &mut clients {
            client.echo(&format!("{round}: {}", line())).await;
        }
        for prepared in [Prepared::text(&*long), Prepared::text("short")] {
            for topic in &topics {
                topic.publish(prepared.clone()).unwrap();
            }
            for client in &mut clients {
                let expected = std::str::from_utf8(prepared.payload()).unwrap();
                assert_eq!(client.receive().await, Event::Text(expected.into()));
            }
        }
    }
    assert!(clients[0].received > 3 * long.len());
    for client in &clients[1..] {
        assert!(client.received < long.len(), "{}", client.received);
    }
}

/// 900 MiB of zeroes in less than a MiB: the same flushed megabyte again and again.
fn bomb() -> Vec<u8> {
    let zeroes = vec![0; 1024 * 1024];
    let mut compressed = Vec::with_capacity(64 * 1024);
    flate2::Compress::new(flate2::Compression::best(), false)
        .compress_vec(&zeroes, &mut compressed, flate2::FlushCompress::Full)
        .unwrap();
    compressed.repeat(900)
}

/// Held by tests that measure the memory of the process.
#[cfg(target_os = "linux")]
static MEASURING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The most memory that this process has ever used, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: usize = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_bomb_costs_its_sender_the_connection_and_the_server_next_to_nothing() {
    let _measuring = MEASURING.lock().await;
    let (address, app) = serve(Compression::shared()).await;
    let mut client = Client::connect(address, DeflateWish::ALONE).await;
    let mut bystander = Client::connect(address, DeflateWish::ALONE).await;
    client.echo(&line()).await;
    bystander.echo(&line()).await;
    let payload = bomb();
    assert!(payload.len() < 1024 * 1024, "{}", payload.len());
    let mut frame = vec![0xc2, 0xff];
    frame.extend((payload.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);

    let before = peak_memory();
    client.socket.write_all(&frame).await.unwrap();
    let Event::Close(close) = client.receive().await else {
        panic!("no close");
    };
    assert_eq!(close.code.map(u16::from), Some(1009));
    bystander.echo(&line()).await;
    // The message as it came, what was inflated of it up to the limit, the buffers between, and what the tests beside this
    // one use: not 900 MiB.
    let grown = peak_memory() - before;
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes");

    drop(client);
    while app.closed.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let closed = app.closed.lock().unwrap()[0].clone();
    assert_eq!(closed.cause, dreamsocket::Cause::Limit);
    assert_eq!(u16::from(closed.code), 1009);
}

/// What this process has resident, in bytes.
#[cfg(target_os = "linux")]
fn resident_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib * 1024
}

/// A whole compressed message of a MiB of zeroes, as a client's frame.
fn inflating_frame() -> Vec<u8> {
    let mut compressed = Vec::with_capacity(64 * 1024);
    flate2::Compress::new(flate2::Compression::best(), false)
        .compress_vec(
            &vec![0; 1024 * 1024],
            &mut compressed,
            flate2::FlushCompress::Sync,
        )
        .unwrap();
    compressed.truncate(compressed.len() - 4);
    let mut frame = vec![0xc2, 0xfe];
    frame.extend(u16::try_from(compressed.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(compressed);
    frame
}

async fn busy(request: Request) -> Response {
    async fn on_init(_: &Connection, (): &()) -> ((), Option<Selector>) {
        ((), None)
    }
    async fn on_message((): &mut (), _: Message, _: &Connection, (): &()) -> Action {
        std::future::pending::<()>().await;
        continue_connection()
    }
    async fn on_close((): (), (): &()) {}
    upgrade_websocket(request, (), on_init, on_message, on_close)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn l3_what_is_read_ahead_of_a_busy_handler_is_bounded_as_inflated() {
    let _measuring = MEASURING.lock().await;
    let app = App {
        topic: dreamsocket::Broadcaster::new().topic("all"),
        closed: Arc::default(),
    };
    let router = Router::new().route("/", any(busy)).with_state(app);
    let config = Config::default().with_compression(Compression::shared());
    let server = Server::new(router)
        .with_config(config)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = server.local_addr();
    tokio::spawn(server.run_until_drained());
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(address, DeflateWish::ALONE).await;
        client.send("go").await;
        clients.push(client);
    }
    let before = resident_memory();
    // Less than what is read ahead, and 15 MiB when it is inflated: for all of them 300 MiB.
    let frames = inflating_frame().repeat(15);
    assert!(frames.len() < 16 * 1024);
    for client in &mut clients {
        client.socket.write_all(&frames).await.unwrap();
    }
    // Everything that is ready runs, on this one thread.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let grown = resident_memory().saturating_sub(before);
    assert!(grown < 20 * 3 * 1024 * 1024, "{grown} bytes");
}

/// The client's side of the same, by the library's own client.
#[cfg(feature = "client")]
mod client {
    use super::*;
    use dreamsocket::client::{Connect, ConnectError, Received, Socket};

    async fn connect(address: SocketAddr, compression: Compression) -> Socket {
        let config = Config::default().with_compression(compression);
        Connect::new(format!("ws://{address}/"))
            .with_config(config)
            .open()
            .await
            .unwrap()
    }

    async fn echo(socket: &mut Socket, text: &str) {
        socket.send_text(text).await.unwrap();
        assert_eq!(socket.receive().await, Some(Received::Text(text.into())));
    }

    #[tokio::test]
    async fn a_client_and_a_server_agree_whatever_each_wants() {
        let all = || {
            [
                Compression::off(),
                Compression::shared(),
                Compression::dedicated(9),
                Compression::dedicated(15),
            ]
        };
        for server in all() {
            let (address, app) = serve(server).await;
            for client in all() {
                let mut socket = connect(address, client).await;
                let is_agreed = server != Compression::off() && client != Compression::off();
                let headers = socket.response().headers();
                assert_eq!(headers.contains_key("sec-websocket-extensions"), is_agreed);
                for round in 0..3 {
                    echo(&mut socket, &line()).await;
                    echo(&mut socket, "short").await;
                    echo(&mut socket, &format!("{round}{}", line().repeat(100))).await;
                    app.topic.publish(Prepared::text(line())).unwrap();
                    let shared = socket.receive().await;
                    assert_eq!(shared, Some(Received::Text(line().into())));
                }
                socket.close(1000, "").await.unwrap();
            }
        }
    }

    /// A server that answers any offer with this.
    async fn answer(extensions: &'static str) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let key = request
                .lines()
                .find_map(|line| line.strip_prefix("sec-websocket-key: "))
                .unwrap();
            let accept = dreamsocket_protocol::handshake::accept_key(key.as_bytes());
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Extensions: {extensions}\r\n\r\n",
                accept.to_str().unwrap()
            );
            socket.write_all(response.as_bytes()).await.unwrap();
            // Until the client goes.
            let _ = socket.read(&mut [0; 64]).await;
        });
        address
    }

    #[tokio::test]
    async fn an_answer_that_is_none_to_the_offer_is_refused() {
        use dreamsocket::client::ResponseError;
        for (compression, answered, expected) in [
            (
                Compression::off(),
                "permessage-deflate",
                ResponseError::UnofferedExtension,
            ),
            (
                Compression::shared(),
                "x-other",
                ResponseError::UnofferedExtension,
            ),
            (
                Compression::shared(),
                "permessage-deflate",
                ResponseError::InvalidExtension,
            ),
            (
                Compression::dedicated(15),
                "permessage-deflate; server_max_window_bits=16",
                ResponseError::InvalidExtension,
            ),
            (
                Compression::dedicated(10),
                "permessage-deflate; server_max_window_bits=15",
                ResponseError::InvalidExtension,
            ),
        ] {
            let address = answer(answered).await;
            let config = Config::default().with_compression(compression);
            let opened = Connect::new(format!("ws://{address}/"))
                .with_config(config)
                .open()
                .await;
            assert!(
                matches!(opened, Err(ConnectError::InvalidResponse(error)) if error == expected),
                "{answered}"
            );
        }
    }
}

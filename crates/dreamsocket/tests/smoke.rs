//! The whole path, from an HTTP request to `on_close`, over real sockets under axum's own server: the same scenario on
//! the fast path (a bare `TcpStream`) and on the generic one (any other hyper IO, here a Unix socket).

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot connect fails"
)]

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, BoxError, Broadcaster, Channel, Config, Connection, Delivery, Hub, Message, Selector,
    Topic, Upgrade, continue_connection, stop_connection,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

struct Dependencies {
    room: Topic<String>,
}

async fn chat(State(room): State<Topic<String>>, request: Request) -> Response {
    let response = Upgrade::new(request)
        .with_subprotocols(["chat.v2", "chat.v1"])
        .run(Dependencies { room }, on_init, on_message, on_close);
    response.map(axum::body::Body::new)
}

async fn on_init(_: &Connection, dependencies: &Dependencies) -> (u32, Option<Selector<String>>) {
    (0, Some(Selector::from(dependencies.room.subscribe())))
}

async fn on_message(
    count: &mut u32,
    message: Message<String>,
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<Action<String>, BoxError> {
    match message {
        Message::Text(text) if text == "stop" => return Ok(stop_connection()),
        Message::Text(text) => {
            *count += 1;
            let by = connection.subprotocol().unwrap_or("nothing");
            dependencies
                .room
                .publish(format!("{count}: {text} by {by}"))?;
        }
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        Message::Custom(text) => connection.send_text(text).await?,
        Message::Missed(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close(count: u32, dependencies: &Dependencies) {
    let _ = dependencies.room.publish(format!("left after {count}"));
}

/// The router, and what is said in its room.
fn app() -> (axum::Router, Channel<String>) {
    let room = Broadcaster::new().topic("lobby");
    let watcher = room.subscribe();
    let app = axum::Router::new()
        .route("/chat", axum::routing::any(chat))
        .with_state(room)
        .layer(Hub::new(Config::default()).layer());
    (app, watcher)
}

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: other, chat.v1\r\nSec-WebSocket-Protocol: chat.v2\r\n\r\n";

/// A client's frame, with a mask.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            frame.push(0xfe);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// A socket, and what has been received on it.
struct Client<S> {
    socket: S,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Reads until `wanted` has come, and forgets everything up to its end.
    async fn expect(&mut self, wanted: &[u8]) {
        loop {
            let mut windows = self.received.windows(wanted.len());
            if let Some(place) = windows.position(|window| window == wanted) {
                self.received.drain(..place + wanted.len());
                return;
            }
            let read = self.socket.read_buf(&mut self.received);
            let count = tokio::time::timeout(Duration::from_secs(30), read)
                .await
                .unwrap()
                .unwrap();
            assert_ne!(count, 0, "{:?}", String::from_utf8_lossy(&self.received));
        }
    }
}

async fn scenario(socket: impl AsyncRead + AsyncWrite + Unpin, mut watcher: Channel<String>) {
    let mut client = Client {
        socket,
        received: Vec::new(),
    };
    // What the original loses: a frame in the packet of the request, and a text behind a ping.
    let mut request = REQUEST.as_bytes().to_vec();
    request.extend(frame(9, b"ping"));
    request.extend(frame(1, b"hello"));
    client.send(&request).await;
    // U1, U4: the server's order of preference decides.
    client.expect(b"HTTP/1.1 101").await;
    client.expect(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n").await;
    client.expect(b"\x8a\x04ping").await;
    client.expect(b"\x81\x131: hello by chat.v2").await;

    // L1, L4: byte by byte, and a message in fragments around a ping.
    for byte in frame(1, b"bytes") {
        client.send(&[byte]).await;
    }
    client.expect(b"2: bytes by chat.v2").await;
    let mut fragments = frame(1, b"frag");
    fragments[0] = 1;
    client.send(&fragments).await;
    client.send(&frame(9, b"between")).await;
    client.expect(b"\x8a\x07between").await;
    client.send(&frame(0, b"ments")).await;
    client.expect(b"3: fragments by chat.v2").await;

    // One that no buffer holds at once, and a hundred in one write.
    let large = vec![7; 1024 * 1024];
    client.send(&frame(2, &large)).await;
    client.expect(&large).await;
    let many: Vec<u8> = (0..100_u8)
        .flat_map(|number| frame(2, &[number; 50]))
        .collect();
    client.send(&many).await;
    for number in 0..100_u8 {
        client.expect(&[number; 50]).await;
    }

    client.send(&frame(1, b"stop")).await;
    client.expect(b"\x88\x02\x03\xe8").await;
    client.send(&frame(8, b"\x03\xe8")).await;
    assert_eq!(client.socket.read(&mut [0; 8]).await.unwrap(), 0);

    let mut said = Vec::new();
    while said.last().is_none_or(|last| last != "left after 3") {
        match watcher.recv().await.unwrap() {
            Delivery::Message(text) => said.push(text),
            Delivery::Missed(missed) => panic!("{missed:?}"),
        }
    }
    assert_eq!(said.len(), 4);
}

#[tokio::test]
async fn u1_u4_a_request_in_and_on_close_out_over_a_bare_tcp_stream() {
    let (app, watcher) = app();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    scenario(TcpStream::connect(address).await.unwrap(), watcher).await;
    server.abort();
}

#[tokio::test]
async fn u1_u4_a_request_in_and_on_close_out_over_any_other_io() {
    let (app, watcher) = app();
    let folder = std::env::temp_dir().join(format!("dreamsocket-smoke-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    scenario(UnixStream::connect(&path).await.unwrap(), watcher).await;
    server.abort();
    std::fs::remove_dir_all(&folder).unwrap();
}

//! The whole path once: an HTTP request in, `on_close` out, over a real socket under axum's own server.

#![expect(clippy::unwrap_used, reason = "a test that cannot connect fails")]

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, BoxError, Broadcaster, Config, Connection, Hub, Message, Selector, Topic,
    continue_connection, stop_connection, upgrade_websocket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Dependencies {
    room: Topic<String>,
}

async fn chat(State(room): State<Topic<String>>, request: Request) -> Response {
    upgrade_websocket(
        request,
        Dependencies { room },
        on_init,
        on_message,
        on_close,
    )
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
            dependencies.room.publish(format!("{count}: {text}"))?;
        }
        Message::Custom(text) => connection.send_text(text).await?,
        _ => {}
    }
    Ok(continue_connection())
}

async fn on_close(count: u32, dependencies: &Dependencies) {
    let _ = dependencies.room.publish(format!("left after {count}"));
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![
        0x80 | opcode,
        0x80 | u8::try_from(payload.len()).unwrap(),
        0,
        0,
        0,
        0,
    ];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn a_request_in_and_on_close_out() {
    let broadcaster = Broadcaster::new();
    let room = broadcaster.topic("lobby");
    let mut watcher = room.subscribe();
    let hub = Hub::new(Config::default());
    let app = axum::Router::new()
        .route("/chat", axum::routing::any(chat))
        .with_state(room)
        .layer(hub.layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let mut client = TcpStream::connect(address).await.unwrap();
    let mut request = format!(
        "GET /chat HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes();
    // What the original loses: a frame in the same packet, and a text and a close behind a ping.
    request.extend(frame(9, b"ping"));
    request.extend(frame(1, b"hello"));
    client.write_all(&request).await.unwrap();
    let mut received = Vec::new();
    let mut expect = async |client: &mut TcpStream, wanted: &[u8]| {
        while !received
            .windows(wanted.len())
            .any(|window| window == wanted)
        {
            let mut buffer = [0; 1024];
            let count = tokio::time::timeout(Duration::from_secs(10), client.read(&mut buffer))
                .await
                .unwrap()
                .unwrap();
            assert_ne!(count, 0, "{:?}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..count]);
        }
    };
    expect(&mut client, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n").await;
    expect(&mut client, b"\x8a\x04ping").await;
    expect(&mut client, b"\x81\x081: hello").await;
    client.write_all(&frame(1, b"stop")).await.unwrap();
    expect(&mut client, b"\x88\x02\x03\xe8").await;
    client.write_all(&frame(8, b"\x03\xe8")).await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);

    assert_eq!(
        watcher.recv().await,
        Some(dreamsocket::Delivery::Message("1: hello".to_owned()))
    );
    assert_eq!(
        watcher.recv().await,
        Some(dreamsocket::Delivery::Message("left after 1".to_owned()))
    );
    server.abort();
}

//! The real program, and a client that talks to it over a real socket.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Makes a hang a failure. Long, since a busy machine is no bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The running program; it ends with this value.
pub(crate) struct Chat {
    _process: Child,
    pub(crate) address: String,
    /// What it prints after that. Kept also where nobody reads it: who prints into a closed pipe fails.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(dead_code, reason = "what follows is told with metrics only")
    )]
    lines: Lines<BufReader<ChildStdout>>,
}

impl Chat {
    /// What it says when it does not start with these flags.
    pub(crate) async fn refuse(flags: &[&str]) -> String {
        let mut process = Command::new(env!("CARGO_BIN_EXE_chat"));
        process.args(flags).env("PORT", "0").kill_on_drop(true);
        let output = timeout(PATIENCE, process.output()).await.unwrap().unwrap();
        assert!(!output.status.success(), "{flags:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The chat, as fast as clients like.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--pace", "1000000"]).await
    }

    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_chat"))
            .args(flags)
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let address = line
            .strip_prefix("listening on http://")
            .unwrap()
            .to_owned();
        Self {
            _process: process,
            address,
            lines,
        }
    }

    /// The next line that it prints.
    #[cfg(feature = "metrics")]
    pub(crate) async fn next_line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        line.unwrap().unwrap().unwrap()
    }

    pub(crate) async fn connect(&self, query: &str) -> Client {
        Client::connect(self.address.parse().unwrap(), query).await
    }

    /// Connects and enters a room, and gives back who the server says is there.
    pub(crate) async fn enter(&self, room: &str, user: &str) -> (Client, Value) {
        let mut client = self.connect(&format!("user={user}")).await;
        let people = client.enter(room).await;
        (client, people)
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        get(&self.address, path).await
    }
}

/// What is answered to a request without a body, head and all.
pub(crate) async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut response))
        .await
        .unwrap()
        .unwrap();
    response
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Client {
    /// A connection to the chat at this address, or to what stands before it.
    pub(crate) async fn connect(address: SocketAddr, query: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // A small one, so that a client that does not read is soon behind.
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let url = format!("ws://{address}/chat?{query}");
        let (socket, response) = client_async(url, stream).await.unwrap();
        assert_eq!(response.status(), 101);
        Self { socket }
    }

    pub(crate) async fn send(&mut self, command: Value) {
        let text = command.to_string();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn say(&mut self, room: &str, text: &str) {
        self.send(json!({"type": "say", "room": room, "text": text}))
            .await;
    }

    /// Enters a room as if for the first time, and gives back who is there.
    pub(crate) async fn enter(&mut self, room: &str) -> Value {
        self.enter_since(room, None).await
    }

    /// Enters a room, where all until this position has been heard already.
    pub(crate) async fn enter_since(&mut self, room: &str, position: Option<&str>) -> Value {
        self.send(json!({"type": "enter", "room": room, "since": position}))
            .await;
        self.expect(json!({"type": "entered", "room": room})).await;
        let people = self.receive().await;
        assert_eq!(
            (&people["type"], &people["room"]),
            (&json!("people"), &json!(room))
        );
        people["people"].clone()
    }

    /// The next message, whatever its kind. The server pings who is silent for long.
    pub(crate) async fn receive_any(&mut self) -> Message {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await;
            let message = next.unwrap().unwrap().unwrap();
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                return message;
            }
        }
    }

    pub(crate) async fn receive(&mut self) -> Value {
        serde_json::from_str(self.receive_any().await.to_text().unwrap()).unwrap()
    }

    /// What was said, and at which position.
    pub(crate) async fn expect_said(&mut self, text: &str) -> String {
        let message = self.receive().await;
        assert_eq!(
            (&message["type"], &message["text"]),
            (&json!("said"), &json!(text))
        );
        message["position"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn expect_refusal(&mut self, reason: &str) {
        let refused = json!({"type": "refused", "reason": reason});
        assert_eq!(self.receive().await, refused);
    }

    /// Only the refusal of a room that is to be entered names one.
    pub(crate) async fn expect_room_refusal(&mut self, room: &str, reason: &str) {
        let refused = json!({"type": "refused", "reason": reason, "room": room});
        assert_eq!(self.receive().await, refused);
    }

    /// The next message is this one, but for its time, and its position if it has one.
    pub(crate) async fn expect(&mut self, expected: Value) {
        let mut message = self.receive().await;
        assert!(
            message["at"].as_u64() > Some(1_700_000_000_000),
            "{message}"
        );
        let fields = message.as_object_mut().unwrap();
        fields.remove("at");
        fields.remove("position");
        assert_eq!(message, expected);
    }

    pub(crate) async fn expect_close(&mut self, code: u16, reason: &str) {
        let Message::Close(Some(close)) = self.receive_any().await else {
            panic!("not closed")
        };
        assert_eq!(
            (u16::from(close.code), close.reason.as_str()),
            (code, reason)
        );
    }
}

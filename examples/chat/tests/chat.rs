//! Talks to the real program over real sockets. What the page does with it is tested in `tests/browser`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

const PATIENCE: Duration = Duration::from_secs(30);

/// The running program; it ends with this value.
struct Chat {
    _process: Child,
    address: String,
}

impl Chat {
    async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_chat"))
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
        }
    }

    async fn connect(&self, query: &str) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        // A small one, so that a client that does not read is soon behind.
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let stream = socket.connect(self.address.parse().unwrap()).await.unwrap();
        let url = format!("ws://{}/chat?{query}", self.address);
        let (socket, response) = client_async(url, stream).await.unwrap();
        assert_eq!(response.status(), 101);
        Client { socket }
    }

    /// Enters a room, and gives back who the server says is there and under which id this client is.
    async fn enter(&self, room: &str, user: &str) -> (Client, String, Value) {
        let mut client = self.connect(&format!("user={user}&room={room}")).await;
        let welcome = client.receive().await;
        assert_eq!(welcome["type"], "welcome");
        let id = welcome["you"].as_str().unwrap().to_owned();
        client
            .expect(json!({"type": "joined", "id": id, "name": user}))
            .await;
        (client, id, welcome["people"].clone())
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut response))
            .await
            .unwrap()
            .unwrap();
        response
    }
}

struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    async fn receive_any(&mut self) -> Message {
        timeout(PATIENCE, self.socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }

    async fn receive(&mut self) -> Value {
        serde_json::from_str(self.receive_any().await.to_text().unwrap()).unwrap()
    }

    /// The next message is this one, but for the time that it bears.
    async fn expect(&mut self, expected: Value) {
        let mut message = self.receive().await;
        assert!(
            message["at"].as_u64() > Some(1_700_000_000_000),
            "{message}"
        );
        message.as_object_mut().unwrap().remove("at");
        assert_eq!(message, expected);
    }

    async fn expect_close(&mut self, code: u16, reason: &str) {
        let Message::Close(Some(close)) = self.receive_any().await else {
            panic!("not closed")
        };
        assert_eq!(
            (u16::from(close.code), close.reason.as_str()),
            (code, reason)
        );
    }
}

#[tokio::test]
async fn two_people_see_each_other_come_talk_and_go() {
    let chat = Chat::start().await;
    let (mut ada, ada_id, people) = chat.enter("garden", "Ada").await;
    assert_eq!(people, json!([]));

    let (mut grace, grace_id, people) = chat.enter("garden", "Grace").await;
    assert_eq!(people, json!([{"id": ada_id, "name": "Ada"}]));
    ada.expect(json!({"type": "joined", "id": grace_id, "name": "Grace"}))
        .await;

    ada.say("  Good <b>evening</b>  ").await;
    let said =
        json!({"type": "said", "from": ada_id, "name": "Ada", "text": "Good <b>evening</b>"});
    ada.expect(said.clone()).await;
    grace.expect(said).await;

    drop(grace); // Without a closing handshake, as when a phone loses its network.
    ada.expect(json!({"type": "left", "id": grace_id, "name": "Grace"}))
        .await;

    let (_linus, _, people) = chat.enter("garden", "Linus").await;
    assert_eq!(people, json!([{"id": ada_id, "name": "Ada"}]));
}

#[tokio::test]
async fn rooms_do_not_hear_each_other() {
    let chat = Chat::start().await;
    let (mut ada, ada_id, _) = chat.enter("garden", "Ada").await;
    let (mut grace, _, people) = chat.enter("cellar", "Grace").await;
    assert_eq!(people, json!([]));
    grace.say("Anybody?").await;
    grace.receive().await;
    ada.say("Only me.").await;
    ada.expect(json!({"type": "said", "from": ada_id, "name": "Ada", "text": "Only me."}))
        .await;
}

#[tokio::test]
async fn too_long_a_message_is_refused_and_the_connection_goes_on() {
    let chat = Chat::start().await;
    let (mut ada, ada_id, _) = chat.enter("garden", "Ada").await;
    ada.say(&"é".repeat(2_001)).await;
    let refused =
        json!({"type": "refused", "reason": "At most 2000 characters; this message has 2001."});
    assert_eq!(ada.receive().await, refused);
    ada.say("   ").await; // Nothing to say: nothing is said.
    ada.say(&"é".repeat(2_000)).await;
    ada.expect(json!({"type": "said", "from": ada_id, "name": "Ada", "text": "é".repeat(2_000)}))
        .await;
    ada.say(&"é".repeat(10_000)).await;
    ada.expect_close(1009, "").await;
}

#[tokio::test]
async fn a_client_that_was_too_slow_is_told_what_passed_it_by() {
    let chat = Chat::start().await;
    let (mut grace, grace_id, _) = chat.enter("garden", "Grace").await;
    let (mut ada, ada_id, _) = chat.enter("garden", "Ada").await;

    // More than the sockets' buffers, the outbox and the channel of the one that does not read can hold.
    let text = "𝄞".repeat(2_000);
    for _ in 0..60 {
        for _ in 0..20 {
            ada.say(&text).await;
        }
        for _ in 0..20 {
            assert_eq!(ada.receive().await["text"], text);
        }
    }

    let missed = loop {
        let message = grace.receive().await;
        if message["type"] == "missed" {
            break message;
        }
    };
    assert!(missed["count"].as_u64() > Some(0), "{missed}");
    let mut people = [(&ada_id, "Ada"), (&grace_id, "Grace")];
    people.sort_unstable();
    let people = people.map(|(id, name)| json!({"id": id, "name": name}));
    assert_eq!(missed["people"], json!(people));
    ada.say("Still there?").await;
    while grace.receive().await["text"] != "Still there?" {}
}

#[tokio::test]
async fn a_name_that_cannot_be_used_closes_with_the_reason() {
    let chat = Chat::start().await;
    for (query, reason) in [
        ("room=garden", "Choose a name."),
        ("user=%20&room=garden", "Choose a name."),
        ("user=Ada", "Choose a room."),
        (
            "user=Ada%0a&room=garden",
            "This name has a character that cannot be shown.",
        ),
        (
            "user=Ada&room=garden-garden-garden-garden-garde",
            "At most 32 characters; this room has 33.",
        ),
    ] {
        chat.connect(query).await.expect_close(1008, reason).await;
    }
    let (_ada, _, _) = chat
        .enter("garden", "AdaAdaAdaAdaAdaAdaAdaAdaAdaAdaAd")
        .await;
}

#[tokio::test]
async fn the_page_comes_with_a_policy_that_lets_nothing_else_in() {
    let chat = Chat::start().await;
    for (path, kind, content) in [
        ("/", "text/html", "<title>Dreamsocket chat</title>"),
        ("/style.css", "text/css", "prefers-color-scheme"),
        ("/app.js", "text/javascript", "./connection.js"),
        ("/connection.js", "text/javascript", "new WebSocket"),
        ("/view.js", "text/javascript", "textContent"),
        ("/icon.svg", "image/svg+xml", "<svg"),
    ] {
        let response = chat.get(path).await;
        assert!(
            response.starts_with("HTTP/1.1 200 OK\r\n"),
            "{path}: {response}"
        );
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-type: {kind}; charset=utf-8\r\n")),
            "{path}: {head}"
        );
        assert!(
            head.contains("content-security-policy: default-src 'none'; script-src 'self';"),
            "{path}: {head}"
        );
        assert!(body.contains(content), "{path}");
        assert!(
            !body.contains("https://") && !body.contains("innerHTML"),
            "{path} reaches outside, or makes HTML of text"
        );
    }
    assert!(chat.get("/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn an_address_in_use_is_one_clear_line_and_a_failure() {
    let chat = Chat::start().await;
    let output = Command::new(env!("CARGO_BIN_EXE_chat"))
        .args(["--listen", &chat.address])
        .output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains(&chat.address) && error.contains("in use"),
        "{error}"
    );
}

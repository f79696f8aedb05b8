//! Talks to the real program: what is changed by requests comes by WebSocket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;
use std::time::Duration;

use dreamsocket::client::{Received, Socket};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Makes a hang a failure. Long, since a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(30);

struct Todos {
    process: Child,
    address: String,
}

impl Todos {
    async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_todos"))
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap();
        let line = line.unwrap().unwrap();
        Self {
            process,
            address: line.strip_prefix("listening on ").unwrap().to_owned(),
        }
    }

    /// The status and the body of an answer.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = socket.read_to_string(&mut answer);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// Opens a WebSocket, and gives back the list that comes first, too.
    async fn watch(&self) -> (Socket, Value) {
        let url = format!("ws://{}/todos/live", self.address);
        let mut socket = Socket::connect(url).await.unwrap();
        let list = receive(&mut socket).await;
        (socket, list)
    }
}

async fn receive(socket: &mut Socket) -> Value {
    match timeout(PATIENCE, socket.receive()).await.unwrap() {
        Some(Received::Text(text)) => serde_json::from_str(&text).unwrap(),
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn what_changes_comes_by_websocket() {
    let todos = Todos::start().await;
    let nothing = json!([]);
    let (ada, first) = todos.watch().await;
    let (grace, second) = todos.watch().await;
    assert_eq!((&first, &second), (&nothing, &nothing));
    let mut watchers = [ada, grace];
    let (status, body) = todos
        .ask("POST", "/todos", r#"{"title":"water the plants"}"#)
        .await;
    let added = json!({"id": 1, "title": "water the plants", "done": false});
    assert_eq!(
        (status, serde_json::from_str(&body).ok()),
        (201, Some(added.clone()))
    );
    for watcher in &mut watchers {
        assert_eq!(receive(watcher).await, added);
    }
    let (status, _) = todos.ask("POST", "/todos/1/done", "").await;
    assert_eq!(status, 200);
    let done = json!({"id": 1, "title": "water the plants", "done": true});
    for watcher in &mut watchers {
        assert_eq!(receive(watcher).await, done);
    }
    let (status, body) = todos.ask("GET", "/todos", "").await;
    assert_eq!(
        (status, serde_json::from_str(&body).ok()),
        (200, Some(json!([&done])))
    );
    assert_eq!(todos.watch().await.1, json!([done]));
}

#[tokio::test]
async fn it_is_the_app_that_it_was() {
    let todos = Todos::start().await;
    for (method, path, body, status) in [
        ("POST", "/todos", r#"{"title":""}"#, 422),
        ("POST", "/todos", "not JSON", 400),
        ("POST", "/todos/7/done", "", 404),
        ("DELETE", "/todos", "", 405),
        ("GET", "/todos/live", "", 426),
    ] {
        assert_eq!(
            todos.ask(method, path, body).await.0,
            status,
            "{method} {path}"
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn it_says_goodbye() {
    let mut todos = Todos::start().await;
    let (mut watcher, _) = todos.watch().await;
    let id = todos.process.id().unwrap().to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(killed.unwrap().success());
    assert_eq!(timeout(PATIENCE, watcher.receive()).await.unwrap(), None);
    assert_eq!(u16::from(watcher.closed().unwrap().code), 1001);
    let status = timeout(PATIENCE, todos.process.wait()).await.unwrap();
    assert!(status.unwrap().success());
}

/// The count that the head of the program tells.
#[test]
fn a_dozen_lines() {
    let source = include_str!("../src/main.rs");
    let count = |mark: &str| -> u32 {
        let marks = source
            .lines()
            .filter_map(|line| line.trim().strip_prefix(mark));
        marks.map(|count| count.parse::<u32>().unwrap()).sum()
    };
    assert_eq!((count("// live: "), count("// drain: ")), (12, 4));
}

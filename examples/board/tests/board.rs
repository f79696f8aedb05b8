//! Talks to the real program, as its page does. What the page makes of it is tested in `tests/browser`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;
use std::time::Duration;

use dreamsocket::client::{Received, Socket};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Makes a hang a failure. Long, since a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(30);

struct Program {
    _process: Child,
    address: String,
}

/// Somebody at the board.
struct Person {
    socket: Socket,
    number: u8,
}

impl Program {
    async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_board"))
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap();
        let line = line.unwrap().unwrap();
        let address = line.strip_prefix("listening on http://").unwrap();
        Self {
            address: address.to_owned(),
            _process: process,
        }
    }

    /// Comes in, and sees this picture.
    async fn enter(&self, picture: &[u8]) -> Person {
        let url = format!("ws://{}/draw", self.address);
        let socket = Socket::connect(url).await.unwrap();
        let mut person = Person { socket, number: 0 };
        let first = person.receive().await;
        assert_eq!((first[0], first[2], &first[3..]), (1, 0, picture));
        person.number = first[1];
        person
    }
}

impl Person {
    async fn send(&mut self, ask: &[u8]) {
        self.socket.send_binary(ask).await.unwrap();
    }

    async fn receive(&mut self) -> Vec<u8> {
        match timeout(PATIENCE, self.socket.receive()).await.unwrap() {
            Some(Received::Binary(bytes)) => bytes.to_vec(),
            other => unreachable!("{other:?}"),
        }
    }

    /// What was drawn, past cursors, until these changes have come.
    async fn expect(&mut self, expected: &[u8]) {
        let mut changes = Vec::new();
        while changes.len() < expected.len() {
            let told = self.receive().await;
            if told[0] == 2 {
                changes.extend_from_slice(&told[1..]);
            }
        }
        assert_eq!(changes, expected);
    }

    /// The next of a kind.
    async fn expect_kind(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let told = self.receive().await;
            if told[0] == kind {
                return told;
            }
        }
    }
}

/// A stroke of two points as changes, in blue.
fn blue(stroke: u8, person: u8) -> Vec<u8> {
    vec![
        1, stroke, 0, 0, 0, person, 0, 5, 8, 2, 0, 1, 0, 2, 0, 3, 0, 4, 0,
    ]
}

const DRAW: &[u8] = &[1, 5, 8, 1, 0, 2, 0, 3, 0, 4, 0];
const DRAW_ON: &[u8] = &[2, 5, 0, 6, 0];
const UNDO: &[u8] = &[4];
const CLEAR: &[u8] = &[5];

#[tokio::test]
async fn what_one_draws_all_see_and_who_comes_late_sees_it_too() {
    let program = Program::start().await;
    let mut ada = program.enter(&[]).await;
    let mut grace = program.enter(&[]).await;
    assert_ne!(ada.number, grace.number);
    ada.send(DRAW).await;
    ada.send(DRAW_ON).await;
    let more = [2, 1, 0, 0, 0, 1, 0, 5, 0, 6, 0];
    let drawn = [blue(1, ada.number), more.to_vec()].concat();
    ada.expect(&drawn).await;
    grace.expect(&drawn).await;

    let whole = [
        1, 1, 0, 0, 0, 0, 0, 5, 8, 3, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0,
    ];
    let mut late = program.enter(&whole).await;
    grace.send(DRAW).await;
    for person in [&mut ada, &mut grace] {
        person.expect(&blue(2, 2)).await;
    }
    late.expect(&blue(2, 2)).await;

    // Each takes back what is its own; wiping is for all.
    grace.send(UNDO).await;
    grace.send(UNDO).await;
    grace.send(DRAW_ON).await;
    late.expect(&[3, 2, 0, 0, 0]).await;
    late.send(CLEAR).await;
    late.expect(&[4]).await;
    program.enter(&[]).await;
}

#[tokio::test]
async fn cursors_have_names_and_go_with_their_people() {
    let program = Program::start().await;
    let mut ada = program.enter(&[]).await;
    let mut grace = program.enter(&[]).await;
    grace.send(&[3, 1, 0, 2, 0]).await;
    let cursor = ada.expect_kind(3).await;
    assert_eq!(cursor, b"\x03\x02\0\x01\0\x02\0\0Guest 2");
    grace.send(b"\x06Grace").await;
    grace.send(DRAW).await;
    let cursor = ada.expect_kind(3).await;
    assert_eq!(cursor, b"\x03\x02\0\x03\0\x04\0\x05Grace");
    // What is no name changes nothing, and nobody is closed for it.
    for name in [&b"\x06 "[..], b"\x06Gr\tace", &[6; 26]] {
        grace.send(name).await;
    }
    grace.send(&[3, 1, 0, 2, 0]).await;
    let cursor = ada.expect_kind(3).await;
    assert_eq!(cursor, b"\x03\x02\0\x01\0\x02\0\x05Grace");
    drop(grace);
    assert_eq!(ada.expect_kind(4).await, [4, 2, 0]);
}

/// More than a slow page may be behind goes through, when it is read.
#[tokio::test]
async fn a_long_line_comes_whole() {
    let program = Program::start().await;
    let mut ada = program.enter(&[]).await;
    let mut grace = program.enter(&[]).await;
    ada.send(DRAW).await;
    for _ in 0..100 {
        ada.send(DRAW_ON).await;
    }
    let mut points = 0;
    while points < 102 {
        // Each change of one message has its own head; only points are of interest.
        let told = grace.expect_kind(2).await;
        let mut changes = &told[1..];
        while let Some(kind) = changes.first() {
            let head = if *kind == 1 { 9 } else { 5 };
            let count = usize::from(changes[head]);
            points += count;
            changes = &changes[head + 2 + count * 4..];
        }
    }
    assert_eq!(points, 102);
}

#[tokio::test]
async fn what_is_not_the_protocol_ends_it() {
    let program = Program::start().await;
    for (ask, code) in [
        (vec![9], 1008),
        (vec![1, 200, 1], 1008),
        (vec![2; 5_000], 1009),
    ] {
        let mut person = program.enter(&[]).await;
        person.send(&ask).await;
        while timeout(PATIENCE, person.socket.receive())
            .await
            .unwrap()
            .is_some()
        {}
        assert_eq!(u16::from(person.socket.closed().unwrap().code), code);
    }
}

#[tokio::test]
async fn the_page_is_fenced_in() {
    let program = Program::start().await;
    for path in [
        "/",
        "/style.css",
        "/app.js",
        "/wire.js",
        "/canvas.js",
        "/icon.svg",
    ] {
        let mut stream = TcpStream::connect(&program.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(
            answer.contains("default-src 'none'; script-src 'self'"),
            "{path}: {answer}"
        );
    }
}

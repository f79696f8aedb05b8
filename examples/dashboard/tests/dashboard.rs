//! Talks to the real program, as its page does.

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

impl Program {
    async fn start() -> Self {
        Self::start_on("127.0.0.1:0").await
    }

    async fn start_on(address: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_dashboard"))
            .args(["--listen", address, "--every", "10"])
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

    async fn watch(&self) -> Socket {
        let url = format!("ws://{}/live", self.address);
        Socket::connect(url).await.unwrap()
    }
}

/// A sample, as the page reads it.
struct Sample(Vec<u8>);

impl Sample {
    async fn receive(socket: &mut Socket) -> Self {
        match timeout(PATIENCE, socket.receive()).await.unwrap() {
            Some(Received::Binary(bytes)) if bytes.len() == 40 => Self(bytes.to_vec()),
            other => unreachable!("{other:?}"),
        }
    }

    fn bytes<const LENGTH: usize>(&self, at: usize) -> [u8; LENGTH] {
        self.0[at..at + LENGTH].try_into().unwrap()
    }

    fn number(&self) -> u32 {
        u32::from_le_bytes(self.bytes(0))
    }

    fn sockets(&self) -> u32 {
        u32::from_le_bytes(self.bytes(4))
    }

    fn at(&self) -> f64 {
        f64::from_le_bytes(self.bytes(8))
    }

    fn percents(&self) -> [f32; 2] {
        [16, 20].map(|at| f32::from_le_bytes(self.bytes(at)))
    }

    fn resident(&self) -> f64 {
        f64::from_le_bytes(self.bytes(32))
    }
}

#[tokio::test]
async fn samples_come_in_order_and_make_sense() {
    let program = Program::start().await;
    let mut first = program.watch().await;
    let mut before = Sample::receive(&mut first).await;
    let mut second = None;
    loop {
        let sample = Sample::receive(&mut first).await;
        assert!(sample.number() > before.number());
        assert!(sample.at() >= before.at());
        before = sample;
        if before.number() > 20 && second.is_none() {
            second = Some(program.watch().await);
        }
        // Counted by the next sample, or the one after it.
        if before.sockets() == 2 {
            break;
        }
    }
    if cfg!(target_os = "linux") {
        let [machine, program] = before.percents();
        assert!((0.0..=100.0).contains(&machine), "{machine}");
        assert!((0.0..=10_000.0).contains(&program), "{program}");
        let mebibytes = before.resident() / 1024.0 / 1024.0;
        assert!((1.0..1_000.0).contains(&mebibytes), "{mebibytes}");
    }
    drop(second);
    while before.sockets() != 1 {
        before = Sample::receive(&mut first).await;
    }
}

#[tokio::test]
async fn it_listens_on_names_and_on_both_kinds_of_addresses() {
    let mut places = vec!["localhost:0"];
    // Not every machine has it.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        places.push("[::1]:0");
    }
    for place in places {
        let program = Program::start_on(place).await;
        Sample::receive(&mut program.watch().await).await;
    }
}

#[tokio::test]
async fn a_place_where_it_cannot_listen_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for place in ["127.0.0.1", &taken.local_addr().unwrap().to_string()] {
        let run = Command::new(env!("CARGO_BIN_EXE_dashboard"))
            .args(["--listen", place])
            .kill_on_drop(true)
            .output();
        let output = timeout(PATIENCE, run).await.unwrap().unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        let expected = format!("dashboard: cannot listen on {place}: ");
        assert!(error.contains(&expected), "{error}");
    }
}

#[tokio::test]
async fn the_page_is_fenced_in() {
    let program = Program::start().await;
    for path in [
        "/",
        "/style.css",
        "/app.js",
        "/sample.js",
        "/chart.js",
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

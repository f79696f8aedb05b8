//! Talks to the real program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;
use std::time::Duration;

use dreamsocket::client::{Connect, ConnectError, Received, Socket};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Makes a hang a failure. Long, since a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(30);

struct Program {
    process: Child,
    address: String,
}

impl Program {
    async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_bare-hyper"))
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut first = String::new();
        let stdout = process.stdout.as_mut().unwrap();
        let read = BufReader::with_capacity(1, stdout)
            .read_line(&mut first)
            .await;
        read.unwrap();
        let address = first.trim().strip_prefix("listening on ").unwrap();
        Self {
            address: address.to_owned(),
            process,
        }
    }

    async fn shout(&self) -> Socket {
        let url = format!("ws://{}/shout", self.address);
        Socket::connect(url).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        answer
    }
}

#[tokio::test]
async fn it_shouts() {
    let program = Program::start().await;
    let mut socket = program.shout().await;
    for (said, shouted) in [("hello", "HELLO"), ("straße", "STRASSE"), ("", "")] {
        socket.send_text(said).await.unwrap();
        let received = timeout(PATIENCE, socket.receive()).await.unwrap();
        assert_eq!(received, Some(Received::Text(shouted.into())));
    }
    assert!(socket.close(1000, "").await.unwrap().clean);
}

#[tokio::test]
async fn it_answers_and_refuses() {
    let program = Program::start().await;
    for (path, status) in [("/", 200), ("/shout", 426), ("/nothing", 404)] {
        let answer = program.get(path).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{path}: {answer}");
    }
    let foreign = Connect::new(format!("ws://{}/shout", program.address))
        .with_header("origin", "https://evil.example");
    match foreign.open().await {
        Err(ConnectError::Refused(refusal)) => assert_eq!(refusal.status, 403),
        other => panic!("{other:?}"),
    }
}

/// Also while a connection is idle between two requests.
#[cfg(unix)]
#[tokio::test]
async fn it_ends_in_order() {
    let mut program = Program::start().await;
    let mut socket = program.shout().await;
    let mut idle = TcpStream::connect(&program.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    idle.write_all(request).await.unwrap();
    let mut some = [0; 12];
    idle.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"HTTP/1.1 200");

    let id = program.process.id().unwrap().to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(killed.unwrap().success());
    assert_eq!(timeout(PATIENCE, socket.receive()).await.unwrap(), None);
    assert_eq!(u16::from(socket.closed().unwrap().code), 1001);
    let mut rest = String::new();
    let stdout = program.process.stdout.as_mut().unwrap();
    timeout(PATIENCE, stdout.read_to_string(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.contains('1'), "a report: {rest}");
    let status = timeout(PATIENCE, program.process.wait()).await.unwrap();
    assert!(status.unwrap().success());
}

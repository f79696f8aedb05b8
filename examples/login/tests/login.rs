//! Talks to the real program: each way with the right credentials, with wrong ones and with none.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Stdio;
use std::time::Duration;

use dreamsocket::client::{Connect, ConnectError, Received, Socket};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

struct Login {
    _process: Child,
    address: String,
}

impl Login {
    async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_login"))
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap();
        let line = line.unwrap().unwrap();
        Self {
            _process: process,
            address: line.strip_prefix("listening on ").unwrap().to_owned(),
        }
    }

    /// The answer to a request: its status and its body.
    async fn post(&self, path: &str, headers: &str, body: &str) -> (String, String) {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n{headers}\r\n{body}",
            self.address,
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = socket.read_to_string(&mut answer);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].to_owned(), body.to_owned())
    }

    async fn session(&self) -> String {
        let (status, session) = self.post("/login", "", "name=ada&password=lovelace").await;
        assert_eq!((status.as_str(), session.len()), ("200", 32));
        session
    }

    fn at(&self, path: &str) -> Connect {
        Connect::new(format!("ws://{}{path}", self.address))
    }
}

async fn expect_ada(connect: Connect) {
    let mut socket = connect.open().await.unwrap();
    expect(&mut socket, "hello ada").await;
    socket.send_text("I am here").await.unwrap();
    expect(&mut socket, "ada: I am here").await;
}

async fn expect(socket: &mut Socket, text: &str) {
    let received = timeout(PATIENCE, socket.receive()).await.unwrap();
    assert_eq!(received, Some(Received::Text(text.into())));
}

async fn expect_401(connect: Connect) {
    match connect.open().await {
        Err(ConnectError::Refused(refusal)) => assert_eq!(refusal.status, 401),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn by_cookie() {
    let login = Login::start().await;
    let session = login.session().await;
    let cookie = format!("theme=dark; session={session}");
    expect_ada(login.at("/by-cookie").with_header("cookie", cookie)).await;
    expect_401(login.at("/by-cookie").with_header("cookie", "session=x")).await;
    expect_401(login.at("/by-cookie")).await;
    // A page of another site brings the cookie along, and is refused for where it comes from.
    let foreign = login
        .at("/by-cookie")
        .with_header("cookie", format!("session={session}"))
        .with_header("origin", "https://evil.example");
    match foreign.open().await {
        Err(ConnectError::Refused(refusal)) => assert_eq!(refusal.status, 403),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn by_token() {
    let login = Login::start().await;
    let session = login.session().await;
    let bearer = format!("Bearer {session}");
    expect_ada(login.at("/by-token").with_header("authorization", bearer)).await;
    expect_401(
        login
            .at("/by-token")
            .with_header("authorization", "Bearer x"),
    )
    .await;
    expect_401(login.at("/by-token")).await;
    let (status, _) = login.post("/login", "", "name=ada&password=guess").await;
    assert_eq!(status, "401");
}

#[tokio::test]
async fn by_a_ticket_that_is_good_once() {
    let login = Login::start().await;
    let session = login.session().await;
    let header = format!("Authorization: Bearer {session}\r\n");
    let (status, ticket) = login.post("/ticket", &header, "").await;
    assert_eq!(status, "200");
    let path = format!("/by-ticket?ticket={ticket}");
    expect_ada(login.at(&path)).await;
    expect_401(login.at(&path)).await;
    assert_eq!(login.post("/ticket", "", "").await.0, "401");
}

#[tokio::test]
async fn by_the_first_message() {
    let login = Login::start().await;
    let session = login.session().await;
    let mut socket = login.at("/by-first-message").open().await.unwrap();
    socket.send_text(session).await.unwrap();
    expect(&mut socket, "hello ada").await;
    // Longer and more often than a stranger may.
    let long = "x".repeat(5_000);
    for _ in 0..10 {
        socket.send_text(&*long).await.unwrap();
        expect(&mut socket, &format!("ada: {long}")).await;
    }
}

#[tokio::test]
async fn a_stranger_gets_nothing() {
    let login = Login::start().await;
    for (message, code) in [("let me in".to_owned(), 1008), ("x".repeat(201), 1009)] {
        let mut socket = login.at("/by-first-message").open().await.unwrap();
        socket.send_text(message).await.unwrap();
        let received = timeout(PATIENCE, socket.receive()).await.unwrap();
        assert_eq!(received, None);
        assert_eq!(u16::from(socket.closed().unwrap().code), code);
    }
}

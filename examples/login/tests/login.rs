//! Talks to the real program over a real socket, once. What each way does is tried in memory, in `src/tests.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;
use std::time::Duration;

use dreamsocket::client::{Connect, Received, Socket};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

async fn start() -> (Child, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_login"))
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap();
    let line = line.unwrap().unwrap();
    let address = line.strip_prefix("listening on ").unwrap().to_owned();
    (process, address)
}

/// Ada's session.
async fn log_in(address: &str) -> String {
    let body = "name=ada&password=lovelace";
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = socket.read_to_string(&mut answer);
    timeout(PATIENCE, read).await.unwrap().unwrap();
    let (_, session) = answer.split_once("\r\n\r\n").unwrap();
    session.to_owned()
}

async fn expect(socket: &mut Socket, text: &str) {
    let received = timeout(PATIENCE, socket.receive()).await.unwrap();
    assert_eq!(received, Some(Received::Text(text.into())));
}

#[tokio::test]
async fn by_cookie_over_a_real_socket() {
    let (_process, address) = start().await;
    let session = log_in(&address).await;
    let connect = Connect::new(format!("ws://{address}/by-cookie"));
    let connect = connect.with_header("cookie", format!("session={session}"));
    let mut socket = connect.open().await.unwrap();
    expect(&mut socket, "hello ada").await;
    socket.send_text("I am here").await.unwrap();
    expect(&mut socket, "ada: I am here").await;
}

//! Runs the real `echo-client` against servers that do what a test says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Output, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

const PATIENCE: Duration = Duration::from_secs(30);

async fn run<const N: usize>(args: [&str; N]) -> Output {
    let client = Command::new(env!("CARGO_BIN_EXE_echo-client"))
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    timeout(PATIENCE, client).await.unwrap().unwrap()
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// The next client, and what it asked for.
async fn accept(listener: &TcpListener) -> (WebSocketStream<TcpStream>, String) {
    let (io, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut target = String::new();
    #[expect(clippy::result_large_err, reason = "the callback's type is theirs")]
    let socket = accept_hdr_async(io, |request: &Request, response: Response| {
        target = request.uri().to_string();
        Ok(response)
    });
    let socket = timeout(PATIENCE, socket).await.unwrap().unwrap();
    (socket, target)
}

/// Sends messages, waits for their echo, and closes.
async fn expect_echo(socket: &mut WebSocketStream<TcpStream>) {
    for message in [Message::text("καλημέρα"), Message::binary(vec![7; 300_000])] {
        socket.send(message.clone()).await.unwrap();
        let echo = timeout(PATIENCE, socket.next()).await.unwrap();
        assert_eq!(echo.unwrap().unwrap(), message);
    }
}

/// Closes and waits until the client has answered.
async fn close(mut socket: WebSocketStream<TcpStream>) {
    socket.close(None).await.unwrap();
    while timeout(PATIENCE, socket.next()).await.unwrap().is_some() {}
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[tokio::test]
async fn echoes_until_the_server_closes() {
    let (listener, url) = listen().await;
    let server = async {
        let (mut socket, _) = accept(&listener).await;
        expect_echo(&mut socket).await;
        close(socket).await;
    };
    let (output, ()) = tokio::join!(run([&url]), server);
    assert_eq!(stdout(&output), "closed 1005 peer clean\n");
    assert!(output.status.success());
}

#[tokio::test]
async fn a_lost_server_is_a_failure_and_so_is_none() {
    let (listener, url) = listen().await;
    let (output, _) = tokio::join!(run([&url]), async { drop(accept(&listener).await) });
    assert_eq!(stdout(&output), "closed 1006 lost unclean\n");
    assert_eq!(output.status.code(), Some(1));

    drop(listener);
    let output = run([&url]).await;
    let line = std::str::from_utf8(&output.stderr).unwrap();
    assert!(
        line.starts_with("echo-client: the host cannot be reached: "),
        "{line}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_fuzzing_server_is_asked_for_each_case_and_then_for_the_reports() {
    let (listener, url) = listen().await;
    let server = async {
        let mut targets = Vec::new();
        loop {
            let (mut socket, target) = accept(&listener).await;
            if target == "/getCaseCount" {
                socket.send(Message::text("3")).await.unwrap();
            } else if target.starts_with("/runCase") {
                expect_echo(&mut socket).await;
            }
            close(socket).await;
            targets.push(target);
            if targets.len() == 4 {
                return targets;
            }
        }
    };
    let args = ["--autobahn", &url, "--agent", "us", "--cases", "2..9"];
    let (output, targets) = tokio::join!(run(args), server);
    let expected = [
        "/getCaseCount",
        "/runCase?case=2&agent=us",
        "/runCase?case=3&agent=us",
        "/updateReports?agent=us",
    ];
    assert_eq!(targets, expected);
    assert!(output.status.success());
}

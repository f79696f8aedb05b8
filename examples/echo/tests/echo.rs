//! Talks to the real program over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const PATIENCE: Duration = Duration::from_secs(30);

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The running program; it ends with this value.
struct Echo {
    _process: Child,
    address: String,
}

impl Echo {
    async fn start(flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_echo"))
            .args(["--listen", "127.0.0.1:0"])
            .args(flags)
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
        let address = line.strip_prefix("listening on ").unwrap().to_owned();
        Self {
            _process: process,
            address,
        }
    }

    async fn connect(&self, path: &str) -> Client {
        let (client, response) = connect_async(format!("ws://{}{path}", self.address))
            .await
            .unwrap();
        assert_eq!(response.status(), 101);
        client
    }
}

async fn receive(client: &mut Client) -> Message {
    timeout(PATIENCE, client.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
}

async fn wait_for_subscribers(publisher: &mut Client, subscribers: &mut [&mut Client]) {
    // An upgrade is answered before its `on_init` has subscribed: publish until everybody hears it.
    for subscriber in subscribers {
        loop {
            publisher
                .send(Message::text("are you there?"))
                .await
                .unwrap();
            if timeout(Duration::from_millis(50), subscriber.next())
                .await
                .is_ok()
            {
                break;
            }
        }
    }
    publisher.send(Message::text("begin")).await.unwrap();
}

async fn skip_to_begin(subscriber: &mut Client) {
    while receive(subscriber).await != Message::text("begin") {}
}

#[tokio::test]
async fn echoes_text_and_binary_as_they_came() {
    let echo = Echo::start(&["--workers", "1"]).await;
    let mut client = echo.connect("/echo").await;
    for message in [
        Message::text("καλημέρα"),
        Message::binary(vec![0, 159, 146, 150]),
        Message::text(""),
        Message::binary(vec![7; 300_000]),
    ] {
        client.send(message.clone()).await.unwrap();
        assert_eq!(receive(&mut client).await, message);
    }
}

#[tokio::test]
async fn a_message_past_the_bound_closes_with_1009() {
    let echo = Echo::start(&["--max-message", "1000"]).await;
    let mut client = echo.connect("/echo").await;
    client.send(Message::binary(vec![1; 1000])).await.unwrap();
    assert_eq!(receive(&mut client).await.len(), 1000);
    client.send(Message::binary(vec![1; 1001])).await.unwrap();
    let Message::Close(Some(close)) = receive(&mut client).await else {
        panic!("not closed")
    };
    assert_eq!(u16::from(close.code), 1009);
}

#[tokio::test]
async fn what_is_published_reaches_every_subscriber_in_order() {
    let echo = Echo::start(&[]).await;
    let mut publisher = echo.connect("/pub").await;
    let mut one = echo.connect("/sub").await;
    let mut two = echo.connect("/sub").await;
    wait_for_subscribers(&mut publisher, &mut [&mut one, &mut two]).await;

    let messages = (0..2_000_u32).map(|number| {
        if number % 2 == 0 {
            Message::text(number.to_string())
        } else {
            Message::binary(number.to_be_bytes().to_vec())
        }
    });
    let messages: Vec<_> = messages.collect();
    for message in &messages {
        publisher.feed(message.clone()).await.unwrap();
    }
    publisher.flush().await.unwrap();
    for subscriber in [&mut one, &mut two] {
        skip_to_begin(subscriber).await;
        for message in &messages {
            assert_eq!(receive(subscriber).await, *message);
        }
    }
}

#[tokio::test]
async fn a_subscriber_too_far_behind_is_closed_with_1013_and_the_others_lose_nothing() {
    let echo = Echo::start(&["--behind", "8"]).await;
    let mut publisher = echo.connect("/pub").await;
    let mut reader = echo.connect("/sub").await;
    let mut sleeper = echo.connect("/sub").await;
    wait_for_subscribers(&mut publisher, &mut [&mut reader, &mut sleeper]).await;
    skip_to_begin(&mut reader).await;

    // More than the sockets' buffers and the outbox of the one that does not read can hold.
    for number in 0..400_u32 {
        let message = Message::binary([&number.to_be_bytes()[..], &[0; 64 * 1024]].concat());
        publisher.send(message.clone()).await.unwrap();
        assert_eq!(receive(&mut reader).await, message);
    }

    let close = loop {
        if let Message::Close(close) = receive(&mut sleeper).await {
            break close.unwrap();
        }
    };
    assert_eq!(
        (u16::from(close.code), close.reason.as_str()),
        (1013, "too far behind")
    );
    publisher.send(Message::text("still here")).await.unwrap();
    assert_eq!(receive(&mut reader).await, Message::text("still here"));
}

#[tokio::test]
async fn an_address_in_use_is_one_clear_line_and_a_failure() {
    let echo = Echo::start(&[]).await;
    let output = Command::new(env!("CARGO_BIN_EXE_echo"))
        .args(["--listen", &echo.address])
        .output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains(&echo.address) && error.contains("in use"),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_flag_is_one_clear_line_and_a_failure() {
    let output = Command::new(env!("CARGO_BIN_EXE_echo"))
        .arg("--lisen")
        .output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("--lisen"), "{error}");
}

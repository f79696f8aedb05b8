//! One message to thousands of connections, with slow ones among them.
//!
//! `FAN_OUT_SUBSCRIBERS` and `FAN_OUT_MESSAGES` set the size: 1,000 and 500 unless they say otherwise; `scripts/test --all`
//! runs it with 10,000 and 1,000.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};

/// Those that never read.
const STALLED: u64 = 10;
/// The payload: a number, and zeroes.
const PAYLOAD: usize = 1024;
/// Messages that are under way at once, well below `--behind`.
const WINDOW: u64 = 16;

fn size(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A client's frame; a mask of zeroes leaves the payload as it is.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Connects and waits for a pong, which comes after `on_init` has subscribed.
async fn connect(address: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(&frame(9, b"")).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n\x8a\x00") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    stream
}

/// Reads all messages, and answers the heartbeat.
async fn read_all(mut stream: TcpStream, messages: u64, delivered: Arc<AtomicU64>) {
    let mut number = 0_u64;
    while number < messages {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.unwrap();
        if head == [0x89, 8] {
            let mut payload = [0; 8];
            stream.read_exact(&mut payload).await.unwrap();
            stream.write_all(&frame(10, &payload)).await.unwrap();
            continue;
        }
        let mut rest = [0; 2 + PAYLOAD];
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!((head, &rest[..2]), ([0x82, 126], &[4, 0][..]));
        assert_eq!(rest[2..10], number.to_be_bytes());
        delivered.fetch_add(1, Ordering::Relaxed);
        number += 1;
    }
}

async fn start() -> (Child, SocketAddr) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_echo"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--behind",
            "64",
            "--outbox",
            "65536",
            "--send-buffer",
            "16384",
        ])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("listening on ").unwrap().parse().unwrap();
    (process, address)
}

/// Resident memory of the program, in bytes.
fn resident(process: &Child) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", process.id().unwrap())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

async fn closed(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /closed HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split("\r\n\r\n").nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_thousands_get_everything_in_order_and_those_that_never_read_get_1013() {
    let subscribers = size("FAN_OUT_SUBSCRIBERS", 1_000);
    let messages = size("FAN_OUT_MESSAGES", 500) / WINDOW * WINDOW + WINDOW;
    let (process, address) = start().await;
    let before = resident(&process);

    let mut publisher = connect(address, "/pub").await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(connect(address, "/sub").await);
    }
    let delivered = Arc::new(AtomicU64::new(0));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..subscribers {
        let stream = connect(address, "/sub").await;
        readers.spawn(read_all(stream, messages, Arc::clone(&delivered)));
    }

    let mut most = 0;
    for number in 0..messages {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(PAYLOAD, 0);
        publisher.write_all(&frame(2, &payload)).await.unwrap();
        // No faster than the readers follow.
        if (number + 1) % WINDOW == 0 {
            while delivered.load(Ordering::Relaxed) < (number + 1) * subscribers {
                assert!(readers.try_join_next().is_none_or(|read| read.is_ok()));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            most = most.max(resident(&process) - before);
        }
    }
    while let Some(read) = readers.join_next().await {
        read.unwrap();
    }

    // What a connection may take: its outbox, a batch that is being written, a buffer for reading, its state. Those that
    // read need far less, so they are held to less.
    let bound = 16 * 1024 * 1024 + subscribers * 12 * 1024 + STALLED * (64 + 64 + 16 + 16) * 1024;
    assert!(
        most <= bound,
        "{most} bytes for {subscribers} subscribers, at most {bound}"
    );
    let expected = format!("1013 {STALLED}\n");
    let all_ended = async {
        while !closed(address).await.contains(&expected) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_ended)
        .await
        .unwrap();
    println!(
        "{subscribers} subscribers, {messages} messages, {} bytes each",
        most / (subscribers + STALLED)
    );
    drop(stalled);
}

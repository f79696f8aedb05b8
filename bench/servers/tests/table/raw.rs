//! The roles of the server without WebSocket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::running::{Running, servers};

async fn connect(server: &Running, role: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(&server.address).await.unwrap();
    tcp.write_all(role).await.unwrap();
    tcp
}

async fn expect(tcp: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    let read = timeout(Duration::from_secs(10), tcp.read_exact(&mut got)).await;
    read.expect("nothing came").unwrap();
    assert!(got == expected);
}

/// A subscriber is one when it gets what `speaker` says, or what it says itself.
async fn start(speaker: Option<&mut TcpStream>, listener: &mut TcpStream) {
    let mut speaker = speaker;
    let mut byte = [0];
    loop {
        let speaker = speaker.as_deref_mut().unwrap_or(listener);
        speaker.write_all(b"!").await.unwrap();
        let read = timeout(Duration::from_millis(100), listener.read_exact(&mut byte)).await;
        if read.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn raw() {
    let server = servers().into_iter().find(|server| server.raw).unwrap();
    let running = server.start(&[]);
    // The bare accept.
    drop(TcpStream::connect(&running.address).await.unwrap());

    let mut echo = connect(&running, b"e").await;
    for message in [vec![1], vec![2; 50_000]] {
        echo.write_all(&message).await.unwrap();
        expect(&mut echo, &message).await;
    }

    let mut publisher = connect(&running, b"p").await;
    let mut subscriber = connect(&running, b"s").await;
    start(Some(&mut publisher), &mut subscriber).await;
    let said: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
    publisher.write_all(&said).await.unwrap();
    expect(&mut subscriber, &said).await;

    let mut speaker = connect(&running, b"c\x01").await;
    let mut listener = connect(&running, b"c\x01").await;
    start(None, &mut speaker).await;
    start(Some(&mut speaker), &mut listener).await;
    speaker.write_all(b"said").await.unwrap();
    expect(&mut listener, b"said").await;
    expect(&mut speaker, b"!said").await;
}

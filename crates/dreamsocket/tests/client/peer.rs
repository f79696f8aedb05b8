//! A server that reads one request and then does just what the test says, byte by byte.

use std::future::Future;
use std::time::Duration;

use dreamsocket_protocol::handshake::accept_key;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Makes a hang a failure. Long, since a busy machine is no bug.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(Duration::from_secs(30), future).await {
            Ok(output) => output,
            Err(_) => panic!("still waiting at {caller}"),
        }
    }
}

/// A listener, and the URL that leads to it.
pub(crate) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/path?query", listener.local_addr().unwrap());
    (listener, url)
}

/// A listener whose only connection is answered with these bytes, and then left open until the client ends it.
pub(crate) async fn answer_with(response: impl Into<Vec<u8>>) -> String {
    let (listener, url) = listen().await;
    let response = response.into();
    tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        let _ = peer.io.write_all(&response).await;
        peer.expect_end().await;
    });
    url
}

pub(crate) struct Peer {
    pub(crate) io: TcpStream,
    /// The head of the request.
    pub(crate) request: String,
    received: Vec<u8>,
}

/// A frame of the client's, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) mask: [u8; 4],
    pub(crate) payload: Vec<u8>,
}

impl Peer {
    /// Accepts a connection and reads the request.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (io, _) = within(listener.accept()).await.unwrap();
        let mut peer = Self {
            io,
            request: String::new(),
            received: Vec::new(),
        };
        while !peer.received.ends_with(b"\r\n\r\n") {
            assert!(peer.read().await, "the client ended within its request");
        }
        peer.request = String::from_utf8(std::mem::take(&mut peer.received)).unwrap();
        peer
    }

    /// Accepts a connection and agrees to what it asks for.
    pub(crate) async fn open(listener: &TcpListener) -> Self {
        let mut peer = Self::accept(listener).await;
        peer.switch("", b"").await;
        peer
    }

    /// The value of a header of the request.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.request.lines().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Answers 101 with more headers, and sends bytes in the same packet.
    pub(crate) async fn switch(&mut self, headers: &str, early: &[u8]) {
        let key = self.header("sec-websocket-key").unwrap();
        let accept = accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{headers}\r\n",
            accept.to_str().unwrap()
        );
        self.write(&[head.as_bytes(), early].concat()).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within(self.io.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.write(&frame(opcode, payload)).await;
    }

    pub(crate) async fn close(&mut self, code: u16) {
        self.send(CLOSE, &code.to_be_bytes()).await;
    }

    /// The next frame, or nothing if the client has ended.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let [first, length, rest @ ..] = &*self.received {
                assert_eq!(first & 0xf0, 0x80, "whole frames, no reserved bits");
                assert_eq!(length & 0x80, 0x80, "masked");
                let length = usize::from(length & 0x7f);
                assert!(length < 126, "short");
                if rest.len() >= 4 + length {
                    let opcode = first & 0x0f;
                    let mask: [u8; 4] = rest[..4].try_into().unwrap();
                    let mut payload = rest[4..4 + length].to_vec();
                    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
                        *byte ^= key;
                    }
                    self.received.drain(..6 + length);
                    return Some(Frame {
                        opcode,
                        mask,
                        payload,
                    });
                }
            }
            if !self.read().await {
                assert!(self.received.is_empty(), "half a frame");
                return None;
            }
        }
    }

    pub(crate) async fn expect(&mut self, opcode: u8, payload: &[u8]) -> Frame {
        let frame = self.frame().await.unwrap();
        assert_eq!((frame.opcode, &*frame.payload), (opcode, payload));
        frame
    }

    pub(crate) async fn expect_close(&mut self, code: u16) {
        let frame = self.frame().await.unwrap();
        assert_eq!(frame.opcode, CLOSE, "{frame:?}");
        assert_eq!(frame.payload[..2], code.to_be_bytes(), "{frame:?}");
    }

    /// Waits until the client ends the connection.
    pub(crate) async fn expect_end(&mut self) {
        while self.read().await {}
    }

    /// False at the end.
    async fn read(&mut self) -> bool {
        let count = within(self.io.read_buf(&mut self.received)).await;
        count.is_ok_and(|count| count > 0)
    }
}

/// A whole frame of a server's.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    let mut frame = vec![0x80 | opcode, length];
    frame.extend_from_slice(payload);
    frame
}

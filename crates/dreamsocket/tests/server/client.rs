//! A client that sends exactly the bytes it is told to, and sees exactly those that come.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const TEXT: u8 = 1;
#[cfg(feature = "http2")]
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

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

/// The lines of a handshake that is in order, without the empty one at the end.
pub(crate) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
}

pub(crate) struct Client<T = TcpStream> {
    pub(crate) io: T,
    received: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header that must be there once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.head.lines().filter_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        let value = values
            .next()
            .unwrap_or_else(|| panic!("no {name} in {}", self.head));
        assert_eq!(values.next(), None, "{name} twice in {}", self.head);
        value
    }
}

#[derive(PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:?}",
            self.opcode,
            String::from_utf8_lossy(&self.payload)
        )
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(within(TcpStream::connect(address)).await.unwrap())
    }

    /// A WebSocket.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::connect(address).await;
        client.upgrade(path).await;
        client
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        self.io.set_zero_linger().unwrap();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            io,
            received: Vec::new(),
        }
    }

    #[track_caller]
    pub(crate) fn upgrade(&mut self, path: &str) -> impl Future<Output = ()> {
        let request = handshake(path) + "\r\n";
        async move {
            let answer = self.request(&request).await;
            assert_eq!(answer.status, 101, "{answer:?}");
            assert_eq!(
                answer.header("sec-websocket-accept"),
                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            );
        }
    }

    pub(crate) async fn request(&mut self, request: &str) -> Answer {
        self.write(request.as_bytes()).await;
        self.answer().await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within(self.io.write_all(bytes)).await.unwrap();
    }

    /// The next response, which has a content length or no body.
    pub(crate) async fn answer(&mut self) -> Answer {
        let end = loop {
            let end = self.received.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            assert!(self.read().await.unwrap(), "no answer: {:?}", self.text());
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        if status != 101 {
            let length: usize = answer.header("content-length").parse().unwrap();
            while self.received.len() < length {
                assert!(
                    self.read().await.unwrap(),
                    "half an answer: {:?}",
                    self.text()
                );
            }
            answer.body = String::from_utf8(self.received.drain(..length).collect()).unwrap();
        }
        answer
    }

    pub(crate) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.write(&masked(opcode, payload)).await;
    }

    /// The next frame, or nothing if the connection ended.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let [first, length, ..] = *self.received {
                assert_eq!(first & 0xf0, 0x80, "whole frames, no reserved bits");
                assert!(length < 126, "short and not masked");
                let end = 2 + usize::from(length);
                if self.received.len() >= end {
                    let payload = self.received.drain(..end).skip(2).collect();
                    return Some(Frame {
                        opcode: first & 0x0f,
                        payload,
                    });
                }
            }
            if !self.read().await.unwrap_or(false) {
                assert!(self.received.is_empty(), "half a frame: {:?}", self.text());
                return None;
            }
        }
    }

    /// Sends a text and waits for the same.
    pub(crate) async fn echo(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes()).await;
        self.expect_text(text).await;
    }

    pub(crate) async fn expect_text(&mut self, text: &str) {
        let expected = Frame {
            opcode: TEXT,
            payload: text.into(),
        };
        assert_eq!(self.frame().await, Some(expected));
    }

    /// Waits for a close frame, answers it, and waits for the end.
    pub(crate) async fn expect_close(&mut self, code: u16) {
        let frame = self.frame().await.expect("a close frame, not just the end");
        assert_eq!(frame.opcode, CLOSE, "{frame:?}");
        assert_eq!(frame.payload[..2], code.to_be_bytes(), "{frame:?}");
        // The server may have given up waiting.
        let _ = self.io.write_all(&masked(CLOSE, &code.to_be_bytes())).await;
        assert_eq!(self.frame().await, None);
    }

    /// Waits for the end, by a reset or not.
    pub(crate) async fn expect_end(&mut self) {
        while self.read().await.unwrap_or(false) {}
        assert_eq!(self.text(), "");
    }

    /// False at the end.
    pub(crate) async fn read(&mut self) -> io::Result<bool> {
        Ok(within(self.io.read_buf(&mut self.received)).await? > 0)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

/// A whole frame with a mask of zeros.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    let mut frame = vec![0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

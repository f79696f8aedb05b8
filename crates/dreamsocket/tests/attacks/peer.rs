//! A client that sends exactly the bytes it is told to, whatever the server thinks of them.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The bit of a frame's first byte that says it is a message's last.
pub(crate) const FIN: u8 = 0x80;

/// Any stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Makes a hang a failure. Long, since a busy machine is no bug.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(Duration::from_secs(60), future).await {
            Ok(output) => output,
            Err(_) => panic!("still waiting at {caller}"),
        }
    }
}

/// The lines of a handshake that is in order, without the empty one at the end.
pub(crate) const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A whole frame with a mask of zeros; its first byte is the opcode, with what bits are set beside it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// The head of a frame of that length, with a mask of zeros.
pub(crate) fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..=125 => head.push(0x80 | length as u8),
        126..=0xffff => {
            head.push(0x80 | 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}

pub(crate) struct Peer<T = TcpStream> {
    pub(crate) io: T,
    received: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

#[derive(PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.payload[..self.payload.len().min(100)];
        write!(f, "{}: {:?}", self.opcode, String::from_utf8_lossy(start))
    }
}

impl Peer {
    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        self.io.set_zero_linger().unwrap();
    }
}

impl<T: Io> Peer<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            io,
            received: Vec::new(),
        }
    }

    pub(crate) async fn upgrade(&mut self, path: &str) {
        self.upgrade_with(path, "").await;
    }

    pub(crate) async fn upgrade_with(&mut self, path: &str, lines: &str) {
        let request = HANDSHAKE.replace("GET / ", &format!("GET {path} "));
        let answer = self.request(&format!("{request}{lines}\r\n")).await;
        assert_eq!(answer.status, 101, "{answer:?}");
    }

    pub(crate) async fn request(&mut self, request: &str) -> Answer {
        self.write(request.as_bytes()).await.unwrap();
        self.answer().await.expect("an answer")
    }

    /// The next response; `None` if the connection ends before it.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            let end = self.received.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            if !self.read().await {
                return None;
            }
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().unwrap())
        });
        let length = length.unwrap_or_default();
        while self.received.len() < length && self.read().await {}
        let length = length.min(self.received.len());
        Some(Answer {
            status: head[9..12].parse().unwrap(),
            body: String::from_utf8(self.received.drain(..length).collect()).unwrap(),
        })
    }

    /// An error is the end of the connection.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.io.write_all(bytes)).await
    }

    /// Sends a whole message or control frame.
    pub(crate) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.write(&frame(FIN | opcode, payload)).await.unwrap();
    }

    /// Sends the same over and over, and reads what comes meanwhile, until the connection ends or `until` says so.
    pub(crate) async fn flood(&mut self, bytes: &[u8], mut until: impl FnMut(&[u8]) -> bool) {
        let (mut reader, mut writer) = tokio::io::split(&mut self.io);
        let received = &mut self.received;
        let writing = async {
            loop {
                if writer.write_all(bytes).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            // What was received before is still to be read.
            std::future::pending::<()>().await;
        };
        let reading = async {
            while !until(received) && matches!(reader.read_buf(received).await, Ok(1..)) {}
        };
        within(async {
            tokio::select! {
                () = writing => {}
                () = reading => {}
            }
        })
        .await;
    }

    /// The next frame, or nothing if the connection ended.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((start, end)) = parse(&self.received) {
                let opcode = self.received[0] & 0x0f;
                let payload = self.received.drain(..end).skip(start).collect();
                return Some(Frame { opcode, payload });
            }
            if !self.read().await {
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
        loop {
            let frame = self.frame().await.expect("a text, not just the end");
            if frame.opcode != PING {
                assert_eq!(frame, expected);
                return;
            }
            self.answer_ping(&frame).await;
        }
    }

    /// Reads up to a close frame with this code.
    pub(crate) async fn expect_close(&mut self, code: u16) {
        loop {
            let frame = self.frame().await.expect("a close frame, not just the end");
            if frame.opcode == CLOSE {
                assert_eq!(frame.payload[..2], code.to_be_bytes(), "{frame:?}");
                return;
            }
        }
    }

    /// Waits for the end, by a reset or not, whatever comes before it.
    pub(crate) async fn expect_end(&mut self) {
        while self.read().await {
            self.received.clear();
        }
    }

    /// False at the end, by a reset or not.
    pub(crate) async fn read(&mut self) -> bool {
        matches!(within(self.io.read_buf(&mut self.received)).await, Ok(1..))
    }

    /// Answers a close.
    pub(crate) async fn send_close(&mut self, code: u16) {
        self.send(CLOSE, &code.to_be_bytes()).await;
    }

    /// Whether the server ends the connection within a moment, or says that it will. Drops what came.
    pub(crate) async fn has_ended(&mut self) -> bool {
        let reading = async {
            while let Some(frame) = self.frame().await {
                if frame.opcode == CLOSE {
                    return;
                }
            }
        };
        let moment = Duration::from_millis(300);
        tokio::time::timeout(moment, reading).await.is_ok()
    }

    /// Does nothing but that, until the connection ends.
    pub(crate) async fn answer_pings(&mut self) {
        loop {
            // However long it takes.
            while parse(&self.received).is_none() {
                if !matches!(self.io.read_buf(&mut self.received).await, Ok(1..)) {
                    return;
                }
            }
            let Some(frame) = self.frame().await else {
                return;
            };
            self.answer_ping(&frame).await;
        }
    }

    async fn answer_ping(&mut self, frame: &Frame) {
        if frame.opcode == PING {
            self.send(PONG, &frame.payload).await;
        }
    }

    /// The next so many bytes; `None` if the connection ends before.
    pub(crate) async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.received.len() < count {
            if !self.read().await {
                return None;
            }
        }
        Some(self.received.drain(..count).collect())
    }

    pub(crate) const fn received(&self) -> &Vec<u8> {
        &self.received
    }
}

/// Where the payload of a whole frame at the beginning starts and ends.
fn parse(received: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *received {
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [_, 127, ..] => {
            let length = received.get(2..10)?.try_into().unwrap();
            (10, usize::try_from(u64::from_be_bytes(length)).unwrap())
        }
        [_, 126, ..] | [] | [_] => return None,
        [_, length, ..] => (2, usize::from(length)),
    };
    let end = start + length;
    (received.len() >= end).then_some((start, end))
}

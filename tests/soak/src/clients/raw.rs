//! A client that writes bytes, whatever the server thinks of them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// After so long without anything a client of this kind gives up.
const PATIENCE: Duration = Duration::from_secs(20);

const SMALL_BUFFER: u32 = 4 * 1024;

pub(super) struct Raw {
    pub(super) io: TcpStream,
    pub(super) received: Vec<u8>,
}

pub(super) struct Frame {
    pub(super) opcode: u8,
    pub(super) payload: Vec<u8>,
}

impl Raw {
    pub(super) async fn connect(address: SocketAddr) -> Option<Self> {
        let connecting = timeout(PATIENCE, TcpStream::connect(address)).await;
        Some(Self {
            io: connecting.ok()?.ok()?,
            received: Vec::new(),
        })
    }

    /// A WebSocket; `None` if it is refused, or the server is gone.
    pub(super) async fn open(address: SocketAddr, path: &str) -> Option<Self> {
        let mut raw = Self::connect(address).await?;
        raw.upgrade(path).await.then_some(raw)
    }

    /// The same with a small receive buffer, as the system's own takes in megabytes.
    pub(super) async fn open_slow(address: SocketAddr, path: &str) -> Option<Self> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_recv_buffer_size(SMALL_BUFFER).ok()?;
        let connecting = timeout(PATIENCE, socket.connect(address)).await;
        let mut raw = Self {
            io: connecting.ok()?.ok()?,
            received: Vec::new(),
        };
        raw.upgrade(path).await.then_some(raw)
    }

    async fn upgrade(&mut self, path: &str) -> bool {
        if !self.write(handshake(path).as_bytes()).await {
            return false;
        }
        loop {
            let end = self.received.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = end {
                let is_open = self.received.starts_with(b"HTTP/1.1 101");
                self.received.drain(..end + 4);
                return is_open;
            }
            if !self.read().await {
                return false;
            }
        }
    }

    /// False if the server is gone or takes nothing.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> bool {
        matches!(
            timeout(PATIENCE, self.io.write_all(bytes)).await,
            Ok(Ok(()))
        )
    }

    pub(super) async fn send(&mut self, opcode: u8, payload: &[u8]) -> bool {
        self.write(&frame(opcode, payload)).await
    }

    /// False at the end, or when nothing comes.
    pub(super) async fn read(&mut self) -> bool {
        let reading = timeout(PATIENCE, self.io.read_buf(&mut self.received)).await;
        matches!(reading, Ok(Ok(1..)))
    }

    /// Reads and drops what comes up to the end.
    pub(super) async fn read_to_end(&mut self) {
        while self.read().await {
            self.received.clear();
        }
    }

    /// A frame that has come whole.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        let (start, length) = match *self.received.as_slice() {
            [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
            [_, 127, _, _, _, _, a, b, c, d, ..] => {
                let length = u32::from_be_bytes([a, b, c, d]);
                (10, usize::try_from(length).unwrap_or(usize::MAX))
            }
            [_, length @ 0..126, ..] => (2, usize::from(length)),
            _ => return None,
        };
        let end = start + length;
        if self.received.len() < end {
            return None;
        }
        let opcode = self.received.first()? & 0x0f;
        let payload = self.received.drain(..end).skip(start).collect();
        Some(Frame { opcode, payload })
    }

    /// Ends with a reset.
    pub(super) fn reset(self) {
        // It may have ended by itself.
        let _ = self.io.set_zero_linger();
    }
}

pub(super) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A whole frame with a mask of zeros.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// The head of a frame of that length, with a mask of zeros.
pub(super) fn head(opcode: u8, length: usize) -> Vec<u8> {
    let mut head = vec![0x80 | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..126), _) => head.push(0x80 | length),
        (_, Ok(length)) => {
            head.push(0x80 | 126);
            head.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}

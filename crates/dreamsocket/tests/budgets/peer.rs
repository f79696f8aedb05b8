//! A peer that knows just enough of RFC 6455 to have its messages echoed, and waits for them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);

const BINARY: u8 = 0x82;
const COMPRESSED: u8 = 0x40;

pub(crate) struct Peer {
    io: TcpStream,
}

impl Peer {
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_with(address, path, "")
    }

    /// Opens a WebSocket that compresses.
    pub(crate) fn open_compressing(address: SocketAddr, path: &str) -> Self {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n";
        Self::open_with(address, path, offer)
    }

    fn open_with(address: SocketAddr, path: &str, header: &str) -> Self {
        let mut io = TcpStream::connect(address).unwrap();
        io.set_nodelay(true).unwrap();
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
        );
        io.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            io.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(head.contains("permessage-deflate"), !header.is_empty());
        Self { io }
    }

    /// Sends so many binary messages with one write, and waits for their echoes.
    pub(crate) fn echo(&mut self, messages: usize, size: usize) {
        let batch = frame(BINARY, &vec![7; size]).repeat(messages);
        self.io.write_all(&batch).unwrap();
        for _ in 0..messages {
            let (first, payload) = self.receive();
            assert_eq!((first, payload.len()), (BINARY, size));
        }
    }

    /// Sends a message that is compressed, and waits for its echo, which is, too.
    pub(crate) fn echo_compressed(&mut self, size: usize) {
        let message = frame(BINARY | COMPRESSED, &deflate(&vec![7; size]));
        self.io.write_all(&message).unwrap();
        let (first, payload) = self.receive();
        assert_eq!(first, BINARY | COMPRESSED);
        assert!(payload.len() < size);
    }

    /// The first byte of a frame, and its payload.
    fn receive(&mut self) -> (u8, Vec<u8>) {
        let [first, length] = self.read();
        let length = match length {
            126 => u16::from_be_bytes(self.read()).into(),
            127 => u64::from_be_bytes(self.read()),
            length => length.into(),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.io.read_exact(&mut payload).unwrap();
        (first, payload)
    }

    fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.io.read_exact(&mut bytes).unwrap();
        bytes
    }
}

/// A frame with a mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => frame.push(0x80 | u8::try_from(length).unwrap()),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// RFC 7692 §7.2.1.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(bytes.len() + 64);
    flate2::Compress::new(flate2::Compression::fast(), false)
        .compress_vec(bytes, &mut deflated, flate2::FlushCompress::Sync)
        .unwrap();
    deflated.truncate(deflated.len() - 4);
    deflated
}

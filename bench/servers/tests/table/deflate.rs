//! permessage-deflate without context takeover. By hand, since the client of the other tests has none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};

use crate::running::{Running, web_sockets_with};

const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Opens `/echo`, and returns the extensions that were agreed on.
fn open(running: &Running) -> (BufReader<TcpStream>, String) {
    let mut tcp = TcpStream::connect(&running.address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: {OFFER}\r\n\r\n",
        running.address
    );
    tcp.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(tcp);
    let mut extensions = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return (reader, extensions);
        }
        if let Some(value) = line.strip_prefix("sec-websocket-extensions:") {
            value.trim().clone_into(&mut extensions);
        }
    }
}

fn inflate(compressed: &[u8]) -> Vec<u8> {
    let mut inflated = Vec::with_capacity(4096);
    // RFC 7692 §7.2.2: these four bytes are left out on the wire.
    let compressed = [compressed, &[0, 0, 0xff, 0xff]].concat();
    let mut decompress = Decompress::new(false);
    decompress
        .decompress_vec(&compressed, &mut inflated, FlushDecompress::Sync)
        .unwrap();
    inflated
}

#[test]
fn deflate() {
    for server in web_sockets_with(|server| server.deflate) {
        let running = server.start(&["--deflate"]);
        let (mut reader, extensions) = open(&running);
        assert!(extensions.starts_with("permessage-deflate"));
        assert!(extensions.contains("server_no_context_takeover"));

        let json = format!("[{}]", r#"{"name":"Ada","at":1234},"#.repeat(40));
        // Twice, for what a context would change.
        for _ in 0..2 {
            let length = u16::try_from(json.len()).unwrap().to_be_bytes();
            let mut frame = vec![0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
            frame.extend_from_slice(json.as_bytes());
            reader.get_mut().write_all(&frame).unwrap();

            let mut head = [0; 2];
            reader.read_exact(&mut head).unwrap();
            assert_eq!(head[0], 0xc1, "a whole compressed text message");
            let length = match head[1] {
                126 => {
                    let mut length = [0; 2];
                    reader.read_exact(&mut length).unwrap();
                    u16::from_be_bytes(length)
                }
                length => length.into(),
            };
            let mut payload = vec![0; length.into()];
            reader.read_exact(&mut payload).unwrap();
            assert!(payload.len() < json.len() / 4);
            assert_eq!(inflate(&payload), json.as_bytes());
        }
    }
}

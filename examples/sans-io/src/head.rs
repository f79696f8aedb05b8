//! The opening handshake as bytes: what an HTTP server does elsewhere. httparse finds the lines, the protocol crate judges them.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use dreamsocket_protocol::handshake::RequestError;
use http::{HeaderValue, Request, Version};

/// Bytes of a request's head, and how many headers it may have.
const LARGEST_HEAD: usize = 8 * 1024;
const MOST_HEADERS: usize = 64;

/// Reads up to the end of the head, until the deadline. What came behind it stays in `input`.
pub(crate) fn read_request(
    mut stream: &TcpStream,
    input: &mut BytesMut,
    deadline: Instant,
) -> Result<Request<()>, Box<dyn Error>> {
    let mut chunk = [0; 1024];
    loop {
        if let Some((request, length)) = parse(input)? {
            input.advance(length);
            return Ok(request);
        }
        if input.len() >= LARGEST_HEAD {
            return Err("the head of the request is too large".into());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("the request takes too long".into());
        }
        // One limit for all of it: a byte now and then keeps nobody's place.
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => return Err("the peer is gone before its request was whole".into()),
            read => input.extend_from_slice(&chunk[..read]),
        }
    }
}

/// A request, and how many bytes it had.
type Head = (Request<()>, usize);

/// The head, once it is whole.
fn parse(input: &[u8]) -> Result<Option<Head>, Box<dyn Error>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(input)? else {
        return Ok(None);
    };
    let version = match head.version {
        Some(1) => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    let mut request = Request::builder()
        .method(head.method.unwrap_or_default())
        .uri(head.path.unwrap_or_default())
        .version(version);
    for header in head.headers {
        request = request.header(header.name, header.value);
    }
    Ok(Some((request.body(())?, length)))
}

/// RFC 6455 §4.2.2: from here on the connection is a WebSocket.
pub(crate) fn write_switch(mut stream: &TcpStream, accept_key: &HeaderValue) -> io::Result<()> {
    let mut head =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: "
            .to_vec();
    head.extend_from_slice(accept_key.as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    stream.write_all(&head)
}

/// Says why there is no WebSocket, in one plain line.
pub(crate) fn write_refusal(mut stream: &TcpStream, error: RequestError) -> io::Result<()> {
    let mut answer = format!("HTTP/1.1 {}\r\n", error.status()).into_bytes();
    for (name, value) in &error.headers() {
        answer.extend_from_slice(name.as_str().as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    let line = format!("{error}\n");
    let length = line.len();
    let rest = format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{line}");
    answer.extend_from_slice(rest.as_bytes());
    stream.write_all(&answer)
}

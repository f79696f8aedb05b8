//! Talks to the real program with tungstenite, and byte by byte.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

/// Makes a hang a failure. Long, since a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(30);

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

struct Program {
    process: Child,
    address: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Program {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sans-io"))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { process, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn open(&self) -> WebSocket<TcpStream> {
        let url = format!("ws://{}/", self.address);
        tungstenite::client(url, self.connect()).unwrap().0
    }
}

fn read_some<const LENGTH: usize>(stream: &mut TcpStream) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn messages_of_each_kind_come_back() {
    let program = Program::start();
    let mut socket = program.open();
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::text("aä€😀"),
        Message::binary(vec![0, 1, 255]),
        Message::binary(vec![7; 300_000]),
    ] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    socket.send(Message::Ping("there?".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("there?".into()));
    let bye = CloseFrame {
        code: CloseCode::Library(4001),
        reason: "bye".into(),
    };
    socket.close(Some(bye.clone())).unwrap();
    // The reply has the code alone.
    let reply = CloseFrame {
        reason: "".into(),
        ..bye
    };
    assert_eq!(socket.read().unwrap(), Message::Close(Some(reply)));
    assert!(matches!(
        socket.read(),
        Err(tungstenite::Error::ConnectionClosed)
    ));
}

/// The request and the first frame in one packet; then a frame in pieces of one byte.
#[test]
fn it_does_not_matter_how_bytes_are_split() {
    let program = Program::start();
    let mut stream = program.connect();
    stream.set_nodelay(true).unwrap();
    let hello = b"\x81\x85\x01\x02\x03\x04\x69\x67\x6f\x68\x6e";
    stream.write_all(&[REQUEST, hello].concat()).unwrap();
    let mut answer = BufReader::with_capacity(1, &stream);
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 101 Switching Protocols\r\n");
    while line != "\r\n" {
        line.clear();
        answer.read_line(&mut line).unwrap();
    }
    assert_eq!(&read_some(&mut stream), b"\x81\x05hello");
    for byte in hello {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(&read_some(&mut stream), b"\x81\x05hello");
}

#[test]
fn what_breaks_the_rules_is_told_so() {
    let program = Program::start();
    // Not masked; and not UTF-8.
    for (frame, code) in [
        (&b"\x81\x05hello"[..], 1002_u16),
        (b"\x81\x81\x00\x00\x00\x00\xff", 1007),
    ] {
        let mut stream = program.connect();
        stream.write_all(&[REQUEST, frame].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let close = &answer[head + 4..];
        assert_eq!((close[0], &close[2..4]), (0x88, &code.to_be_bytes()[..]));
    }
}

#[test]
fn a_request_that_opens_nothing_is_refused() {
    let program = Program::start();
    for (request, expected) in [
        (
            &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            "HTTP/1.1 426 Upgrade Required\r\n",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed\r\n",
        ),
        (b"nonsense\r\n\r\n", ""),
    ] {
        let mut stream = program.connect();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        match stream.read_to_string(&mut answer) {
            Ok(_) => assert!(answer.starts_with(expected), "{answer}"),
            Err(error) => panic!("{error}"),
        }
    }
}

//! Every kind of work against small servers of this file: a raw one, and one that speaks just enough WebSocket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use load::frame::{self, FrameReader};
use load::spec::{Report, Spec, Until, Work};

/// Who gets what, by role; a room is a role of its own.
type Members = Arc<Mutex<Vec<(Vec<u8>, TcpStream)>>>;

fn serve(connection: impl Fn(TcpStream, &Members) + Send + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let members = Members::default();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, members) = (stream.unwrap(), Arc::clone(&members));
            stream.set_nodelay(true).unwrap();
            stream
                .set_write_timeout(Some(Duration::from_secs(1)))
                .unwrap();
            std::thread::spawn(move || connection(stream, &members));
        }
    });
    address
}

/// Gives up those that do not take it.
fn send_to_all(members: &Members, role: &[u8], bytes: &[u8]) {
    let mut members = members.lock().unwrap();
    members.retain_mut(|(of, stream)| of != role || stream.write_all(bytes).is_ok());
}

/// The first byte is the role, and then everything goes as it came.
fn raw(mut stream: TcpStream, members: &Members) {
    let mut role = [0];
    if stream.read_exact(&mut role).is_err() {
        return;
    }
    let mut role = role.to_vec();
    if role == b"c" {
        role.push(0);
        stream.read_exact(&mut role[1..]).unwrap();
    }
    if role != b"e" && role != b"p" {
        members
            .lock()
            .unwrap()
            .push((role.clone(), stream.try_clone().unwrap()));
    }
    let mut buffer = vec![0; 65536];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        match role[0] {
            b'e' => stream.write_all(&buffer[..length]).unwrap(),
            b'p' => send_to_all(members, b"s", &buffer[..length]),
            _ => send_to_all(members, &role, &buffer[..length]),
        }
    }
}

/// Answers the handshake and echoes what `reply` makes of a message.
fn web_socket(mut stream: TcpStream, extension: &str, reply: fn(&frame::Frame<'_>) -> Vec<u8>) {
    let mut buffer = vec![0; 65536];
    let length = stream.read(&mut buffer).unwrap();
    let request = String::from_utf8_lossy(&buffer[..length]);
    assert!(request.starts_with("GET /echo HTTP/1.1\r\n"), "{request}");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{extension}\r\n"
    );
    stream.write_all(answer.as_bytes()).unwrap();
    let mut reader = FrameReader::default();
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        let mut replies = Vec::new();
        let take = |frame: frame::Frame<'_>| {
            replies.extend(reply(&frame));
            Ok(())
        };
        reader.read(&buffer[..length], take).unwrap();
        if stream.write_all(&replies).is_err() {
            return;
        }
    }
}

fn echo(stream: TcpStream, _: &Members) {
    web_socket(stream, "", |frame| {
        frame::unmasked(frame.opcode, frame.payload)
    });
}

fn wrong_echo(stream: TcpStream, _: &Members) {
    web_socket(stream, "", |frame| {
        let mut payload = frame.payload.to_vec();
        payload[5] ^= 1;
        frame::unmasked(frame.opcode, &payload)
    });
}

/// Compresses anew, as a server does.
fn compressed_echo(stream: TcpStream, _: &Members) {
    let extension = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    web_socket(stream, extension, |frame| {
        let payload = frame::deflate(&frame::inflate(frame.payload).unwrap()).unwrap();
        let mut reply = frame::unmasked(frame.opcode, &payload);
        reply[0] |= 0x40;
        reply
    });
}

const SHORT: Until = Until::Seconds {
    warm_up: 0.05,
    window: 0.2,
};

fn spec(address: SocketAddr, raw: bool, work: Work) -> Spec {
    Spec {
        address,
        // The servers are threads of this process.
        pid: Some(std::process::id()),
        raw,
        tls: false,
        deflate: false,
        work,
    }
}

fn echo_work(size: usize, until: Until) -> Work {
    Work::Echo {
        connections: 5,
        size,
        in_flight: 3,
        json: false,
        until,
    }
}

fn check_report(report: &Report) {
    assert!(report.messages > 0, "{report:?}");
    let latency = report.latency.unwrap();
    assert!(latency.p50 > 0.0 && latency.p50 <= latency.p99 && latency.p99 <= latency.max);
    assert!(report.cpu_per_message().unwrap() > 0.0);
    assert!(report.memory.unwrap().end > 0);
}

#[test]
fn echo_over_raw_and_web_sockets() {
    for size in [32, 1024, 100_000] {
        let raw = spec(serve(raw), true, echo_work(size, SHORT));
        check_report(&load::work::run(&raw).unwrap());
        let echo = spec(serve(echo), false, echo_work(size, SHORT));
        check_report(&load::work::run(&echo).unwrap());
    }
}

#[test]
fn what_does_not_fit_into_a_socket_comes_back() {
    // When the last comes, much of the next is yet to be written.
    let raw = spec(serve(raw), true, echo_work(8_000_000, Until::Messages(16)));
    check_report(&load::work::run(&raw).unwrap());
}

#[test]
fn as_many_messages_as_said() {
    let spec = spec(serve(echo), false, echo_work(32, Until::Messages(1000)));
    let report = load::work::run(&spec).unwrap();
    // Replies that came with the last are counted, too.
    assert!((1000..1015).contains(&report.messages), "{report:?}");
}

#[test]
fn a_server_that_says_something_else_is_found() {
    let wrong = spec(serve(wrong_echo), false, echo_work(32, SHORT));
    let error = load::work::run(&wrong).unwrap_err().to_string();
    assert!(error.contains("not what was sent"), "{error}");
}

#[test]
fn compressed_echo_is_counted_by_frames() {
    let work = Work::Echo {
        connections: 2,
        size: 1024,
        in_flight: 2,
        json: true,
        until: SHORT,
    };
    let mut spec = spec(serve(compressed_echo), false, work);
    spec.deflate = true;
    check_report(&load::work::run(&spec).unwrap());
    spec.address = serve(echo);
    assert!(
        load::work::run(&spec).is_err(),
        "it did not agree to compress"
    );
}

#[test]
fn fan_out_reaches_all_that_read() {
    let work = Work::FanOut {
        subscribers: 10,
        stalled: 1,
        size: 64,
        window: 4,
        handled: false,
        until: SHORT,
    };
    let report = load::work::run(&spec(serve(raw), true, work)).unwrap();
    check_report(&report);
    assert_eq!(report.connections, 12);
}

#[test]
fn chat_reaches_the_room_at_its_own_pace() {
    let work = Work::Chat {
        rooms: 2,
        members: 5,
        size: 100,
        until: Until::Seconds {
            warm_up: 0.2,
            window: 1.0,
        },
    };
    let report = load::work::run(&spec(serve(raw), true, work)).unwrap();
    check_report(&report);
    // Ten messages to five members each, give or take what falls on the edges.
    assert!((40..=60).contains(&report.messages), "{report:?}");
}

#[test]
fn handshakes_and_bare_connections_are_counted() {
    // A server that is slow to accept loses an opening now and then, which the kernel tries again after a second.
    let work = Work::Handshakes {
        concurrent: 3,
        until: Until::Seconds {
            warm_up: 0.05,
            window: 1.5,
        },
    };
    check_report(&load::work::run(&spec(serve(raw), true, work)).unwrap());
}

#[test]
fn idle_connections_are_held() {
    let work = Work::Idle {
        connections: 20,
        topic: false,
        seconds: 0.1,
    };
    let report = load::work::run(&spec(serve(raw), true, work)).unwrap();
    assert_eq!(report.connections, 20);
    assert!(report.bytes_per_connection().is_some() && report.cores().is_some());
}

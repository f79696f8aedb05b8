//! Attacks with HTTP/2 frames, written by hand, beside a bystander on HTTP/1.1.

use std::time::Duration;

use dreamsocket::Config;

use crate::budget::{budget, http2_heads, http2_streams, http2_unread, quiet};
use crate::peer::{BINARY, FIN, Peer, TEXT, frame, within};
use crate::target::{Attack, Target};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const INITIAL_WINDOW_SIZE: u16 = 4;

const ENHANCE_YOUR_CALM: u32 = 11;

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113 §4.1.
fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Header fields with neither index nor Huffman code (RFC 7541 §6.2.2).
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            assert!(text.len() < 127);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Extended CONNECT (RFC 8441 §5.1).
fn connect_fields(authority: &str) -> Vec<u8> {
    fields(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", authority),
        ("sec-websocket-version", "13"),
    ])
}

fn get_fields(path: &str) -> Vec<u8> {
    fields(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
    ])
}

/// A connection with these settings, each an identifier and a value.
async fn start(target: &Target, settings: &[(u16, u32)]) -> Peer {
    let mut peer = target.connect().await;
    peer.write(PREFACE).await.unwrap();
    let mut payload = Vec::new();
    for (identifier, value) in settings {
        payload.extend(identifier.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    peer.write(&http2_frame(SETTINGS, 0, 0, &payload))
        .await
        .unwrap();
    // The server's own, which allow extended CONNECT, and its window for the connection.
    for expected in [SETTINGS, WINDOW_UPDATE] {
        while next(&mut peer).await.expect("a frame").0 != expected {}
    }
    peer.write(&http2_frame(SETTINGS, ACK, 0, &[]))
        .await
        .unwrap();
    peer
}

/// The next frame: kind, stream and payload.
async fn next(peer: &mut Peer) -> Option<(u8, u32, Vec<u8>)> {
    let head = peer.take(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let payload = peer.take(usize::try_from(length).unwrap()).await?;
    Some((head[3], stream, payload))
}

/// Waits for GOAWAY with this error and the end of the connection.
async fn expect_goaway(peer: &mut Peer, error: u32) {
    loop {
        let (kind, _, payload) = next(peer).await.expect("GOAWAY, not just the end");
        if kind == GOAWAY && payload[4..8] != [0; 4] {
            assert_eq!(payload[4..8], error.to_be_bytes());
            break;
        }
    }
    peer.expect_end().await;
}

/// CVE-2023-44487.
#[test]
fn a_rapid_reset_ends_with_goaway() {
    let config = Config::default();
    let memory = quiet(&config, 1) + http2_heads(&config);
    Attack::on(config)
        .within_memory(memory)
        .run(async |target| {
            let mut peer = start(target, &[]).await;
            let fields = get_fields("/nothing");
            // Identifiers of streams go up to 2^31 - 1.
            for first in (1..).step_by(2000) {
                let mut requests = Vec::new();
                for stream in (first..first + 2000).step_by(2) {
                    requests.extend(http2_frame(
                        HEADERS,
                        END_HEADERS | END_STREAM,
                        stream,
                        &fields,
                    ));
                    requests.extend(http2_frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                }
                if peer.write(&requests).await.is_err() {
                    break;
                }
            }
            expect_goaway(&mut peer, ENHANCE_YOUR_CALM).await;
            target.expect(&[("fault Http", 1)]).await;
        });
}

/// CVE-2024-27316 and its kin: a head that never ends.
#[test]
fn a_flood_of_continuations_ends_with_goaway() {
    let config = Config::default();
    let memory = quiet(&config, 1) + http2_heads(&config);
    Attack::on(config)
        .within_memory(memory)
        .run(async |target| {
            let mut peer = start(target, &[]).await;
            let fields = get_fields("/nothing");
            peer.write(&http2_frame(HEADERS, END_STREAM, 1, &fields))
                .await
                .unwrap();
            let more = crate::http2::fields(&[("x-filler", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxx")]);
            let flood = http2_frame(CONTINUATION, 0, 1, &more.repeat(100));
            peer.flood(&flood, |_| false).await;
            expect_goaway(&mut peer, ENHANCE_YOUR_CALM).await;
            target.expect(&[("fault Http", 1)]).await;
        });
}

/// Answers to PING are no sign that what was asked for is wanted.
#[test]
fn answers_without_a_window_are_cut_off() {
    let config = Config::default().with_answer_timeout(Duration::from_millis(500));
    let memory = quiet(&config, 1) + http2_heads(&config);
    Attack::on(config)
        .within_memory(memory)
        .run(async |target| {
            let mut peer = start(target, &[(INITIAL_WINDOW_SIZE, 0)]).await;
            let fields = get_fields("/endless");
            for stream in (1..).step_by(2).take(20) {
                let flags = END_HEADERS | END_STREAM;
                let request = http2_frame(HEADERS, flags, stream, &fields);
                peer.write(&request).await.unwrap();
            }
            within(async {
                let ping = http2_frame(PING, 0, 0, &[0; 8]);
                while peer.write(&ping).await.is_ok() && next(&mut peer).await.is_some() {}
            })
            .await;
            target.expect(&[("fault Slow", 1)]).await;
        });
}

/// A peer that opens no window is one that does not read: its streams are closed, and reset since it does not take that
/// either.
#[test]
fn streams_without_a_window_are_1013_and_reset() {
    const STREAMS: u32 = 20;
    let config = Config::default()
        .with_stall_timeout(Duration::from_millis(500))
        .with_close_time(Duration::from_millis(500));
    let memory = budget(&config, STREAMS as usize) + http2_streams(&config);
    Attack::on(config)
        .within_memory(memory)
        .run(async |target| {
            let mut peer = start(target, &[(INITIAL_WINDOW_SIZE, 0)]).await;
            let fields = connect_fields("localhost");
            for stream in (1..).step_by(2).take(STREAMS as usize) {
                let mut opening = http2_frame(HEADERS, END_HEADERS, stream, &fields);
                opening.extend(http2_frame(DATA, 0, stream, &frame(FIN | TEXT, b"fill")));
                peer.write(&opening).await.unwrap();
            }
            let mut resets = 0;
            while resets < STREAMS {
                let (kind, stream, payload) = next(&mut peer).await.expect("resets");
                assert!(kind != DATA || payload.is_empty(), "{stream}");
                if kind == RST_STREAM {
                    resets += 1;
                }
            }
            let count = u64::from(STREAMS);
            target
                .expect(&[("on_close lagged 1013", count), ("closed lagged", count)])
                .await;
        });
}

/// DNS rebinding.
#[test]
fn a_foreign_authority_on_a_loopback_address_is_403() {
    let config = Config::default();
    let memory = quiet(&config, 1) + http2_heads(&config);
    Attack::on(config)
        .within_memory(memory)
        .run(async |target| {
            let mut peer = start(target, &[]).await;
            let fields = connect_fields("evil.example");
            peer.write(&http2_frame(HEADERS, END_HEADERS, 1, &fields))
                .await
                .unwrap();
            let (mut status, mut body) = (Vec::new(), Vec::new());
            within(async {
                while !body.ends_with(b"\n") {
                    match next(&mut peer).await.expect("an answer") {
                        (HEADERS, _, payload) => status = payload,
                        (DATA, _, payload) => body.extend(payload),
                        _ => {}
                    }
                }
            })
            .await;
            // RFC 7541 §6.2.1: a literal under the name of index 8, `:status`; "403" in three bytes of Huffman code.
            assert!(
                status.starts_with(&[0x48, 0x83, 0x68, 0x0c, 0xff]),
                "{status:x?}"
            );
            let body = String::from_utf8(body).unwrap();
            assert!(body.contains("evil.example"), "{body}");
            assert!(body.contains("Server::allowed_hosts"), "{body}");
            target.expect(&[("refused 403", 1)]).await;
        });
}

/// What waits for a handler that hangs is bounded by the stream's window in bytes, and in frames by what h2 allows of small
/// ones on a connection.
#[test]
fn a_flood_of_small_data_frames_ends_with_goaway() {
    const STREAMS: usize = 4;
    // Long enough for the flood. What lies behind a full read-ahead, such as the connection's end, is not seen (L3): this
    // is what ends the handlers.
    let config = Config::default().with_handler_timeout(Some(Duration::from_secs(8)));
    let memory = budget(&config, STREAMS) + http2_streams(&config) + http2_unread();
    Attack::on(config)
        .within_memory(memory)
        .run(async |target| {
            let mut peer = start(target, &[]).await;
            let fields = connect_fields("localhost");
            let mut flood = Vec::new();
            for stream in (1..).step_by(2).take(STREAMS) {
                peer.write(&http2_frame(HEADERS, END_HEADERS, stream, &fields))
                    .await
                    .unwrap();
                // One handler hangs, and the rest is more than is read ahead of it.
                let hang = frame(FIN | TEXT, b"hang");
                let behind = frame(FIN | BINARY, &[0; 20 * 1024]);
                for part in [&*hang, &behind[..10_000], &behind[10_000..]] {
                    peer.write(&http2_frame(DATA, 0, stream, part))
                        .await
                        .unwrap();
                }
                // Within the stream's window.
                flood.extend(http2_frame(DATA, 0, stream, b"x").repeat(40_000));
            }
            // Fails when the server has had enough.
            let _ = peer.write(&flood).await;
            expect_goaway(&mut peer, ENHANCE_YOUR_CALM).await;
            let count = STREAMS as u64;
            target
                .expect(&[
                    ("fault Http", 1),
                    ("on_close timed out 1011", count),
                    ("closed timed out", count),
                ])
                .await;
        });
}

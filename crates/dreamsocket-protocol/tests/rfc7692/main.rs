//! permessage-deflate (RFC 7692) by chapter, without time and sockets: bytes in, events out.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "a test fails by panicking; proptest shares its strategies"
)]

mod bounds;
mod framing;
mod properties;
mod takeover;

use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::handshake::DeflateParams;
use dreamsocket_protocol::{
    CloseCode, DeflateTuning, EncodeError, Engine, Event, Limits, MessageKind, Role, Text,
    Violation,
};

/// No context takeover either way, the largest windows.
const ALONE: DeflateParams = DeflateParams {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

/// Context takeover both ways.
const TAKEOVER: DeflateParams = DeflateParams {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    ..ALONE
};

/// Compresses whatever gets shorter.
const EVERYTHING: DeflateTuning = DeflateTuning::new().with_threshold(0);

fn engine(role: Role, params: DeflateParams) -> Engine {
    engine_with(role, params, Limits::default())
}

fn engine_with(role: Role, params: DeflateParams, limits: Limits) -> Engine {
    Engine::new(role, limits).with_deflate(params, EVERYTHING)
}

/// What a server that compresses sends.
fn encode(engine: &mut Engine, kind: MessageKind, payload: &[u8]) -> BytesMut {
    let mut output = BytesMut::new();
    engine
        .encode_message(kind, payload, || [7, 1, 2, 3], &mut output)
        .unwrap();
    output
}

/// The events that come of these bytes, all of which are used up.
fn receive(engine: &mut Engine, bytes: impl AsRef<[u8]>) -> Vec<Event> {
    let mut buffer = BytesMut::from(bytes.as_ref());
    let events: Vec<_> = std::iter::from_fn(|| engine.handle_input(&mut buffer)).collect();
    assert!(buffer.is_empty());
    events
}

fn text(text: &str) -> Event {
    Event::Text(Text::from(text))
}

fn binary(bytes: impl AsRef<[u8]>) -> Event {
    Event::Binary(Bytes::copy_from_slice(bytes.as_ref()))
}

/// A frame of a server with these first bits.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            bytes.push(126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// A client that agreed on compression refuses these bytes.
#[track_caller]
fn check_refused(bytes: impl AsRef<[u8]>, violation: &Violation, code: CloseCode) {
    let mut client = engine(Role::Client, ALONE);
    let events = receive(&mut client, bytes);
    assert_eq!(events.last(), Some(&Event::Violation(violation.clone())));
    assert_eq!(violation.close_code(), code);
    assert!(client.has_close());
}

/// DEFLATE by hand, bit by bit.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    /// The lowest `count` bits of `value`, the lowest first (RFC 1951 §3.1.1).
    fn push(&mut self, value: u32, count: usize) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if value >> bit & 1 == 1 {
                *self.bytes.last_mut().unwrap() |= 1 << (self.used % 8);
            }
            self.used += 1;
        }
    }

    /// An empty block with fixed codes (§3.2.6), the last of its stream or not.
    fn push_empty_block(&mut self, is_final: bool) {
        self.push(u32::from(is_final), 1);
        self.push(0b01, 2);
        self.push(0, 7);
    }
}

//! Masking against the one line that RFC 6455 has for it: what a client's engine masks, and what a server's unmasks of any
//! payload, at any place in memory and in any split.
//!
//! The input: the payload, two bytes that say where to cut it, the key, and a byte for what comes before it in memory.

use crate::input::{Cuts, Input};
use crate::wire::{drain, frame};
use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::{Engine, Event, Limits, MaskKey, MessageKind, Role};

const FIN_BINARY: u8 = 0x82;
const BINARY: u8 = 0x02;
const CONTINUATION: u8 = 0x00;
const FIN_CONTINUATION: u8 = 0x80;
const PING: u8 = 0x89;

/// See the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let before = usize::from(input.take() % 40);
    let key: MaskKey = std::array::from_fn(|_| input.take());
    let cuts = input.take_cuts();
    let payload = input.rest();

    check_encoded(payload, key, before);
    check_decoded(payload, key, before, cuts);
    check_fragments(payload, key, cuts);
}

/// Behind so many bytes the output is as aligned as it happens to be.
fn check_encoded(payload: &[u8], key: MaskKey, before: usize) {
    let mut client = Engine::new(Role::Client, Limits::new());
    let mut output = BytesMut::zeroed(before);
    client
        .encode_message(MessageKind::Binary, payload, || key, &mut output)
        .expect("it is open");
    let expected = frame(FIN_BINARY, Some(key), payload);
    assert_eq!(output[before..], expected);
    assert_eq!(output[..before], vec![0; before]);
}

/// A ping of that size goes before it, so that the payload lies at any place of the buffer.
fn check_decoded(payload: &[u8], key: MaskKey, before: usize, cuts: Cuts) {
    let mut server = Engine::new(Role::Server, Limits::new());
    let masked = frame(FIN_BINARY, Some(key), payload);
    let mut buffer = BytesMut::from(&frame(PING, Some(key), &vec![7; before])[..]);
    let mut events = Vec::new();
    for piece in cuts.pieces(&masked) {
        buffer.extend_from_slice(piece);
        events.extend(drain(&mut server, &mut buffer));
    }
    let expected = [
        Event::Ping(vec![7; before].into()),
        Event::Binary(Bytes::copy_from_slice(payload)),
    ];
    assert_eq!(events, expected);
}

/// Each piece as a fragment, whose mask begins anew.
fn check_fragments(payload: &[u8], key: MaskKey, cuts: Cuts) {
    let limits = Limits::new().with_max_message(usize::MAX);
    let mut server = Engine::new(Role::Server, limits);
    let mut buffer = BytesMut::new();
    let mut key = key;
    buffer.extend_from_slice(&frame(BINARY, Some(key), &[]));
    for piece in cuts.pieces(payload) {
        key.rotate_left(1);
        buffer.extend_from_slice(&frame(CONTINUATION, Some(key), piece));
    }
    buffer.extend_from_slice(&frame(FIN_CONTINUATION, Some(key), &[]));
    let expected = [Event::Binary(Bytes::copy_from_slice(payload))];
    assert_eq!(drain(&mut server, &mut buffer), expected);
}

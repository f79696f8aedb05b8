//! What holds for any bytes and any messages: splits don't matter, nothing is lost on the way from
//! one role to the other, and no input makes the engine panic or grow.
#![expect(
    clippy::disallowed_types,
    reason = "proptest's macros share their strategies in an Arc; the engine has none"
)]

use crate::wire::*;
use bytes::BytesMut;
use dreamsocket_protocol::{CloseCode, Engine, Event, Limits, MessageKind, Role};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Limits that generated frames do reach.
fn new(role: Role) -> Engine {
    Engine::new(
        role,
        Limits::new().with_max_message(3000).with_max_frame(2500),
    )
}

/// Payloads around the sizes at which something changes.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..20),
        4 => "\\PC{0,20}".prop_map(String::into_bytes),
        2 => vec(Just(b'x'), 120..130),
        1 => "é{1000,1030}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 2040..2060),
        1 => vec(any::<u8>(), 2495..2505),
    ]
}

/// Frames that follow the rules most of the time.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![Just(FIN | TEXT), Just(FIN | BINARY)];
    let part = prop_oneof![
        Just(TEXT),
        Just(BINARY),
        Just(CONTINUATION),
        Just(FIN | CONTINUATION)
    ];
    let control = prop_oneof![Just(FIN | PING), Just(FIN | PONG)];
    prop_oneof![
        6 => (whole, payload()).prop_map(|(first, payload)| masked(first, &payload)),
        6 => (part, payload()).prop_map(|(first, payload)| masked(first, &payload)),
        3 => (control, vec(any::<u8>(), 0..10)).prop_map(|(first, payload)| masked(first, &payload)),
        1 => (any::<u16>(), "\\PC{0,5}").prop_map(|(code, reason)| masked(FIN | CLOSE, &close_payload(code, reason))),
        1 => (1000u16..1004, "\\PC{0,5}").prop_map(|(code, reason)| masked(FIN | CLOSE, &close_payload(code, reason))),
        1 => (any::<u8>(), vec(any::<u8>(), 0..10)).prop_map(|(first, payload)| masked(first, &payload)),
        1 => vec(any::<u8>(), 0..20),
    ]
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    vec(frame(), 0..12).prop_map(|frames| frames.concat())
}

/// Messages of which some are fragmented, as legal frames of a client, with pings in between.
fn legal_messages() -> impl Strategy<Value = (Vec<u8>, Vec<Event>)> {
    let message = (
        any::<bool>(),
        "\\PC{0,40}",
        vec(any::<Index>(), 0..3),
        any::<bool>(),
    );
    vec(message, 0..8).prop_map(|messages| {
        let mut bytes = Vec::new();
        let mut events = Vec::new();
        for (is_text, content, cuts, with_ping) in messages {
            let mut cuts: Vec<usize> = cuts
                .iter()
                .map(|cut| cut.index(content.len() + 1))
                .collect();
            cuts.extend([0, content.len()]);
            cuts.sort_unstable();
            let last = cuts.len() - 2;
            for (i, pair) in cuts.windows(2).enumerate() {
                let opcode = if is_text { TEXT } else { BINARY };
                let opcode = if i == 0 { opcode } else { CONTINUATION };
                let fin = if i == last { FIN } else { 0 };
                bytes.extend(masked(fin | opcode, &content.as_bytes()[pair[0]..pair[1]]));
                if with_ping && i < last {
                    bytes.extend(masked(FIN | PING, b"in between"));
                    events.push(ping(b"in between"));
                }
            }
            events.push(if is_text {
                text(&content)
            } else {
                binary(content.as_bytes())
            });
        }
        (bytes, events)
    })
}

/// Cuts the bytes at these places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

/// As [`events_in_pieces`], but what is left is moved to a fresh buffer each time, and the engine to
/// a copy of itself.
fn events_in_moved_pieces(engine: &mut Engine, pieces: &[&[u8]]) -> Vec<Event> {
    let mut left = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        let mut buffer = BytesMut::with_capacity(left.len() + piece.len());
        buffer.extend_from_slice(&left);
        buffer.extend_from_slice(piece);
        *engine = engine.clone();
        events.extend(drain(engine, &mut buffer));
        left = buffer;
    }
    events
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(bytes in frames(), cuts in vec(any::<Index>(), 0..10)) {
        let mut whole = new(Role::Server);
        let expected = events(&mut whole, &bytes);

        let mut bytewise = new(Role::Server);
        prop_assert_eq!(&events_in_pieces(&mut bytewise, bytes.chunks(1)), &expected);
        prop_assert_eq!(&bytewise, &whole, "the same state after the same bytes");

        let pieces = pieces(&bytes, &cuts);
        let mut split = new(Role::Server);
        prop_assert_eq!(&events_in_pieces(&mut split, pieces.iter().copied()), &expected);
        prop_assert_eq!(&split, &whole);

        let mut moved = new(Role::Server);
        prop_assert_eq!(&events_in_moved_pieces(&mut moved, &pieces), &expected);
        prop_assert_eq!(&moved, &whole);

        prop_assert_eq!(output(&mut split), output(&mut whole));
    }

    #[test]
    fn any_split_gives_the_same_events_after_our_close(
        bytes in frames(),
        cuts in vec(any::<Index>(), 0..10),
    ) {
        let closing = || {
            let mut engine = new(Role::Server);
            engine.close(CloseCode::NORMAL, "").unwrap();
            engine.poll_close(no_key, &mut BytesMut::new());
            engine
        };
        let expected = events(&mut closing(), &bytes);
        prop_assert!(!expected.iter().any(|event| matches!(event, Event::Text(_) | Event::Binary(_))));
        let split = events_in_pieces(&mut closing(), pieces(&bytes, &cuts));
        prop_assert_eq!(split, expected);
    }

    #[test]
    fn legal_messages_all_come_through(
        (bytes, expected) in legal_messages(),
        cuts in vec(any::<Index>(), 0..10),
    ) {
        let split = events_in_pieces(&mut server(), pieces(&bytes, &cuts));
        prop_assert_eq!(split, expected);
    }

    #[test]
    fn what_one_role_encodes_the_other_reads(
        messages in vec((any::<bool>(), "\\PC{0,300}"), 0..10),
        keys in any::<[u8; 4]>(),
        cuts in vec(any::<Index>(), 0..10),
        from_client: bool,
    ) {
        let (mut sender, mut receiver) = if from_client { (client(), server()) } else { (server(), client()) };
        let mut wire = BytesMut::new();
        let mut expected = Vec::new();
        for (i, (is_text, content)) in messages.iter().enumerate() {
            let kind = if *is_text { MessageKind::Text } else { MessageKind::Binary };
            let sent = if !from_client && i % 2 == 0 {
                let header = sender.encode_header(kind, content.len(), &mut wire);
                wire.extend_from_slice(content.as_bytes());
                header
            } else {
                sender.encode_message(kind, content.as_bytes(), || keys, &mut wire)
            };
            prop_assert_eq!(sent, Ok(()));
            expected.push(if *is_text { text(content) } else { binary(content.as_bytes()) });
            if i % 3 == 0 {
                sender.ping(&[i as u8]).unwrap();
                prop_assert!(sender.poll_control(|| keys, &mut wire));
                expected.push(ping(&[i as u8]));
            }
        }
        let received = events_in_pieces(&mut receiver, pieces(&wire, &cuts));
        prop_assert_eq!(received, expected);

        // The pongs go back; then both close.
        let pings = messages.len().div_ceil(3);
        sender.close(CloseCode::NORMAL, "bye").unwrap();
        let mut there = BytesMut::new();
        sender.poll_close(|| keys, &mut there);
        prop_assert!(matches!(drain(&mut receiver, &mut there)[..], [Event::Close(_)]));
        let back = events(&mut sender, output(&mut receiver));
        let pongs = back.iter().filter(|event| matches!(event, Event::Pong(_))).count();
        prop_assert_eq!(pongs, pings);
        prop_assert!(matches!(back.last(), Some(Event::Close(_))));
        prop_assert!(sender.is_closed() && receiver.is_closed());
    }

    #[test]
    fn any_bytes_end_in_a_state_that_makes_sense(
        bytes in prop_oneof![frames(), vec(any::<u8>(), 0..200)],
        is_client: bool,
    ) {
        let role = if is_client { Role::Client } else { Role::Server };
        let mut engine = new(role);
        let mut buffer = BytesMut::from(&bytes[..]);
        let events = drain(&mut engine, &mut buffer);
        let last = events.iter().position(|event| matches!(event, Event::Close(_) | Event::Violation(_)));
        prop_assert!(last.is_none_or(|last| last + 1 == events.len()));
        prop_assert_eq!(engine.has_close(), last.is_some());
        prop_assert_eq!(engine.violation().is_some(), matches!(events.last(), Some(Event::Violation(_))));
        prop_assert!(engine.bytes_wanted() <= 2500);
        prop_assert!(last.is_none() || (buffer.is_empty() && engine.bytes_wanted() == 0));
        // What is left is at most an unfinished frame, and wants what is missing.
        prop_assert!(buffer.len() <= 2500);
        prop_assert!(buffer.is_empty() || engine.bytes_wanted() > 0);
    }
}

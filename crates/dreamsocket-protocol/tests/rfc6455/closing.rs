//! RFC 6455 §5.5.1 and §7: the closing handshake.

use crate::wire::*;
use bytes::BytesMut;
use dreamsocket_protocol::{
    CloseCode, EncodeError, Engine, Event, InvalidClose, MessageKind, Violation,
};

fn close_event(engine: &mut Engine, payload: &[u8]) -> (Option<u16>, String) {
    match events(engine, masked(FIN | CLOSE, payload)).as_slice() {
        [Event::Close(frame)] => (frame.code.map(u16::from), frame.reason.to_string()),
        other => panic!("not one close: {other:?}"),
    }
}

#[test]
fn a_peers_close_is_answered_with_its_code() {
    let check = |payload: &[u8], event: (Option<u16>, &str), reply: &[u8]| {
        let mut engine = server();
        assert!(!engine.is_close_received());
        let (code, reason) = close_event(&mut engine, payload);
        assert_eq!((code, reason.as_str()), event);
        assert!(engine.is_close_received() && engine.has_close());
        assert!(!engine.is_close_sent() && !engine.is_closed());
        assert_eq!(output(&mut engine), unmasked(FIN | CLOSE, reply));
        assert!(engine.is_close_sent() && engine.is_closed());
        assert_eq!(engine.violation(), None);
    };
    check(b"", (None, ""), b"");
    check(b"\x03\xe8", (Some(1000), ""), b"\x03\xe8");
    // The reason is not sent back.
    check(b"\x03\xe8bye", (Some(1000), "bye"), b"\x03\xe8");
    let longest = "x".repeat(123);
    check(
        &close_payload(4999, &longest),
        (Some(4999), &longest),
        b"\x13\x87",
    );
}

#[test]
fn every_code_is_judged_the_same_in_both_directions() {
    for code in (0..1020).chain([1100, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535]) {
        let close_code = CloseCode::from(code);
        let frame = masked(FIN | CLOSE, &close_payload(code, "why"));
        let mut engine = server();
        if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            assert!(
                matches!(events(&mut engine, frame)[..], [Event::Close(_)]),
                "{code}"
            );
            assert_eq!(sent_close(&mut engine), Some(close_code));
            assert_eq!(server().close(close_code, ""), Ok(()));
        } else {
            check_refused(
                server,
                &frame,
                Violation::ForbiddenCloseCode { code: close_code },
            );
            let error = InvalidClose::Code { code: close_code };
            assert_eq!(server().close(close_code, ""), Err(error));
        }
    }
}

#[test]
fn a_close_payload_is_empty_or_has_a_code() {
    check_refused(
        server,
        &masked(FIN | CLOSE, b"\x03"),
        Violation::TruncatedCloseCode,
    );
}

#[test]
fn a_reason_is_utf8() {
    for reason in [&b"\xff"[..], b"ok\xed\xa0\x80", b"\xe2\x82"] {
        let frame = masked(FIN | CLOSE, &close_payload(1000, reason));
        check_refused(server, &frame, Violation::InvalidCloseReason);
    }
    assert_eq!(
        Violation::InvalidCloseReason.close_code(),
        CloseCode::INVALID_PAYLOAD
    );
}

#[test]
fn our_reason_has_at_most_123_bytes() {
    let mut engine = server();
    let error = InvalidClose::ReasonTooLong { got: 124 };
    assert_eq!(
        engine.close(CloseCode::NORMAL, &"x".repeat(124)),
        Err(error)
    );
    // Bytes, not characters.
    let error = InvalidClose::ReasonTooLong { got: 126 };
    assert_eq!(engine.close(CloseCode::NORMAL, &"€".repeat(42)), Err(error));
    assert!(!engine.has_close());
    assert_eq!(engine.close(CloseCode::NORMAL, &"€".repeat(41)), Ok(()));
    let frame = read_close(&output(&mut engine));
    assert_eq!(frame.reason, "€".repeat(41));
}

#[test]
fn only_the_first_close_counts() {
    let mut engine = server();
    engine.close(CloseCode::GOING_AWAY, "first").unwrap();
    engine.close(CloseCode::NORMAL, "second").unwrap();
    // Neither the peer's nor a violation takes its place.
    close_event(&mut engine, &close_payload(4000, ""));
    let frame = read_close(&output(&mut engine));
    assert_eq!(frame.code, Some(CloseCode::GOING_AWAY));
    assert_eq!(frame.reason, "first");
    engine.close(CloseCode::NORMAL, "third").unwrap();
    assert!(!engine.has_close());
    assert_eq!(output(&mut engine), b"");

    let mut engine = server();
    engine.close(CloseCode::GOING_AWAY, "").unwrap();
    assert_eq!(events(&mut engine, [0xff, 0xff]).len(), 1);
    assert_eq!(sent_close(&mut engine), Some(CloseCode::GOING_AWAY));

    let mut engine = server();
    close_event(&mut engine, &close_payload(4000, ""));
    engine.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(sent_close(&mut engine), Some(CloseCode::from(4000)));
}

#[test]
fn after_our_close_nothing_is_encoded() {
    let mut engine = server();
    let mut output = BytesMut::new();
    engine.close(CloseCode::NORMAL, "").unwrap();
    let send = |engine: &mut Engine, output: &mut BytesMut| {
        engine.encode_message(MessageKind::Text, b"x", no_key, output)
    };
    assert_eq!(send(&mut engine, &mut output), Ok(()), "queued is not sent");
    engine.ping(b"").unwrap();
    output.clear();
    assert!(engine.poll_close(no_key, &mut output));
    assert_eq!(&output[..], b"\x88\x02\x03\xe8");
    assert_eq!(send(&mut engine, &mut output), Err(EncodeError::Closed));
    let header = engine.encode_header(MessageKind::Text, 1, &mut output);
    assert_eq!(header, Err(EncodeError::Closed));
    assert!(!engine.poll_control(no_key, &mut output));
    assert!(!engine.poll_close(no_key, &mut output));
    assert_eq!(output.len(), 4);
}

#[test]
fn after_the_peers_close_we_may_finish_and_it_is_not_heard_any_more() {
    let mut engine = server();
    let input = [
        masked(FIN | TEXT, b"before"),
        masked(FIN | CLOSE, b""),
        masked(FIN | TEXT, b"after"),
        masked(FIN | CLOSE, b"\x03"),
    ]
    .concat();
    let events = events(&mut engine, input);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0], text("before"));
    check_deaf(&mut engine);
    let mut output = BytesMut::new();
    let sent = engine.encode_message(MessageKind::Text, b"last", no_key, &mut output);
    assert_eq!(sent, Ok(()));
    engine.poll_close(no_key, &mut output);
    assert_eq!(&output[..], b"\x81\x04last\x88\x00");
}

#[test]
fn after_our_close_data_is_dropped_as_it_comes_until_the_peers_close() {
    let large = vec![b'x'; 100_000];
    let tail = [
        masked(FIN | PING, b"p"),
        masked(FIN | BINARY, &large),
        masked(TEXT, b"\xff is no matter now"),
        masked(FIN | CLOSE, &close_payload(1000, "bye")),
    ]
    .concat();
    // Our close is sent at a frame's border, in a header, and in each kind of frame.
    for (start, cut) in [
        (vec![], 0),
        (masked(FIN | TEXT, b"text"), 1),
        (masked(FIN | TEXT, b"text"), 6),
        (masked(FIN | BINARY, &large), 5000),
        (masked(BINARY, &large), 5000),
        (masked(FIN | PING, b"ping"), 8),
    ] {
        for size in [1 << 20, 1000, 1] {
            let mut engine = server();
            let mut buffer = BytesMut::from(&start[..cut]);
            assert_eq!(engine.handle_input(&mut buffer), None);
            engine.close(CloseCode::NORMAL, "").unwrap();
            assert!(engine.poll_close(no_key, &mut BytesMut::new()));
            let mut events = Vec::new();
            for piece in [&start[cut..], &tail].concat().chunks(size) {
                buffer.extend_from_slice(piece);
                events.extend(drain(&mut engine, &mut buffer));
                assert!(
                    buffer.len() < 150,
                    "only a header or control frame may wait"
                );
            }
            events.retain(|event| !matches!(event, Event::Ping(_)));
            assert!(matches!(&events[..], [Event::Close(_)]), "{events:?}");
            assert!(engine.is_closed());
            assert!(!engine.has_control() && !engine.has_close());
        }
    }
}

#[test]
fn after_our_close_limits_do_not_matter_and_broken_frames_do() {
    let closing = || {
        let mut engine = server();
        engine.close(CloseCode::NORMAL, "").unwrap();
        engine.poll_close(no_key, &mut BytesMut::new());
        engine
    };
    // Larger than a message may be: it's not kept, so the peer's close can still be found.
    let mut engine = closing();
    let header = [&[0x82, 0xff][..], &(3u64 << 20).to_be_bytes(), &KEY].concat();
    assert_eq!(events(&mut engine, header), []);
    for _ in 0..3 {
        assert_eq!(events(&mut engine, vec![0; 1 << 20]), []);
    }
    assert_eq!(events(&mut engine, masked(FIN | CLOSE, b"")).len(), 1);

    let mut engine = closing();
    let events = events(&mut engine, unmasked(FIN | TEXT, b"x"));
    assert_eq!(events, [Event::Violation(Violation::UnmaskedFrame)]);
    assert!(engine.is_closed() && !engine.has_close());
}

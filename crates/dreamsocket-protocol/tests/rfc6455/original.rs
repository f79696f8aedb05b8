//! What the WebSocket server that gave this library its shape was seen to do wrong on the wire, each
//! as a test of what is right.

use crate::wire::*;
use dreamsocket_protocol::handshake::{RequestError, check_request};
use dreamsocket_protocol::{CloseCode, Event, Violation};
use http::Request;

#[test]
fn a_text_behind_a_ping_in_one_segment_is_not_lost() {
    let mut engine = server();
    let input = [
        masked(FIN | TEXT, b"a"),
        masked(FIN | PING, b"p"),
        masked(FIN | TEXT, b"b"),
        masked(FIN | TEXT, b"c"),
    ]
    .concat();
    let expected = [text("a"), ping(b"p"), text("b"), text("c")];
    assert_eq!(events(&mut engine, input), expected);
    assert_eq!(output(&mut engine), unmasked(FIN | PONG, b"p"));
}

#[test]
fn a_close_behind_a_ping_in_one_segment_is_not_lost() {
    let mut engine = server();
    let input = [
        masked(FIN | PING, b"p"),
        masked(FIN | CLOSE, &close_payload(1000, "")),
    ]
    .concat();
    let events = events(&mut engine, input);
    assert!(matches!(&events[..], [Event::Ping(_), Event::Close(_)]));
    // The pong leaves before the close.
    let expected = [
        unmasked(FIN | PONG, b"p"),
        unmasked(FIN | CLOSE, b"\x03\xe8"),
    ]
    .concat();
    assert_eq!(output(&mut engine), expected);
}

#[test]
fn fragments_in_separate_reads_make_one_message() {
    let mut engine = server();
    assert_eq!(events(&mut engine, masked(TEXT, b"one ")), []);
    assert_eq!(events(&mut engine, masked(CONTINUATION, b"two ")), []);
    assert_eq!(
        events(&mut engine, masked(FIN | CONTINUATION, b"three")),
        [text("one two three")]
    );
}

#[test]
fn a_ping_between_fragments_in_separate_reads_loses_nothing() {
    let mut engine = server();
    assert_eq!(events(&mut engine, masked(TEXT, b"one ")), []);
    assert_eq!(events(&mut engine, masked(FIN | PING, b"")), [ping(b"")]);
    assert_eq!(
        events(&mut engine, masked(FIN | CONTINUATION, b"two")),
        [text("one two")]
    );
}

#[test]
fn a_new_text_inside_a_fragmented_message_gets_a_close_frame() {
    let input = [masked(TEXT, b"one"), masked(FIN | TEXT, b"two")].concat();
    check_refused(server, &input, Violation::UnfinishedMessage);
}

#[test]
fn invalid_utf8_gets_1007() {
    check_refused(server, &masked(FIN | TEXT, b"\xff"), Violation::InvalidUtf8);
    let mut engine = server();
    events(&mut engine, masked(FIN | TEXT, b"\xff"));
    assert_eq!(sent_close(&mut engine), Some(CloseCode::from(1007)));
}

#[test]
fn an_unmasked_frame_of_a_client_is_refused() {
    check_refused(
        server,
        &unmasked(FIN | TEXT, b"hello"),
        Violation::UnmaskedFrame,
    );
}

#[test]
fn reserved_bits_are_refused() {
    let check = |bit, bits| {
        let frame = masked(FIN | bit | TEXT, b"hello");
        check_refused(server, &frame, Violation::ReservedBits { bits });
    };
    check(RSV1, 0b100);
    check(RSV2, 0b010);
    check(RSV3, 0b001);
}

#[test]
fn an_unknown_opcode_closes_and_does_not_make_deaf() {
    for opcode in [3, 11] {
        let frame = masked(FIN | opcode, b"hello");
        check_refused(server, &frame, Violation::UnknownOpcode { opcode });
    }
}

#[test]
fn a_continuation_without_a_start_is_refused() {
    for first in [CONTINUATION, FIN | CONTINUATION] {
        check_refused(
            server,
            &masked(first, b"x"),
            Violation::UnexpectedContinuation,
        );
    }
}

#[test]
fn an_oversized_ping_gets_no_oversized_pong() {
    for length in [126, 70_000] {
        let frame = masked(FIN | PING, &vec![0; length]);
        check_refused(server, &frame, Violation::ControlTooLong { opcode: PING });
        let mut engine = server();
        events(&mut engine, &frame);
        assert!(!engine.has_control());
    }
}

#[test]
fn a_fragmented_ping_is_refused() {
    let violation = Violation::FragmentedControl { opcode: PING };
    check_refused(server, &masked(PING, b""), violation);
}

#[test]
fn a_close_with_an_oversized_reason_is_not_echoed() {
    let frame = masked(FIN | CLOSE, &close_payload(1000, [b'x'; 200]));
    check_refused(server, &frame, Violation::ControlTooLong { opcode: CLOSE });
}

#[test]
fn forbidden_close_codes_are_neither_echoed_nor_rewritten() {
    for code in [999, 1005, 1006, 5000, 65535] {
        let frame = masked(FIN | CLOSE, &close_payload(code, ""));
        let code = CloseCode::from(code);
        check_refused(server, &frame, Violation::ForbiddenCloseCode { code });
    }
}

#[test]
fn a_close_with_half_a_code_or_a_bad_reason_is_refused() {
    check_refused(
        server,
        &masked(FIN | CLOSE, b"x"),
        Violation::TruncatedCloseCode,
    );
    let frame = masked(FIN | CLOSE, &close_payload(1000, b"\xff"));
    check_refused(server, &frame, Violation::InvalidCloseReason);
}

#[test]
fn a_message_has_a_limit() {
    // What was accepted there: a header that announces 1 TiB.
    let got = 1 << 40;
    let header = [&[0x82, 0xff][..], &u64::to_be_bytes(got), &KEY].concat();
    let limit = 1 << 20;
    check_refused(server, &header, Violation::FrameTooBig { limit, got });
}

/// Seen in another server: it panicked.
#[test]
fn fourteen_bytes_with_a_length_of_two_to_the_63_are_refused() {
    let header = [&[0x82, 0xff, 0x80][..], &[0; 7], &KEY].concat();
    assert_eq!(header.len(), 14);
    check_refused(server, &header, Violation::LengthTopBit { length: 1 << 63 });
}

#[test]
fn a_request_without_what_the_handshake_needs_is_refused() {
    let check = |remove: &str, insert: &str, error, status| {
        let mut request = Request::builder();
        for (name, value) in [
            ("host", "example.com"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            if name != remove {
                request = request.header(name, value);
            } else if !insert.is_empty() {
                request = request.header(name, insert);
            }
        }
        let refused = check_request(&request.body(()).unwrap()).unwrap_err();
        assert_eq!((refused, refused.status().as_u16()), (error, status));
    };
    // There, the first four were upgraded.
    check(
        "sec-websocket-version",
        "8",
        RequestError::UnsupportedVersion,
        426,
    );
    check("sec-websocket-key", "abc", RequestError::InvalidKey, 400);
    check("connection", "", RequestError::MissingConnection, 400);
    check("upgrade", "foo", RequestError::MissingUpgrade, 426);
    // And these got a 400 without a hint, or no answer.
    check(
        "sec-websocket-version",
        "",
        RequestError::UnsupportedVersion,
        426,
    );
    check("sec-websocket-key", "", RequestError::MissingKey, 400);
    check("upgrade", "", RequestError::MissingUpgrade, 426);
    check("host", "", RequestError::MissingHost, 400);
}

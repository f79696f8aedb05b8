//! RFC 6455 §8.1: text is UTF-8, and fails at its first impossible byte.

use crate::wire::*;
use bytes::BytesMut;
use dreamsocket_protocol::{CloseCode, Event, Violation};

#[test]
fn valid_text_of_every_width_comes_through() {
    for sample in [
        "",
        "\0",
        "Hello-µ@ßöäüàá-UTF-8!!",
        "κόσμε",
        "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}",
        "\u{fffe}\u{fffd}\u{1fffe}",
    ] {
        let frame = masked(FIN | TEXT, sample.as_bytes());
        for size in [1, 2, 3, 5, 1000] {
            let events = events_in_pieces(&mut server(), frame.chunks(size));
            assert_eq!(events, [text(sample)]);
        }
    }
}

#[test]
fn a_character_may_be_split_between_fragments() {
    for sample in ["é", "€", "𐍈"] {
        for at in 0..=sample.len() {
            let (head, tail) = sample.as_bytes().split_at(at);
            let frames = [masked(TEXT, head), masked(FIN | CONTINUATION, tail)].concat();
            assert_eq!(events(&mut server(), frames), [text(sample)]);
        }
    }
}

#[test]
fn invalid_text_is_refused() {
    for sample in [
        &b"\x80"[..],
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xff",
        b"text, then \xc3\x28",
        b"unfinished \xf0\x9f\x98",
    ] {
        check_refused(server, &masked(FIN | TEXT, sample), Violation::InvalidUtf8);
        let fragments = [masked(TEXT, sample), masked(FIN | CONTINUATION, b"")].concat();
        check_refused(server, &fragments, Violation::InvalidUtf8);
    }
    assert_eq!(
        Violation::InvalidUtf8.close_code(),
        CloseCode::INVALID_PAYLOAD
    );
}

#[test]
fn binary_may_be_anything() {
    assert_eq!(
        events(&mut server(), masked(FIN | BINARY, b"\xff\xc0")),
        [binary(b"\xff\xc0")]
    );
    let fragments = [masked(BINARY, b"\xff"), masked(FIN | CONTINUATION, b"\xc0")].concat();
    assert_eq!(events(&mut server(), fragments), [binary(b"\xff\xc0")]);
}

/// As in Autobahn's 6.4: the message would have gone on.
#[test]
fn the_first_impossible_byte_fails_before_the_message_ends() {
    let valid = "κόσμε".as_bytes();
    for (bad, at) in [
        (&b"\xf4\x90"[..], 1),
        (b"\xed\xa0", 1),
        (b"\xe0\x9f", 1),
        (b"\xf0\x8f", 1),
        (b"\xc0", 0),
        (b"\xc1", 0),
        (b"\xf5", 0),
        (b"\x80", 0),
        (b"\xe2\x82\x28", 2),
    ] {
        let payload = [valid, bad, &[b'x'; 100]].concat();
        let end = valid.len() + at;
        // In one frame, in a first fragment, and in a later one.
        let later = [
            masked(TEXT, &payload[..4]),
            masked(CONTINUATION, &payload[4..]),
        ]
        .concat();
        for (frames, overhead) in [
            (masked(FIN | TEXT, &payload), 6),
            (masked(TEXT, &payload), 6),
            (later, 12),
        ] {
            let mut engine = server();
            let mut buffer = BytesMut::new();
            let mut failed_at = None;
            for (i, &byte) in frames.iter().enumerate() {
                buffer.extend_from_slice(&[byte]);
                if let Some(event) = engine.handle_input(&mut buffer) {
                    assert_eq!(event, Event::Violation(Violation::InvalidUtf8));
                    failed_at = Some(i);
                    break;
                }
            }
            assert_eq!(failed_at, Some(overhead + end), "{bad:x?}");
        }
    }
}

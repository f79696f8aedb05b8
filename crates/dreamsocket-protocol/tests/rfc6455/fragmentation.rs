//! RFC 6455 §5.4: messages in several frames.

use crate::wire::*;
use dreamsocket_protocol::Violation;

#[test]
fn fragments_make_one_message() {
    let frames = [
        masked(TEXT, b"one "),
        masked(CONTINUATION, b""),
        masked(CONTINUATION, b"two "),
        masked(FIN | CONTINUATION, b"three"),
        masked(BINARY, b""),
        masked(FIN | CONTINUATION, b""),
        masked(FIN | TEXT, b"whole"),
    ]
    .concat();
    let expected = [text("one two three"), binary(b""), text("whole")];
    assert_eq!(events(&mut server(), &frames), expected);
    assert_eq!(events_in_pieces(&mut server(), frames.chunks(1)), expected);
}

#[test]
fn control_frames_may_come_between_fragments() {
    let frames = [
        masked(BINARY, b"a"),
        masked(FIN | PING, b"1"),
        masked(CONTINUATION, b"b"),
        masked(FIN | PONG, b"2"),
        masked(FIN | CONTINUATION, b"c"),
    ]
    .concat();
    let mut engine = server();
    assert_eq!(
        events(&mut engine, frames),
        [ping(b"1"), pong(b"2"), binary(b"abc")]
    );
    assert_eq!(output(&mut engine), unmasked(FIN | PONG, b"1"));
}

#[test]
fn a_continuation_needs_a_beginning() {
    for first in [CONTINUATION, FIN | CONTINUATION] {
        check_refused(
            server,
            &masked(first, b"x"),
            Violation::UnexpectedContinuation,
        );
        let after_whole = [masked(FIN | TEXT, b"x"), masked(first, b"y")].concat();
        check_refused(server, &after_whole, Violation::UnexpectedContinuation);
        let after_last = [
            masked(TEXT, b"x"),
            masked(FIN | CONTINUATION, b"y"),
            masked(first, b"z"),
        ]
        .concat();
        check_refused(server, &after_last, Violation::UnexpectedContinuation);
    }
}

#[test]
fn a_message_must_end_before_the_next_begins() {
    for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        let frames = [masked(TEXT, b"x"), masked(first, b"y")].concat();
        check_refused(server, &frames, Violation::UnfinishedMessage);
    }
}

#[test]
fn a_control_frame_is_not_fragmented() {
    for opcode in [CLOSE, PING, PONG] {
        check_refused(
            server,
            &masked(opcode, b""),
            Violation::FragmentedControl { opcode },
        );
    }
}

#[test]
fn a_close_ends_an_unfinished_message() {
    let frames = [
        masked(TEXT, b"x"),
        masked(FIN | CLOSE, &close_payload(1000, "")),
    ]
    .concat();
    let mut engine = server();
    assert_eq!(events(&mut engine, frames).len(), 1);
    assert!(engine.is_close_received());
}

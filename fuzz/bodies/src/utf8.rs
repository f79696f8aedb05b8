//! Text against std: a text that comes in pieces is refused with the first piece that holds an impossible byte, neither
//! earlier nor later, in one frame or in fragments; and what std takes comes through.
//!
//! The input: the text, and two bytes that say where to cut it.

use crate::input::{Cuts, Input};
use crate::wire::frame;
use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::{CloseCode, Engine, Event, Limits, Role, Text, Violation};

const FIN_TEXT: u8 = 0x81;
const TEXT: u8 = 0x01;
const CONTINUATION: u8 = 0x00;
const FIN_CONTINUATION: u8 = 0x80;
const FIN_CLOSE: u8 = 0x88;

/// See the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let cuts = input.take_cuts();
    let text = input.rest();
    for cuts in [Cuts::WHOLE, Cuts::BYTEWISE, cuts] {
        check_one_frame(text, cuts);
        check_fragments(text, cuts);
    }
    check_text(text);
    check_reason(&text[..text.len().min(123)]);
}

/// How long the longest beginning is that can still become valid.
fn longest_possible(text: &[u8]) -> usize {
    let Err(error) = std::str::from_utf8(text) else {
        return text.len();
    };
    let is_possible = |end: &usize| {
        let so_far = std::str::from_utf8(&text[..*end]);
        so_far.map_or_else(|error| error.error_len().is_none(), |_| true)
    };
    let ends = error.valid_up_to()..=text.len().min(error.valid_up_to() + 4);
    ends.rev().find(is_possible).expect("what is valid so far")
}

fn engine() -> Engine {
    // Fragments are charged more than they hold.
    Engine::new(Role::Client, Limits::new().with_max_message(usize::MAX))
}

/// Checks what comes of so much of the text; false if nothing more will.
fn check_event(event: Option<&Event>, text: &[u8], received: usize, is_end: bool) -> bool {
    if received > longest_possible(text) {
        assert_eq!(event, Some(&Event::Violation(Violation::InvalidUtf8)));
        return false;
    }
    if !is_end {
        assert_eq!(event, None);
        return true;
    }
    match std::str::from_utf8(text) {
        Ok(text) => assert_eq!(event, Some(&Event::Text(Text::from(text)))),
        Err(_) => assert_eq!(event, Some(&Event::Violation(Violation::InvalidUtf8))),
    }
    false
}

fn check_one_frame(text: &[u8], cuts: Cuts) {
    let mut engine = engine();
    let bytes = frame(FIN_TEXT, None, text);
    let header = bytes.len() - text.len();
    let mut buffer = BytesMut::from(&bytes[..header]);
    let event = engine.handle_input(&mut buffer);
    let mut goes_on = check_event(event.as_ref(), text, 0, text.is_empty());
    let mut received = 0;
    for piece in cuts.pieces(text) {
        if !goes_on {
            break;
        }
        received += piece.len();
        buffer.extend_from_slice(piece);
        let event = engine.handle_input(&mut buffer);
        goes_on = check_event(event.as_ref(), text, received, received == text.len());
    }
    assert!(!goes_on, "the text has ended");
}

fn check_fragments(text: &[u8], cuts: Cuts) {
    let mut engine = engine();
    let mut buffer = BytesMut::new();
    let mut received = 0;
    let mut goes_on = true;
    for piece in cuts.pieces(text) {
        let first = if received == 0 { TEXT } else { CONTINUATION };
        received += piece.len();
        buffer.extend_from_slice(&frame(first, None, piece));
        goes_on = check_event(
            engine.handle_input(&mut buffer).as_ref(),
            text,
            received,
            false,
        );
        if !goes_on {
            break;
        }
    }
    if goes_on {
        let first = if received == 0 {
            FIN_TEXT
        } else {
            FIN_CONTINUATION
        };
        buffer.extend_from_slice(&frame(first, None, &[]));
        check_event(
            engine.handle_input(&mut buffer).as_ref(),
            text,
            received,
            true,
        );
    }
}

/// What is no text says where, as std does.
fn check_text(text: &[u8]) {
    let ours = Text::try_from(Bytes::copy_from_slice(text));
    match (ours, std::str::from_utf8(text)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Err(ours), Err(theirs)) => assert_eq!(ours, theirs),
        (ours, theirs) => panic!("{ours:?}, std: {theirs:?}"),
    }
}

/// A Close's reason is text, too.
fn check_reason(reason: &[u8]) {
    let payload = [&1000_u16.to_be_bytes(), reason].concat();
    let mut buffer = BytesMut::from(&frame(FIN_CLOSE, None, &payload)[..]);
    match (
        engine().handle_input(&mut buffer),
        std::str::from_utf8(reason),
    ) {
        (Some(Event::Close(frame)), Ok(reason)) => {
            assert_eq!(frame.code, Some(CloseCode::NORMAL));
            assert_eq!(frame.reason, reason);
        }
        (Some(Event::Violation(Violation::InvalidCloseReason)), Err(_)) => {}
        (event, reason) => panic!("{event:?}, std: {reason:?}"),
    }
}

//! RFC 6455 §10.4: how much a peer can make us hold.

use crate::wire::*;
use bytes::BytesMut;
use dreamsocket_protocol::{CloseCode, Engine, Event, Limits, Role, Violation};

fn small() -> Engine {
    Engine::new(
        Role::Server,
        Limits::new().with_max_message(1000).with_max_frame(500),
    )
}

fn frame_too_big(got: u64) -> Violation {
    Violation::FrameTooBig { limit: 500, got }
}

fn message_too_big(got: u64) -> Violation {
    Violation::MessageTooBig { limit: 1000, got }
}

#[test]
fn the_defaults_are_one_mebibyte() {
    assert_eq!(Limits::default(), Limits::new());
    assert_eq!(Limits::new().max_message, 1 << 20);
    assert_eq!(Limits::new().max_frame, 1 << 20);
    let got = (1 << 20) + 1;
    let frame = masked(FIN | BINARY, &vec![0; got as usize]);
    let violation = Violation::FrameTooBig {
        limit: 1 << 20,
        got,
    };
    assert_eq!(violation.close_code(), CloseCode::TOO_BIG);
    let mut engine = server();
    assert_eq!(events(&mut engine, frame), [Event::Violation(violation)]);
}

#[test]
fn a_frame_is_refused_by_its_header_alone() {
    let frame = masked(FIN | BINARY, &[0; 501]);
    let mut engine = small();
    assert_eq!(
        events(&mut engine, &frame[..8]),
        [Event::Violation(frame_too_big(501))]
    );
    let frame = masked(FIN | BINARY, &[0; 500]);
    assert_eq!(events(&mut small(), frame), [binary(&[0; 500])]);
}

#[test]
fn a_limit_below_the_shortest_form_of_length_holds_too() {
    let new = || Engine::new(Role::Server, Limits::new().with_max_frame(10));
    check_refused(
        new,
        &masked(FIN | TEXT, &[b'x'; 11]),
        Violation::FrameTooBig { limit: 10, got: 11 },
    );
    assert_eq!(
        events(&mut new(), masked(FIN | TEXT, b"0123456789")),
        [text("0123456789")]
    );
    let new = || Engine::new(Role::Server, Limits::new().with_max_message(10));
    check_refused(
        new,
        &masked(FIN | TEXT, &[b'x'; 11]),
        Violation::MessageTooBig { limit: 10, got: 11 },
    );
    // Control frames have their own limit.
    let new = || {
        Engine::new(
            Role::Server,
            Limits::new().with_max_message(0).with_max_frame(0),
        )
    };
    assert_eq!(
        events(&mut new(), masked(FIN | PING, &[1; 125])),
        [ping(&[1; 125])]
    );
    assert_eq!(events(&mut new(), masked(FIN | TEXT, b"")), [text("")]);
}

#[test]
fn other_limits_hold_from_there_on() {
    let mut engine = small();
    assert_eq!(events(&mut engine, masked(BINARY, &[0; 500])), []);
    engine.set_limits(Limits::new().with_max_message(2000).with_max_frame(1500));
    let rest = masked(FIN | CONTINUATION, &[0; 1500]);
    assert_eq!(events(&mut engine, rest), [binary(&[0; 2000])]);
    engine.set_limits(Limits::new().with_max_message(100).with_max_frame(500));
    let refused = Violation::MessageTooBig {
        limit: 100,
        got: 101,
    };
    assert_eq!(
        events(&mut engine, masked(FIN | BINARY, &[0; 101])),
        [Event::Violation(refused)]
    );
}

#[test]
fn fragments_are_charged_before_their_payload_comes() {
    let start = masked(BINARY, &[0; 500]);
    let header = &masked(CONTINUATION, &[0; 500])[..8];
    let mut engine = small();
    assert_eq!(events(&mut engine, &start), []);
    assert_eq!(events(&mut engine, masked(CONTINUATION, &[0; 436])), []);
    assert_eq!(
        events(&mut engine, masked(FIN | CONTINUATION, b"x")).len(),
        1,
        "1000 in all"
    );

    let mut engine = small();
    let input = [&start[..], &masked(CONTINUATION, &[0; 1]), header].concat();
    assert_eq!(
        events(&mut engine, input),
        [Event::Violation(message_too_big(500 + 64 + 500))]
    );
}

#[test]
fn empty_fragments_are_not_free() {
    let mut input = masked(TEXT, b"");
    for _ in 0..15 {
        input.extend(masked(CONTINUATION, b""));
    }
    check_refused(small, &input, message_too_big(16 * 64));
}

#[test]
fn the_charge_starts_anew_with_each_message() {
    let message = [
        masked(BINARY, &[0; 400]),
        masked(FIN | CONTINUATION, &[0; 400]),
    ]
    .concat();
    let input = message.repeat(10);
    assert_eq!(events(&mut small(), input).len(), 10);
}

#[test]
fn the_callers_buffer_is_not_grown() {
    // The header declares what the limit allows; a few bytes come.
    let mut engine = server();
    let mut buffer = BytesMut::with_capacity(64);
    buffer.extend_from_slice(&masked(FIN | BINARY, &vec![0; 1 << 20])[..20]);
    assert_eq!(engine.handle_input(&mut buffer), None);
    assert!(buffer.capacity() <= 64);
    assert_eq!(engine.bytes_wanted(), (1 << 20) - 6);
}

#[test]
fn lengths_near_the_top_overflow_nothing() {
    for length in [u64::MAX, 1 << 63] {
        let header = [&[0x82, 0xff][..], &length.to_be_bytes(), &KEY].concat();
        check_refused(server, &header, Violation::LengthTopBit { length });
    }
    let got = u64::MAX >> 1;
    let header = [&[0x82, 0xff][..], &got.to_be_bytes(), &KEY].concat();
    let limit = 1 << 20;
    check_refused(server, &header, Violation::FrameTooBig { limit, got });
    // The same without limits: the charge of the second fragment is past what a u64 counts.
    let new = || {
        let limits = Limits::new()
            .with_max_frame(usize::MAX)
            .with_max_message(usize::MAX);
        Engine::new(Role::Server, limits)
    };
    let mut engine = new();
    let header = [&[0x02, 0xff][..], &got.to_be_bytes(), &KEY, &[0; 100]].concat();
    assert_eq!(events(&mut engine, header), []);
    assert!(engine.bytes_wanted() > 1 << 40);
}

//! RFC 6455 §5.5.2 and §5.5.3: pings and pongs.

use crate::wire::*;
use bytes::BytesMut;
use dreamsocket_protocol::{CloseCode, MAX_WAITING_CONTROL, PingError, Violation};

#[test]
fn every_ping_gets_its_pong_in_order() {
    let mut engine = server();
    let pings: Vec<u8> = (0..64).flat_map(|i| masked(FIN | PING, &[i; 5])).collect();
    assert_eq!(events(&mut engine, pings).len(), 64);
    assert!(engine.has_control());
    let pongs: Vec<u8> = (0..64)
        .flat_map(|i| unmasked(FIN | PONG, &[i; 5]))
        .collect();
    assert_eq!(output(&mut engine), pongs);
    assert!(!engine.has_control());
    assert_eq!(output(&mut engine), b"");
}

#[test]
fn past_the_reserve_waiting_pongs_give_way_and_pings_stay() {
    let mut engine = server();
    engine.ping(b"first").unwrap();
    let pings: Vec<u8> = (0..64).flat_map(|i| masked(FIN | PING, &[i])).collect();
    events(&mut engine, pings);
    let expected = [unmasked(FIN | PING, b"first"), unmasked(FIN | PONG, &[63])].concat();
    assert_eq!(output(&mut engine), expected);
}

#[test]
fn pings_of_all_lengths_up_to_125() {
    for length in [0, 1, 124, 125] {
        let payload = vec![0xfe; length];
        let mut engine = server();
        let events = events(&mut engine, masked(FIN | PING, &payload));
        assert_eq!(events, [ping(&payload)]);
        assert_eq!(output(&mut engine), unmasked(FIN | PONG, &payload));
    }
    for opcode in [PING, PONG, CLOSE] {
        for length in [126, 65535, 65536] {
            let frame = masked(FIN | opcode, &vec![0; length]);
            let mut engine = server();
            // Refused by the header's second byte; the rest need not come.
            let events = events(&mut engine, &frame[..2]);
            let violation = Violation::ControlTooLong { opcode };
            assert_eq!(events, [dreamsocket_protocol::Event::Violation(violation)]);
        }
    }
}

#[test]
fn a_pong_that_nobody_asked_for_is_an_event_and_no_more() {
    let mut engine = server();
    assert_eq!(events(&mut engine, masked(FIN | PONG, b"x")), [pong(b"x")]);
    assert_eq!(output(&mut engine), b"");
}

#[test]
fn our_pings_are_checked_and_bounded() {
    let mut engine = server();
    assert_eq!(engine.ping(&[0; 126]), Err(PingError::TooLong { got: 126 }));
    assert!(!engine.has_control());
    for _ in 0..MAX_WAITING_CONTROL {
        assert_eq!(engine.ping(&[0; 125]), Ok(()));
    }
    let limit = MAX_WAITING_CONTROL;
    assert_eq!(engine.ping(b""), Err(PingError::TooMany { limit }));
    output(&mut engine);
    assert_eq!(engine.ping(b""), Ok(()));
    engine.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(engine.ping(b""), Ok(()), "a queued close lets pings pass");
    output(&mut engine);
    assert_eq!(engine.ping(b""), Err(PingError::Closed));
}

#[test]
fn pings_are_answered_until_our_close_is_sent() {
    let mut engine = server();
    engine.close(CloseCode::NORMAL, "").unwrap();
    events(&mut engine, masked(FIN | PING, b"before"));
    let mut output = BytesMut::new();
    assert!(engine.poll_control(no_key, &mut output));
    assert_eq!(output, unmasked(FIN | PONG, b"before"));
    assert!(engine.poll_close(no_key, &mut output));
    assert_eq!(
        events(&mut engine, masked(FIN | PING, b"after")),
        [ping(b"after")]
    );
    assert!(!engine.has_control());
    assert!(!engine.poll_control(no_key, &mut output));
}

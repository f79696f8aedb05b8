//! RFC 6455 §5.1 and §5.3: who masks, and how.

use crate::wire::*;
use bytes::BytesMut;
use dreamsocket_protocol::{CloseCode, MessageKind, Violation};

#[test]
fn a_server_refuses_frames_that_are_not_masked() {
    for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
        check_refused(
            server,
            &unmasked(FIN | opcode, b""),
            Violation::UnmaskedFrame,
        );
        check_refused(
            server,
            &unmasked(FIN | opcode, b"\x03\xe8"),
            Violation::UnmaskedFrame,
        );
    }
}

#[test]
fn a_client_refuses_frames_that_are_masked() {
    for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
        check_refused(client, &masked(FIN | opcode, b""), Violation::MaskedFrame);
        check_refused(
            client,
            &masked(FIN | opcode, b"\x03\xe8"),
            Violation::MaskedFrame,
        );
    }
}

#[test]
fn a_client_draws_one_key_for_each_frame() {
    let mut engine = client();
    let mut drawn = 0;
    let mut next_key = || {
        drawn += 1;
        [drawn; 4]
    };
    let mut output = BytesMut::new();
    engine
        .encode_message(MessageKind::Text, b"aaaaa", &mut next_key, &mut output)
        .unwrap();
    engine.ping(b"b").unwrap();
    engine.ping(b"").unwrap();
    engine.close(CloseCode::NORMAL, "").unwrap();
    engine.poll_control(&mut next_key, &mut output);
    engine.poll_close(&mut next_key, &mut output);
    engine.poll_control(&mut next_key, &mut output);
    assert_eq!(drawn, 4);
    let keys: Vec<u8> = vec![output[2], output[6 + 5 + 2], output[6 + 5 + 6 + 1 + 2]];
    assert_eq!(keys, [1, 2, 3]);
}

#[test]
fn a_server_draws_no_key_and_masks_nothing() {
    let mut engine = server();
    let mut output = BytesMut::new();
    engine
        .encode_message(MessageKind::Binary, b"abc", no_key, &mut output)
        .unwrap();
    engine.ping(b"d").unwrap();
    engine.poll_control(no_key, &mut output);
    engine.close(CloseCode::NORMAL, "").unwrap();
    engine.poll_close(no_key, &mut output);
    assert_eq!(&output[..], b"\x82\x03abc\x89\x01d\x88\x02\x03\xe8");
}

#[test]
fn a_payload_that_comes_in_pieces_is_unmasked_once() {
    let payload: Vec<u8> = (0..=255).collect();
    let frame = masked(FIN | BINARY, &payload);
    for size in 1..20 {
        let mut engine = server();
        let events = events_in_pieces(&mut engine, frame.chunks(size));
        assert_eq!(events, [binary(&payload)]);
    }
}

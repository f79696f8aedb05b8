//! RFC 6455 §5.2: the base framing.

use crate::wire::*;
use bytes::BytesMut;
use dreamsocket_protocol::{EncodeError, MessageKind, Violation};

/// §5.7, the examples, byte for byte.
#[test]
fn the_examples_of_the_rfc() {
    let hello = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(events(&mut client(), hello), [text("Hello")]);
    let masked_hello = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(events(&mut server(), masked_hello), [text("Hello")]);
    let fragmented = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(events(&mut client(), fragmented), [text("Hello")]);
    let a_ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let masked_pong = [
        0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    let mut engine = client();
    assert_eq!(events(&mut engine, a_ping), [ping(b"Hello")]);
    assert_eq!(output(&mut engine), masked_pong);
    assert_eq!(events(&mut server(), masked_pong), [pong(b"Hello")]);
    for (header, length) in [
        (&[0x82, 0x7e, 0x01, 0x00][..], 256),
        (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], 65536),
    ] {
        let payload = vec![7; length];
        let frame = [header, &payload].concat();
        assert_eq!(events(&mut client(), frame), [binary(&payload)]);
    }
}

#[test]
fn each_form_of_length_on_both_sides_of_its_borders() {
    for length in [0, 1, 125, 126, 127, 2047, 2048, 2049, 65535, 65536, 1 << 20] {
        let payload = vec![b'x'; length];
        let frame = masked(FIN | BINARY, &payload);
        assert_eq!(events(&mut server(), &frame), [binary(&payload)]);
        let mut encoded = BytesMut::new();
        client()
            .encode_message(MessageKind::Binary, &payload, || KEY, &mut encoded)
            .unwrap();
        assert_eq!(encoded, frame);

        let frame = unmasked(FIN | TEXT, &payload);
        let expected = text(std::str::from_utf8(&payload).unwrap());
        assert_eq!(events(&mut client(), &frame), [expected]);
        let mut encoded = BytesMut::new();
        server()
            .encode_header(MessageKind::Text, length, &mut encoded)
            .unwrap();
        encoded.extend_from_slice(&payload);
        assert_eq!(encoded, frame);
    }
}

#[test]
fn reserved_bits_are_refused_on_every_kind_of_frame() {
    for opcode in [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] {
        for (bit, bits) in [
            (RSV1, 0b100),
            (RSV2, 0b010),
            (RSV3, 0b001),
            (RSV1 | RSV3, 0b101),
        ] {
            let frame = masked(FIN | bit | opcode, b"");
            check_refused(server, &frame, Violation::ReservedBits { bits });
        }
    }
}

#[test]
fn reserved_opcodes_are_refused() {
    for opcode in (3..8).chain(11..16) {
        let frame = masked(FIN | opcode, b"x");
        check_refused(server, &frame, Violation::UnknownOpcode { opcode });
        check_refused(
            client,
            &unmasked(FIN | opcode, b"x"),
            Violation::UnknownOpcode { opcode },
        );
    }
}

#[test]
fn a_length_has_to_be_in_its_shortest_form() {
    let check = |header: &[u8], length| {
        let frame = [header, &[0; 4], &[0; 200]].concat();
        check_refused(server, &frame, Violation::NonMinimalLength { length });
    };
    check(&[0x82, 0xfe, 0, 0], 0);
    check(&[0x82, 0xfe, 0, 125], 125);
    check(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 5], 5);
    check(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 65535);
}

#[test]
fn a_header_needs_no_more_bytes_than_it_has() {
    // An empty frame is an event with its last header byte.
    let mut engine = server();
    let frame = masked(FIN | TEXT, b"");
    let mut buffer = BytesMut::new();
    for (&byte, wanted) in frame.iter().zip([1, 4, 3, 2, 1, 0]) {
        assert_eq!(engine.handle_input(&mut buffer), None);
        buffer.extend_from_slice(&[byte]);
        if wanted > 0 {
            assert_eq!(engine.handle_input(&mut buffer), None);
            assert_eq!(engine.bytes_wanted(), wanted);
        }
    }
    assert_eq!(engine.handle_input(&mut buffer), Some(text("")));
    assert_eq!(engine.bytes_wanted(), 0);
}

#[test]
fn only_a_server_may_send_a_payload_by_reference() {
    let mut output = BytesMut::new();
    assert_eq!(
        client().encode_header(MessageKind::Text, 5, &mut output),
        Err(EncodeError::MaskRequired)
    );
    assert!(output.is_empty());
}

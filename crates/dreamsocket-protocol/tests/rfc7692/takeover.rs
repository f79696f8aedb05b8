//! §7.1.1 and §7.1.2: context takeover and windows.

use super::*;
use dreamsocket_protocol::encode_shared_frame;

const LINE: &[u8] =
    b"{\"kind\":\"said\",\"user\":\"Ada\",\"text\":\"Is there anybody here who knows?\"}";

#[test]
fn with_takeover_the_second_of_two_equal_messages_is_tiny() {
    let mut server = engine(Role::Server, TAKEOVER);
    let mut client = engine(Role::Client, TAKEOVER);
    let sizes: Vec<_> = (0..3)
        .map(|_| {
            let bytes = encode(&mut server, MessageKind::Text, LINE);
            let size = bytes.len();
            assert_eq!(
                receive(&mut client, bytes),
                [text(std::str::from_utf8(LINE).unwrap())]
            );
            size
        })
        .collect();
    assert!(sizes[1] < 12 && sizes[2] < 12, "{sizes:?}");
    assert!(sizes[0] > 50, "{sizes:?}");
}

#[test]
fn without_takeover_equal_messages_are_equal_frames() {
    let mut server = engine(Role::Server, ALONE);
    let first = encode(&mut server, MessageKind::Text, LINE);
    assert_eq!(encode(&mut server, MessageKind::Text, LINE), first);
    // And the engine is the one that it was: nothing is kept between messages.
    assert_eq!(server, engine(Role::Server, ALONE));
}

#[test]
fn each_direction_has_its_own_takeover() {
    let params = DeflateParams {
        server_no_context_takeover: true,
        ..TAKEOVER
    };
    let mut server = engine(Role::Server, params);
    let mut client = engine(Role::Client, params);
    for round in 0..2 {
        let from_server = encode(&mut server, MessageKind::Binary, LINE);
        let from_client = encode(&mut client, MessageKind::Binary, LINE);
        assert!(from_server.len() > 50, "{round}");
        assert_eq!(from_client.len() > 50, round == 0, "{round}");
        assert_eq!(receive(&mut client, from_server), [binary(LINE)]);
        assert_eq!(receive(&mut server, from_client), [binary(LINE)]);
    }
}

#[test]
fn a_peer_with_a_smaller_window_is_never_referred_past_it() {
    // What repeats only further back than the window must not be referred to; zlib's own inflater with the same window
    // would refuse it.
    for bits in 9..=15 {
        let params = DeflateParams {
            server_max_window_bits: bits,
            ..TAKEOVER
        };
        let mut server = engine(Role::Server, params);
        let mut inflater = flate2::Decompress::new_with_window_bits(false, bits);
        for number in 0..200_u32 {
            let message: Vec<u8> = [LINE, &number.to_be_bytes()]
                .concat()
                .repeat(1 + number as usize % 40);
            let mut bytes = encode(&mut server, MessageKind::Binary, &message);
            if bytes[0] == 0x82 {
                continue;
            }
            let header = if bytes[1] == 126 { 4 } else { 2 };
            let mut payload = bytes.split_off(header);
            payload.extend_from_slice(b"\x00\x00\xff\xff");
            let mut inflated = Vec::with_capacity(message.len() + 1);
            inflater
                .decompress_vec(&payload, &mut inflated, flate2::FlushDecompress::Sync)
                .unwrap();
            assert_eq!(inflated, message, "{bits} bits, message {number}");
        }
    }
}

#[test]
fn a_client_asked_for_a_window_that_zlib_lacks_sends_everything_as_it_is() {
    let params = DeflateParams {
        client_max_window_bits: 8,
        ..TAKEOVER
    };
    let mut client = engine(Role::Client, params);
    assert_eq!(encode(&mut client, MessageKind::Text, LINE)[0], 0x81);
}

#[test]
fn what_was_compressed_by_itself_fits_any_connection_of_its_kind() {
    let payload = LINE.repeat(5);
    let mut server = engine(Role::Server, TAKEOVER);
    let compressor = server.compressor().unwrap();
    assert_eq!(engine(Role::Server, ALONE).compressor(), Some(compressor));
    let compressed = compressor.compress(&payload).unwrap();
    let shared = encode_shared_frame(MessageKind::Text, true, &compressed);

    let mut client = engine(Role::Client, TAKEOVER);
    let expected = text(std::str::from_utf8(&payload).unwrap());
    let own = encode(
        &mut server,
        MessageKind::Text,
        b"a message of its own, a message of its own",
    );
    receive(&mut client, own);
    server.note_compressed(&payload).unwrap();
    assert_eq!(
        receive(&mut client, &shared),
        std::slice::from_ref(&expected)
    );
    // Later messages refer back to the shared one.
    let after = encode(&mut server, MessageKind::Text, &payload);
    assert!(after.len() < 20, "{}", after.len());
    assert_eq!(receive(&mut client, after), [expected]);

    // A client masks each of its own.
    let mut sender = engine(Role::Client, TAKEOVER);
    let mut receiver = engine(Role::Server, TAKEOVER);
    let mut output = BytesMut::new();
    sender
        .encode_compressed(
            MessageKind::Binary,
            &compressed,
            &payload,
            || [9; 4],
            &mut output,
        )
        .unwrap();
    assert_eq!(receive(&mut receiver, output), [binary(&payload)]);
}

#[test]
fn behind_a_close_nothing_is_noted_or_encoded() {
    let mut server = engine(Role::Server, TAKEOVER);
    server.close(CloseCode::NORMAL, "").unwrap();
    let mut output = BytesMut::new();
    server.poll_close(|| [0; 4], &mut output);
    let length = output.len();
    assert!(server.note_compressed(LINE).is_err());
    assert!(
        server
            .encode_compressed(MessageKind::Text, b"x", LINE, || [0; 4], &mut output)
            .is_err()
    );
    assert!(
        server
            .encode_message(MessageKind::Text, LINE, || [0; 4], &mut output)
            .is_err()
    );
    assert_eq!(output.len(), length);
}

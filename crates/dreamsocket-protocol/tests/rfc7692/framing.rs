//! §6 and §7.2: which frames are compressed, and the examples of §7.2.3.

use super::*;

#[test]
fn s7_2_3_1_hello_in_one_frame() {
    let mut server = engine(Role::Server, ALONE);
    let hello = encode(&mut server, MessageKind::Text, b"Hello");
    // zlib's output for five letters is not shorter than they are, so they go as they are.
    assert_eq!(&hello[..], b"\x81\x05Hello");
    let mut client = engine(Role::Client, ALONE);
    let example = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(receive(&mut client, example), [text("Hello")]);
}

#[test]
fn s7_2_3_1_hello_in_two_frames() {
    let mut client = engine(Role::Client, ALONE);
    let example = b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00";
    assert_eq!(receive(&mut client, example), [text("Hello")]);
}

#[test]
fn s7_2_3_2_sharing_the_window() {
    let mut client = engine(Role::Client, TAKEOVER);
    let first = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(receive(&mut client, first), [text("Hello")]);
    let second = b"\xc1\x05\xf2\x00\x11\x00\x00";
    assert_eq!(receive(&mut client, second), [text("Hello")]);

    // Without takeover there is nothing to refer back to.
    check_refused(
        second,
        &Violation::InvalidDeflate,
        CloseCode::INVALID_PAYLOAD,
    );
}

#[test]
fn s7_2_3_3_a_block_without_compression() {
    let mut client = engine(Role::Client, ALONE);
    let example = b"\xc1\x0b\x00\x05\x00\xfa\xffHello\x00";
    assert_eq!(receive(&mut client, example), [text("Hello")]);
}

#[test]
fn s7_2_3_4_a_final_block() {
    let mut client = engine(Role::Client, ALONE);
    let example = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    assert_eq!(receive(&mut client, example), [text("Hello")]);
    // And without the byte that begins an empty block behind it.
    let bare = b"\xc1\x07\xf3\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(receive(&mut client, bare), [text("Hello")]);
}

/// §7.2.1: what is left out is the end of an empty block, which may be the stream's last as well.
#[test]
fn s7_2_1_the_block_that_is_left_out_may_be_the_last() {
    let mut client = engine(Role::Client, TAKEOVER);
    for split in 0..=11 {
        let payload = b"\x00\x05\x00\xfa\xffHello\x01";
        let (first, second) = payload.split_at(split);
        let fragments = [frame(0x41, first), frame(0x80, second)].concat();
        assert_eq!(receive(&mut client, fragments), [text("Hello")], "{split}");
    }
    let back = b"\xc1\x05\xf2\x00\x11\x00\x00";
    assert_eq!(receive(&mut client, back), [text("Hello")]);
    assert_eq!(receive(&mut client, b"\xc1\x01\x01"), [text("")]);
}

#[test]
fn s7_2_3_5_two_blocks_in_a_message() {
    let mut client = engine(Role::Client, ALONE);
    let example = b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    assert_eq!(receive(&mut client, example), [text("Hello")]);
}

#[test]
fn s7_2_3_6_an_empty_message() {
    let mut client = engine(Role::Client, TAKEOVER);
    assert_eq!(receive(&mut client, b"\xc1\x01\x00"), [text("")]);
    // No bytes at all say the same.
    assert_eq!(receive(&mut client, b"\xc2\x00"), [binary("")]);
    assert_eq!(receive(&mut client, b"\x42\x00\x80\x00"), [binary("")]);
    assert_eq!(
        receive(&mut client, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"),
        [text("Hello")]
    );
}

#[test]
fn s6_messages_may_go_as_they_are() {
    let mut client = engine(Role::Client, TAKEOVER);
    assert_eq!(receive(&mut client, b"\x81\x05Hello"), [text("Hello")]);
    assert_eq!(
        receive(&mut client, b"\x01\x02He\x80\x03llo"),
        [text("Hello")]
    );
}

#[test]
fn a_message_that_fills_its_memory_to_the_brim_comes_whole() {
    // Long matches whose rest is still inside the inflater when the input is used up: found by the round trips.
    let mut server = engine(Role::Server, ALONE);
    for length in (0..4000).chain(32_800..33_100) {
        let payload = vec![11; length];
        let bytes = encode(&mut server, MessageKind::Binary, &payload);
        let mut client = engine(Role::Client, ALONE);
        assert_eq!(receive(&mut client, bytes), [binary(payload)], "{length}");
    }
}

#[test]
fn s6_1_rsv1_is_for_the_first_frame_of_a_message_only() {
    let refused = Violation::ReservedBits { bits: 0b100 };
    check_refused(b"\x41\x01\xf2\xc0\x01\x00", &refused, CloseCode::PROTOCOL);
    check_refused(b"\xc9\x00", &refused, CloseCode::PROTOCOL);
    check_refused(b"\xca\x00", &refused, CloseCode::PROTOCOL);
    check_refused(b"\xc8\x02\x03\xe8", &refused, CloseCode::PROTOCOL);
    check_refused(
        b"\xe1\x00",
        &Violation::ReservedBits { bits: 0b110 },
        CloseCode::PROTOCOL,
    );
}

#[test]
fn s6_without_an_agreement_rsv1_is_a_reserved_bit() {
    let mut client = Engine::new(Role::Client, Limits::default());
    let events = receive(&mut client, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    assert_eq!(
        events,
        [Event::Violation(Violation::ReservedBits { bits: 0b100 })]
    );
    assert_eq!(client.compressor(), None);
    // And the engine sends none, whatever it is asked.
    let mut server = Engine::new(Role::Server, Limits::default());
    let mut output = BytesMut::new();
    let compressed = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let encoded = server.encode_compressed(
        MessageKind::Text,
        compressed,
        b"Hello",
        || [0; 4],
        &mut output,
    );
    assert_eq!(encoded, Err(EncodeError::NotAgreed));
    assert_eq!(
        server.note_compressed(b"Hello"),
        Err(EncodeError::NotAgreed)
    );
    assert!(output.is_empty());
}

#[test]
fn parameters_and_levels_that_there_are_not_count_as_the_nearest() {
    let payload = b"which is said again and again and again. ".repeat(3_000);
    for bits in [0, 7, 16, 40, 255] {
        for level in [0, 10, 255] {
            let params = DeflateParams {
                server_max_window_bits: bits,
                client_max_window_bits: bits,
                ..TAKEOVER
            };
            let mut tuning = DeflateTuning::new();
            tuning.level = level;
            let limits = Limits::default();
            let mut server = Engine::new(Role::Server, limits).with_deflate(params, tuning);
            let mut client = Engine::new(Role::Client, limits).with_deflate(params, tuning);
            for _ in 0..3 {
                let bytes = encode(&mut server, MessageKind::Binary, &payload);
                assert_eq!(receive(&mut client, bytes), [binary(&payload)]);
            }
        }
    }
}

#[test]
fn s6_1_control_frames_are_never_compressed() {
    let mut server = engine(Role::Server, TAKEOVER);
    server.ping(&[b'a'; 125]).unwrap();
    server.close(CloseCode::NORMAL, &"a".repeat(123)).unwrap();
    let mut output = BytesMut::new();
    server.poll_control(|| [0; 4], &mut output);
    assert_eq!(output[..2], [0x89, 125]);
    output.clear();
    server.poll_close(|| [0; 4], &mut output);
    assert_eq!(output[..2], [0x88, 125]);
}

#[test]
fn control_frames_come_between_the_fragments_of_a_compressed_message() {
    let mut client = engine(Role::Client, ALONE);
    let bytes = b"\x41\x03\xf2\x48\xcd\x89\x01p\x80\x04\xc9\xc9\x07\x00";
    let events = receive(&mut client, bytes);
    assert_eq!(
        events,
        [Event::Ping(Bytes::from_static(b"p")), text("Hello")]
    );
}

#[test]
fn after_our_close_compressed_messages_are_dropped_like_others() {
    let mut client = engine(Role::Client, TAKEOVER);
    client.close(CloseCode::NORMAL, "").unwrap();
    client.poll_close(|| [0; 4], &mut BytesMut::new());
    let events = receive(
        &mut client,
        b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x88\x02\x03\xe8",
    );
    assert!(matches!(&events[..], [Event::Close(_)]));
}

#[test]
fn text_is_checked_after_it_is_inflated() {
    let mut server = engine(Role::Server, ALONE);
    let payload = [&[b'a'; 100][..], b"\xff"].concat();
    let bytes = encode(&mut server, MessageKind::Text, &payload);
    assert_eq!(bytes[0], 0xc1);
    check_refused(bytes, &Violation::InvalidUtf8, CloseCode::INVALID_PAYLOAD);
}

#[test]
fn what_gets_no_shorter_goes_as_it_is() {
    let mut server = engine(Role::Server, TAKEOVER);
    // The digits of a generator with a long period, which DEFLATE finds nothing in.
    let noise: Vec<u8> = (0..5000_u32)
        .scan(0x9e37_79b9_u32, |state, _| {
            *state ^= *state << 13;
            *state ^= *state >> 17;
            *state ^= *state << 5;
            Some(state.to_le_bytes()[1])
        })
        .collect();
    for length in [0, 1, 2, 3, 10, 125, 126, 5000] {
        let bytes = encode(&mut server, MessageKind::Binary, &noise[..length]);
        assert_eq!(bytes[0], 0x82, "{length}");
        assert!(bytes.ends_with(&noise[..length]));
    }
    // What went as it is is nothing that later messages refer back to: the peer would not find it.
    let mut client = engine(Role::Client, TAKEOVER);
    let both = [&noise[..2500], &noise[..2500]].concat();
    let bytes = encode(&mut server, MessageKind::Binary, &both);
    assert_eq!(bytes[0], 0xc2);
    assert_eq!(receive(&mut client, bytes), [binary(both)]);
}

#[test]
fn a_compressed_message_is_shorter_than_the_message() {
    let mut is_border_seen = false;
    for length in 0..40 {
        let message = vec![b'a'; length];
        let frame = encode(
            &mut engine(Role::Server, ALONE),
            MessageKind::Text,
            &message,
        );
        let payload = &frame[2..];
        if frame[0] == 0xc1 {
            assert!(payload.len() < length, "{length}");
            is_border_seen |= payload.len() == length - 1;
        } else {
            assert_eq!(payload, message);
        }
    }
    assert!(is_border_seen);
}

#[test]
fn the_smallest_window_compresses_too() {
    let params = DeflateParams {
        server_max_window_bits: 9,
        ..ALONE
    };
    let mut server = engine(Role::Server, params);
    assert_eq!(
        encode(&mut server, MessageKind::Text, &[b'a'; 100])[0],
        0xc1
    );
}

#[test]
fn a_higher_level_makes_less_and_one_beyond_counts_as_the_nearest() {
    let compressed = |level| {
        let tuning = EVERYTHING.with_level(level);
        assert_eq!(tuning.threshold, 0);
        let mut server = Engine::new(Role::Server, Limits::default()).with_deflate(ALONE, tuning);
        let digits: Vec<_> = (0..5000_u32)
            .flat_map(|n| n.pow(2).to_string().into_bytes())
            .collect();
        encode(&mut server, MessageKind::Text, &digits)
    };
    assert!(compressed(9).len() < compressed(1).len());
    assert_eq!(compressed(0), compressed(1));
    assert_eq!(compressed(10), compressed(9));
    assert_eq!(DeflateTuning::default().with_level(7).level, 7);
}

#[test]
fn short_messages_go_as_they_are() {
    let tuning = DeflateTuning::new().with_threshold(100);
    let mut server = Engine::new(Role::Server, Limits::default()).with_deflate(ALONE, tuning);
    assert_eq!(encode(&mut server, MessageKind::Text, &[b'a'; 99])[0], 0x81);
    assert_eq!(
        encode(&mut server, MessageKind::Text, &[b'a'; 100])[0],
        0xc1
    );
}

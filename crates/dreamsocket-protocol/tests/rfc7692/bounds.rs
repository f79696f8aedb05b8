//! What a peer that means harm can make the engine hold and do.

use super::*;

/// A megabyte of zeroes, compressed a thousandfold.
fn bomb(inflated: usize) -> Vec<u8> {
    let limits = Limits::new()
        .with_max_message(usize::MAX)
        .with_max_frame(usize::MAX);
    let mut server = engine_with(Role::Server, ALONE, limits);
    let bytes = encode(&mut server, MessageKind::Binary, &vec![0; inflated]);
    assert_eq!(bytes[0], 0xc2);
    bytes.to_vec()
}

#[test]
fn a_bomb_is_given_up_while_it_is_inflated() {
    let bytes = bomb(64 * 1024 * 1024);
    assert!(bytes.len() < 70_000, "{}", bytes.len());
    for limit in [0, 1, 511, 512, 513, 100_000] {
        let limits = Limits::new().with_max_message(limit.max(bytes.len()));
        let mut client = engine_with(Role::Client, ALONE, limits);
        let events = receive(&mut client, &bytes);
        let [Event::Violation(Violation::MessageTooBig { limit, got })] = events[..] else {
            panic!("{events:?}");
        };
        // Inflated past the limit by a byte at the most, out of 64 MiB.
        assert_eq!(got, limit as u64 + 1);
    }
}

#[test]
fn the_limit_is_one_of_inflated_bytes_and_exact() {
    for (length, admitted) in [(99_999, true), (100_000, true), (100_001, false)] {
        let limits = Limits::new().with_max_message(100_000);
        let mut client = engine_with(Role::Client, ALONE, limits);
        let events = receive(&mut client, bomb(length));
        assert_eq!(
            matches!(&events[..], [Event::Binary(_)]),
            admitted,
            "{length}"
        );
    }
}

#[test]
fn a_limit_of_nothing_admits_the_empty_message() {
    let limits = Limits::new().with_max_message(1);
    let mut client = engine_with(Role::Client, ALONE, limits);
    assert_eq!(receive(&mut client, b"\xc1\x01\x00"), [text("")]);
}

#[test]
fn a_final_block_ends_and_does_not_spin() {
    // The four bytes on which another implementation span for ever.
    let mut client = engine(Role::Client, ALONE);
    assert_eq!(receive(&mut client, b"\xc2\x02\x03\x80"), [binary("")]);
    assert_eq!(receive(&mut client, b"\xc2\x02\x03\x00"), [binary("")]);
    assert_eq!(receive(&mut client, b"\xc2\x03\x03\x00\x00"), [binary("")]);
}

#[test]
fn what_is_no_deflate_is_refused() {
    for payload in [
        &b"\xff"[..],
        b"\x07",
        b"\xff\xff\xff\xff",
        b"plain text that somebody marked as compressed",
        // Trailing garbage behind a final block, and behind a flush.
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\xff",
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\xff\xff\xff",
        // It ends inside a block.
        b"\xf2\x48\xcd\xc9",
        b"\x00\x05\x00\xfa\xffHel",
        b"\x00\x05\x00",
        // And so, in its last one, which the flush that is put back would complete.
        b"\x03",
        // It refers back past the beginning.
        b"\xf2\x00\x11\x00\x00",
    ] {
        let bytes = frame(0xc2, payload);
        check_refused(
            bytes,
            &Violation::InvalidDeflate,
            CloseCode::INVALID_PAYLOAD,
        );
    }
}

#[test]
fn what_ends_inside_a_block_is_broken_and_not_too_big() {
    // Each byte of it makes a thousand zeroes; so would those that are put back behind it.
    let bomb = bomb(1_000_000);
    let cut = &bomb[4..500];
    let mut made = Vec::with_capacity(1_000_000);
    flate2::Decompress::new(false)
        .decompress_vec(cut, &mut made, flate2::FlushDecompress::None)
        .unwrap();
    let limits = Limits::new().with_max_message(made.len());
    let mut client = engine_with(Role::Client, ALONE, limits);
    let events = receive(&mut client, frame(0xc2, cut));
    assert_eq!(events, [Event::Violation(Violation::InvalidDeflate)]);
}

#[test]
fn blocks_without_content_are_work_in_proportion_to_their_bytes() {
    // A megabyte of empty blocks, at ten bits each.
    let mut bits = Bits::default();
    while bits.bytes.len() < 1_000_000 {
        bits.push_empty_block(false);
    }
    let mut client = engine(Role::Client, ALONE);
    let events = receive(&mut client, frame(0xc2, &bits.bytes));
    assert!(matches!(
        &events[..],
        [Event::Binary(_) | Event::Violation(Violation::InvalidDeflate)]
    ));
}

#[test]
fn streams_without_end_are_refused() {
    let mut server = engine(Role::Server, TAKEOVER);
    let mut client = engine(Role::Client, TAKEOVER);
    let fill = encode(
        &mut server,
        MessageKind::Binary,
        &b"something to remember; ".repeat(2000),
    );
    assert_eq!(receive(&mut client, fill).len(), 1);
    // Each would cost a copy of the window for two bytes.
    let streams = [3, 0].repeat(10_000);
    let events = receive(&mut client, frame(0xc2, &streams));
    assert_eq!(events, [Event::Violation(Violation::InvalidDeflate)]);
    // Some are fine: a sender may flush that way.
    let mut client = engine(Role::Client, TAKEOVER);
    let events = receive(&mut client, frame(0xc2, &[3, 0].repeat(5)));
    assert_eq!(events, [binary("")]);
    let events = receive(&mut client, frame(0xc2, &[3, 0].repeat(6)));
    assert_eq!(events, [Event::Violation(Violation::InvalidDeflate)]);
}

#[test]
fn a_stream_behind_a_final_block_may_refer_back_past_it() {
    // "Hello" in a final block, then "Hello" by reference, then the flush.
    let mut client = engine(Role::Client, ALONE);
    let payload = b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00";
    assert_eq!(
        receive(&mut client, frame(0xc1, payload)),
        [text("HelloHello")]
    );
}

#[test]
fn fragments_of_a_compressed_message_are_charged_like_others() {
    let limits = Limits::new().with_max_message(640);
    let mut client = engine_with(Role::Client, ALONE, limits);
    let mut bytes = b"\x42\x00".to_vec();
    bytes.extend(b"\x00\x00".repeat(20));
    let events = receive(&mut client, bytes);
    assert!(matches!(
        events[..],
        [Event::Violation(Violation::MessageTooBig {
            limit: 640,
            ..
        })]
    ));
}

#[test]
fn debug_shows_no_payload() {
    let mut server = engine(Role::Server, TAKEOVER);
    encode(&mut server, MessageKind::Text, &b"secret ".repeat(50));
    assert!(!format!("{server:?}").contains("secret"));
}

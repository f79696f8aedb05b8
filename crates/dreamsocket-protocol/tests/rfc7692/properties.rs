//! Round trips between two engines, and the same events however the bytes are split.

use super::*;
use proptest::prelude::*;

fn params() -> impl Strategy<Value = DeflateParams> {
    (any::<bool>(), any::<bool>(), 9..=15_u8, 8..=15_u8).prop_map(
        |(server, client, ours, theirs)| DeflateParams {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: ours,
            client_max_window_bits: theirs,
        },
    )
}

/// Messages that DEFLATE finds much, little and nothing in, and that repeat each other.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..40_000_usize).prop_map(|(byte, length)| vec![byte; length]),
        (0..4_usize, 1..200_usize).prop_map(|(which, times)| {
            [
                &b"{\"kind\":\"said\"}"[..],
                b"abcdefgh",
                b"\x00\x01",
                b"longer words",
            ][which]
                .repeat(times)
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_sent_arrives_whatever_was_agreed_on(
        params in params(),
        level in 1..=9_u8,
        threshold in prop_oneof![Just(0), Just(100_usize)],
        messages in proptest::collection::vec((any::<bool>(), message()), 1..12),
        step in 1..5000_usize,
    ) {
        let tuning = DeflateTuning::new().with_level(level).with_threshold(threshold);
        let limits = Limits::default();
        let mut server = Engine::new(Role::Server, limits).with_deflate(params, tuning);
        let mut client = Engine::new(Role::Client, limits).with_deflate(params, tuning);
        for (from_server, payload) in &messages {
            let (sender, receiver) = if *from_server {
                (&mut server, &mut client)
            } else {
                (&mut client, &mut server)
            };
            let bytes = encode(sender, MessageKind::Binary, payload);
            prop_assert!(bytes.len() <= payload.len() + 14);
            let mut buffer = BytesMut::new();
            let mut events = Vec::new();
            for piece in bytes.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Some(event) = receiver.handle_input(&mut buffer) {
                    events.push(event);
                }
            }
            prop_assert_eq!(&events, &[binary(payload)]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_spin(payload: Vec<u8>, takeover: bool, cut in 0..20_usize) {
        let params = if takeover { TAKEOVER } else { ALONE };
        let mut client = engine(Role::Client, params);
        // Rubbish by itself, and rubbish behind what is right.
        let mut server = engine(Role::Server, params);
        let right = encode(&mut server, MessageKind::Binary, &b"something right; ".repeat(20));
        let mut spoiled = right[4..].to_vec();
        spoiled.truncate(spoiled.len().saturating_sub(cut));
        spoiled.extend_from_slice(&payload);
        receive(&mut client.clone(), frame(0xc2, &payload));
        receive(&mut client, frame(0xc2, &spoiled));
    }

    #[test]
    fn a_spoiled_byte_is_noticed_or_harmless(at in 0..60_usize, with: u8) {
        let mut server = engine(Role::Server, TAKEOVER);
        let mut bytes = encode(&mut server, MessageKind::Binary, &b"one two three four ".repeat(9));
        let place = 2 + at % (bytes.len() - 2);
        bytes[place] = with;
        let mut client = engine(Role::Client, TAKEOVER);
        let events = receive(&mut client, bytes);
        prop_assert_eq!(events.len(), 1);
    }
}

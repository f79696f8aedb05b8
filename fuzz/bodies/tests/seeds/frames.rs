//! What a peer can send: for the decoder, and for ours beside tungstenite.

use crate::Seeds;
use fuzz_bodies::wire::{self, frame, mask};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// "Hello", compressed as RFC 7692 §7.2.3.1 does.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

type Key = Option<[u8; 4]>;

/// The masks of a client's frames: one that hides the payload from a fuzzer, and one that leaves it in sight.
const KEYS: [Key; 2] = [Some([0x37, 0xfa, 0x21, 0x3d]), Some([0; 4])];

/// Stories of one peer, whose frames have this mask.
fn stories(key: Key) -> Vec<(&'static str, Vec<u8>)> {
    let frame = |first: u8, payload: &[u8]| frame(first, key, payload);
    let frames = |frames: &[(u8, &[u8])]| -> Vec<u8> {
        let frames = frames.iter();
        frames
            .flat_map(|&(first, payload)| frame(first, payload))
            .collect()
    };
    let close =
        |code: u16, reason: &[u8]| frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat());
    // The first two bytes of a frame, and its length by hand.
    let odd = |first: u8, length: &[u8], payload: &[u8]| {
        let mask_bit = if key.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![first, mask_bit | length[0]];
        bytes.extend(&length[1..]);
        bytes.extend(key.into_iter().flatten());
        bytes.extend(mask(payload, key.unwrap_or_default()));
        bytes
    };
    let other_key = if key.is_some() { None } else { KEYS[1] };
    let small_fragments = |count: usize| {
        let mut bytes = frame(BINARY, b"");
        bytes.extend(frame(CONTINUATION, b"").repeat(count));
        bytes.extend(frame(FIN | CONTINUATION, b"x"));
        bytes
    };
    vec![
        ("hello", frame(FIN | TEXT, b"Hello")),
        ("empty", frames(&[(FIN | TEXT, b""), (FIN | BINARY, b"")])),
        ("binary-125", frame(FIN | BINARY, &[1; 125])),
        ("binary-126", frame(FIN | BINARY, &[2; 126])),
        ("text-130", frame(FIN | TEXT, "é".repeat(65).as_bytes())),
        ("binary-1500", frame(FIN | BINARY, &[3; 1500])),
        ("binary-1501-is-too-big", frame(FIN | BINARY, &[3; 1501])),
        (
            "messages-and-pings",
            frames(&[
                (FIN | TEXT, b"one"),
                (FIN | PING, b"there?"),
                (FIN | BINARY, &[0xff; 40]),
                (FIN | PONG, b""),
                (FIN | TEXT, "zwölf".as_bytes()),
            ]),
        ),
        (
            "fragments-with-a-ping-between",
            frames(&[
                (TEXT, b"one "),
                (FIN | PING, b"there?"),
                (CONTINUATION, b"two "),
                (CONTINUATION, b""),
                (FIN | CONTINUATION, b"three"),
            ]),
        ),
        (
            "a-character-in-two-fragments",
            frames(&[(TEXT, b"\xe2\x82"), (FIN | CONTINUATION, b"\xac.")]),
        ),
        (
            "fragments-that-are-too-big-together",
            frames(&[(BINARY, &[1; 1200]), (FIN | CONTINUATION, &[2; 900])]),
        ),
        ("small-fragments", small_fragments(5)),
        ("too-many-small-fragments", small_fragments(40)),
        ("continues-nothing", frame(FIN | CONTINUATION, b"x")),
        ("begins-inside", frames(&[(TEXT, b"a"), (FIN | TEXT, b"b")])),
        ("ping-125", frame(FIN | PING, &[b'p'; 125])),
        ("ping-126-is-too-long", frame(FIN | PING, &[b'p'; 126])),
        ("a-fragmented-ping", frame(PING, b"p")),
        ("pings", frame(FIN | PING, b"again").repeat(70)),
        ("close-empty", frame(FIN | CLOSE, b"")),
        ("close-1000", close(1000, b"")),
        ("close-with-a-reason", close(1001, "gehe schön".as_bytes())),
        ("close-with-the-longest-reason", close(4999, &[b'r'; 123])),
        ("close-half-a-code", frame(FIN | CLOSE, b"\x03")),
        ("close-0", close(0, b"")),
        ("close-1004", close(1004, b"")),
        ("close-1005", close(1005, b"")),
        ("close-1014", close(1014, b"bad gateway")),
        ("close-2999", close(2999, b"")),
        ("close-5000", close(5000, b"")),
        ("close-with-no-text", close(1000, b"\xff")),
        (
            "more-after-the-close",
            [close(1000, b""), frame(FIN | TEXT, b"late"), vec![0xff]].concat(),
        ),
        ("text-overlong", frame(FIN | TEXT, b"a\xc0\x80")),
        (
            "text-surrogate",
            frame(FIN | TEXT, b"\xed\xa0\x80 and more"),
        ),
        ("text-unfinished", frame(FIN | TEXT, b"caf\xc3")),
        (
            "text-unfinished-in-fragments",
            frames(&[(TEXT, b"caf"), (FIN | CONTINUATION, b"\xc3")]),
        ),
        (
            "text-wrong-in-a-fragment",
            frames(&[
                (TEXT, b"\xf4"),
                (CONTINUATION, b"\x90"),
                (FIN | CONTINUATION, b""),
            ]),
        ),
        ("reserved-bit-1", frame(FIN | RSV1 | TEXT, HELLO)),
        ("reserved-bit-2", frame(FIN | 0x20 | TEXT, b"x")),
        ("reserved-bit-3", frame(FIN | 0x10 | BINARY, b"x")),
        ("opcode-3", frame(FIN | 3, b"x")),
        ("opcode-11", frame(FIN | 0xb, b"")),
        (
            "a-longer-16-bit-length",
            odd(FIN | BINARY, &[126, 0, 3], b"abc"),
        ),
        (
            "a-longer-64-bit-length",
            odd(FIN | BINARY, &[127, 0, 0, 0, 0, 0, 0, 0, 3], b"abc"),
        ),
        (
            "a-longer-length-of-a-ping",
            odd(FIN | PING, &[126, 0, 3], b"abc"),
        ),
        (
            "length-2-to-the-63",
            odd(FIN | BINARY, &[127, 0x80, 0, 0, 0, 0, 0, 0, 0], b""),
        ),
        (
            "length-almost-2-to-the-63",
            odd(
                FIN | BINARY,
                &[127, 0x7f, 255, 255, 255, 255, 255, 255, 255],
                b"abc",
            ),
        ),
        (
            "length-of-a-gigabyte",
            odd(FIN | TEXT, &[127, 0, 0, 0, 0, 0x40, 0, 0, 0], b"abc"),
        ),
        (
            "fragment-of-a-gigabyte",
            odd(BINARY, &[127, 0, 0, 0, 0, 0x40, 0, 0, 0], b"abc"),
        ),
        ("the-wrong-mask", wire::frame(FIN | TEXT, other_key, b"x")),
        ("half-a-header", vec![FIN | TEXT]),
        (
            "a-header-alone",
            frame(FIN | TEXT, &[b'a'; 300])[..8].to_vec(),
        ),
        (
            "an-unfinished-payload",
            frame(FIN | TEXT, "längst".repeat(20).as_bytes())[..60].to_vec(),
        ),
        (
            "an-unfinished-message",
            frames(&[(FIN | TEXT, b"one"), (TEXT, b"two")]),
        ),
        (
            "compressed-in-fragments",
            frames(&[
                (RSV1 | TEXT, &HELLO[..3]),
                (FIN | PING, b""),
                (FIN | CONTINUATION, &HELLO[3..]),
                (FIN | RSV1 | TEXT, b"\xf2\x00\x11\x00\x00"),
            ]),
        ),
        (
            "compressed-rubbish",
            frame(FIN | RSV1 | BINARY, b"\xff\xff"),
        ),
        (
            "a-compressed-continuation",
            frames(&[(TEXT, b"a"), (FIN | RSV1, b"b")]),
        ),
        ("a-compressed-ping", frame(FIN | RSV1 | PING, b"")),
    ]
}

/// All stories of both peers under a name of their own, with 0 for a client's and 1 for a server's.
fn of_both() -> Vec<(String, u8, Vec<u8>)> {
    let client = stories(KEYS[0]).into_iter();
    let server = stories(None).into_iter();
    client
        .map(|(name, bytes)| (format!("from-client-{name}"), 0, bytes))
        .chain(server.map(|(name, bytes)| (format!("from-server-{name}"), 1, bytes)))
        .collect()
}

pub(crate) fn decoder() -> Seeds {
    let mut seeds = Vec::new();
    // Bits of the choice: 2 closing, 4 a smaller message, 8 compression, 16 context takeover, 32 no limits.
    let choices = [("", 0), ("-smaller", 4), ("-deflate", 8), ("-takeover", 24)];
    for (place, (name, role, bytes)) in of_both().into_iter().enumerate() {
        // Some stories are of interest only with compression, and none needs all choices: each gets one beside its first.
        let (suffix, choice) = if name.contains("compressed") || name.contains("bit-1") {
            choices[2 + place % 2]
        } else {
            choices[place % 2]
        };
        let cuts = [0, 0x4321][place % 2];
        seeds.push((
            format!("{name}{suffix}"),
            input(&bytes, cuts, role | choice),
        ));
    }
    for (name, bytes) in stories(KEYS[1]) {
        if [
            "messages-and-pings",
            "fragments-with-a-ping-between",
            "close-1000",
            "pings",
        ]
        .contains(&name)
        {
            seeds.push((format!("closing-{name}"), input(&bytes, 3, 2)));
            seeds.push((format!("in-sight-{name}"), input(&bytes, 5, 0)));
        }
        if name.contains("length") || name.contains("gigabyte") || name.contains("too-big") {
            seeds.push((format!("unlimited-{name}"), input(&bytes, 7, 32)));
        }
    }
    seeds
}

/// The bytes, where to cut them, and the choice, in the order in which they are taken off the end.
fn input(bytes: &[u8], cuts: u16, choice: u8) -> Vec<u8> {
    [bytes, &cuts.to_be_bytes(), &[choice]].concat()
}

pub(crate) fn differential() -> Seeds {
    let seeds = of_both().into_iter();
    let mut seeds: Seeds = seeds
        .map(|(name, role, bytes)| (name, [&bytes[..], &[role]].concat()))
        .collect();
    for (name, bytes) in stories(KEYS[1]) {
        if ["text-130", "small-fragments", "messages-and-pings"].contains(&name) {
            // Under the smallest limits, and the next.
            seeds.push((format!("least-{name}"), [&bytes[..], &[6]].concat()));
            seeds.push((format!("less-{name}"), [&bytes[..], &[4]].concat()));
        }
    }
    seeds
}

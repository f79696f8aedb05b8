//! What is inside of frames: compressed messages, payloads to mask, texts.

use crate::Seeds;
use dreamsocket_protocol::handshake::DeflateParams;
use dreamsocket_protocol::{DeflateTuning, Engine, Limits, Role};

/// What a server's compressor makes of it.
fn compress(payload: &[u8], level: u8) -> Vec<u8> {
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let tuning = DeflateTuning::new().with_threshold(0).with_level(level);
    let server = Engine::new(Role::Server, Limits::new()).with_deflate(params, tuning);
    let compressor = server.compressor().unwrap();
    compressor
        .compress(payload)
        .expect("it gets shorter")
        .to_vec()
}

/// The choice: its lowest bits are the limit, from the smallest, 4 is context takeover, the next three the window's bits,
/// less 8.
const ALONE: u8 = 3;
const ALONE_UNDER_THE_LEAST_LIMIT: u8 = 0;
const TAKEOVER: u8 = 3 | 4 | 7 << 3;
const TAKEOVER_OF_A_NARROW_WINDOW: u8 = 3 | 4;

pub(crate) fn inflate() -> Seeds {
    let said = b"{\"kind\":\"said\",\"text\":\"hello\"}".repeat(12);
    let mut words: Vec<u8> = Vec::new();
    for number in 0..400_u32 {
        words.extend((number * number).to_string().bytes());
        words.push(b' ');
    }
    // RFC 7692 §7.2.3: "Hello" in a fixed block, without compression, in a final block, in two blocks.
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let twice = [&hello[..], b"\xf2\x00\x11\x00\x00"].concat();
    let said = compress(&said, 6);
    let said_size = u8::try_from(said.len()).unwrap();
    assert!(said_size <= 128);
    // The size of a message, with 0 for all of it.
    let seeds: [(&str, Vec<u8>, [u8; 2]); 27] = [
        ("hello", hello.to_vec(), [0, ALONE]),
        (
            "hello-stored",
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00".to_vec(),
            [0, ALONE],
        ),
        (
            "hello-final",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00".to_vec(),
            [0, ALONE],
        ),
        (
            "hello-final-alone",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00".to_vec(),
            [0, ALONE],
        ),
        (
            "hello-in-two-blocks",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00".to_vec(),
            [0, ALONE],
        ),
        ("hello-twice-by-reference", twice.clone(), [7, TAKEOVER]),
        ("hello-twice-alone", twice.clone(), [7, ALONE]),
        (
            "hello-twice-in-a-narrow-window",
            twice,
            [7, TAKEOVER_OF_A_NARROW_WINDOW],
        ),
        (
            "hello-behind-a-final-block",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00".to_vec(),
            [0, ALONE],
        ),
        ("empty", b"\x00".to_vec(), [0, ALONE]),
        ("final-with-bits-behind", b"\x03\x80".to_vec(), [0, ALONE]),
        ("final-and-a-byte", b"\x03\x00\x00".to_vec(), [0, ALONE]),
        ("streams", b"\x03\x00".repeat(4), [0, ALONE]),
        ("streams-without-end", b"\x03\x00".repeat(8), [0, ALONE]),
        (
            "stored-blocks-of-nothing",
            b"\x00\x00\x00\xff\xff".repeat(40),
            [0, ALONE],
        ),
        (
            "ends-inside-a-block",
            b"\xf2\x48\xcd\xc9".to_vec(),
            [0, ALONE],
        ),
        (
            "ends-inside-a-stored-block",
            b"\x00\x05\x00\xfa\xffHel".to_vec(),
            [0, ALONE],
        ),
        (
            "ends-inside-a-stored-length",
            b"\x00\x05\x00".to_vec(),
            [0, ALONE],
        ),
        (
            "refers-too-far-back",
            b"\xf2\x00\x11\x00\x00".to_vec(),
            [0, ALONE],
        ),
        ("no-block-type", b"\x07".to_vec(), [0, ALONE]),
        (
            "rubbish-behind-the-end",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\xff".to_vec(),
            [0, ALONE],
        ),
        ("a-bomb", compress(&[0; 200_000], 9), [0, ALONE]),
        (
            "a-small-bomb",
            compress(&[b'a'; 512], 4),
            [0, ALONE_UNDER_THE_LEAST_LIMIT],
        ),
        (
            "as-much-as-the-least-limit",
            compress(&[b'a'; 511], 4),
            [0, ALONE_UNDER_THE_LEAST_LIMIT],
        ),
        ("dynamic-codes", compress(&words, 9), [0, ALONE]),
        ("said", said.clone(), [0, ALONE]),
        ("four-messages", said.repeat(4), [said_size, TAKEOVER]),
    ];
    let seeds = seeds.into_iter();
    seeds
        .map(|(name, payload, choices)| (name.to_owned(), [&payload[..], &choices].concat()))
        .collect()
}

pub(crate) fn mask() -> Seeds {
    let mut seeds = Vec::new();
    let key = [0x37, 0xfa, 0x21, 0x3d];
    // Sizes around those at which another way is taken, in memory that begins at another place each.
    for (before, size) in [
        0, 1, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 64, 125, 126, 2048, 2049,
    ]
    .into_iter()
    .enumerate()
    {
        for cuts in [0_u16, 1, 7, 0x1234] {
            if size < 200 || cuts == 7 {
                let payload: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
                let input = [&payload[..], &cuts.to_be_bytes(), &key, &[before as u8]].concat();
                seeds.push((format!("{size}-cut-{cuts}"), input));
            }
        }
    }
    seeds
}

pub(crate) fn utf8() -> Seeds {
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(4);
    let texts: [(&str, &[u8]); 23] = [
        ("empty", b""),
        ("ascii", b"hello"),
        ("ascii-64", &long.as_bytes()[..64]),
        ("ascii-65", &long.as_bytes()[..65]),
        ("long", long.as_bytes()),
        ("greek", "κόσμε".as_bytes()),
        ("of-each-length", "aé€😀".as_bytes()),
        (
            "smallest-of-each",
            b"\x00\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80",
        ),
        (
            "largest-of-each",
            b"\x7f\xdf\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf",
        ),
        ("around-the-surrogates", b"\xed\x9f\xbf\xee\x80\x80"),
        ("surrogate", b"ab\xed\xa0\x80cd"),
        ("overlong-2", b"\xc0\x80"),
        ("overlong-3", b"\xe0\x9f\xbf"),
        ("overlong-4", b"\xf0\x8f\xbf\xbf"),
        ("past-the-last", b"\xf4\x90\x80\x80"),
        ("f5", b"\xf5"),
        ("ff", b"text \xff text"),
        ("continuation-alone", b"\x80"),
        ("unfinished-2", b"caf\xc3"),
        ("unfinished-3", b"\xe2\x82"),
        ("unfinished-4", b"\xf0\x9f\x98"),
        ("broken-off", b"\xf0\x9f\x98a"),
        ("a-byte-order-mark", b"\xef\xbb\xbftext"),
    ];
    let mut seeds = Vec::new();
    for (name, text) in texts {
        for cuts in [2_u16, 0x2301] {
            seeds.push((
                format!("{name}-cut-{cuts}"),
                [text, &cuts.to_be_bytes()].concat(),
            ));
        }
    }
    // The impossible byte behind enough of others for the fast way.
    let late = [long.as_bytes(), b"\xed\xa0\x80"].concat();
    seeds.push(("late".to_owned(), [&late[..], &[0, 33]].concat()));
    seeds
}

//! Compressed messages of a peer, any bytes, against another DEFLATE: what is taken inflates to the same, what is refused
//! the other refuses, too, and no message gets larger than the limit says.
//!
//! The input: what the peer marks as compressed, a byte that says into messages of which size to cut it, and one that
//! chooses limit, context takeover and window.

use crate::input::Input;
use crate::wire::{drain, frame};
use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::handshake::DeflateParams;
use dreamsocket_protocol::{DeflateTuning, Engine, Event, Limits, Role, Violation};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// FIN, RSV1 and the opcode of binary messages.
const COMPRESSED: u8 = 0xc2;

/// A limit that some inputs reach, one that most do not, and those at which something changes: how much memory the inflater
/// asks for at once.
const LIMITS: [usize; 4] = [511, 513, 5000, 64 * 1024];

/// See the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let choice = input.take();
    let size = match input.take() {
        0 => usize::MAX,
        small @ 1..=128 => small.into(),
        large => usize::from(large - 120) * 16,
    };
    let limit = LIMITS[usize::from(choice & 3)];
    let takes_over = choice & 4 != 0;
    let window_bits = 8 + (choice >> 3) % 8;

    let params = DeflateParams {
        server_no_context_takeover: !takes_over,
        client_no_context_takeover: !takes_over,
        server_max_window_bits: window_bits,
        client_max_window_bits: 15,
    };
    let limits = Limits::new().with_max_message(limit);
    let mut client = Engine::new(Role::Client, limits).with_deflate(params, DeflateTuning::new());
    let mut history = Vec::new();
    for payload in input.rest().chunks(size) {
        let window = if takes_over { 1 << window_bits } else { 0 };
        let from = history.len().saturating_sub(window);
        let expected = if payload.len() > limit {
            Err(Violation::MessageTooBig {
                limit,
                got: payload.len() as u64,
            })
        } else {
            inflate(&history[from..], payload, limit)
        };
        let mut buffer = BytesMut::from(&frame(COMPRESSED, None, payload)[..]);
        let events = drain(&mut client, &mut buffer);
        match expected {
            Ok(inflated) => {
                history.extend_from_slice(&inflated);
                assert_eq!(events, [Event::Binary(Bytes::from(inflated))]);
            }
            Err(violation) => {
                let [Event::Violation(ours)] = &events[..] else {
                    panic!("{events:?}, and not {violation:?}");
                };
                // What is too much and broken behind that is refused for the one or the other: which of the two depends on
                // how far ahead an inflater looks.
                let is_too_much = matches!(violation, Violation::MessageTooBig { .. });
                let is_broken = *ours == Violation::InvalidDeflate;
                assert!(*ours == violation || (is_too_much && is_broken), "{ours:?}");
                return;
            }
        }
    }
}

/// RFC 7692 §7.2.2, by another inflater, into a buffer that has all the room there may be.
fn inflate(history: &[u8], payload: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    // DEFLATE makes at most 258 bytes of two bits: 1032 of a byte.
    let room = payload.len().saturating_mul(1032).min(limit) + 1;
    let mut output = [history, &vec![0; room]].concat();
    let mut end = history.len();
    let mut streams = 4 + payload.len() / 4096;
    let mut rest = payload;
    let mut inflater = DecompressorOxide::new();
    while !rest.is_empty() {
        let (status, consumed, made) = step(&mut inflater, rest, &mut output, end);
        rest = &rest[consumed..];
        end += made;
        if end - history.len() > limit {
            return Err(Violation::MessageTooBig {
                limit,
                got: limit as u64 + 1,
            });
        }
        match status {
            TINFLStatus::NeedsMoreInput => assert!(rest.is_empty()),
            TINFLStatus::Done if rest.is_empty() => {
                return Ok(output[history.len()..end].to_vec());
            }
            // §7.2.3.4 lets a sender end a stream and begin another. Without end they would be work for nothing.
            TINFLStatus::Done => {
                streams = streams.checked_sub(1).ok_or(Violation::InvalidDeflate)?;
                inflater = DecompressorOxide::new();
            }
            _ => return Err(Violation::InvalidDeflate),
        }
    }
    if payload.is_empty() {
        // There is no such message (§7.2.3.6), and only one thing that it can say.
        return Ok(Vec::new());
    }
    // What is left out, and an empty final block, which nothing but whole blocks can be followed by.
    let tail = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];
    match step(&mut inflater, &tail, &mut output, end) {
        // The first of the two blocks is the last one if its beginning, which came, says so.
        (TINFLStatus::Done, 4 | 6, 0) => Ok(output[history.len()..end].to_vec()),
        _ => Err(Violation::InvalidDeflate),
    }
}

fn step(
    inflater: &mut DecompressorOxide,
    input: &[u8],
    output: &mut [u8],
    end: usize,
) -> (TINFLStatus, usize, usize) {
    let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    decompress(inflater, input, output, end, flags)
}

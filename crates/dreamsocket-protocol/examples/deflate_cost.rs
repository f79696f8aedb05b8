//! What compression costs and saves, for the figures in the guide.
//!
//! Run with `cargo run --release -p dreamsocket-protocol --example deflate_cost`. Times are of this machine; the sizes are
//! the same everywhere.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program that prints what it measures; the engine still reads no clock"
)]

use bytes::BytesMut;
use dreamsocket_protocol::handshake::DeflateParams;
use dreamsocket_protocol::{DeflateTuning, Engine, Event, Limits, MessageKind, Role};
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;

fn main() {
    print_memory();
    println!(
        "JSON messages, all different; per message: bytes on the wire, µs to compress, µs to inflate"
    );
    for size in [64, 128, 256, 1024, 16 * 1024] {
        let messages: Vec<String> = (0..200).map(|number| message(number, size)).collect();
        let plain: usize = messages.iter().map(String::len).sum::<usize>() / messages.len();
        println!("\n{plain} bytes");
        for level in [1, 2, 3, 4, 6, 9] {
            print(&messages, "no takeover", level, params(true, 15));
        }
        for bits in [9, 12, 15] {
            print(
                &messages,
                &format!("takeover, {bits} bits"),
                4,
                params(false, bits),
            );
        }
    }
}

/// What a thread keeps for each kind of compressor that it has used, and what an open connection keeps.
fn print_memory() {
    for bits in [9, 12, 15] {
        let compressors = 100;
        let before = resident();
        let kept: Vec<_> = (0..compressors)
            .map(|_| {
                let mut compress = flate2::Compress::new_with_window_bits(
                    flate2::Compression::new(4),
                    false,
                    bits,
                );
                let mut output = Vec::with_capacity(1024);
                compress
                    .compress_vec(&[7; 64 * 1024], &mut output, flate2::FlushCompress::Sync)
                    .unwrap();
                compress
            })
            .collect();
        let each = (resident() - before) / compressors / 1024;
        println!("a compressor with {bits} bits: {each} KiB");
        drop(black_box(kept));
    }
    for (name, params) in [
        ("no takeover", params(true, 15)),
        ("takeover, 15 bits", params(false, 15)),
    ] {
        let connections = 500;
        let before = resident();
        let kept: Vec<_> = (0..connections)
            .map(|_| {
                let engine = |role| {
                    Engine::new(role, Limits::default()).with_deflate(params, DeflateTuning::new())
                };
                let (mut server, mut client) = (engine(Role::Server), engine(Role::Client));
                for number in 0..80 {
                    let mut output = BytesMut::new();
                    let message = message(number, 1024);
                    server
                        .encode_message(
                            MessageKind::Text,
                            message.as_bytes(),
                            || [0; 4],
                            &mut output,
                        )
                        .unwrap();
                    black_box(client.handle_input(&mut output));
                }
                (server, client)
            })
            .collect();
        let each = (resident() - before) / connections / 2 / 1024;
        println!("one direction of a connection, {name}: {each} KiB");
        drop(black_box(kept));
    }
    println!();
}

/// What Linux says is resident.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn params(no_context_takeover: bool, bits: u8) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: no_context_takeover,
        client_no_context_takeover: no_context_takeover,
        server_max_window_bits: bits,
        client_max_window_bits: bits,
    }
}

/// A chat's or a feed's kind of message, of about that size.
fn message(number: usize, size: usize) -> String {
    const WORDS: [&str; 12] = [
        "is", "there", "anybody", "here", "who", "knows", "how", "late", "it", "will", "be",
        "tomorrow",
    ];
    let mut text = format!("{{\"kind\":\"said\",\"id\":{},\"text\":\"", number * 7919);
    let mut state = number as u32 + 1;
    while text.len() < size.saturating_sub(3) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += WORDS[(state >> 16) as usize % WORDS.len()];
        text.push(' ');
    }
    text + "\"}"
}

fn print(messages: &[String], name: &str, level: u8, params: DeflateParams) {
    let tuning = DeflateTuning::new().with_threshold(0).with_level(level);
    let mut best = (Duration::MAX, Duration::MAX);
    let mut wire = 0;
    for _ in 0..ROUNDS {
        let engine = |role| Engine::new(role, Limits::default()).with_deflate(params, tuning);
        let (mut server, mut client) = (engine(Role::Server), engine(Role::Client));
        let mut output = BytesMut::with_capacity(64 * 1024 * 1024);
        let start = Instant::now();
        for message in messages {
            server
                .encode_message(
                    MessageKind::Text,
                    message.as_bytes(),
                    || [0; 4],
                    &mut output,
                )
                .unwrap();
        }
        let compressed = start.elapsed();
        wire = output.len();
        let start = Instant::now();
        while let Some(event) = client.handle_input(&mut output) {
            assert!(matches!(black_box(event), Event::Text(_)));
        }
        let inflated = start.elapsed();
        best = (best.0.min(compressed), best.1.min(inflated));
    }
    let count = messages.len();
    let per = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    println!(
        "  {name:18} level {level}: {:6} bytes, {:7.1}, {:6.1}",
        wire / count,
        per(best.0),
        per(best.1)
    );
}

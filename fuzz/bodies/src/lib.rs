//! What the fuzz targets do with an input. A library, so that the targets are a line each and the tests run the same over
//! the corpus that is committed: what only a fuzzer builds rots.
//!
//! Each body takes any bytes, through the public interface of `dreamsocket-protocol`, and panics if something does not hold
//! that should for all of them. So a body knows nothing of how the engine does it, and what it compares with is slow and
//! plain: [`wire`], std, tungstenite, another DEFLATE.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a body says what it found by panicking"
)]

pub mod decoder;
pub mod differential;
pub mod engine_pair;
pub mod handshake_client;
pub mod handshake_server;
mod header_text;
pub mod inflate;
mod input;
pub mod mask;
mod opening;
pub mod utf8;
pub mod wire;

/// What is run on an input.
pub type Body = fn(&[u8]);

/// The targets by their names, which are those of their folders in `fuzz/corpus` and `fuzz/seeds`, too.
pub const TARGETS: [(&str, Body); 8] = [
    ("decoder", decoder::run),
    ("differential", differential::run),
    ("engine_pair", engine_pair::run),
    ("handshake_client", handshake_client::run),
    ("handshake_server", handshake_server::run),
    ("inflate", inflate::run),
    ("mask", mask::run),
    ("utf8", utf8::run),
];

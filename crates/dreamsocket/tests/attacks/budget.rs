//! How much memory a server may use, reckoned from its configuration alone.

use dreamsocket::{Compression, Config};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What is read ahead of a handler, and the size of a read buffer (docs/limits.md).
const READ_AHEAD: usize = 16 * KIB;

/// The smallest frame of a client: two bytes and a mask.
const SMALLEST_FRAME: usize = 6;

/// What a message costs while it waits decoded, beside its payload, which is a part of the read buffer.
const DECODED: usize = 128;

/// What is pending for the socket before it is flushed, with what is encoded of it.
const FLUSH: usize = 2 * 64 * KIB;

/// Control frames that wait.
const CONTROL: usize = 64 * (125 + 64);

/// The tasks of a connection, with hyper's buffers.
const TASKS: usize = 32 * KIB;

/// A decompressor or a compressor of zlib, at its largest.
const ZLIB: usize = 320 * KIB;

/// What an HTTP/2 connection may hold unread (docs/limits.md).
const HTTP2_WINDOW: usize = 32 * MIB;
const HTTP2_STREAMS: usize = 100;

/// At how many bytes h2 reckons a small frame that waits unread, up to half the window, and what it may cost.
const HTTP2_CHARGE: usize = 256;
const HTTP2_FRAME: usize = 512;

/// What waits for a stream's window (docs/limits.md).
const HTTP2_SEND_BUFFER: usize = 64 * KIB + 4 * 16 * KIB;

/// What does not grow with the connections: pages of the program that are touched for the first time, what the allocator
/// keeps, and the pools of buffers.
const FLOOR: usize = 2 * MIB;

/// The most that the resident memory of a server may grow by while so many WebSockets do their worst:
///
/// - a message that is put together, in a buffer that doubles, and the one that the handler holds;
/// - the outbox, or one message that is larger and was admitted alone;
/// - what is read ahead, and what becomes of it when it is all empty messages;
/// - with compression, what a message is inflated to, in a buffer that doubles, and both halves of zlib;
/// - what every connection costs (see [`quiet`]).
pub(crate) fn budget(config: &Config, connections: usize) -> usize {
    let message = 3 * config.max_message;
    let outbox = config.outbox.max(config.max_message);
    let read_ahead = READ_AHEAD + READ_AHEAD / SMALLEST_FRAME * DECODED;
    let inflated = if config.compression == Compression::off() {
        0
    } else {
        2 * config.max_message + 2 * ZLIB
    };
    let busy = message + outbox + read_ahead + inflated + FLUSH + CONTROL;
    quiet(config, connections) + connections * busy
}

/// The same for connections that are in their handshake or have nothing to do: a head, read and parsed, and tasks.
pub(crate) fn quiet(config: &Config, connections: usize) -> usize {
    FLOOR + connections * (head(config) + TASKS)
}

/// What an HTTP/2 connection adds before there is a WebSocket: a head for each stream.
pub(crate) fn http2_heads(config: &Config) -> usize {
    HTTP2_STREAMS * head(config)
}

/// The same with WebSockets, and what waits to be sent on each.
pub(crate) fn http2_streams(config: &Config) -> usize {
    http2_heads(config) + HTTP2_STREAMS * HTTP2_SEND_BUFFER
}

/// What may wait unread on an HTTP/2 connection: its window, or the smallest of frames.
pub(crate) const fn http2_unread() -> usize {
    HTTP2_WINDOW + HTTP2_WINDOW / 2 / HTTP2_CHARGE * HTTP2_FRAME
}

/// The head of a request, in hyper's buffer and parsed.
fn head(config: &Config) -> usize {
    2 * config.max_head.max(8 * KIB)
}

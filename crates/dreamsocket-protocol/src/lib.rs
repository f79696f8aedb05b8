//! The WebSocket protocol (RFC 6455, and RFC 7692 for compression) without any input or output: bytes in, events out.
//!
//! An [`Engine`] is one end of one connection, either [`Role`]. It never reads, writes, waits, asks
//! for the time or draws a random number: its caller does, and hands it the bytes that came and the
//! mask keys that a client needs. So it runs on any executor or none, and a test can drive both ends.
//!
//! # The contract
//!
//! - However the peer's bytes are split, the same events come out.
//! - A peer's fault is no error to forget: it queues the Close frame with the right code, unless one was queued or sent
//!   before, comes as one last [`Event::Violation`], and the engine takes nothing more. No input makes it panic.
//! - What a peer can make it hold is bounded by [`Limits`], checked on the declared length before
//!   anything is buffered; nothing is ever reserved from a declared length.
//! - Each ping gets its pong and each Close its reply without the caller's doing; the caller decides
//!   when they are encoded.
//! - The caller's own mistakes are `Result`s.
//!
//! # The loop that drives it
//!
//! ```
//! use bytes::BytesMut;
//! use dreamsocket_protocol::{CloseCode, Engine, Event, Limits, MessageKind, Role};
//! use std::io::{Read, Write};
//!
//! /// Echoes messages until the connection is closed.
//! fn echo(socket: &mut (impl Read + Write)) -> std::io::Result<()> {
//!     let no_key = || unreachable!("a server masks nothing");
//!     let mut engine = Engine::new(Role::Server, Limits::default());
//!     let mut input = BytesMut::new();
//!     let mut output = BytesMut::new();
//!     let mut chunk = [0; 4096];
//!     while !engine.is_closed() {
//!         // What is left in `input` is an unfinished frame: the new bytes go behind it.
//!         let read = socket.read(&mut chunk)?;
//!         if read == 0 {
//!             break;
//!         }
//!         input.extend_from_slice(&chunk[..read]);
//!         while let Some(event) = engine.handle_input(&mut input) {
//!             let (kind, payload) = match event {
//!                 Event::Text(text) => (MessageKind::Text, text.into_bytes()),
//!                 Event::Binary(bytes) => (MessageKind::Binary, bytes),
//!                 Event::Ping(_) | Event::Pong(_) | Event::Close(_) | Event::Violation(_) => continue,
//!             };
//!             // Fails only once our Close frame is encoded, and then there are no messages.
//!             let _ = engine.encode_message(kind, &payload, no_key, &mut output);
//!         }
//!         engine.poll_control(no_key, &mut output);
//!         engine.poll_close(no_key, &mut output);
//!         socket.write_all(&output)?;
//!         output.clear();
//!     }
//!     Ok(())
//! }
//! # // A socket in memory: what a client sends is there to be read, what the server writes is kept.
//! # struct Memory(std::io::Cursor<Vec<u8>>, Vec<u8>);
//! # impl Read for Memory { fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> { self.0.read(to) } }
//! # impl Write for Memory {
//! #     fn write(&mut self, from: &[u8]) -> std::io::Result<usize> { self.1.write(from) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let mut client = Engine::new(Role::Client, Limits::default());
//! # let mut sent = BytesMut::new();
//! # client.encode_message(MessageKind::Text, b"hello", || [1, 2, 3, 4], &mut sent)?;
//! # client.close(CloseCode::NORMAL, "")?;
//! # client.poll_close(|| [5, 6, 7, 8], &mut sent);
//! # let mut memory = Memory(std::io::Cursor::new(sent.to_vec()), Vec::new());
//! # echo(&mut memory)?;
//! # let mut written = BytesMut::from(&memory.1[..]);
//! # // Our Close was encoded, so the echo is not an event any more; it is there all the same.
//! # assert_eq!(&written[..], b"\x81\x05hello\x88\x02\x03\xe8");
//! # assert!(matches!(client.handle_input(&mut written), Some(Event::Close(_))));
//! # assert!(client.is_closed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The opening handshake is a set of pure functions over [`http`] types, in [`handshake`].

#![cfg_attr(docsrs, feature(doc_cfg))]
// The engine's own lints; cargo takes none beside `workspace = true`.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::disallowed_types,
        reason = "a test that overflows should fail; proptest shares its strategies"
    )
)]

mod assembler;
mod close;
mod config;
mod decoder;
mod deflate;
mod engine;
mod error;
mod frame;
pub mod handshake;
mod mask;
mod text;
mod utf8;

pub use close::{CloseCode, CloseFrame, MAX_CLOSE_REASON};
pub use config::{Limits, MIN_FRAGMENT_CHARGE, Role};
pub use deflate::{Compressor, DeflateTuning};
pub use engine::{
    Engine, Event, MAX_COPIED_MESSAGE, MAX_WAITING_CONTROL, MessageKind, encode_shared_frame,
};
pub use error::{EncodeError, InvalidClose, PingError, Violation};
pub use frame::MAX_CONTROL_PAYLOAD;
pub use mask::MaskKey;
pub use text::Text;

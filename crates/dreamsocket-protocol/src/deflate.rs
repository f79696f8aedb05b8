//! permessage-deflate (RFC 7692) on an open connection: what the engine remembers of it, and how a payload is compressed and
//! inflated. Frames are not its business, and neither is the negotiation.
//!
//! What a connection remembers between two messages is at most a window of bytes in each direction. The compressors
//! themselves are scratch memory: each is borrowed for one message, given the window, and handed back.

mod codec;
mod window;

use self::window::Window;
use crate::config::Role;
use crate::error::Violation;
use crate::handshake::{DeflateParams, MIN_WINDOW_BITS};
use bytes::Bytes;

/// How one side compresses what it sends, beside what was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeflateTuning {
    /// Messages of fewer bytes go as they are. 128 unless set.
    pub threshold: usize,
    /// From 1, the fastest, to 9, the smallest. 4 unless set.
    pub level: u8,
}

impl DeflateTuning {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            threshold: 128,
            level: 4,
        }
    }

    /// Sets below how many bytes messages go as they are.
    #[must_use]
    pub const fn with_threshold(self, threshold: usize) -> Self {
        Self { threshold, ..self }
    }

    /// Sets the level: 1 to 9, values beyond count as the nearest.
    #[must_use]
    pub const fn with_level(self, level: u8) -> Self {
        let level = match level {
            0 => 1,
            1..=9 => level,
            _ => 9,
        };
        Self { level, ..self }
    }
}

impl Default for DeflateTuning {
    fn default() -> Self {
        Self::new()
    }
}

/// All that decides how a message is compressed by itself: connections that are equal in it can share the result.
///
/// ```
/// use dreamsocket_protocol::handshake::{DeflateParams, DeflateWish};
/// use dreamsocket_protocol::{DeflateTuning, Engine, Limits, Role};
///
/// let params = DeflateParams {
///     server_no_context_takeover: true,
///     client_no_context_takeover: true,
///     server_max_window_bits: 15,
///     client_max_window_bits: 15,
/// };
/// let engine = Engine::new(Role::Server, Limits::default()).with_deflate(params, DeflateTuning::default());
/// let compressor = engine.compressor().unwrap();
/// let compressed = compressor.compress(&[b'a'; 1000]).unwrap();
/// assert!(compressed.len() < 20);
/// assert_eq!(compressor.compress(b"short"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Compressor {
    window_bits: u8,
    tuning: DeflateTuning,
}

impl Compressor {
    /// Compresses a message by itself: without the messages before it, so that any connection of this kind can be sent the
    /// result. `None` if it goes as it is: it is too short, or would not get shorter.
    #[must_use]
    pub fn compress(self, payload: &[u8]) -> Option<Bytes> {
        self.compress_behind(&[], payload)
    }

    fn compress_behind(self, window: &[u8], payload: &[u8]) -> Option<Bytes> {
        // zlib does not compress with a smaller window. Whoever may only use one sends everything as it is.
        if payload.len() < self.tuning.threshold || self.window_bits < MIN_WINDOW_BITS {
            return None;
        }
        codec::compress(self.tuning.level, self.window_bits, window, payload)
    }
}

/// What one end of a connection that agreed on permessage-deflate remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deflate {
    compressor: Compressor,
    /// What we sent, if we may refer back to it.
    sent: Window,
    /// What the peer sent, if it may refer back to it.
    received: Window,
}

impl Deflate {
    pub(crate) fn new(role: Role, params: DeflateParams, tuning: DeflateTuning) -> Self {
        let peer = match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let (ours, window_bits) = params.of(role);
        let (theirs, their_bits) = params.of(peer);
        // The fields are public: whatever is in them, RFC 7692 §7.1.2 knows no others than these.
        let [window_bits, their_bits] = [window_bits, their_bits].map(|bits| bits.clamp(8, 15));
        Self {
            compressor: Compressor {
                window_bits,
                tuning: tuning.with_level(tuning.level),
            },
            sent: Window::new(ours, window_bits),
            received: Window::new(theirs, their_bits),
        }
    }

    pub(crate) const fn compressor(&self) -> Compressor {
        self.compressor
    }

    /// Compresses the next message. `None` if it goes as it is; then nothing will refer back to it.
    pub(crate) fn compress(&mut self, payload: &[u8]) -> Option<Bytes> {
        let compressed = self
            .compressor
            .compress_behind(self.sent.as_slice(), payload)?;
        self.sent.push(payload);
        Some(compressed)
    }

    /// Notes a message that was compressed by itself, so that later ones may refer back to it.
    pub(crate) fn note_sent(&mut self, payload: &[u8]) {
        self.sent.push(payload);
    }

    /// Inflates a message, to at most `limit` bytes.
    pub(crate) fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<Bytes, Violation> {
        let inflated = codec::inflate(self.received.as_slice(), payload, limit)?;
        self.received.push(&inflated);
        Ok(inflated)
    }
}

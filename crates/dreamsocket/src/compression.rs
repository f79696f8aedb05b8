//! [`Compression`]: what a side of a connection does about permessage-deflate (RFC 7692). Pure data; the handshake and the
//! engine act on it.

use dreamsocket_protocol::DeflateTuning;
use dreamsocket_protocol::handshake::DeflateWish;

/// Whether messages are compressed (permessage-deflate, RFC 7692), and at which price in memory. Default: off.
///
/// Compression is agreed on in the handshake: it is used only if the other side wants it, too.
///
/// ```
/// use dreamsocket::{Compression, Config};
///
/// let config = Config::default().with_compression(Compression::shared());
/// # let _ = config;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    mode: Mode,
    tuning: DeflateTuning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    /// No context takeover either way.
    Shared,
    /// Context takeover, with a window of so many bits, 9–15.
    Dedicated {
        window_bits: u8,
    },
}

impl Compression {
    /// No compression: it is neither offered nor accepted.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            mode: Mode::Off,
            tuning: DeflateTuning::new(),
        }
    }

    /// Each message is compressed by itself, by a compressor that is borrowed from the thread: a connection keeps nothing
    /// between messages.
    #[must_use]
    pub const fn shared() -> Self {
        Self {
            mode: Mode::Shared,
            ..Self::off()
        }
    }

    /// Messages are compressed with what was sent before in mind (context takeover): smaller, for a window of 2 to the
    /// power of `window_bits` bytes that a connection keeps in each direction. 9 (512 bytes) to 15 (32 KiB); values beyond
    /// count as the nearest.
    #[must_use]
    pub const fn dedicated(window_bits: u8) -> Self {
        let window_bits = match window_bits {
            ..9 => 9,
            9..=15 => window_bits,
            _ => 15,
        };
        Self {
            mode: Mode::Dedicated { window_bits },
            ..Self::off()
        }
    }

    /// Messages of fewer bytes go as they are: little is gained on them. Default: 128.
    #[must_use]
    pub const fn with_threshold(self, bytes: usize) -> Self {
        Self {
            tuning: self.tuning.with_threshold(bytes),
            ..self
        }
    }

    /// From 1, the fastest, to 9, the smallest; values beyond count as the nearest. Default: 4.
    #[must_use]
    pub const fn with_level(self, level: u8) -> Self {
        Self {
            tuning: self.tuning.with_level(level),
            ..self
        }
    }
}

impl Compression {
    /// What to ask for, or to agree to, in the handshake.
    pub(crate) fn wish(self) -> Option<DeflateWish> {
        match self.mode {
            Mode::Off => None,
            Mode::Shared => Some(DeflateWish::ALONE),
            Mode::Dedicated { window_bits } => Some(DeflateWish {
                context_takeover: true,
                window_bits,
            }),
        }
    }

    pub(crate) const fn tuning(self) -> DeflateTuning {
        self.tuning
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::off()
    }
}

//! What a connection has carried, in numbers that any task can read while it goes on.
//!
//! Only the session counts, so that an addition is a load and a store and no locked instruction.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a connection has carried so far. Each number is by itself: they need not be of one moment.
///
/// Bytes are those of payloads as the application sees them: without frames, and inflated where they are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConnectionCounts {
    /// Messages that were handed to `on_message`.
    pub(crate) messages_in: u64,
    pub(crate) bytes_in: u64,
    /// Messages that were taken out of the outbox or of a forwarded channel and encoded for the socket.
    pub(crate) messages_out: u64,
    pub(crate) bytes_out: u64,
}

/// [`ConnectionCounts`] that one task adds to.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounters {
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_out: AtomicU64,
}

impl ConnectionCounters {
    /// A message of so many bytes is handed to `on_message`. For the session alone.
    #[inline]
    pub(crate) fn note_in(&self, bytes: usize) {
        add(&self.messages_in, 1);
        add(&self.bytes_in, bytes as u64);
    }

    /// So many messages, of so many bytes together, are on their way into the socket. For the session alone.
    #[inline]
    pub(crate) fn note_out(&self, messages: u64, bytes: usize) {
        add(&self.messages_out, messages);
        add(&self.bytes_out, bytes as u64);
    }

    pub(crate) fn read(&self) -> ConnectionCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ConnectionCounts {
            messages_in: load(&self.messages_in),
            bytes_in: load(&self.bytes_in),
            messages_out: load(&self.messages_out),
            bytes_out: load(&self.bytes_out),
        }
    }
}

/// Nobody else writes, so nothing is lost between the two.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    let count = counter.load(Ordering::Relaxed);
    counter.store(count.wrapping_add(more), Ordering::Relaxed);
}

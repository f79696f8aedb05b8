//! Encoded frames on their way into the socket: small ones side by side in one buffer, large payloads by reference.
//!
//! Holds one batch at a time, of about [`FLUSH_BYTES`], with what the outbox charged for it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use dreamsocket_protocol::{Engine, MessageKind};
use tokio::io::AsyncWrite;

use crate::config::FLUSH_BYTES;
use crate::outbox::Outgoing;
use crate::prepared::Prepared;

/// Payloads up to this many bytes are copied beside their header; copying those costs less than another slice.
const COPIED: usize = 4 * 1024;

/// How many slices one system call is given.
const SLICES: usize = 32;

/// The longest header, and for how many bytes of them there is room when there is none for another: each is split off, and
/// would else be allocated by itself.
const HEADER: usize = 14;
const HEADERS: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Writer {
    /// What goes first: whole runs of headers and small frames, and large payloads between them.
    chunks: VecDeque<Bytes>,
    /// What goes last.
    tail: BytesMut,
    /// Bytes in `chunks`.
    chunked: usize,
    /// What the outbox charged for this batch.
    pub(super) charge: usize,
}

impl Writer {
    pub(super) fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.chunks.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.chunked + self.tail.len() >= FLUSH_BYTES
    }

    /// Where frames are encoded.
    #[inline]
    pub(super) const fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Lets go of memory beyond so many bytes. For one that is empty.
    #[inline]
    pub(super) fn trim(&mut self, bytes: usize) {
        // Its capacity does not tell: memory in front of what was written last is not in it.
        if self.tail.try_reclaim(bytes.saturating_add(1)) {
            self.tail = BytesMut::new();
        }
        if self.chunks.capacity() > SLICES {
            self.chunks = VecDeque::new();
        }
    }

    /// Encodes a message. Nothing follows a close frame. A server shares the frames of prepared messages; a
    /// client masks each of its own.
    #[inline]
    pub(super) fn push(
        &mut self,
        engine: &mut Engine,
        message: Outgoing,
        is_server: bool,
        next_key: fn() -> [u8; 4],
    ) {
        let (kind, payload) = match message {
            Outgoing::Text(text) => (MessageKind::Text, text.into_bytes()),
            Outgoing::Binary(bytes) => (MessageKind::Binary, bytes),
            Outgoing::Prepared(prepared) => {
                return self.push_prepared(engine, &prepared, is_server, next_key);
            }
        };
        if payload.len() <= COPIED {
            // Refused only behind a close frame, where nothing is sent any more.
            let _ = engine.encode_message(kind, &payload, next_key, self.tail());
        } else {
            self.push_large(engine, kind, payload, next_key);
        }
    }

    /// Encodes a message whose payload is not copied if it can be helped.
    #[inline(never)]
    fn push_large(
        &mut self,
        engine: &mut Engine,
        kind: MessageKind,
        payload: Bytes,
        next_key: fn() -> [u8; 4],
    ) {
        if self.tail.capacity() - self.tail.len() < HEADER {
            self.tail.reserve(HEADERS);
        }
        // What may be compressed has to be looked at whole; what is not is written from where it lies.
        if engine.compressor().is_none()
            && engine
                .encode_header(kind, payload.len(), self.tail())
                .is_ok()
        {
            let headers = self.tail.split().freeze();
            self.chunked += headers.len() + payload.len();
            self.chunks.extend([headers, payload]);
            return;
        }
        // Refused only behind a close frame.
        let _ = engine.encode_message(kind, &payload, next_key, self.tail());
    }

    #[inline(never)]
    fn push_prepared(
        &mut self,
        engine: &mut Engine,
        prepared: &Prepared,
        is_server: bool,
        next_key: fn() -> [u8; 4],
    ) {
        let compressed = engine
            .compressor()
            .and_then(|compressor| prepared.compressed(compressor));
        let (kind, payload) = (prepared.kind(), prepared.payload());
        match compressed {
            Some(compressed) if is_server => {
                if engine.note_compressed(payload).is_ok() {
                    self.push_frame(compressed.frame());
                }
            }
            Some(compressed) => {
                // Refused only behind a close frame, as below.
                let compressed = compressed.payload();
                let _ = engine.encode_compressed(kind, compressed, payload, next_key, self.tail());
            }
            None if is_server => {
                if !engine.is_close_sent() {
                    self.push_frame(prepared.frame());
                }
            }
            None => {
                let _ = engine.encode_message(kind, payload, next_key, self.tail());
            }
        }
    }

    /// Takes a frame that is encoded already.
    fn push_frame(&mut self, frame: &Bytes) {
        if frame.len() > COPIED {
            let before = self.tail.split().freeze();
            self.chunked += before.len() + frame.len();
            self.chunks.extend((!before.is_empty()).then_some(before));
            self.chunks.push_back(frame.clone());
        } else {
            self.tail().extend_from_slice(frame);
        }
    }

    /// Writes what there is, until all is written, the socket takes no more (`Pending`) or fails. `progressed` tells whether the socket took a byte.
    pub(super) fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        context: &mut Context<'_>,
        progressed: &mut bool,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = if self.chunks.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(context, &self.tail))?
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let pieces = self
                    .chunks
                    .iter()
                    .map(|chunk| &chunk[..])
                    .chain([&self.tail[..]]);
                let mut count = 0;
                for (slice, piece) in slices.iter_mut().zip(pieces) {
                    *slice = IoSlice::new(piece);
                    count += 1;
                }
                ready!(
                    Pin::new(&mut *io)
                        .poll_write_vectored(context, slices.get(..count).unwrap_or_default())
                )?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progressed = true;
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(chunk) = self.chunks.front_mut() {
            let taken = written.min(chunk.len());
            chunk.advance(taken);
            written -= taken;
            self.chunked -= taken;
            if !chunk.is_empty() {
                return;
            }
            self.chunks.pop_front();
        }
        if written >= self.tail.len() {
            // Back to the front, so that the memory is used again.
            self.tail.clear();
        } else {
            self.tail.advance(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use dreamsocket_protocol::handshake::DeflateParams;
    use dreamsocket_protocol::{DeflateTuning, Event, Limits, Role};

    use super::*;

    const KEY: fn() -> [u8; 4] = || [1, 2, 3, 4];

    fn engine(role: Role) -> Engine {
        Engine::new(role, Limits::new())
    }

    fn compressing(role: Role) -> Engine {
        let params = DeflateParams {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        };
        engine(role).with_deflate(params, DeflateTuning::new())
    }

    /// All that is to be written, and how it is taken by the other end.
    fn check_arrives(writer: &Writer, mut other: Engine, payload: &[u8]) {
        let chunks: Vec<_> = writer.chunks.iter().map(|chunk| &chunk[..]).collect();
        let mut bytes = BytesMut::from(&[&chunks.concat()[..], &writer.tail].concat()[..]);
        let event = other.handle_input(&mut bytes);
        assert_eq!(event, Some(Event::Binary(Bytes::copy_from_slice(payload))));
        assert!(bytes.is_empty());
    }

    #[test]
    fn s3_a_server_writes_the_shared_frame_and_a_client_masks_its_own() {
        // Compressed, the large one is less than half, and still too large to be copied.
        let squares = (0..5_000_u32).flat_map(|number| number.pow(2).to_string().into_bytes());
        for length in [100, 30_000] {
            let payload: Vec<_> = squares.clone().take(length).collect();
            assert_eq!(payload.len(), length);
            let prepared = Prepared::binary(payload.clone());
            for (ours, other, shared) in [
                (
                    engine as fn(Role) -> Engine,
                    engine as fn(Role) -> Engine,
                    prepared.frame().clone(),
                ),
                (compressing, compressing, {
                    let compressor = compressing(Role::Server).compressor().unwrap();
                    let compressed = prepared.compressed(compressor);
                    compressed.map_or_else(|| prepared.frame().clone(), |made| made.frame().clone())
                }),
            ] {
                let push = |role| {
                    let mut writer = Writer::default();
                    let message = Outgoing::Prepared(prepared.clone());
                    writer.push(&mut ours(role), message, role == Role::Server, KEY);
                    writer
                };
                let by_server = push(Role::Server);
                let written = by_server.chunks.back().cloned();
                let written = written.unwrap_or_else(|| by_server.tail.clone().freeze());
                assert_eq!(written, shared);
                assert_eq!(shared.len() > COPIED, length == 30_000);
                if length == 30_000 {
                    assert_eq!(written.as_ptr(), shared.as_ptr());
                }
                check_arrives(&by_server, other(Role::Client), &payload);
                check_arrives(&push(Role::Client), other(Role::Server), &payload);
            }
        }
    }

    #[test]
    fn s2_a_batch_is_full_at_64_kib() {
        let mut writer = Writer::default();
        writer.tail().resize(FLUSH_BYTES - 1, 0);
        assert!(!writer.is_full());
        writer.tail().resize(FLUSH_BYTES, 0);
        assert!(writer.is_full());
        // What is written from where it lies counts, too.
        let mut writer = Writer::default();
        let message = Outgoing::Binary(vec![0; FLUSH_BYTES - HEADER].into());
        writer.push(&mut engine(Role::Server), message, true, KEY);
        assert!(!writer.is_full());
        writer.tail().resize(HEADER, 0);
        assert!(writer.is_full());
    }

    #[test]
    fn small_frames_lie_side_by_side_and_large_ones_where_they_were() {
        for (length, is_copied) in [(COPIED, true), (COPIED + 1, false)] {
            let frame = Bytes::from(vec![0; length]);
            let mut writer = Writer::default();
            writer.push_frame(&frame);
            assert_eq!(writer.chunks.is_empty(), is_copied);
            assert_eq!(writer.chunked + writer.tail.len(), length);
        }
    }

    #[test]
    fn what_a_burst_took_is_let_go_of() {
        for (pieces, is_kept) in [(SLICES, true), (SLICES + 1, false)] {
            let mut writer = Writer {
                chunks: VecDeque::with_capacity(pieces),
                ..Writer::default()
            };
            assert_eq!(writer.chunks.capacity(), pieces);
            writer.trim(1000);
            assert_eq!(writer.chunks.capacity() > 0, is_kept);
        }
    }

    #[test]
    fn memory_of_what_was_written_in_pieces_is_let_go_of() {
        let mut writer = Writer::default();
        writer.tail().resize(100_000, 0);
        writer.advance(99_000);
        writer.advance(1_000);
        assert!(writer.is_empty());
        writer.trim(10_000);
        assert!(!writer.tail.try_reclaim(10_001));
    }
}

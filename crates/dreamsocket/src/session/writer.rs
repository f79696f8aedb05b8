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

use super::buffers;
use crate::config::FLUSH_BYTES;
use crate::outbox::Outgoing;

/// Payloads up to this many bytes are copied beside their header; copying those costs less than another slice.
const COPIED: usize = 4 * 1024;

/// How many slices one system call is given.
const SLICES: usize = 32;

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
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        if self.tail.capacity() == 0 {
            self.tail = buffers::take();
        }
        &mut self.tail
    }

    /// Encodes a message. False if the engine takes none any more.
    pub(super) fn push(
        &mut self,
        engine: &mut Engine,
        message: Outgoing,
        next_key: fn() -> [u8; 4],
    ) -> bool {
        let (kind, payload) = match message {
            Outgoing::Text(text) => (MessageKind::Text, text.into_bytes()),
            Outgoing::Binary(bytes) => (MessageKind::Binary, bytes),
        };
        if payload.len() > COPIED
            && engine
                .encode_header(kind, payload.len(), self.tail())
                .is_ok()
        {
            let headers = self.tail.split().freeze();
            self.chunked += headers.len() + payload.len();
            self.chunks.extend([headers, payload]);
            return true;
        }
        engine
            .encode_message(kind, &payload, next_key, self.tail())
            .is_ok()
    }

    /// Writes what there is, until all is written (`Ready(Ok(true))` if anything was), the socket takes no more (`Pending`) or
    /// fails. `progressed` tells whether the socket took a byte.
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
        buffers::give_back(std::mem::take(&mut self.tail));
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
        self.tail.advance(written.min(self.tail.len()));
    }
}

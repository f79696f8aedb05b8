//! Writes in small pieces, where what is under a transport copies each write whole: a stream of HTTP/2 under hyper.
//!
//! hyper copies a write however large it is, holds up to three of them in front of h2's own buffer, and hands a whole one
//! over when there is room for one byte. So a payload of a megabyte could cost four more than the outbox is charged for.
//! In pieces all of it is bounded, and the window of the stream pushes back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes a write takes at most on a stream of HTTP/2: a frame of the size that every peer accepts
/// (RFC 9113 §4.2).
pub(crate) const PIECE: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct SmallWrites<T> {
    io: T,
    piece: Option<usize>,
}

impl<T> SmallWrites<T> {
    /// A transport that is written to in pieces of so many bytes, at least 1, or as it comes.
    pub(crate) const fn new(io: T, piece: Option<usize>) -> Self {
        Self { io, piece }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for SmallWrites<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for SmallWrites<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let size = self.piece.unwrap_or(usize::MAX);
        let piece = bytes.get(..size).unwrap_or(bytes);
        Pin::new(&mut self.io).poll_write(context, piece)
    }

    /// Short slices are gathered into one piece, so that a header and its payload share a frame.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(size) = self.piece else {
            return Pin::new(&mut self.io).poll_write_vectored(context, slices);
        };
        let mut slices = slices.iter().filter(|slice| !slice.is_empty());
        let Some(first) = slices.next() else {
            return Poll::Ready(Ok(0));
        };
        if first.len() >= size {
            return self.poll_write(context, first);
        }
        // hyper has flushed when it would take a write, so nothing is gathered in vain.
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        let mut piece = BytesMut::with_capacity(size);
        piece.extend_from_slice(first);
        for slice in slices {
            let count = slice.len().min(size - piece.len());
            piece.extend_from_slice(&slice[..count]);
        }
        Pin::new(&mut self.io).poll_write(context, &piece)
    }

    fn is_write_vectored(&self) -> bool {
        self.piece.is_some() || self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// What one vectored write takes.
    async fn written(lengths: &[usize], piece: Option<usize>) -> usize {
        let (mut far, near) = tokio::io::duplex(1024 * 1024);
        let mut io = SmallWrites::new(near, piece);
        let payload = vec![b'x'; 1024 * 1024];
        let slices: Vec<_> = lengths
            .iter()
            .map(|length| IoSlice::new(&payload[..*length]))
            .collect();
        let count = poll_fn(|context| Pin::new(&mut io).poll_write_vectored(context, &slices))
            .await
            .unwrap();
        drop(io);
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), count);
        count
    }

    #[tokio::test]
    async fn a_write_takes_a_piece_at_most_and_gathers_short_slices() {
        for (lengths, expected) in [
            (&[][..], 0),
            (&[0, 5, 0, 7][..], 12),
            (&[4, 100_000, 4][..], PIECE),
            (&[100_000][..], PIECE),
            (&[PIECE, 4][..], PIECE),
            (&[PIECE - 1, 4][..], PIECE),
        ] {
            assert_eq!(written(lengths, Some(PIECE)).await, expected, "{lengths:?}");
        }
        assert_eq!(written(&[4, 100_000, 4], None).await, 100_008);
    }
}

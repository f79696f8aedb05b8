//! Which HTTP a connection speaks, told by its first bytes: HTTP/2 by prior knowledge begins with a preface that no
//! HTTP/1.1 request has (RFC 9113 §3.4).
//!
//! Apart from hyper's own detection, which waits for the first bytes without a limit.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// How much is read at once: the whole head of most requests.
const READ: usize = 1024;

/// Reads until the version is certain; the stream it returns begins with what was read.
pub(super) async fn detect<T: AsyncRead + Unpin>(mut io: T) -> io::Result<(Version, Rewind<T>)> {
    let mut prefix = BytesMut::new();
    let version = loop {
        let count = read(&mut io, &mut prefix).await?;
        let differs = prefix
            .iter()
            .zip(PREFACE)
            .any(|(byte, other)| byte != other);
        if differs || count == 0 {
            break Version::Http1;
        }
        if prefix.len() >= PREFACE.len() {
            break Version::Http2;
        }
    };
    let prefix = prefix.freeze();
    Ok((version, Rewind { prefix, io }))
}

/// Reads by way of the stack, so that while nothing comes there is no buffer.
async fn read<T: AsyncRead + Unpin>(io: &mut T, into: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| {
        let mut buffer = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(&mut *io).poll_read(context, &mut buffer))?;
        into.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// A stream that gives some bytes once more before it goes on.
#[derive(Debug)]
pub(crate) struct Rewind<T> {
    /// Without memory once it is read.
    prefix: Bytes,
    io: T,
}

impl<T> Rewind<T> {
    /// What was not given yet, and the stream.
    pub(crate) fn into_parts(self) -> (Bytes, T) {
        (self.prefix, self.io)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewind<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let count = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(self.prefix.get(..count).unwrap_or_default());
        self.prefix.advance(count);
        if self.prefix.is_empty() {
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewind<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

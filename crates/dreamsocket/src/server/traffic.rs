//! What goes over a connection's socket, as far as the bounds of HTTP need it: since when the peer takes nothing, and who
//! said something last.
//!
//! Apart from hyper, which has no timeout for what it writes. The state is shared with what drives the connection in the same
//! task: so whoever waits for a change needs no waker, but has to be polled after hyper.

use std::future::{pending, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use crate::config::later;

/// One connection's.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Whether something waits to be written.
    is_blocked: AtomicBool,
    /// How many bytes were.
    written: AtomicU64,
    /// Whether the peer has said something after what was written last.
    is_heard: AtomicBool,
    /// Whether there was a request.
    is_asked: AtomicBool,
}

impl Traffic {
    pub(super) fn note_request(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// Whether a request was answered, and nothing has come since.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed) && !self.is_heard.load(Ordering::Relaxed)
    }

    /// Waits until the peer took no byte of what waits for that long.
    pub(super) async fn stalled(&self, time: Duration) {
        loop {
            until(|| self.is_blocked.load(Ordering::Relaxed)).await;
            let written = self.written.load(Ordering::Relaxed);
            let goes_on = || {
                !self.is_blocked.load(Ordering::Relaxed)
                    || self.written.load(Ordering::Relaxed) != written
            };
            tokio::select! {
                biased;
                () = until(goes_on) => {}
                () = sleep_until(later(Instant::now(), time)) => return,
            }
        }
    }

    /// Waits until it is so late without a request.
    pub(super) async fn unasked(&self, deadline: Instant) {
        tokio::select! {
            biased;
            // Without the timer, which most connections never need.
            () = until(|| self.is_asked.load(Ordering::Relaxed)) => pending().await,
            () = sleep_until(deadline) => {}
        }
    }
}

/// Looks again whenever the task of the connection is polled.
async fn until(is_so: impl Fn() -> bool) {
    poll_fn(|_| {
        if is_so() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// A socket, and what is said of it.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    io: T,
    traffic: Arc<Traffic>,
}

impl<T> Watched<T> {
    pub(super) fn new(io: T, traffic: &Arc<Traffic>) -> Self {
        let traffic = Arc::clone(traffic);
        Self { io, traffic }
    }

    /// The socket, for a session, which has bounds of its own.
    pub(crate) fn into_inner(self) -> T {
        self.io
    }

    fn note_written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = result {
            let written = &self.traffic.written;
            written.fetch_add(count as u64, Ordering::Relaxed);
            self.traffic.is_heard.store(false, Ordering::Relaxed);
        }
        let blocked = result.is_pending();
        self.traffic.is_blocked.store(blocked, Ordering::Relaxed);
        result
    }

    fn note_flushed(&self, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        let blocked = result.is_pending();
        self.traffic.is_blocked.store(blocked, Ordering::Relaxed);
        result
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.traffic.is_heard.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(context, bytes);
        self.note_written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.note_written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(context);
        self.note_flushed(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_shutdown(context);
        self.note_flushed(result)
    }
}

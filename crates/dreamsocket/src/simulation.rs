//! What a simulated world puts in the place of the real one: the network and randomness. Time is tokio's clock, which a
//! simulated runtime pauses by itself.
//!
//! Not a part of the interface: it is here for the project's own simulation (`tests/simulation`), behind a feature that
//! nothing else turns on, and without that feature nothing of it is built. A listener needs no seam:
//! [`Server::listen_on`](crate::Server::listen_on) takes any.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of the simulated network.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A stream that a session takes out of hyper's wrappers and reads and writes itself, as it does a `TcpStream` of tokio's.
/// Any other takes the generic path, through hyper, as TLS does.
pub struct Stream(Box<dyn Io>);

impl Stream {
    /// A stream for the fast path.
    pub fn new(io: impl Io + 'static) -> Self {
        Self(Box::new(io))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// What a client has dialed.
#[expect(
    clippy::exhaustive_enums,
    reason = "for one user, which is built together with it"
)]
pub enum Dialable {
    /// For the fast path.
    Bare(Stream),
    /// For the generic one.
    Wrapped(Box<dyn Io>),
}

impl fmt::Debug for Dialable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare(_) => "Bare",
            Self::Wrapped(_) => "Wrapped",
        })
    }
}

/// What a client dials over instead of the system's network.
pub trait Network: Send + Sync + 'static {
    /// Connects to that port of that host.
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Dialable>> + Send + 'a>>;
}

thread_local! {
    /// The state of this thread's generator, if it has one.
    static SEEDED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From here on all that is random on this thread comes from this seed, masking keys and all.
pub fn seed(seed: u64) {
    SEEDED.set(Some(seed));
}

/// The next number of this thread's generator; `None` if it was not seeded. `SplitMix64`, whose numbers differ and look
/// random, and which anybody can guess.
pub(crate) fn draw() -> Option<u64> {
    let state = SEEDED.get()?.wrapping_add(0x9E37_79B9_7F4A_7C15);
    SEEDED.set(Some(state));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    Some(mixed ^ (mixed >> 31))
}

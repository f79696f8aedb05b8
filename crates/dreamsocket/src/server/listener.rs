//! Where connections come from: TCP, Unix sockets, descriptors handed in, or anything that accepts.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A source of connections for [`Server::listen_on`](crate::Server::listen_on). Implement it for a listener of your own,
/// such as one that speaks TLS or the PROXY protocol.
pub trait Listener: Send + 'static {
    /// A connection. WebSockets over a plain [`TcpStream`] are the fastest.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// What [`Bound::local_addr`](crate::Bound::local_addr) returns.
    type Addr: Clone + fmt::Debug + Send + Sync;

    /// Waits for the next connection; returns it with the address of the peer where there is one.
    ///
    /// No other connection is accepted meanwhile: a handshake belongs into the connection's first read and write.
    /// After an error the server calls it again, at once if the error is of that one connection (reset, aborted,
    /// unreachable), else after a pause. The future is dropped when a drain starts.
    fn accept(&mut self)
    -> impl Future<Output = io::Result<(Self::Io, Option<SocketAddr>)>> + Send;

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    fn local_addr(&self) -> io::Result<Self::Addr>;

    /// Whether only this machine reaches it over TCP: then requests for other hosts are refused
    /// ([`Server::allowed_hosts`](crate::Server::allowed_hosts)). No, unless said otherwise.
    fn is_loopback(&self) -> bool {
        false
    }
}

/// What [`Server::listen_on`](crate::Server::listen_on) takes: a [`Listener`], or a listener of the standard library,
/// which becomes one.
pub trait IntoListener {
    /// What it becomes.
    type Listener: Listener;

    /// Makes it a listener of the present tokio runtime.
    ///
    /// # Errors
    ///
    /// It can't be made non-blocking, or the runtime does not take it.
    fn into_listener(self) -> io::Result<Self::Listener>;
}

impl<L: Listener> IntoListener for L {
    type Listener = L;

    fn into_listener(self) -> io::Result<L> {
        Ok(self)
    }
}

impl Listener for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, peer_addr) = Self::accept(self).await?;
        // The loop writes whole batches; waiting for more would only add delay. Fails if the peer is gone already, and
        // then reading will tell.
        let _ = stream.set_nodelay(true);
        Ok((stream, Some(peer_addr)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }

    fn is_loopback(&self) -> bool {
        // 127.0.0.1 may be bound as an IPv6 address.
        Self::local_addr(self).is_ok_and(|address| address.ip().to_canonical().is_loopback())
    }
}

impl IntoListener for std::net::TcpListener {
    type Listener = TcpListener;

    fn into_listener(self) -> io::Result<TcpListener> {
        self.set_nonblocking(true)?;
        TcpListener::from_std(self)
    }
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::net::SocketAddr;
    use std::os::unix::net as std_unix;

    use tokio::net::{UnixListener, UnixStream};

    use super::{IntoListener, Listener};

    /// The file of the socket stays when the server ends.
    impl Listener for UnixListener {
        type Io = UnixStream;
        type Addr = std_unix::SocketAddr;

        async fn accept(&mut self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
            let (stream, _) = Self::accept(self).await?;
            Ok((stream, None))
        }

        fn local_addr(&self) -> io::Result<std_unix::SocketAddr> {
            Self::local_addr(self).map(Into::into)
        }
    }

    impl IntoListener for std_unix::UnixListener {
        type Listener = UnixListener;

        fn into_listener(self) -> io::Result<UnixListener> {
            self.set_nonblocking(true)?;
            UnixListener::from_std(self)
        }
    }
}

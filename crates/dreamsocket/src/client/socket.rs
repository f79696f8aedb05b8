//! [`Socket`]: a client without the loop, for tests and tools.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dreamsocket_protocol::handshake::DeflateParams;
use dreamsocket_protocol::{CloseCode, InvalidClose, MessageKind, Role, Text};
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connect;
use super::dial::Dialed;
use super::error::ConnectError;
use super::link::Link;
#[cfg(feature = "tls")]
use super::tls::TlsInfo;
use crate::config::Config;
use crate::message::Closed;
use crate::transport::{Transport, downcast};

/// A WebSocket to send and receive on by hand.
///
/// It answers pings and closes while it receives, and bounds what comes by
/// [`Config::max_message`](crate::Config::max_message); there is no heartbeat and no outbox. For anything that stays
/// connected, [`connect_websocket`](crate::client::connect_websocket) does more.
///
/// ```no_run
/// use dreamsocket::client::{Received, Socket};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut socket = Socket::connect("ws://localhost:9001/echo").await?;
/// socket.send_text("hello").await?;
/// while let Some(received) = socket.receive().await {
///     if let Received::Text(text) = received {
///         assert_eq!(text.as_str(), "hello");
///         break;
///     }
/// }
/// let closed = socket.close(1000, "").await?;
/// assert!(closed.clean);
/// # Ok(())
/// # }
/// ```
pub struct Socket {
    link: Link<Box<dyn Io>>,
    response: Response<()>,
    subprotocol: Option<Box<str>>,
    deflate: Option<DeflateParams>,
    peer_addr: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    tls: Option<Box<TlsInfo>>,
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A whole text message.
    Text(Text),
    /// A whole binary message.
    Binary(Bytes),
    /// A ping. Its answer is under way; if the server does not read its answers, only recent pings have one.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
}

/// What [`Socket::receive_or_sent`] has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Something came.
    Received(Received),
    /// The system has taken all that was waiting to be sent.
    Sent,
}

/// Why a [`Socket`] did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The connection is closing or closed; [`Socket::closed`] may tell how.
    #[error("the connection is closing or closed")]
    Closed,
    /// The server took nothing for [`Config::send_timeout`](crate::Config::send_timeout). The message is not to be sent
    /// again: a part of it may have been sent, and what is left goes first with the next call.
    #[error("the server has not taken the message in time")]
    Timeout,
    /// What an earlier call has left still waits: the server took nothing for
    /// [`Config::send_timeout`](crate::Config::send_timeout). Nothing of this message was taken; it may be sent again.
    #[error("an earlier message still waits for the server; this one was not taken")]
    EarlierWaits,
    /// The payload of a ping has more than 125 bytes (RFC 6455 §5.5).
    #[error("a ping holds at most 125 bytes, not {got}")]
    PingTooLong {
        /// Its length in bytes.
        got: usize,
    },
}

impl Socket {
    /// Connects with default options; see [`Connect::open`] for others.
    ///
    /// # Errors
    ///
    /// Whatever keeps the connection from being opened.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its I/O and time enabled.
    pub async fn connect(url: impl Into<String>) -> Result<Self, ConnectError> {
        Connect::new(url).open().await
    }

    pub(super) fn new(dialed: Dialed, config: Arc<Config>) -> Self {
        let opened = dialed.opened;
        let (io, early): (Box<dyn Io>, _) = match downcast(opened.upgraded, http::Version::HTTP_11)
        {
            Transport::Tcp(io, early) => (Box::new(io), early),
            #[cfg(feature = "simulation")]
            Transport::Simulated(io, early) => (Box::new(io), early),
            Transport::Other(io) => (Box::new(io), Bytes::new()),
        };
        Self {
            link: Link::new(io, &early, Role::Client, opened.deflate, config),
            response: opened.response,
            subprotocol: opened.subprotocol,
            deflate: opened.deflate,
            peer_addr: dialed.peer_addr,
            #[cfg(feature = "tls")]
            tls: dialed.tls,
        }
    }

    /// The status and the headers of the handshake's response.
    #[must_use]
    pub const fn response(&self) -> &Response<()> {
        &self.response
    }

    /// The subprotocol that the server chose.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// What was agreed on about compression (permessage-deflate); `None` if messages go as they are.
    #[must_use]
    pub const fn compression(&self) -> Option<DeflateParams> {
        self.deflate
    }

    /// The address that was connected to.
    #[must_use]
    pub const fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// What TLS agreed on; `None` over `ws://`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// Sends a text message; returns when the system has taken it.
    ///
    /// If the future is dropped, the message may have been sent in part, and the rest goes first with the next call.
    ///
    /// # Errors
    ///
    /// [`SocketError::Closed`], [`SocketError::Timeout`] or [`SocketError::EarlierWaits`].
    pub async fn send_text(&mut self, text: impl Into<Text>) -> Result<(), SocketError> {
        let text = text.into();
        self.link.send(MessageKind::Text, text.as_bytes()).await
    }

    /// Sends a binary message, as [`send_text`](Self::send_text) does.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text).
    pub async fn send_binary(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), SocketError> {
        self.link.send(MessageKind::Binary, bytes.as_ref()).await
    }

    /// Sends a ping with at most 125 bytes. Its answer is a [`Received::Pong`] with the same.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text), and [`SocketError::PingTooLong`].
    pub async fn ping(&mut self, payload: impl AsRef<[u8]>) -> Result<(), SocketError> {
        self.link.ping(payload.as_ref()).await
    }

    /// Takes a text message and writes what the system takes at once; never waits. What is left goes with the next call,
    /// whichever it is.
    ///
    /// For those who send and receive at the same time: while a server does not read because its answers are not read,
    /// [`send_text`](Self::send_text) waits in vain, and [`receive_or_sent`](Self::receive_or_sent) does both.
    ///
    /// # Errors
    ///
    /// [`SocketError::Closed`], or [`SocketError::EarlierWaits`] while 64 KiB or more of earlier messages wait.
    pub fn try_send_text(&mut self, text: impl Into<Text>) -> Result<(), SocketError> {
        let text = text.into();
        self.link.try_send(MessageKind::Text, text.as_bytes())
    }

    /// Takes a binary message, as [`try_send_text`](Self::try_send_text) does.
    ///
    /// # Errors
    ///
    /// As [`try_send_text`](Self::try_send_text).
    pub fn try_send_binary(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), SocketError> {
        self.link.try_send(MessageKind::Binary, bytes.as_ref())
    }

    /// Takes a ping with at most 125 bytes, as [`try_send_text`](Self::try_send_text) does.
    ///
    /// # Errors
    ///
    /// As [`try_send_text`](Self::try_send_text), and [`SocketError::PingTooLong`].
    pub fn try_ping(&mut self, payload: impl AsRef<[u8]>) -> Result<(), SocketError> {
        self.link.try_ping(payload.as_ref())
    }

    /// Whether the system has taken all that was sent, pings and pongs, too.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        self.link.is_sent()
    }

    /// How many bytes the system has taken since the handshake, frame headers among them, and before TLS: whether a large
    /// message goes on or stands still.
    #[must_use]
    pub const fn bytes_written(&self) -> u64 {
        self.link.written()
    }

    /// The next thing that comes, as [`receive`](Self::receive), or, if something waits to be sent, that all of it is
    /// written, whichever is first. `None` when the connection has ended. The future may be dropped and nothing is lost.
    ///
    /// ```no_run
    /// use dreamsocket::client::{Progress, Socket, SocketError};
    ///
    /// # async fn run(mut lines: tokio::sync::mpsc::Receiver<String>) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut socket = Socket::connect("ws://localhost:9001/echo").await?;
    /// loop {
    ///     tokio::select! {
    ///         // No more is taken than the server takes.
    ///         Some(line) = lines.recv(), if socket.is_sent() => socket.try_send_text(line)?,
    ///         progress = socket.receive_or_sent() => match progress {
    ///             Some(Progress::Received(received)) => println!("{received:?}"),
    ///             Some(_) => {}
    ///             None => break,
    ///         },
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn receive_or_sent(&mut self) -> Option<Progress> {
        self.link.receive_or_sent().await
    }

    /// The next thing that comes; `None` when the connection has ended, and then [`closed`](Self::closed) tells how.
    ///
    /// The future may be dropped and nothing is lost. After a close by the server it is answered, and the end of the TCP
    /// connection is waited for, at most [`Config::close_time`](crate::Config::close_time).
    pub async fn receive(&mut self) -> Option<Received> {
        self.link.receive().await
    }

    /// Closes with a code and a reason, and waits for the server's answer and end, at most
    /// [`Config::close_time`](crate::Config::close_time). Messages that come meanwhile are dropped. If the connection is
    /// closing or closed already, the first close stands.
    ///
    /// # Errors
    ///
    /// If the code must not be sent (RFC 6455 §7.4) or the reason is longer than 123 bytes; then nothing is closed.
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Text>,
    ) -> Result<Closed, InvalidClose> {
        self.link.close(code.into(), reason.into()).await
    }

    /// How the connection ended, once it has.
    #[must_use]
    pub const fn closed(&self) -> Option<&Closed> {
        self.link.closed()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("status", &self.response.status())
            .field("subprotocol", &self.subprotocol)
            .field("closed", &self.closed())
            .finish_non_exhaustive()
    }
}

//! [`ConnectError`]: why a client has no connection. One variant for each thing that fails; no payload in what they
//! display.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use dreamsocket_protocol::handshake::{InvalidRequest, ResponseError};
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::error::BoxError;

/// Why a client could not connect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL can't be parsed.
    #[error("the URL is not valid")]
    InvalidUrl(#[source] http::uri::InvalidUri),
    /// The URL holds a user name or a password, which would be sent nowhere.
    #[error("the URL holds a user name: send an `Authorization` header instead")]
    Credentials,
    /// The URL holds a fragment (RFC 6455 §3), which would be sent nowhere.
    #[error(
        "the URL holds a fragment (`#`), which a WebSocket's must not: write `%23` if it belongs to the path"
    )]
    Fragment,
    /// No request can be made of the URL or the subprotocols.
    #[error("no handshake can be made of this: {0}")]
    InvalidRequest(#[source] InvalidRequest),
    /// A header of the application's has a name or a value that HTTP does not allow.
    #[error("an extra header has a name or a value that HTTP does not allow")]
    InvalidHeader,
    /// A header of the application's is one that the handshake itself sets.
    #[error("the header `{name}` is the handshake's own")]
    ReservedHeader {
        /// Its name.
        name: HeaderName,
    },
    /// The URL begins with `wss://`, and the library was built without TLS.
    #[cfg(not(feature = "tls"))]
    #[error("`wss://` needs the feature `tls` of dreamsocket")]
    TlsNotBuilt,
    /// The hub is draining.
    #[error("the hub is draining")]
    Draining,
    /// The hub holds as many WebSockets as it may.
    #[error("the hub holds as many WebSockets as it may ({limit}, `Config::max_connections`)")]
    HubFull {
        /// [`Config::max_connections`](crate::Config::max_connections).
        limit: usize,
    },
    /// The host's name does not resolve.
    #[error("the host's name does not resolve")]
    Dns(#[source] io::Error),
    /// None of the host's addresses can be reached; the source is about the last one that was tried.
    #[error("the host cannot be reached")]
    Connect(#[source] io::Error),
    /// The TLS handshake failed, such as for a certificate that is not trusted.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// A phase of connecting took too long.
    #[error("{phase} took longer than {limit:?}")]
    TimedOut {
        /// Which one.
        phase: Phase,
        /// How long it may take.
        limit: Duration,
    },
    /// The connection broke during the handshake, or what came is not HTTP.
    #[error("the exchange of the handshake failed")]
    Http(#[source] BoxError),
    /// The head of the response is too large, or has more than 100 headers.
    #[error("the head of the response is larger than {limit} bytes, or has more than 100 headers")]
    HeadTooLarge {
        /// [`Config::max_head`](crate::Config::max_head), or 8 KiB where that is less.
        limit: usize,
    },
    /// The server answered with another status than 101. Redirects are not followed: they are refusals, too.
    #[error("the server refused with {}", .0.status)]
    Refused(Box<Refusal>),
    /// The server answered 101, but its response breaks a rule of the handshake.
    #[error("the server's response is not valid: {0}")]
    InvalidResponse(#[source] ResponseError),
}

impl ConnectError {
    /// Whether trying again later may help: the network, the name service or the server may be better then. Not for
    /// mistakes in what was asked for, for certificates that are not trusted, and for servers that do not want us.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::HubFull { .. }
            | Self::Dns(_)
            | Self::Connect(_)
            | Self::TimedOut { .. }
            | Self::Http(_) => true,
            // What rustls itself objects to comes as `InvalidData`.
            Self::Tls(error) => error.kind() != io::ErrorKind::InvalidData,
            Self::Refused(refusal) => {
                matches!(refusal.status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
            }
            _ => false,
        }
    }

    /// How long the server asks to wait before the next attempt.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after(),
            _ => None,
        }
    }
}

/// The phases of connecting that have a time limit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Resolving the host's name.
    Dns,
    /// Connecting to one of its addresses.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The opening handshake: our request and the head of the response.
    Handshake,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "resolving the host's name",
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Handshake => "the opening handshake",
        })
    }
}

/// A server's answer that opens no WebSocket.
#[non_exhaustive]
pub struct Refusal {
    /// The status, such as 401, 403, 404 or 503.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, at most its first 64 KiB.
    pub body: Bytes,
    /// Whether there is more of the body than `body` holds: it is too large, broke off, or took longer than the
    /// handshake may.
    pub is_truncated: bool,
}

impl Refusal {
    /// Where a redirect leads, as the server wrote it.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION)?.to_str().ok()
    }

    /// How long the server asks to wait. Only the form in seconds is understood, not the one with a date.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        seconds.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Without the body, which is not for logs.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .field("is_truncated", &self.is_truncated)
            .finish_non_exhaustive()
    }
}

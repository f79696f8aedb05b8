//! [`Connection`]: the handle through which handlers and any other task reach a peer.
//!
//! A thin front of the outbox and of what is known about the connection. It never touches the socket.

pub(crate) mod counts;
pub(crate) mod span;

use std::fmt;
use std::hash::Hasher;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dreamsocket_broadcaster::Missed;
use dreamsocket_protocol::handshake::DeflateParams;
use dreamsocket_protocol::{CloseCode, CloseFrame, InvalidClose, Role, Text};

use self::counts::ConnectionCounters;
use crate::coded::Frames;
use crate::config::Config;
use crate::error::SendError;
use crate::forward::{Forward, OnMissed};
use crate::hub::Details;
use crate::message::Cause;
use crate::meter::note_missed;
use crate::outbox::{CloseRequest, Outbox, Outgoing, Sending};
use crate::prepared::Prepared;
use crate::random::connection_number;

/// A handle to one WebSocket connection: cheap to clone, usable from any task.
///
/// Sends are accepted, in order, into the connection's bounded outbox; the connection's own task writes them. What one
/// task sends leaves in the order in which it was sent. A handle does not keep the connection open.
#[derive(Clone)]
pub struct Connection {
    pub(crate) shared: Arc<Shared>,
}

/// What handles and the session share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: ConnectionId,
    pub(crate) outbox: Outbox,
    pub(crate) facts: Facts,
    /// Nanoseconds, `u64::MAX` for none yet.
    round_trip: AtomicU64,
    /// How often reading has paused because the peer had used up what it may send.
    pauses: AtomicU64,
    pub(crate) counters: ConnectionCounters,
}

/// What is known of a connection when its session starts.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) config: Arc<Config>,
    pub(crate) peer_addr: PeerAddress,
    /// Boxed twice: one word where there is none, as with most.
    pub(crate) subprotocol: Option<Box<Box<str>>>,
    /// What was agreed on of permessage-deflate.
    pub(crate) deflate: Option<DeflateParams>,
    /// Which side of the connection we are.
    pub(crate) role: Role,
    /// Whether it is in the metrics.
    pub(crate) is_measured: bool,
    pub(crate) reconnects: u32,
    /// Boxed and only there if the hub keeps them.
    pub(crate) details: Option<Box<Details>>,
}

impl Facts {
    /// The bounds; the rest is unknown.
    pub(crate) const fn of(config: Arc<Config>) -> Self {
        Self {
            config,
            peer_addr: PeerAddress::Unknown,
            subprotocol: None,
            deflate: None,
            role: Role::Server,
            is_measured: true,
            reconnects: 0,
            details: None,
        }
    }
}

/// An address in half the memory: those of IPv4 are 6 bytes, those of IPv6 are boxed.
#[derive(Debug)]
pub(crate) enum PeerAddress {
    Unknown,
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl From<Option<SocketAddr>> for PeerAddress {
    fn from(address: Option<SocketAddr>) -> Self {
        match address {
            None => Self::Unknown,
            Some(SocketAddr::V4(address)) => Self::V4(address),
            Some(SocketAddr::V6(address)) => Self::V6(Box::new(address)),
        }
    }
}

impl PeerAddress {
    fn to_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Unknown => None,
            Self::V4(address) => Some(SocketAddr::V4(*address)),
            Self::V6(address) => Some(SocketAddr::V6(**address)),
        }
    }
}

impl Shared {
    fn new(facts: Facts) -> Self {
        Self {
            id: ConnectionId::random(),
            outbox: Outbox::new(facts.config.outbox_limit()),
            facts,
            round_trip: AtomicU64::new(u64::MAX),
            pauses: AtomicU64::new(0),
            counters: ConnectionCounters::default(),
        }
    }

    pub(crate) fn note_pause(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    /// The handlers, or a forwarded channel's `on_missed`, were told of a gap.
    pub(crate) fn note_missed(&self, missed: &Missed) {
        note_missed(missed.count);
        if let Some(details) = &self.facts.details {
            details.note_missed(missed.count);
        }
    }

    pub(crate) fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }

    pub(crate) fn set_round_trip(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1);
        self.round_trip.store(nanos, Ordering::Relaxed);
    }
}

impl Connection {
    pub(crate) fn new(facts: Facts) -> Self {
        Self {
            shared: Arc::new(Shared::new(facts)),
        }
    }

    /// A number that tells this connection from others in logs. Random, so that it needs no counter; not a secret.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.shared.id
    }

    /// Sends a text message: waits for room in the outbox, at most [`Config::send_timeout`](crate::Config::send_timeout).
    ///
    /// `Ok` means accepted, not delivered (S1). The future may be dropped: then nothing was sent.
    ///
    /// # Errors
    ///
    /// [`SendError::SocketClosed`] if the connection is closing or closed, [`SendError::Timeout`] if there was no room for
    /// that long; then nothing of it was sent.
    ///
    /// # Panics
    ///
    /// The future, if there is no room and it is polled outside a tokio runtime with its timer enabled: that is what it would
    /// wait with. [`try_send_text`](Self::try_send_text) needs none.
    #[inline]
    pub fn send_text(&self, message: impl Into<Text>) -> Sending<'_> {
        Sending::new(&self.shared, Outgoing::Text(message.into()))
    }

    /// Sends a binary message: waits for room in the outbox, at most
    /// [`Config::send_timeout`](crate::Config::send_timeout).
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text).
    ///
    /// # Panics
    ///
    /// As [`send_text`](Self::send_text).
    #[inline]
    pub fn send_binary(&self, message: impl Into<Bytes>) -> Sending<'_> {
        Sending::new(&self.shared, Outgoing::Binary(message.into()))
    }

    /// Sends a value as a text message in JSON.
    ///
    /// # Errors
    ///
    /// [`SendError::Json`] if the value cannot be written as JSON; else as [`send_text`](Self::send_text).
    ///
    /// # Panics
    ///
    /// As [`send_text`](Self::send_text).
    #[cfg(feature = "json")]
    pub async fn send_json<T: serde::Serialize + ?Sized + Sync>(
        &self,
        message: &T,
    ) -> Result<(), SendError> {
        let text = serde_json::to_string(message).map_err(SendError::Json)?;
        self.send_text(text).await
    }

    /// Sends a message that was encoded once for many connections, by reference.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text).
    ///
    /// # Panics
    ///
    /// As [`send_text`](Self::send_text).
    #[inline]
    pub fn send_prepared(&self, message: &Prepared) -> Sending<'_> {
        Sending::new(&self.shared, Outgoing::Prepared(message.clone()))
    }

    /// Sends a prepared message if there is room for it now; never waits.
    ///
    /// # Errors
    ///
    /// As [`try_send_text`](Self::try_send_text).
    pub fn try_send_prepared(&self, message: &Prepared) -> Result<(), SendError> {
        self.shared
            .outbox
            .try_send(Outgoing::Prepared(message.clone()))
    }

    /// Carries a topic's messages to the peer without running `on_message` for each (S3).
    ///
    /// The channel stays the queue: its bound and policy are those of the subscription, and a message moves when there is
    /// room in the outbox, however long that takes; [`Config::send_timeout`](crate::Config::send_timeout) does not apply.
    /// In the place of a gap, `on_missed` says what is sent, or that the connection is closed with 1013. A channel that
    /// ends because it lagged closes the connection with 1013, too.
    ///
    /// The topic's messages are [`Prepared`], or have a codec that prepares each once for all connections:
    /// [`CodedTopic`](crate::CodedTopic).
    ///
    /// Forwarding ends when the returned handle is dropped, so keep it in the connection's state; and with the connection.
    ///
    /// ```
    /// use dreamsocket::{
    ///     Connection, Forward, OnMissed, Prepared, Selector, Topic,
    /// };
    ///
    /// struct Dependencies { prices: Topic<Prepared> }
    ///
    /// async fn on_init(connection: &Connection, dependencies: &Dependencies) -> (Forward, Option<Selector>) {
    ///     let channel = dependencies.prices.subscribe();
    ///     let forward = connection.forward(channel, |missed| {
    ///         OnMissed::Notice(Prepared::text(format!("missed {:?}", missed.count)))
    ///     });
    ///     (forward, None)
    /// }
    /// # let _ = on_init;
    /// ```
    pub fn forward(
        &self,
        channel: impl Into<Frames>,
        on_missed: fn(Missed) -> OnMissed,
    ) -> Forward {
        Forward::start(self.clone(), channel.into(), on_missed)
    }

    /// Sends a text message if there is room for it now; never waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] if there is no room, [`SendError::SocketClosed`] if the connection is closing or closed.
    pub fn try_send_text(&self, message: impl Into<Text>) -> Result<(), SendError> {
        self.shared.outbox.try_send(Outgoing::Text(message.into()))
    }

    /// Sends a binary message if there is room for it now; never waits.
    ///
    /// # Errors
    ///
    /// As [`try_send_text`](Self::try_send_text).
    pub fn try_send_binary(&self, message: impl Into<Bytes>) -> Result<(), SendError> {
        self.shared
            .outbox
            .try_send(Outgoing::Binary(message.into()))
    }

    /// Sends a value as a text message in JSON if there is room for it now; never waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Json`] if the value cannot be written as JSON; else as [`try_send_text`](Self::try_send_text).
    #[cfg(feature = "json")]
    pub fn try_send_json<T: serde::Serialize + ?Sized>(
        &self,
        message: &T,
    ) -> Result<(), SendError> {
        let text = serde_json::to_string(message).map_err(SendError::Json)?;
        self.try_send_text(text)
    }

    #[cfg(feature = "json")]
    pub(crate) fn config(&self) -> &Config {
        &self.shared.facts.config
    }

    /// Closes because of what the peer has sent. A reason that is too long is cut.
    #[cfg(feature = "json")]
    pub(crate) fn reject(&self, code: CloseCode, reason: impl Into<Text>) {
        self.shared.outbox.request_close(CloseRequest {
            code,
            reason: reason.into(),
            cause: Cause::Protocol,
            at: None,
        });
    }

    /// Queues a ping and returns; it waits for no answer (L10). See [`round_trip_time`](Self::round_trip_time).
    ///
    /// # Errors
    ///
    /// [`SendError::SocketClosed`] if the connection is closing or closed, [`SendError::Full`] if 64 pings wait already.
    #[expect(
        clippy::unused_async,
        reason = "the contract's signature: sends are awaited, and room may be waited for later"
    )]
    pub async fn ping(&self) -> Result<(), SendError> {
        self.shared.outbox.ping()
    }

    /// Queues a close frame behind everything sent so far and returns; it waits for no answer (L10).
    ///
    /// From here on sends give [`SendError::SocketClosed`]. If the connection is closing already, the first close stands.
    ///
    /// # Errors
    ///
    /// [`InvalidClose`] if the code must not be sent (RFC 6455 §7.4) or the reason is longer than 123 bytes; then nothing
    /// is closed.
    #[expect(
        clippy::unused_async,
        reason = "the contract's signature: what goes to the peer is awaited"
    )]
    pub async fn close(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<Text>,
    ) -> Result<(), InvalidClose> {
        let (code, reason) = (code.into(), reason.into());
        CloseFrame::new(code, &reason)?;
        self.shared.outbox.request_close(CloseRequest {
            code,
            reason,
            cause: Cause::Stopped,
            at: None,
        });
        Ok(())
    }

    /// Other bounds hold for this peer from here on, such as wider ones after it has logged in: those for messages and
    /// frames, the rates, `idle_timeout` (counted anew), `max_lifetime` (still counted from the opening) and `heartbeat`. The
    /// rest of the [`Config`] stays what it was. Takes effect when the handler returns or waits; nothing if the connection is closing.
    pub fn set_bounds(&self, config: impl Into<Arc<Config>>) {
        self.shared.outbox.set_bounds(config.into());
    }

    /// Resolves as soon as sends would give [`SendError::SocketClosed`]; at once if they do already.
    pub async fn closed(&self) {
        self.shared.outbox.closed().await;
    }

    /// Whether sends would give [`SendError::SocketClosed`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.outbox.is_closed()
    }

    /// The peer's address, if the transport has one. Behind a proxy it is the proxy's.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.shared.facts.peer_addr.to_addr()
    }

    /// The subprotocol that was agreed on in the handshake.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.facts.subprotocol.as_deref().map(AsRef::as_ref)
    }

    /// How many connections a client that reconnects had before this one: 0 for its first, and always 0 on a server.
    #[must_use]
    pub fn reconnects(&self) -> u32 {
        self.shared.facts.reconnects
    }

    /// Bytes that were accepted and that the socket has not taken yet, 64 a message included.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.shared.outbox.buffered()
    }

    /// How long the peer took to answer the last ping that it answered, ours or the heartbeat's.
    #[must_use]
    pub fn round_trip_time(&self) -> Option<Duration> {
        let nanos = self.shared.round_trip.load(Ordering::Relaxed);
        (nanos != u64::MAX).then(|| Duration::from_nanos(nanos))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.shared.id)
            .field("peer_addr", &self.peer_addr())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// A number that tells one connection from others; written as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(NonZeroU64);

impl ConnectionId {
    /// 64 random bits: unique in practice without a counter for the whole process.
    fn random() -> Self {
        Self(NonZeroU64::new(connection_number()).unwrap_or(NonZeroU64::MIN))
    }
}

/// Takes a [`ConnectionId`] for its own hash: it is random already, and no peer chooses it.
#[derive(Debug, Default)]
pub(crate) struct ById(u64);

impl Hasher for ById {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    /// Nothing but an id is hashed.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

/// What [`Display`](fmt::Display) writes: 16 hexadecimal digits.
impl FromStr for ConnectionId {
    type Err = InvalidConnectionId;

    fn from_str(text: &str) -> Result<Self, InvalidConnectionId> {
        let is_number = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok();
        number
            .filter(|_| is_number)
            .and_then(NonZeroU64::new)
            .map(Self)
            .ok_or(InvalidConnectionId(()))
    }
}

/// A text is no [`ConnectionId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the number of a connection: 16 hexadecimal digits, not all 0")]
pub struct InvalidConnectionId(());

#[cfg(feature = "json")]
impl serde::Serialize for ConnectionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_is_written() {
        for number in [1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let id = ConnectionId(NonZeroU64::new(number).unwrap());
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in [
            "",
            "1",
            "0000000000000000",
            "+000000000000001",
            "00000000000000001",
            "000000000000000g",
        ] {
            assert_eq!(
                text.parse::<ConnectionId>(),
                Err(InvalidConnectionId(())),
                "{text}"
            );
        }
    }
}

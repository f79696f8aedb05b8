//! Every bound of a connection and of a hub, with its default.
//!
//! The table in `docs/limits.md` is made of the same numbers and held to them by a test.

use std::time::Duration;

use dreamsocket_protocol::Limits;
use tokio::time::Instant;

use crate::compression::Compression;
use crate::origin::OriginPolicy;
use crate::rate::{Excess, Rate};
use crate::undecodable::OnUndecodable;

/// How many bytes are read ahead of a running handler at most.
pub(crate) const READ_AHEAD: usize = 16 * 1024;

/// How many bytes are read at once while no handler runs, and the size of a read buffer: a little more, so that 16 messages of
/// a KiB come with their headers in one read. Without, an echo of them takes a system call more for each 16.
pub(crate) const READ: usize = READ_AHEAD + 512;

/// What an entry of the outbox is charged beside its payload, in bytes.
pub(crate) const ENTRY_CHARGE: usize = 64;

/// How many control frames wait at most.
pub(crate) const CONTROL_RESERVE: u32 = 64;

/// How many bytes may be pending before they are flushed even though more messages are ready.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;

/// After how many handled messages what they sent is flushed at the latest.
pub(crate) const FLUSH_MESSAGES: u32 = 64;

macro_rules! config {
    ($($(#[$docs:meta])* $name:ident, $with:ident: $type:ty = $default:expr;)*) => {
        /// The bounds of a connection and of a hub: finite wherever a peer sets the size.
        ///
        /// ```
        /// use std::time::Duration;
        /// use dreamsocket::{Config, Hub};
        ///
        /// let config = Config::default()
        ///     .with_max_message(64 * 1024)
        ///     .with_heartbeat(Some(Duration::from_secs(15)));
        /// let hub = Hub::new(config);
        /// # let _ = hub;
        /// ```
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub struct Config {
            $($(#[$docs])* pub $name: $type,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Config {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](Self::", stringify!($name), ").")]
                #[must_use]
                pub fn $with(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }
    };
}

config! {
    /// Bytes of a whole message from the peer at most; past it 1009. Each fragment of a fragmented message is charged
    /// its length or 64 bytes, whichever is more. Default: 1 MiB.
    max_message, with_max_message: usize = 1024 * 1024;
    /// Bytes of one frame from the peer at most; past it 1009. Default: 1 MiB.
    max_frame, with_max_frame: usize = 1024 * 1024;
    /// Bytes that wait in the outbox at most: payloads, and 64 for each message. A send waits for room; a message
    /// larger than the whole bound is admitted alone. Default: 1 MiB. At most 4 GiB − 1, larger values count as that;
    /// with 0 one message at a time waits.
    outbox, with_outbox: usize = 1024 * 1024;
    /// How long `on_init` may take; past it 1011. Default: 10 s.
    init_timeout, with_init_timeout: Duration = Duration::from_secs(10);
    /// How long one `on_message` may take; past it its future is dropped and the connection closed with 1011. `None`: for
    /// ever. Default: 60 s.
    handler_timeout, with_handler_timeout: Option<Duration> = Some(Duration::from_secs(60));
    /// How long a send waits for room in the outbox. Default: 10 s.
    send_timeout, with_send_timeout: Duration = Duration::from_secs(10);
    /// After how long a silence the peer is sent a ping; a second one after twice, and after three times the peer is
    /// lost. `None`: no heartbeat. Default: 30 s.
    heartbeat, with_heartbeat: Option<Duration> = Some(Duration::from_secs(30));
    /// How long the closing handshake may take, from the moment a close is queued, and how long `on_close` may take
    /// after it. Default: 5 s each.
    close_time, with_close_time: Duration = Duration::from_secs(5);
    /// How long the socket may take no byte while the outbox is full or messages of a forwarded topic wait; past it 1013.
    /// Default: 30 s.
    stall_timeout, with_stall_timeout: Duration = Duration::from_secs(30);
    /// How many control frames a peer may send at once, and how many a second in the long run; past it reading pauses
    /// until there is room again, and nothing is closed. Default: 100.
    control_frames, with_control_frames: u32 = 100;
    /// How many messages a peer may send. `None`: as many as are handled. Default: `None`.
    message_rate, with_message_rate: Option<Rate> = None;
    /// How many bytes a peer may send, frames and all, after TLS and HTTP. `None`: as many as are read. Default: `None`.
    byte_rate, with_byte_rate: Option<Rate> = None;
    /// What comes of sending more than `message_rate` or `byte_rate`. Default: nothing more is read until it is earned.
    rate_excess, with_rate_excess: Excess = Excess::Wait;
    /// How long a connection may be without a message, of the peer or the selector; past it 1008. Pings and pongs are no
    /// messages. `None`: for ever, as long as the heartbeat is answered. Default: `None`.
    idle_timeout, with_idle_timeout: Option<Duration> = None;
    /// How long a connection may last; past it 1001, so that clients come back, such as to another server. `None`: for
    /// ever. Default: `None`.
    max_lifetime, with_max_lifetime: Option<Duration> = None;
    /// How many WebSockets a hub holds at most; past it an upgrade is answered with 503. Default: 10,000.
    max_connections, with_max_connections: usize = 10_000;
    /// How many WebSockets of a hub one address may have; past it 429. An IPv6 network of 64 bits counts as one address.
    /// Behind proxies that `origins` trusts it is the client's, from `X-Forwarded-For`. Default: `None`.
    max_connections_per_address, with_max_connections_per_address: Option<usize> = None;
    /// How many valid handshakes one address may make, also those that are refused; past it 429. Default: `None`.
    handshakes_per_address, with_handshakes_per_address: Option<Rate> = None;
    /// How long a drain waits for handlers before it drops them. Default: 10 s.
    drain_time, with_drain_time: Duration = Duration::from_secs(10);
    /// Over how much of the drain time the close frames are spread, so that clients do not all come back at once.
    /// Default: 0 s, which closes all of them at once.
    drain_spread, with_drain_spread: Duration = Duration::ZERO;
    /// How many bytes the head of a request may have; past it 431 (`Server` only). For a client, the head of the response.
    /// Default: 16 KiB.
    max_head, with_max_head: usize = 16 * 1024;
    /// How long the head of a request may take to come; past it the connection is cut (`Server` only). Default: 10 s.
    head_timeout, with_head_timeout: Duration = Duration::from_secs(10);
    /// How long an HTTP answer may wait for room in the peer's socket, or over HTTP/2 for the peer's leave to send; past it the
    /// connection is cut (`Server` only). A socket tells of its room in pieces of some hundred KiB: this is no time between
    /// two bytes. Default: 5 min.
    answer_timeout, with_answer_timeout: Duration = Duration::from_secs(300);
    /// How long a TLS handshake may take; past it the connection is cut (`Server::tls` only). Default: 10 s.
    tls_timeout, with_tls_timeout: Duration = Duration::from_secs(10);
    /// How many TCP connections a `Server` holds at most; at it accepting pauses. Default: 12,000. The limit of open
    /// files less 64 holds where that is less; `usize::MAX` asks for just that.
    max_sockets, with_max_sockets: usize = 12_000;
    /// How many TCP connections of a `Server` one address may have; past it they are closed as they come. The address is
    /// that of the TCP connection, so leave it off behind a proxy. Default: `None`.
    max_sockets_per_address, with_max_sockets_per_address: Option<usize> = None;
    /// From which origins browsers may connect; else 403. Default: the same host and port as the request's own.
    origins, with_origins: OriginPolicy = OriginPolicy::same_origin();
    /// Whether messages are compressed (permessage-deflate, RFC 7692). Default: off.
    compression, with_compression: Compression = Compression::off();
    /// What becomes of a message that does not decode, where messages are [typed](crate::typed). Default: the handler is
    /// told.
    undecodable, with_undecodable: OnUndecodable = OnUndecodable::Tell;
}

impl Config {
    pub(crate) fn limits(&self) -> Limits {
        Limits::default()
            .with_max_message(self.max_message)
            .with_max_frame(self.max_frame)
    }

    /// The outbox's bound as it is counted: at least a byte, at most 4 GiB.
    pub(crate) fn outbox_limit(&self) -> u32 {
        u32::try_from(self.outbox.max(1)).unwrap_or(u32::MAX)
    }
}

/// `at` and a while, or some decades where a duration such as [`Duration::MAX`] is past what a clock can say.
pub(crate) fn later(at: Instant, by: Duration) -> Instant {
    const DECADES: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    at + by.min(DECADES)
}

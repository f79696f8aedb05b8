//! Handlers under test, or a whole router: sessions over transports in memory, on tokio's paused clock, without a port.
//!
//! [`connect`] starts a session with the handlers that [`upgrade_websocket`](crate::upgrade_websocket) takes, and returns
//! the [`Client`] at its other end, which speaks real, masked WebSocket frames. [`serve`] runs what
//! [`Server`](crate::Server) runs, and its clients open real upgrades. A test says what the client does and
//! what it expects; an expectation that does not come true panics with a transcript of all that was sent and received.
//! `docs/testing.md` is a walk through it.
//!
//! ```
//! use dreamsocket::{Action, Connection, Message, Selector, SendError, continue_connection, testing};
//!
//! async fn on_init(_: &Connection, _: &()) -> (u32, Option<Selector>) {
//!     (0, None)
//! }
//!
//! async fn on_message(count: &mut u32, message: Message, connection: &Connection, _: &())
//!     -> Result<Action, SendError>
//! {
//!     if let Message::Text(text) = message {
//!         *count += 1;
//!         connection.send_text(format!("{count}: {text}")).await?;
//!     }
//!     Ok(continue_connection())
//! }
//!
//! async fn on_close(_: u32, _: &()) {}
//!
//! // In a test: `#[tokio::test(start_paused = true)]`.
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
//! let mut client = testing::connect((), on_init, on_message, on_close);
//! client.send_text("hello").await;
//! client.expect_text("1: hello").await;
//! client.close(1000, "").await;
//! client.expect_closed(1000).await;
//! client.ended().await;
//! # });
//! ```
//!
//! # The clock
//!
//! Tests run on a paused clock: `#[tokio::test(start_paused = true)]`, which needs tokio's feature `test-util`. Then
//! [`advance`] lets time pass without waiting, and every timer on the way goes off in its order: heartbeats, timeouts,
//! those of the handlers. What waits for something of the session (`expect_…`, [`Client::receive`], [`Client::ended`])
//! waits at most [`PATIENCE`] of that clock, which moves by itself when nothing else is left to do; so a test fails
//! instead of hanging. [`Client::expect_nothing`], [`settle`] and all that sends do not move the clock.
//!
//! # Several clients
//!
//! Each `connect` is a session of its own on the test's runtime. Give them one [`Hub`] or one
//! [`Broadcaster`](crate::Broadcaster) through their dependencies, as the application does, or let one [`serve`] have
//! them all.

#![expect(clippy::panic, reason = "a test fails by a panic")]

mod client;
mod frame;
#[cfg(feature = "http2")]
mod http2;
mod peer;
mod request;
mod response;
mod server;
mod settling;
mod transcript;
mod transport;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use dreamsocket_protocol::Role;
use tracing::Instrument;

pub use self::client::Client;
pub use self::frame::Frame;
use self::peer::Peer;
pub use self::peer::Received;
pub use self::request::RequestBuilder;
pub use self::response::Response;
pub(crate) use self::server::Witness;
pub use self::server::{Server, run, serve};
pub(crate) use self::settling::note_poll;
pub use self::settling::settle;
use self::transcript::Transcript;
pub use self::transport::Traffic;
use self::transport::Transport;
use crate::config::Config;
use crate::connection::{Connection, Facts, span};
use crate::handler::{Handlers, OnClose, OnInit, OnMessage};
use crate::hub::{Admission, Hub};
use crate::message::Closed;
use crate::session::{self, Outcome, Session};
#[cfg(feature = "json")]
use crate::typed::{self, Format};

/// How long an expectation waits, of the runtime's clock: longer than each of [`Config`]'s default times.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How many bytes the transport holds in each direction unless [`Builder::with_buffer`] says otherwise.
const BUFFER: usize = 64 * 1024;

/// Starts a session with default bounds and returns the client at its other end. See the [module](self).
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn connect<D, S, C, FI, FM, FC, M>(
    dependencies: D,
    on_init: FI,
    on_message: FM,
    on_close: FC,
) -> Client
where
    D: Send + Sync + 'static,
    S: Send + 'static,
    C: Send + 'static,
    FI: for<'a> OnInit<'a, D, S, C>,
    FM: for<'a> OnMessage<'a, D, S, C>,
    FC: for<'a> OnClose<'a, D, S, M>,
    M: 'static,
{
    Builder::new().connect(dependencies, on_init, on_message, on_close)
}

/// As [`connect`], with [typed messages](crate::typed).
///
/// # Panics
///
/// Outside a tokio runtime.
#[cfg(feature = "json")]
pub fn connect_typed<D, S, In, Out, F, C, FI, FM, FC, M>(
    dependencies: D,
    on_init: FI,
    on_message: FM,
    on_close: FC,
) -> Client
where
    D: Send + Sync + 'static,
    S: Send + 'static,
    In: serde::de::DeserializeOwned + 'static,
    Out: 'static,
    F: Format,
    C: Send + 'static,
    FI: for<'a> typed::handlers::OnInit<'a, D, S, Out, F, C>,
    FM: for<'a> typed::handlers::OnMessage<'a, D, S, In, Out, F, C>,
    FC: for<'a> OnClose<'a, D, S, M>,
    M: 'static,
{
    Builder::new().connect_typed(dependencies, on_init, on_message, on_close)
}

/// Lets time pass on the paused clock: every timer on the way goes off in its order, and what it wakes has run when this
/// returns.
///
/// `tokio::time::advance` is different: it jumps, and then all timers go off at once, as they do after a machine was
/// suspended.
pub async fn advance(time: Duration) {
    tokio::time::sleep(time).await;
    settle().await;
}

/// [`connect`] with every option.
///
/// ```
/// use std::time::Duration;
/// use dreamsocket::{Config, testing};
/// # use dreamsocket::{Action, Connection, Message, Selector, continue_connection};
/// # async fn on_init(_: &Connection, _: &()) -> ((), Option<Selector>) { ((), None) }
/// # async fn on_message(_: &mut (), _: Message, _: &Connection, _: &()) -> Action { continue_connection() }
/// # async fn on_close(_: (), _: &()) {}
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let mut client = testing::Builder::new()
///     .with_config(Config::default().with_heartbeat(Some(Duration::from_secs(5))))
///     .with_subprotocol("chat.v1")
///     .connect((), on_init, on_message, on_close);
/// assert_eq!(client.connection().subprotocol(), Some("chat.v1"));
///
/// client.stall(); // It reads nothing, so it answers no ping either.
/// testing::advance(Duration::from_secs(15)).await;
/// client.ended().await;
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `connect`"]
pub struct Builder {
    config: Option<Arc<Config>>,
    hub: Option<Hub>,
    subprotocol: Option<Box<str>>,
    peer_addr: Option<SocketAddr>,
    buffer: usize,
    early: Vec<u8>,
    is_http2: bool,
}

impl Builder {
    /// Default bounds, no hub.
    pub const fn new() -> Self {
        Self {
            config: None,
            hub: None,
            subprotocol: None,
            peer_addr: None,
            buffer: BUFFER,
            early: Vec::new(),
            is_http2: false,
        }
    }

    /// Uses these bounds instead of the hub's or the default ones.
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = Some(config.into());
        self
    }

    /// Makes the connection one of this hub, so that its cap and its drain hold.
    pub fn with_hub(mut self, hub: &Hub) -> Self {
        self.hub = Some(hub.clone());
        self
    }

    /// The subprotocol that the handshake would have agreed on.
    pub fn with_subprotocol(mut self, name: impl Into<Box<str>>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// The address that [`Connection::peer_addr`] gives.
    pub const fn with_peer_addr(mut self, addr: SocketAddr) -> Self {
        self.peer_addr = Some(addr);
        self
    }

    /// How many bytes the transport holds in each direction before the writer has to wait, at least 1; 64 KiB unless
    /// told. Small ones make backpressure felt early.
    pub fn with_buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes.max(1);
        self
    }

    /// Frames that come in the same packet as the upgrade request.
    pub fn with_early(mut self, frames: impl IntoIterator<Item = Frame>) -> Self {
        for frame in frames {
            self.early.extend_from_slice(&frame.to_bytes());
        }
        self
    }

    /// Puts a stream of an HTTP/2 connection in between, opened by extended CONNECT (RFC 8441), instead of a bare
    /// transport. Its windows have the size of the [buffer](Self::with_buffer), and are felt beside it.
    #[cfg(feature = "http2")]
    pub const fn with_http2(mut self) -> Self {
        self.is_http2 = true;
        self
    }

    /// As [`connect`](Self::connect), with [typed messages](crate::typed).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[cfg(feature = "json")]
    pub fn connect_typed<D, S, In, Out, F, C, FI, FM, FC, M>(
        self,
        dependencies: D,
        on_init: FI,
        on_message: FM,
        on_close: FC,
    ) -> Client
    where
        D: Send + Sync + 'static,
        S: Send + 'static,
        In: serde::de::DeserializeOwned + 'static,
        Out: 'static,
        F: Format,
        C: Send + 'static,
        FI: for<'a> typed::handlers::OnInit<'a, D, S, Out, F, C>,
        FM: for<'a> typed::handlers::OnMessage<'a, D, S, In, Out, F, C>,
        FC: for<'a> OnClose<'a, D, S, M>,
        M: 'static,
    {
        let (on_init, on_message, on_close) =
            typed::handlers::adapt::<_, _, _, In, Out, F>(on_init, on_message, on_close);
        self.connect(dependencies, on_init, on_message, on_close)
    }

    /// Starts the session and returns the client at its other end.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or if the hub lets nobody in: it is full or draining.
    pub fn connect<D, S, C, FI, FM, FC, M>(
        self,
        dependencies: D,
        on_init: FI,
        on_message: FM,
        on_close: FC,
    ) -> Client
    where
        D: Send + Sync + 'static,
        S: Send + 'static,
        C: Send + 'static,
        FI: for<'a> OnInit<'a, D, S, C>,
        FM: for<'a> OnMessage<'a, D, S, C>,
        FC: for<'a> OnClose<'a, D, S, M>,
        M: 'static,
    {
        let handlers = Handlers::new(on_init, on_message, on_close);
        let config = match (self.config, &self.hub) {
            (Some(config), _) => config,
            (None, Some(hub)) => Arc::clone(hub.shared_config()),
            (None, None) => Arc::default(),
        };
        let mut admission = match self.hub.map(Hub::admit) {
            Some(Ok(admission)) => admission,
            Some(Err(refused)) => panic!("the hub refused the connection: {refused}"),
            None => Admission::free(),
        };
        let connection = Connection::new(Facts {
            peer_addr: self.peer_addr.into(),
            subprotocol: self.subprotocol.map(Box::new),
            details: admission.details(None, Some(std::any::type_name::<S>())),
            ..Facts::of(Arc::clone(&config))
        });
        let span = span::open(Role::Server, None, connection.subprotocol());
        span::identify(&span, &connection);
        admission.attach(&connection);
        let (near, far) = tokio::io::duplex(self.buffer);
        let counts = Arc::<transport::Counts>::default();
        let traffic = Arc::clone(&counts);
        let facts = (connection.clone(), config);
        let session: Pin<Box<dyn Future<Output = (Outcome, Closed, tokio::time::Instant)> + Send>> =
            match self.is_http2 {
                #[cfg(feature = "http2")]
                true => Box::pin(async move {
                    let io = match http2::open(near, self.buffer, self.early).await {
                        Ok(io) => Transport::new(io, traffic),
                        Err(error) => panic!("HTTP/2 in memory failed: {error}"),
                    };
                    let session = Session::open(io, &[], Role::Server, facts.0);
                    session::run(session, dependencies, handlers).await
                }),
                _ => {
                    let io = Transport::new(near, traffic);
                    let session = Session::open(io, &self.early, Role::Server, facts.0);
                    Box::pin(session::run(session, dependencies, handlers))
                }
            };
        let session = async move {
            let (outcome, closed, _) = session.await;
            admission.ended(outcome, &closed);
        };
        let session = tokio::spawn(settling::counted(session.instrument(span)));
        let peer = Peer::new(far, None, Transcript::new(), BytesMut::new());
        Client::new(
            peer,
            client::Session::Task(session),
            Some(connection),
            counts,
        )
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

//! Typed WebSocket connections for axum, hyper and tower.
//!
//! An HTTP request is upgraded inside an ordinary handler ([`upgrade_websocket`]). From then on a typed message loop runs
//! three plain functions: `on_init` gives the connection its state and, if it wants, a [`Selector`] of typed messages from
//! the application; `on_message` gets each [`Message`] and returns an [`Action`]; `on_close` runs after the end. Nothing
//! is captured: what handlers need is a value that is handed to each of them.
//!
//! The library owns everything between the handlers and the wire: framing, backpressure, heartbeat, closing, panics, origin
//! checks, shutdown. Everything that a peer can make grow has a bound ([`Config`]), and `on_close` runs exactly once, after
//! whatever end.
//!
//! ```no_run
//! use axum::extract::{Request, State};
//! use axum::response::Response;
//! use dreamsocket::{
//!     Action, BoxError, Broadcaster, Connection, Message, Selector, Server, Topic, continue_connection,
//!     upgrade_websocket,
//! };
//!
//! async fn chat(State(room): State<Topic<String>>, request: Request) -> Response {
//!     upgrade_websocket(request, room, on_init, on_message, on_close)
//! }
//!
//! /// The state is the number of messages; what is said in the room comes as messages, too.
//! async fn on_init(_: &Connection, room: &Topic<String>) -> (u32, Option<Selector<String>>) {
//!     (0, Some(Selector::from(room.subscribe())))
//! }
//!
//! async fn on_message(
//!     sent: &mut u32,
//!     message: Message<String>,
//!     connection: &Connection,
//!     room: &Topic<String>,
//! ) -> Result<Action<String>, BoxError> {
//!     match message {
//!         Message::Text(text) => {
//!             *sent += 1;
//!             room.publish(text.into())?;
//!         }
//!         Message::Custom(said) => connection.send_text(said).await?,
//!         Message::Missed(missed) => connection.send_text(format!("missed {:?}", missed.count)).await?,
//!         Message::Binary(_) | Message::ConnectionClosed(_) => {}
//!     }
//!     Ok(continue_connection())
//! }
//!
//! async fn on_close(sent: u32, _: &Topic<String>) {
//!     println!("{sent} messages");
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let room = Broadcaster::new().topic("lobby");
//!     let router = axum::Router::new().route("/chat", axum::routing::any(chat)).with_state(room);
//!     let report = Server::new(router).bind("127.0.0.1:3000").await?.run().await?;
//!     println!("{report}");
//!     Ok(())
//! }
//! ```
//!
//! # Where to look
//!
//! - Upgrading: [`upgrade_websocket`], with options [`Upgrade`]. Serving: [`Server`], or [`Hub`] around another server.
//! - Sending: [`Connection`]; to many at once [`Prepared`], [`CodedTopic`] and [`Connection::forward`].
//! - The application's messages: [`Selector`]; from other connections and machines [`Broadcaster`] and [`Topic`]; who is there:
//!   [`Presence`].
//! - Ending: [`stop_connection`], [`Close`], [`Closed`]. Bounds: [`Config`]. Who may connect: [`OriginPolicy`].
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `http2` | on | WebSockets over HTTP/2 (RFC 8441) |
//! | `json` | on | `typed`: messages of your own types; `Connection::send_json` |
//! | `messagepack`, `postcard` | | MessagePack for typed messages; smaller encodings between machines |
//! | `client` | | `client`: the same handlers on the other end, and a small socket for tools |
//! | `tls` | | TLS in [`Server`], `wss://` for the client, and TLS to brokers; by rustls with ring |
//! | `nats`, `redis` | | topics and presence on many machines |
//! | `metrics` | | `metrics`: counters, gauges and histograms by the facade of the crate `metrics` |
//! | `inspector` | | `inspector`: a page to mount that shows connections, topics and closes, live |
//! | `testing` | | `testing`: handlers and routers in memory, on a paused clock |
//!
//! `simulation` is for the project's own tests; anything in it may change.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod action;
mod bucket;
#[cfg(feature = "client")]
pub mod client;
mod coded;
mod compression;
mod config;
mod connection;
mod error;
mod forward;
mod handler;
mod hosts;
mod hub;
#[cfg(feature = "inspector")]
pub mod inspector;
mod message;
mod meter;
#[cfg(feature = "metrics")]
pub mod metrics;
mod origin;
mod outbox;
mod prepared;
mod random;
mod rate;
mod selector;
mod server;
mod session;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
mod tls;
mod transport;
#[cfg(feature = "json")]
pub mod typed;
mod undecodable;
mod upgrade;

pub use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelCounts, ChannelOptions, Counts, Delivery, End, Health, History,
    InvalidPosition, Member, Missed, Person, Position, Positioned, PositionedChannel, Presence,
    PresenceChannel, PresenceEvent, PublishError, Published, Shared, SubscriberId, Topic,
    TryRecvError, WatchOptions,
};
#[cfg(any(feature = "nats", feature = "redis"))]
pub use dreamsocket_broadcaster::{BrokerError, Encoding, PresenceOptions, RemoteOptions};
pub use dreamsocket_protocol::{CloseCode, InvalidClose, Text};
/// The version of rustls that [`Tls`] takes configurations of.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;

pub use crate::action::{
    Action, IntoAction, IntoInit, continue_connection, continue_connection_adding,
    continue_connection_removing, continue_connection_with_selector, stop_connection,
    stop_connection_with,
};
#[cfg(feature = "client")]
pub use crate::client::{Connect, connect_websocket};
pub use crate::coded::{CodedChannel, CodedTopic, Encode, Frames};
pub use crate::compression::Compression;
pub use crate::config::Config;
pub use crate::connection::{Connection, ConnectionId, InvalidConnectionId};
pub use crate::error::{BoxError, Close, SendError};
pub use crate::forward::{Forward, OnMissed};
#[doc(hidden)]
pub use crate::handler::{HandlerFuture, OnClose, OnInit, OnMessage, Plain, WithClosed};
pub use crate::hub::{ConnectionInfo, DrainReport, Fault, Hub, HubCounts, HubLayer, HubService};
pub use crate::message::{Cause, Closed, Message};
pub use crate::origin::{OriginPolicy, PeerAddr};
pub use crate::outbox::Sending;
pub use crate::prepared::Prepared;
pub use crate::rate::{Excess, Rate};
pub use crate::selector::Selector;
pub use crate::server::{Bound, HttpService, IntoListener, Listener, Server};
#[cfg(feature = "tls")]
pub use crate::tls::{Tls, TlsError};
pub use crate::undecodable::OnUndecodable;
pub use crate::upgrade::{Upgrade, upgrade_websocket};

/// The pages whose code is compiled, and run where it ends by itself. The package does not hold them (`.cargo/config.toml`).
#[cfg(all(doctest, dreamsocket_pages))]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/quickstart.md")]
    struct Quickstart;
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../../docs/loop.md")]
    struct Loop;
    #[cfg(all(feature = "json", feature = "testing"))]
    #[doc = include_str!("../../../docs/dependencies.md")]
    struct Dependencies;
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../../docs/selectors.md")]
    struct Selectors;
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../../docs/sending.md")]
    struct Sending;
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../../docs/closing.md")]
    struct Closing;
    #[doc = include_str!("../../../docs/serving.md")]
    struct Serving;
    #[doc = include_str!("../../../docs/broadcasting.md")]
    struct Broadcasting;
    #[cfg(feature = "nats")]
    #[doc = include_str!("../../../docs/machines.md")]
    struct Machines;
    #[doc = include_str!("../../../docs/authentication.md")]
    struct Authentication;
    #[cfg(feature = "json")]
    #[doc = include_str!("../../../docs/typed.md")]
    struct Typed;
    #[doc = include_str!("../../../docs/compression.md")]
    struct Compressing;
    #[doc = include_str!("../../../docs/http2.md")]
    struct Http2;
    #[cfg(feature = "tls")]
    #[doc = include_str!("../../../docs/tls.md")]
    struct Tls;
    #[doc = include_str!("../../../docs/security.md")]
    struct Security;
    #[doc = include_str!("../../../docs/deploying.md")]
    struct Deploying;
    #[cfg(feature = "json")]
    #[doc = include_str!("../../../docs/dream.md")]
    struct Dream;
    #[doc = include_str!("../../../docs/internet.md")]
    struct Internet;
    #[cfg(feature = "inspector")]
    #[doc = include_str!("../../../docs/inspector.md")]
    struct Inspecting;
    #[doc = include_str!("../../../docs/sizing.md")]
    struct Sizing;
    #[cfg(feature = "metrics")]
    #[doc = include_str!("../../../docs/observability.md")]
    struct Observability;
    #[doc = include_str!("../../../docs/subprotocols.md")]
    struct Subprotocols;
    #[doc = include_str!("../../../docs/mistakes.md")]
    struct Mistakes;
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../../docs/testing.md")]
    struct Testing;
    #[cfg(feature = "client")]
    #[doc = include_str!("../../../docs/client.md")]
    struct Client;
}

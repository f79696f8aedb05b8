//! Typed messages: `on_message` gets what the peer sent as a type of yours, and the connection sends another.
//!
//! The same loop as [`upgrade_websocket`](crate::upgrade_websocket) runs, with the same contract. Beside it there are a
//! [`Message`] and a [`Connection`] of their own: the first has what came decoded, the second encodes what is sent. The
//! types are told by the handlers' signatures and need serde's `Deserialize` and `Serialize`.
//!
//! ```
//! use axum::extract::Request;
//! use axum::response::Response;
//! use dreamsocket::typed::{self, Connection, Message};
//! use dreamsocket::{Action, Selector, SendError, continue_connection};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! #[serde(tag = "type", rename_all = "snake_case")]
//! enum Ask { Add { a: i64, b: i64 }, Total }
//!
//! #[derive(Serialize)]
//! #[serde(tag = "type", rename_all = "snake_case")]
//! enum Tell { Sum { sum: i64 }, Wrong { reason: String } }
//!
//! async fn calculate(request: Request) -> Response {
//!     typed::upgrade_websocket(request, (), on_init, on_message, on_close)
//! }
//!
//! async fn on_init(_: &Connection<Tell>, _: &()) -> (i64, Option<Selector>) {
//!     (0, None)
//! }
//!
//! async fn on_message(total: &mut i64, message: Message<Ask>, connection: &Connection<Tell>, _: &())
//!     -> Result<Action, SendError>
//! {
//!     match message {
//!         Message::Received(Ask::Add { a, b }) => {
//!             *total += a + b;
//!             connection.send(&Tell::Sum { sum: a + b }).await?;
//!         }
//!         Message::Received(Ask::Total) => connection.send(&Tell::Sum { sum: *total }).await?,
//!         Message::Undecodable(undecodable) => {
//!             connection.send(&Tell::Wrong { reason: undecodable.to_string() }).await?;
//!         }
//!         Message::Custom(never) => match never {},
//!         Message::Missed(_) | Message::ConnectionClosed(_) => {}
//!     }
//!     Ok(continue_connection())
//! }
//!
//! async fn on_close(_total: i64, _: &()) {}
//! # let _ = axum::Router::<()>::new().route("/", axum::routing::any(calculate));
//! ```
//!
//! # What does not decode
//!
//! The handler is told ([`Message::Undecodable`]), unless [`Config::with_undecodable`](crate::Config::with_undecodable) says
//! otherwise: [`OnUndecodable::Close`] ends the connection with 1007, [`OnUndecodable::Ignore`] drops the message. The log
//! has a line at `debug` with the reason each time, and never a piece of the message.
//!
//! # Formats
//!
//! [`Json`] unless the connection's second parameter says otherwise: `Connection<Tell, MessagePack>` (feature
//! `messagepack`). It holds for both directions.
//!
//! # Elsewhere
//!
//! With options: [`Upgrade::run_typed`](crate::Upgrade::run_typed). As a client: `Connect::run_typed`. In tests:
//! `testing::connect_typed`.

mod connection;
mod format;
pub(crate) mod handlers;
mod message;

use http::{Request, Response};

pub use self::connection::Connection;
#[cfg(feature = "messagepack")]
pub use self::format::MessagePack;
pub use self::format::{Format, Json, Payload};
use self::handlers::{OnInit, OnMessage};
pub use self::message::{Message, Undecodable};
use crate::handler::OnClose;
pub use crate::undecodable::OnUndecodable;
use crate::upgrade::Upgrade;

/// Upgrades an HTTP request to a WebSocket and runs the loop on it with typed messages: see the [module](self), and
/// [`upgrade_websocket`](crate::upgrade_websocket) for everything else.
///
/// # Panics
///
/// Outside a tokio runtime.
#[must_use = "the handler has to return the response: without it there is no WebSocket"]
pub fn upgrade_websocket<B, R, D, S, In, Out, F, C, FI, FM, FC, M>(
    request: Request<R>,
    dependencies: D,
    on_init: FI,
    on_message: FM,
    on_close: FC,
) -> Response<B>
where
    B: From<String>,
    D: Send + Sync + 'static,
    S: Send + 'static,
    In: serde::de::DeserializeOwned + 'static,
    Out: 'static,
    F: Format,
    C: Send + 'static,
    FI: for<'a> OnInit<'a, D, S, Out, F, C>,
    FM: for<'a> OnMessage<'a, D, S, In, Out, F, C>,
    FC: for<'a> OnClose<'a, D, S, M>,
    M: 'static,
{
    Upgrade::new(request)
        .answer_typed(dependencies, on_init, on_message, on_close)
        .map(B::from)
}

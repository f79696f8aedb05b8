//! From an HTTP request to a session: [`upgrade_websocket`] and its builder [`Upgrade`].
//!
//! Answers the request and, if it is a handshake that may pass, starts the session on the present tokio runtime: in the task
//! of its connection if a [`Server`](crate::Server) has one, else in one of its own. What a handshake must look like is the
//! protocol crate's, whose origin may pass is `origin.rs`, how many is the hub's.

mod handshake;

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dreamsocket_protocol::Role;
use dreamsocket_protocol::handshake::DeflateParams;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use self::handshake::{Handshake, Refusal};
use crate::config::Config;
use crate::connection::{Connection, Facts, span};
use crate::handler::{Handlers, OnClose, OnInit, OnMessage};
use crate::hub::{Admission, Hub, Unwelcome};
use crate::message::Closed;
use crate::meter::Reason;
use crate::origin::PeerAddr;
use crate::server::{Handover, Life, SocketPermit};
use crate::session::{self, Outcome, Session};
use crate::transport::{Transport, downcast};
#[cfg(feature = "json")]
use crate::typed::{self, Format};

/// Upgrades an HTTP request to a WebSocket and runs the typed message loop on it.
///
/// Call it inside an ordinary handler and return what it returns: a 101 (200 on HTTP/2) at once if the request is a valid
/// handshake, else a plain refusal (405, 426, 400, 403, 429, 503; on HTTP/2 also 501;
/// 500 where the server gives no way to upgrade). The session runs on the current tokio runtime, in a tracing span of its own
/// within the request's:
///
/// 1. `on_init` runs once and gives the connection its state and, if it wants, a [`Selector`](crate::Selector);
/// 2. `on_message` gets every message, one at a time, and returns an [`Action`](crate::Action);
/// 3. `on_close` runs once, after the connection has ended, whatever ended it.
///
/// The three are plain `async fn`s, passed by name. One that captures does not build: what handlers need is in
/// `dependencies`, which is handed to each of them.
///
/// The body `B` is the response's: axum's `Body`, `String`, `Full<Bytes>`. Where it can't be inferred, such as for
/// `impl IntoResponse`, use [`Upgrade`], whose response is a `Response<Full<Bytes>>`.
///
/// # Panics
///
/// Outside a tokio runtime.
///
/// ```
/// use axum::extract::{Query, Request};
/// use axum::response::Response;
/// use dreamsocket::{Action, Connection, Message, Selector, SendError, continue_connection, upgrade_websocket};
///
/// struct Dependencies { greeting: String }
///
/// async fn greet(request: Request) -> Response {
///     upgrade_websocket(request, Dependencies { greeting: "Hello".into() }, on_init, on_message, on_close)
/// }
///
/// async fn on_init(_: &Connection, _: &Dependencies) -> (u32, Option<Selector>) {
///     (0, None)
/// }
///
/// async fn on_message(count: &mut u32, message: Message, connection: &Connection, dependencies: &Dependencies)
///     -> Result<Action, SendError>
/// {
///     if let Message::Text(name) = message {
///         *count += 1;
///         connection.send_text(format!("{}, {name}! You are number {count}.", dependencies.greeting)).await?;
///     }
///     Ok(continue_connection())
/// }
///
/// async fn on_close(_count: u32, _: &Dependencies) {}
///
/// let app: axum::Router = axum::Router::new().route("/greet", axum::routing::any(greet));
/// # let _ = app;
/// ```
#[must_use = "the handler has to return the response: without it there is no WebSocket"]
pub fn upgrade_websocket<B, R, D, S, C, FI, FM, FC, M>(
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
    C: Send + 'static,
    FI: for<'a> OnInit<'a, D, S, C>,
    FM: for<'a> OnMessage<'a, D, S, C>,
    FC: for<'a> OnClose<'a, D, S, M>,
    M: 'static,
{
    Upgrade::new(request)
        .answer(dependencies, on_init, on_message, on_close)
        .map(B::from)
}

/// [`upgrade_websocket`] with every option.
///
/// ```
/// use axum::extract::Request;
/// use axum::response::IntoResponse;
/// use dreamsocket::{Config, Upgrade};
/// # use dreamsocket::{Action, Connection, Message, Selector, continue_connection};
/// # async fn on_init(_: &Connection, _: &()) -> ((), Option<Selector>) { ((), None) }
/// # async fn on_message(_: &mut (), _: Message, _: &Connection, _: &()) -> Action { continue_connection() }
/// # async fn on_close(_: (), _: &()) {}
///
/// async fn chat(request: Request) -> impl IntoResponse {
///     Upgrade::new(request)
///         .with_config(Config::default().with_max_message(4 * 1024))
///         .with_subprotocols(["chat.v2", "chat.v1"])
///         .run((), on_init, on_message, on_close)
/// }
/// # let _ = axum::Router::<()>::new().route("/", axum::routing::any(chat));
/// ```
#[must_use = "an upgrade does nothing until `run`"]
pub struct Upgrade<R> {
    request: Request<R>,
    config: Option<Arc<Config>>,
    subprotocols: Vec<String>,
    requires_subprotocol: bool,
}

impl<R> Upgrade<R> {
    /// An upgrade of this request.
    pub const fn new(request: Request<R>) -> Self {
        Self {
            request,
            config: None,
            subprotocols: Vec::new(),
            requires_subprotocol: false,
        }
    }

    /// Uses these bounds instead of the hub's. What concerns the hub as a whole (its cap, the drain) stays the hub's.
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = Some(config.into());
        self
    }

    /// The subprotocols that the application speaks, the preferred one first (U4). The first that the client offers is
    /// chosen; if it offers none of them, there is none.
    pub fn with_subprotocols<P: Into<String>>(
        mut self,
        subprotocols: impl IntoIterator<Item = P>,
    ) -> Self {
        self.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// Refuses, with 400, a client that offers none of the [subprotocols](Self::with_subprotocols).
    pub const fn require_subprotocol(mut self) -> Self {
        self.requires_subprotocol = true;
        self
    }

    /// Answers the request and starts the session, as [`upgrade_websocket`] does.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use = "the handler has to return the response: without it there is no WebSocket"]
    pub fn run<D, S, C, FI, FM, FC, M>(
        self,
        dependencies: D,
        on_init: FI,
        on_message: FM,
        on_close: FC,
    ) -> Response<Full<Bytes>>
    where
        D: Send + Sync + 'static,
        S: Send + 'static,
        C: Send + 'static,
        FI: for<'a> OnInit<'a, D, S, C>,
        FM: for<'a> OnMessage<'a, D, S, C>,
        FC: for<'a> OnClose<'a, D, S, M>,
        M: 'static,
    {
        self.answer(dependencies, on_init, on_message, on_close)
            .map(Full::from)
    }

    /// Answers the request and starts the session with [typed messages](crate::typed).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[cfg(feature = "json")]
    #[must_use = "the handler has to return the response: without it there is no WebSocket"]
    pub fn run_typed<D, S, In, Out, F, C, FI, FM, FC, M>(
        self,
        dependencies: D,
        on_init: FI,
        on_message: FM,
        on_close: FC,
    ) -> Response<Full<Bytes>>
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
        self.answer_typed(dependencies, on_init, on_message, on_close)
            .map(Full::from)
    }

    #[cfg(feature = "json")]
    pub(crate) fn answer_typed<D, S, In, Out, F, C, FI, FM, FC, M>(
        self,
        dependencies: D,
        on_init: FI,
        on_message: FM,
        on_close: FC,
    ) -> Response<String>
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
        self.answer(dependencies, on_init, on_message, on_close)
    }

    fn answer<D, S, C, FI, FM, FC, M>(
        mut self,
        dependencies: D,
        on_init: FI,
        on_message: FM,
        on_close: FC,
    ) -> Response<String>
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
        let accepted = match self.accept() {
            Ok(accepted) => accepted,
            Err(refusal) => {
                let hub = self.request.extensions().get::<Hub>();
                if let Some(hub) = hub {
                    hub.note_refused(refusal.status());
                }
                if hub.is_none_or(Hub::is_measured) {
                    refusal.measure();
                }
                return refusal.into_response();
            }
        };
        let Accepted {
            on_upgrade,
            admission,
            mut socket_permit,
            config,
            peer_addr,
            handshake,
            subprotocol,
            deflate,
            #[cfg(feature = "testing")]
            witness,
        } = accepted;
        let version = self.request.version();
        let (deflate, extensions) = deflate.unzip();
        let response = handshake.accept(subprotocol.as_deref(), extensions);
        // Not in the session, which is left there: they would hold each other.
        let handover = socket_permit.as_mut().and_then(SocketPermit::take_handover);
        let own_addr = handover.as_ref().and_then(Handover::peer_addr);
        let (peer_addr, is_own_addr) = (own_addr.or(peer_addr), own_addr.is_some());
        let path = self.request.uri().path();
        let details = admission.details(Some(path), Some(std::any::type_name::<S>()));
        let span = span::open(Role::Server, Some(path), subprotocol.as_deref());
        let opening = {
            let span = span.clone();
            async move {
                let upgraded = match on_upgrade.await {
                    Ok(upgraded) => upgraded,
                    Err(error) => {
                        tracing::debug!(%error, "the client went away before the upgrade");
                        return None;
                    }
                };
                let mut place = Place {
                    admission,
                    socket_permit,
                };
                let prepare = |peer_addr: Option<SocketAddr>| {
                    let facts = Facts {
                        peer_addr: peer_addr.into(),
                        subprotocol: subprotocol.map(Box::new),
                        deflate,
                        details,
                        is_measured: place.admission.is_measured(),
                        ..Facts::of(config)
                    };
                    let connection = Connection::new(facts);
                    span::identify(&span, &connection);
                    place.admission.attach(&connection);
                    #[cfg(feature = "testing")]
                    if let Some(witness) = &witness {
                        witness.see(&connection);
                    }
                    connection
                };
                let session = match downcast(upgraded, version) {
                    Transport::Tcp(io, early) => {
                        let connection = prepare(match peer_addr {
                            Some(own) if is_own_addr => Some(own),
                            other => io.peer_addr().ok().or(other),
                        });
                        let session = Session::open(io, &early, Role::Server, connection);
                        place.of(session::run(session, dependencies, handlers), span)
                    }
                    #[cfg(feature = "simulation")]
                    Transport::Simulated(io, early) => {
                        let connection = prepare(peer_addr);
                        let session = Session::open(io, &early, Role::Server, connection);
                        place.of(session::run(session, dependencies, handlers), span)
                    }
                    Transport::Other(io) => {
                        let connection = prepare(peer_addr);
                        let session = Session::open(io, &[], Role::Server, connection);
                        place.of(session::run(session, dependencies, handlers), span)
                    }
                };
                #[cfg(feature = "testing")]
                let session = match witness {
                    Some(witness) => witness.until_end_of(session),
                    None => session,
                };
                Some(session)
            }
        };
        let opening = Life::new(opening.instrument(span));
        let opening = match handover {
            Some(handover) => handover.give(opening),
            None => Err(opening),
        };
        if let Err(opening) = opening {
            tokio::spawn(opening);
        }
        response
    }

    /// U2, U3: everything that must be right before a handler runs.
    fn accept(&mut self) -> Result<Accepted, Box<Refusal>> {
        let handshake = Handshake::of(&self.request)?;
        let hub = self.request.extensions().get::<Hub>().cloned();
        let config = match (&self.config, &hub) {
            (Some(config), _) => Arc::clone(config),
            (None, Some(hub)) => Arc::clone(hub.shared_config()),
            (None, None) => Arc::new(Config::default()),
        };
        let client = config.origins.client_ip(&self.request);
        if let (Some(hub), Some(client)) = (&hub, client) {
            hub.take_handshake(client).map_err(Refusal::unavailable)?;
        }
        config
            .origins
            .check(&self.request)
            .map_err(|error| Refusal::new(StatusCode::FORBIDDEN, Reason::Origin, error))?;
        let subprotocol = self
            .subprotocols
            .iter()
            .find(|ours| handshake.subprotocols.contains(ours));
        if subprotocol.is_none() && self.requires_subprotocol {
            let ours = self.subprotocols.join(", ");
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                Reason::Subprotocol,
                format_args!(
                    "the request must offer a subprotocol in `Sec-WebSocket-Protocol`, one of: {ours}"
                ),
            ));
        }
        if self.request.extensions().get::<OnUpgrade>().is_none() {
            tracing::error!(
                "a valid upgrade request came without hyper's `OnUpgrade`: is it served by hyper, with upgrades?"
            );
            return Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Reason::Transport,
                "this server cannot upgrade its connections",
            ));
        }
        let admission = match hub {
            Some(hub) => {
                let admitted = match client {
                    Some(client) => hub.admit_from(client),
                    None => hub.admit().map_err(Unwelcome::Hub),
                };
                admitted.map_err(Refusal::unavailable)?
            }
            None => {
                warn_without_hub();
                Admission::free()
            }
        };
        Ok(Accepted {
            on_upgrade: hyper::upgrade::on(&mut self.request),
            admission,
            #[cfg(feature = "testing")]
            witness: self.request.extensions_mut().remove(),
            socket_permit: self
                .request
                .extensions_mut()
                .remove()
                .map(|permit: SocketPermit| permit.for_session(config.close_time)),
            peer_addr: self
                .request
                .extensions()
                .get::<PeerAddr>()
                .map(|PeerAddr(addr)| *addr),
            subprotocol: subprotocol.map(|name| name.as_str().into()),
            deflate: config
                .compression
                .wish()
                .and_then(|wish| handshake.deflate.accept(wish)),
            config,
            handshake,
        })
    }
}

impl<R> fmt::Debug for Upgrade<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("uri", self.request.uri())
            .field("config", &self.config)
            .field("subprotocols", &self.subprotocols)
            .finish_non_exhaustive()
    }
}

struct Accepted {
    on_upgrade: OnUpgrade,
    admission: Admission,
    /// Under a `Server`: the socket's place under its cap, held until the session ends.
    socket_permit: Option<SocketPermit>,
    config: Arc<Config>,
    peer_addr: Option<SocketAddr>,
    handshake: Handshake,
    subprotocol: Option<Box<str>>,
    /// What was agreed on of permessage-deflate, and how the response says so.
    deflate: Option<(DeflateParams, HeaderValue)>,
    /// In a test: who waits for the session and its end.
    #[cfg(feature = "testing")]
    witness: Option<crate::testing::Witness>,
}

/// What a session gives back when it has ended.
struct Place {
    admission: Admission,
    socket_permit: Option<SocketPermit>,
}

impl Place {
    /// The life of a session that has this place.
    fn of(self, run: impl Future<Output = Ended> + Send + 'static, span: Span) -> Life {
        let place = Some(self);
        let running = Running { run, place };
        // A span takes 40 bytes for as long as the connection lasts, also one that is not there.
        if span.is_none() {
            Life::new(running)
        } else {
            Life::new(running.instrument(span))
        }
    }
}

type Ended = (Outcome, Closed, Instant);

pin_project_lite::pin_project! {
    /// A session from its opening to its end. Not an `async` block, which would have room for `run` twice.
    struct Running<F> {
        #[pin]
        run: F,
        place: Option<Place>,
    }
}

impl<F: Future<Output = Ended>> Future for Running<F> {
    type Output = Option<Life>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Life>> {
        let this = self.project();
        let (outcome, closed, _) = ready!(this.run.poll(context));
        if let Some(place) = this.place.take() {
            place.admission.ended(outcome, &closed);
            if let Some(permit) = place.socket_permit {
                permit.leave();
            }
        }
        Poll::Ready(None)
    }
}

/// Once a process: this and the buffer pools are all that it shares.
fn warn_without_hub() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            "a WebSocket was upgraded without a `Hub`: no cap on connections, no drain at shutdown; serve with `Server`, or \
             add `hub.layer()` to the router"
        );
    });
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::{Action, Message, Selector, SendError, continue_connection};

    /// Bytes of a session's part of its task: what `Place::of` boxes, on a bare socket, with handlers that echo. Most of
    /// what an idle connection costs. A little above what it was when this was set.
    const SESSION: usize = 784 + METERED;

    /// What the feature `metrics` adds: what was told of the connection already.
    const METERED: usize = if cfg!(feature = "metrics") { 56 } else { 0 };

    async fn on_init<const STATE: usize>(
        _: &Connection,
        (): &(),
    ) -> ([u8; STATE], Option<Selector>) {
        ([0; STATE], None)
    }

    async fn on_message<const STATE: usize>(
        _: &mut [u8; STATE],
        message: Message,
        connection: &Connection,
        (): &(),
    ) -> Result<Action, SendError> {
        match message {
            Message::Text(text) => connection.send_text(text).await?,
            Message::Binary(bytes) => connection.send_binary(bytes).await?,
            _ => {}
        }
        Ok(continue_connection())
    }

    async fn on_close<const STATE: usize>(_: [u8; STATE], (): &()) {}

    fn size_of_returned<A, R>(_: impl FnOnce(A) -> R) -> usize {
        size_of::<R>()
    }

    fn size_of_session<const STATE: usize>() -> usize {
        size_of_returned(|session: Session<TcpStream>| {
            let handlers = Handlers::new(on_init::<STATE>, on_message::<STATE>, on_close::<STATE>);
            let run = session::run(session, (), handlers);
            Running { run, place: None }.instrument(Span::none())
        })
    }

    #[test]
    fn a_session_stays_within_its_budget() {
        let size = size_of_session::<0>();
        println!("{size} of {SESSION} bytes");
        assert!(
            size <= SESSION,
            "a session takes {size} bytes, the budget is {SESSION}"
        );
    }

    #[test]
    fn a_state_is_held_once() {
        let added = size_of_session::<1000>() - size_of_session::<0>();
        assert!(
            added <= 1000,
            "a state of 1000 bytes adds {added} to the session"
        );
    }
}

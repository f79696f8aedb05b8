//! A [`Server`](crate::Server) in memory: what a test gives it runs as in production, on a listener that takes its connections
//! from the test instead of a port.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::{Request, Response as HttpResponse};
use hyper::body::Incoming;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_service::Service;

use super::client::Client;
use super::request::RequestBuilder;
use super::response::Response;
use super::settling::counted;
use super::transport::Transport;
use super::{PATIENCE, settle};
use crate::connection::Connection;
use crate::error::BoxError;
use crate::hub::{DrainReport, Hub};
use crate::origin::PeerAddr;
use crate::server::{HttpService, Life, Listener};

/// How many connections wait to be accepted; more of them wait for a place there.
const BACKLOG: usize = 16;

/// The first port that a client has.
const FIRST_PORT: u16 = 49_152;

/// Serves an axum `Router`, or any other [`HttpService`], in memory, with the default bounds.
///
/// ```
/// use axum::extract::{Query, Request};
/// use axum::response::Response;
/// use axum::routing::{any, get};
/// use dreamsocket::{Action, Connection, Message, Selector, SendError, continue_connection, testing, upgrade_websocket};
/// # use std::collections::HashMap;
///
/// async fn greet(Query(query): Query<HashMap<String, String>>, request: Request) -> Response {
///     upgrade_websocket(request, query["user"].clone(), on_init, on_message, on_close)
/// }
///
/// async fn on_init(connection: &Connection, user: &String) -> Result<((), Option<Selector>), SendError> {
///     connection.send_text(format!("hello {user}")).await?;
///     Ok(((), None))
/// }
/// # async fn on_message(_: &mut (), _: Message, _: &Connection, _: &String) -> Action { continue_connection() }
/// # async fn on_close(_: (), _: &String) {}
///
/// // In a test: `#[tokio::test(start_paused = true)]`.
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let router = axum::Router::new().route("/greet", any(greet)).route("/health", get(async || "fine"));
/// let mut server = testing::serve(router);
///
/// let mut ada = server.connect("/greet?user=ada").await;
/// ada.expect_text("hello ada").await;
///
/// let foreign = server.at("/greet?user=ada").with_header("origin", "https://evil.example").refused().await;
/// assert_eq!(foreign.status(), 403);
/// assert_eq!(server.get("/health").await.text(), "fine");
///
/// let report = server.drain().await;
/// ada.expect_closed(1001).await;
/// assert_eq!(report.clean, 1);
/// # });
/// ```
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn serve<S: HttpService>(service: S) -> Server {
    run(crate::Server::new(service))
}

/// Serves in memory with what a [`Server`](crate::Server) was given: its bounds, its hub, its hosts. It counts as one on a
/// public address, so that every host is answered unless
/// [`allowed_hosts`](crate::Server::allowed_hosts) names some. TLS is left out: clients speak plain HTTP.
///
/// ```
/// use dreamsocket::{Config, Server, testing};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// # let router = axum::Router::new();
/// let config = Config::default().with_max_connections(1);
/// let server = testing::run(Server::new(router).with_config(config));
/// assert_eq!(server.get("/nothing").await.status(), 404);
/// # });
/// ```
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn run<S: HttpService>(server: crate::Server<S>) -> Server {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let hub = server.hub().clone();
    let door = Arc::new(Door {
        sender,
        witnesses: Witnesses::default(),
        next_port: AtomicU16::new(FIRST_PORT),
    });
    let witnesses = door.witnesses.clone();
    let server = server.in_memory(|service| Witnessed { service, witnesses });
    let running = async move {
        match server.listen_on(InMemory { receiver }) {
            Ok(bound) => bound.run_until_drained().await,
            Err(error) => Err(error),
        }
    };
    Server {
        hub,
        door,
        running: Some(tokio::spawn(counted(running))),
        report: DrainReport::default(),
    }
}

/// A server in a test's hand, made by [`serve`] or [`run`].
///
/// Dropping it ends the listener and what is under way of HTTP, and leaves the WebSockets as they are.
#[derive(Debug)]
pub struct Server {
    hub: Hub,
    door: Arc<Door>,
    running: Option<JoinHandle<io::Result<DrainReport>>>,
    report: DrainReport,
}

impl Server {
    /// The hub of its WebSockets.
    #[must_use]
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// A request for this path and query, with every option.
    ///
    /// # Panics
    ///
    /// If it does not begin with a slash, or cannot be requested.
    #[track_caller]
    pub fn at(&self, path: &str) -> RequestBuilder {
        RequestBuilder::new(Arc::clone(&self.door), path)
    }

    /// Opens a WebSocket there. As [`RequestBuilder::connect`], without options.
    ///
    /// # Panics
    ///
    /// If the server refuses, with what it says; or if no answer comes.
    #[track_caller]
    pub fn connect(&self, path: &str) -> impl Future<Output = Client> + use<> {
        self.at(path).connect()
    }

    /// Asks for a WebSocket there that the server has to refuse. As [`RequestBuilder::refused`], without options.
    ///
    /// # Panics
    ///
    /// If the server opens it, or if no answer comes.
    #[track_caller]
    pub fn refused(&self, path: &str) -> impl Future<Output = Response> + use<> {
        self.at(path).refused()
    }

    /// Makes an ordinary GET request.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Response> + use<> {
        self.at(path).get()
    }

    /// Starts the drain, as SIGTERM does in production, and waits until the server has ended. From then on it takes no
    /// connection. Called again, it gives the same report.
    ///
    /// To look at what happens meanwhile, start it with [`Hub::drain`], and wait for its end with this.
    ///
    /// # Panics
    ///
    /// If the server does not end within [`PATIENCE`], or panicked.
    #[track_caller]
    pub fn drain(&mut self) -> impl Future<Output = DrainReport> {
        let at = Location::caller();
        async move {
            self.hub.drain();
            if let Some(running) = self.running.as_mut() {
                self.report = match timeout(PATIENCE, running).await {
                    Ok(Ok(Ok(report))) => report,
                    Ok(Ok(Err(error))) => panic!("the server failed: {error}\n  at {at}"),
                    Ok(Err(error)) => panic!("the server's task failed: {error}\n  at {at}"),
                    Err(_) => panic!("the server has not ended within {PATIENCE:?}\n  at {at}"),
                };
                self.running = None;
            }
            settle().await;
            self.report
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

/// The way into a server.
#[derive(Debug)]
pub(super) struct Door {
    sender: mpsc::Sender<Arrival>,
    witnesses: Witnesses,
    next_port: AtomicU16,
}

type Arrival = (Transport<DuplexStream>, SocketAddr);

impl Door {
    /// Connects from this address, and tells what becomes of the request. `None` if the server takes no connections.
    pub(super) async fn enter(
        &self,
        io: Transport<DuplexStream>,
        ip: Option<IpAddr>,
    ) -> Option<watch::Receiver<Option<Connection>>> {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed).max(1);
        let addr = SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), port);
        let seen = watch::Sender::new(None);
        let sight = seen.subscribe();
        self.witnesses.lock().insert(addr, Witness(seen));
        if self.sender.send((io, addr)).await.is_err() {
            self.witnesses.lock().remove(&addr);
            return None;
        }
        Some(sight)
    }
}

/// Who wants to know what becomes of a request, by the address that it comes from.
#[derive(Debug, Clone, Default)]
struct Witnesses(Arc<Mutex<HashMap<SocketAddr, Witness>>>);

impl Witnesses {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Witness>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In a request's extensions: whom to tell about the session that comes of it.
#[derive(Debug, Clone)]
pub(crate) struct Witness(watch::Sender<Option<Connection>>);

impl Witness {
    /// This is the session's connection.
    pub(crate) fn see(&self, connection: &Connection) {
        self.0.send_replace(Some(connection.clone()));
    }

    /// The session, with the witness to its end.
    pub(crate) fn until_end_of(self, session: Life) -> Life {
        Life::new(async move {
            session.await;
            drop(self);
            None
        })
    }
}

/// The service, whose requests have a witness.
#[derive(Clone)]
struct Witnessed<S> {
    service: S,
    witnesses: Witnesses,
}

impl<S: HttpService> Service<Request<Incoming>> for Witnessed<S> {
    type Response = HttpResponse<S::Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The service itself is asked when it answers.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let addr = request.extensions().get().map(|PeerAddr(addr)| *addr);
        let witness = addr.and_then(|addr| self.witnesses.lock().remove(&addr));
        if let Some(witness) = witness {
            request.extensions_mut().insert(witness);
        }
        Box::pin(self.service.clone().answer(request))
    }
}

impl<S> fmt::Debug for Witnessed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witnessed").finish_non_exhaustive()
    }
}

/// Takes connections from the test.
struct InMemory {
    receiver: mpsc::Receiver<Arrival>,
}

impl Listener for InMemory {
    type Io = Transport<DuplexStream>;
    type Addr = &'static str;

    async fn accept(&mut self) -> io::Result<(Self::Io, Option<SocketAddr>)> {
        match self.receiver.recv().await {
            Some((io, addr)) => Ok((io, Some(addr))),
            // The test has dropped all ways in.
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<&'static str> {
        Ok("memory")
    }
}

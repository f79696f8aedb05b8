//! [`Server`]: an HTTP service on a listener, until a drain has ended.
//!
//! Accepts connections within a cap and gives each to hyper, with the [`Hub`] and the peer's address where upgrades find
//! them. It must not know WebSockets: their sessions outlive hyper's part in their sockets, and the hub ends them.

mod accepting;
mod answer;
mod course;
mod http;
mod life;
mod listener;
mod open;
mod preface;
mod service;
mod sockets;
#[cfg(feature = "http2")]
mod streams;
mod traffic;

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch;
use tracing::Instrument;

use self::accepting::Accepting;
pub(crate) use self::life::{Handover, Life};
pub use self::listener::{IntoListener, Listener};
pub(crate) use self::preface::Rewind;
pub use self::service::HttpService;
pub(crate) use self::sockets::SocketPermit;
use self::sockets::{Log, Sockets};
pub(crate) use self::traffic::Watched;
use crate::config::Config;
use crate::hosts::{Hosts, Own};
use crate::hub::{DrainReport, Hub};

/// How long accepting pauses when the system has no files or memory left for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves an axum `Router`, or any tower service, over HTTP/1.1 and HTTP/2, with a [`Hub`] for its WebSockets.
///
/// What it does beyond `axum::serve`: heads of requests are bounded in time and size, TCP connections in number, and
/// the drain on SIGTERM or SIGINT includes the WebSockets and has an end.
///
/// ```no_run
/// # async fn serve() -> std::io::Result<()> {
/// use dreamsocket::Server;
///
/// let router = axum::Router::new().route("/", axum::routing::get(async || "hello"));
/// let server = Server::new(router).bind("127.0.0.1:3000").await?;
/// println!("listening on {}", server.local_addr());
/// let report = server.run().await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a server does nothing until it is bound and run"]
pub struct Server<S> {
    service: S,
    hub: Hub,
    encryption: Encryption,
    hosts: Hosts,
}

/// How connections are encrypted: not at all, or as [`Tls`](crate::Tls) says.
#[cfg(feature = "tls")]
type Encryption = Option<crate::tls::Tls>;
#[cfg(not(feature = "tls"))]
type Encryption = Option<NoTls>;
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
enum NoTls {}

impl<S: HttpService> Server<S> {
    /// A server of this service, with the default bounds. The service is cloned for each request.
    pub fn new(service: S) -> Self {
        Self {
            service,
            hub: Hub::new(Config::default()),
            encryption: None,
            hosts: Hosts::new(Own::Any, "this server", "Server::allowed_hosts"),
        }
    }

    /// Answers requests for these hosts, given without ports; all others get 403.
    ///
    /// On a loopback address `localhost`, `127.0.0.1` and `[::1]` are always answered, and without this nothing else is:
    /// it keeps pages whose name an attacker points to this machine from reaching the server (DNS rebinding), against which
    /// the origin check can do nothing. On other addresses every host is answered unless some are named here. Behind a
    /// proxy on the same machine, name the host that it passes on.
    pub fn allowed_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.hosts.allow(hosts.into_iter().map(Into::into));
        self
    }

    /// Speaks TLS, with HTTP/2 or HTTP/1.1 as the client chooses (ALPN). Takes a [`Tls`](crate::Tls), or a
    /// [`rustls::ServerConfig`](crate::rustls::ServerConfig). Handshakes are done beside accepting, each within
    /// [`Config::tls_timeout`].
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: impl Into<crate::tls::Tls>) -> Self {
        self.encryption = Some(tls.into());
        self
    }

    /// Uses these bounds. Makes a new hub: of this and [`with_hub`](Self::with_hub), the last call counts.
    pub fn with_config(self, config: Config) -> Self {
        self.with_hub(Hub::new(config))
    }

    /// Uses this hub and its bounds, such as one that several servers share.
    ///
    /// [`Hub::layer`] is not needed under a `Server`. If the service has one for another hub, its WebSockets belong to
    /// that one, and this server's drain does not close them.
    pub fn with_hub(mut self, hub: Hub) -> Self {
        self.hub = hub;
        self
    }

    /// The hub of this server's WebSockets.
    #[must_use]
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// For a listener in memory: without TLS, and with something around the service.
    #[cfg(feature = "testing")]
    pub(crate) fn in_memory<T: HttpService>(self, around: impl FnOnce(S) -> T) -> Server<T> {
        Server {
            service: around(self.service),
            hub: self.hub,
            encryption: None,
            hosts: self.hosts,
        }
    }

    /// Binds a TCP address, such as `"127.0.0.1:3000"` or `([0, 0, 0, 0], 3000)`; port 0 takes a free one. From here on
    /// connections wait in the system's queue; [`Bound::run`] accepts them.
    ///
    /// # Errors
    ///
    /// The name does not resolve, or no address can be listened on: it is in use, or not allowed. What the error displays
    /// is one line that names the address.
    pub async fn bind(self, address: impl ToSocketAddrs + fmt::Debug) -> io::Result<Bound<S>> {
        let resolved: Vec<SocketAddr> = match tokio::net::lookup_host(&address).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                let line = format!("cannot resolve {address:?}: {error}");
                return Err(io::Error::new(error.kind(), line));
            }
        };
        match TcpListener::bind(&*resolved).await {
            Ok(listener) => self.listen_on(listener),
            Err(error) => {
                let addresses: Vec<_> = resolved.iter().map(SocketAddr::to_string).collect();
                let line = match &*addresses {
                    [] => format!("cannot listen on {address:?}: {error}"),
                    _ => format!("cannot listen on {}: {error}", addresses.join(", ")),
                };
                Err(io::Error::new(error.kind(), line))
            }
        }
    }

    /// Takes a listener that somebody else has bound: tokio's or the standard library's, TCP or Unix, which may be a
    /// descriptor handed in by a supervisor, or your own [`Listener`].
    ///
    /// # Errors
    ///
    /// The listener can't be made non-blocking, or does not tell its address.
    ///
    /// # Panics
    ///
    /// A standard listener outside a tokio runtime.
    pub fn listen_on<L: IntoListener>(self, listener: L) -> io::Result<Bound<S, L::Listener>> {
        let listener = listener.into_listener()?;
        let local_addr = listener.local_addr()?;
        Ok(Bound {
            server: self,
            listener,
            local_addr,
        })
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// A [`Server`] with its listener: clients can connect, and wait until it runs.
#[must_use = "a server accepts nothing until `run`"]
pub struct Bound<S, L: Listener = TcpListener> {
    server: Server<S>,
    listener: L,
    local_addr: L::Addr,
}

impl<S: HttpService, L: Listener> Bound<S, L> {
    /// The address that it listens on, with the port that was taken for port 0.
    #[must_use]
    pub fn local_addr(&self) -> L::Addr {
        self.local_addr.clone()
    }

    /// The hub of this server's WebSockets.
    #[must_use]
    pub const fn hub(&self) -> &Hub {
        &self.server.hub
    }

    /// Serves until SIGTERM, SIGINT (Ctrl-C elsewhere than on Unix) or [`Hub::drain`], then drains and returns, at most
    /// [`Config::drain_time`] and [`Config::close_time`] later. A second signal returns at once.
    ///
    /// On a drain the listener is closed, idle connections are closed, requests that are being answered may be finished
    /// within the drain time, and the WebSockets are closed as [`Hub::drain`] says. Dropping the future ends the listener
    /// and the HTTP connections at once, and leaves the WebSockets to the hub.
    ///
    /// Signals lose their default effect on the process for good.
    ///
    /// # Errors
    ///
    /// Signals can't be listened to. No error of a single connection, or of accepting one, ends the server.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its I/O and time enabled.
    pub async fn run(self) -> io::Result<DrainReport> {
        self.server.hub.listen_to_signals()?;
        self.run_until_drained().await
    }

    /// Like [`run`](Self::run), without listening to signals: for tests, and where the signals are somebody else's. Only
    /// [`Hub::drain`] ends it.
    ///
    /// # Errors
    ///
    /// None at present.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its I/O and time enabled.
    pub async fn run_until_drained(self) -> io::Result<DrainReport> {
        let hub = self.server.hub.clone();
        hub.run(async {
            self.serve().await;
            Ok(())
        })
        .await
    }

    /// Accepts and serves until a drain has started, then waits for the HTTP connections, which see to it that they end in
    /// time.
    async fn serve(self) {
        let Server {
            service,
            hub,
            encryption,
            hosts,
        } = self.server;
        let hosts = if self.listener.is_loopback() {
            hosts.with_own(Own::Loopback)
        } else {
            hosts
        };
        let hosts = Arc::new(hosts);
        // Connections hold receivers: when the last is gone they have all ended, and when the sender goes they end.
        let (lifeline, receiver) = watch::channel(());
        let accepting = accept_all(
            self.listener,
            service,
            hub.clone(),
            encryption,
            hosts,
            receiver,
        );
        let mut accepting = Accepting::start(accepting);
        tokio::select! {
            biased;
            _ = hub.draining() => {}
            never = accepting.ended() => match never {},
        }
        drop(accepting);
        lifeline.closed().await;
    }
}

/// Accepts connections within the cap and starts them, for ever. It owns what it uses, so that a service needs not be
/// `Sync` and the listener is closed when the future is dropped.
async fn accept_all<S: HttpService, L: Listener>(
    mut listener: L,
    service: S,
    hub: Hub,
    encryption: Encryption,
    hosts: Arc<Hosts>,
    lifeline: watch::Receiver<()>,
) -> Infallible {
    let is_own_addr = encryption.is_none() && TypeId::of::<L>() == TypeId::of::<TcpListener>();
    let sockets = Sockets::new(hub.config().max_sockets);
    let mut log = Log::default();
    loop {
        if sockets.is_full() {
            hub.note_accept_pause();
        }
        let permit = sockets.admit(&mut log).await;
        let (io, peer_addr) = accept(&mut listener, &mut log).await;
        let Ok(place) = hub.admit_socket(peer_addr.map(|peer| peer.ip())) else {
            continue;
        };
        let connection = http::Connection {
            hub: hub.clone(),
            encryption: encryption.clone(),
            hosts: Arc::clone(&hosts),
            peer_addr,
            is_own_addr,
            permit: SocketPermit::new(permit, place),
            lifeline: lifeline.clone(),
        };
        let serving = connection.serve(io, service.clone());
        tokio::spawn(Life::new(serving.in_current_span()));
    }
}

/// The next connection, however long errors last.
async fn accept<L: Listener>(listener: &mut L, log: &mut Log) -> (L::Io, Option<SocketAddr>) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a connection was gone before it was accepted");
                tokio::task::coop::consume_budget().await;
            }
            // Most of all EMFILE, ENFILE, ENOBUFS and ENOMEM. The connection still waits in the system's queue, so
            // accepting fails again at once until something is freed.
            Err(error) => {
                if log.is_due() {
                    tracing::error!(%error, "cannot accept connections, trying again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// accept(2): errors that are pending on the new connection are passed on as errors of accepting it.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
            | Kind::PermissionDenied
            | Kind::Interrupted
    )
}

impl<S, L: Listener> fmt::Debug for Bound<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("local_addr", &self.local_addr)
            .field("hub", &self.server.hub)
            .finish_non_exhaustive()
    }
}

//! The client: [`connect_websocket`], its builder [`Connect`], and the small [`Socket`] for tests and tools.
//!
//! Here is what is asked for; `dial.rs` and `opening.rs` connect, `supervisor.rs` runs connection after connection with
//! the same loop as a server's, `link.rs` is the socket without the loop.

mod dial;
mod error;
mod link;
mod opening;
mod reconnect;
mod socket;
mod supervisor;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use dreamsocket_protocol::handshake::{DeflateParams, InvalidRequest, ResponseError};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ClientConfig;
use tracing::Instrument;

use self::dial::{Dialer, Target, Timeouts};
pub use self::error::{ConnectError, Phase, Refusal};
use self::opening::Offer;
pub use self::reconnect::{Ending, Jitter, Reconnect};
pub use self::socket::{Progress, Received, Socket, SocketError};
use self::supervisor::Supervisor;
pub use self::supervisor::{Connected, EndReason, Ended};
#[cfg(feature = "tls")]
pub use self::tls::TlsInfo;
use crate::config::Config;
use crate::handler::{Handlers, OnClose, OnInit, OnMessage};
use crate::hub::Hub;
#[cfg(feature = "simulation")]
use crate::simulation::Network;
#[cfg(feature = "json")]
use crate::typed::{self, Format};

/// Connects to a WebSocket server and runs the typed message loop on it, as [`upgrade_websocket`](crate::upgrade_websocket)
/// does on a server.
///
/// Returns when the handshake is over. From then on the handlers run in a task of their own, inside the present tracing
/// span, and the returned [`Connected`] reaches the connection and waits for its end; dropping it ends nothing. See
/// [`Connect`] for options.
///
/// `ws://` and `http://` mean the same, and `wss://` and `https://`; these need the feature `tls`.
///
/// # Errors
///
/// Whatever keeps the connection from being opened; no handler has run then.
///
/// # Panics
///
/// Outside a tokio runtime with its I/O and time enabled.
///
/// ```no_run
/// use dreamsocket::client::{ConnectError, connect_websocket};
/// use dreamsocket::{Action, Connection, Message, Selector, SendError, continue_connection, stop_connection};
///
/// async fn on_init(connection: &Connection, _: &()) -> Result<((), Option<Selector>), SendError> {
///     connection.send_text("hello").await?;
///     Ok(((), None))
/// }
///
/// async fn on_message(_: &mut (), message: Message, _: &Connection, _: &()) -> Action {
///     match message {
///         Message::Text(text) => {
///             println!("{}", text.as_str());
///             stop_connection()
///         }
///         _ => continue_connection(),
///     }
/// }
///
/// async fn on_close(_: (), _: &()) {}
///
/// # async fn run() -> Result<(), ConnectError> {
/// let connected = connect_websocket("ws://localhost:9001/echo", (), on_init, on_message, on_close).await?;
/// println!("{:?}", connected.ended().await);
/// # Ok(())
/// # }
/// ```
pub async fn connect_websocket<D, S, C, FI, FM, FC, M>(
    url: impl Into<String>,
    dependencies: D,
    on_init: FI,
    on_message: FM,
    on_close: FC,
) -> Result<Connected, ConnectError>
where
    D: Send + Sync + 'static,
    S: Send + 'static,
    C: Send + 'static,
    FI: for<'a> OnInit<'a, D, S, C>,
    FM: for<'a> OnMessage<'a, D, S, C>,
    FC: for<'a> OnClose<'a, D, S, M>,
    M: 'static,
{
    Connect::new(url)
        .run(dependencies, on_init, on_message, on_close)
        .await
}

/// [`connect_websocket`] with every option.
///
/// ```no_run
/// use dreamsocket::Config;
/// use dreamsocket::client::{Connect, ConnectError, Reconnect};
/// # use dreamsocket::{Action, Connection, Message, Selector, continue_connection};
/// # async fn on_init(_: &Connection, _: &()) -> ((), Option<Selector>) { ((), None) }
/// # async fn on_message(_: &mut (), _: Message, _: &Connection, _: &()) -> Action { continue_connection() }
/// # async fn on_close(_: (), _: &()) {}
///
/// # async fn run() -> Result<(), ConnectError> {
/// let connected = Connect::new("wss://example.com/feed")
///     .with_header("authorization", "Bearer abc")
///     .with_subprotocols(["feed.v2", "feed.v1"])
///     .with_config(Config::default().with_max_message(64 * 1024))
///     .with_reconnect(Reconnect::new())
///     .run((), on_init, on_message, on_close)
///     .await?;
/// # let _ = connected;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is connected until `run` or `open`"]
pub struct Connect {
    url: String,
    headers: HeaderMap,
    /// Whether a header was given that is none.
    has_invalid_header: bool,
    subprotocols: Vec<String>,
    config: Option<Arc<Config>>,
    hub: Option<Hub>,
    timeouts: Timeouts,
    reconnect: Option<Reconnect>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<ClientConfig>>,
    #[cfg(feature = "simulation")]
    network: Option<Arc<dyn Network>>,
}

impl Connect {
    /// A connection to this URL. It is looked at when connecting.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: HeaderMap::new(),
            has_invalid_header: false,
            subprotocols: Vec::new(),
            config: None,
            hub: None,
            timeouts: Timeouts::default(),
            reconnect: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "simulation")]
            network: None,
        }
    }

    /// Adds a header to the request, such as `Authorization`, `Cookie` or `Origin`. A header that the handshake itself
    /// sets, and one that is not valid, is an error when connecting.
    pub fn with_header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        HeaderValue: TryFrom<V>,
    {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            _ => self.has_invalid_header = true,
        }
        self
    }

    /// The subprotocols to offer, the preferred one first. The server chooses one of them or none; see
    /// [`Connection::subprotocol`](crate::Connection::subprotocol). Default: none.
    pub fn with_subprotocols<P: Into<String>>(
        mut self,
        subprotocols: impl IntoIterator<Item = P>,
    ) -> Self {
        self.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// Uses these bounds instead of the hub's or the default ones. What concerns a hub or a server does nothing here;
    /// [`Config::max_head`] bounds the head of the response, at least 8 KiB.
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = Some(config.into());
        self
    }

    /// Makes the connection one of this hub: its cap holds, and its drain closes the connection and ends reconnecting.
    /// Default: none.
    pub fn with_hub(mut self, hub: &Hub) -> Self {
        self.hub = Some(hub.clone());
        self
    }

    /// How long resolving the host's name may take. Default: 5 s.
    pub const fn with_dns_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.dns = timeout;
        self
    }

    /// How long connecting may take, all addresses of the host together: each may take an equal part of what is left.
    /// Default: 10 s.
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// How long the TLS handshake may take. Default: 10 s.
    pub const fn with_tls_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.tls = timeout;
        self
    }

    /// How long the server may take to answer the handshake. Default: 10 s.
    pub const fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.handshake = timeout;
        self
    }

    /// Uses this configuration for `wss://`, such as one with your own root certificates or a client certificate. Its
    /// ALPN protocols are replaced by `http/1.1`, which the handshake speaks. Default: TLS 1.2 and 1.3 by ring, and the
    /// certificate authorities that Mozilla trusts.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.tls = Some(config.into());
        self
    }

    /// Dials over a simulated network instead of the system's. Not for applications.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn with_network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = Some(network);
        self
    }

    /// Connects again when the connection ends, as the policy says. Default: never.
    pub fn with_reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = Some(reconnect);
        self
    }

    /// Connects and starts the loop, as [`connect_websocket`] does.
    ///
    /// With [`with_reconnect`](Self::with_reconnect) each connection runs `on_init` to `on_close` with a state of its
    /// own, and all of them share the dependencies; [`Connection::reconnects`](crate::Connection::reconnects) tells
    /// which it is. A first attempt that fails is an error and is not retried, unless
    /// [`Reconnect::with_first_retried`] says so.
    ///
    /// # Errors
    ///
    /// Whatever keeps the connection from being opened; no handler has run then.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its I/O and time enabled.
    pub async fn run<D, S, C, FI, FM, FC, M>(
        self,
        dependencies: D,
        on_init: FI,
        on_message: FM,
        on_close: FC,
    ) -> Result<Connected, ConnectError>
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
        let (dialer, config) = self.prepare()?;
        let mut supervisor = Supervisor::new(dialer, config, self.hub, self.reconnect);
        let first = Box::pin(supervisor.connect_first()).await?;
        let (connected, running) = supervisor.start(first, dependencies, handlers);
        tokio::spawn(running.in_current_span());
        Ok(connected)
    }

    /// Connects and runs the loop with [typed messages](crate::typed), as [`run`](Self::run) does with plain ones.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its I/O and time enabled.
    #[cfg(feature = "json")]
    pub async fn run_typed<D, S, In, Out, F, C, FI, FM, FC, M>(
        self,
        dependencies: D,
        on_init: FI,
        on_message: FM,
        on_close: FC,
    ) -> Result<Connected, ConnectError>
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
        self.run(dependencies, on_init, on_message, on_close).await
    }

    /// Connects without the loop: a [`Socket`] to send and receive on. Hub and reconnecting do not apply.
    ///
    /// # Errors
    ///
    /// Whatever keeps the connection from being opened.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its I/O and time enabled.
    pub async fn open(self) -> Result<Socket, ConnectError> {
        let (dialer, config) = self.prepare()?;
        let dialed = Box::pin(dial::Dial::dial(&dialer)).await?;
        Ok(Socket::new(dialed, config))
    }

    /// Everything that can be wrong with what was asked for.
    fn prepare(&self) -> Result<(Dialer, Arc<Config>), ConnectError> {
        // RFC 6455 §3: no fragments. `Uri` would drop it.
        if self.url.contains('#') {
            return Err(ConnectError::Fragment);
        }
        let uri: Uri = self.url.parse().map_err(ConnectError::InvalidUrl)?;
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(ConnectError::Credentials);
        }
        if self.has_invalid_header {
            return Err(ConnectError::InvalidHeader);
        }
        if let Some(name) = self.headers.keys().find(|name| is_reserved(name)) {
            return Err(ConnectError::ReservedHeader { name: name.clone() });
        }
        let config = match (&self.config, &self.hub) {
            (Some(config), _) => Arc::clone(config),
            (None, Some(hub)) => Arc::clone(hub.shared_config()),
            (None, None) => Arc::default(),
        };
        let target = Target::of(&uri);
        let offer = Offer {
            uri,
            headers: self.headers.clone(),
            subprotocols: self.subprotocols.clone(),
            config: Arc::clone(&config),
            timeout: self.timeouts.handshake,
        };
        offer.request([0; 16])?;
        let dialer = Dialer {
            #[cfg(feature = "tls")]
            tls: self.tls_config(&target)?,
            #[cfg(feature = "simulation")]
            network: self.network.clone(),
            offer,
            target,
            timeouts: self.timeouts,
        };
        #[cfg(not(feature = "tls"))]
        if dialer.target.is_tls {
            return Err(ConnectError::TlsNotBuilt);
        }
        Ok((dialer, config))
    }

    #[cfg(feature = "tls")]
    fn tls_config(&self, target: &Target) -> Result<Option<Arc<ClientConfig>>, ConnectError> {
        if !target.is_tls {
            return Ok(None);
        }
        let mut config = match &self.tls {
            Some(config) => ClientConfig::clone(config),
            None => tls::default_config()?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Arc::new(config)))
    }
}

/// Headers that the handshake or HTTP itself sets.
fn is_reserved(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 8] = [
        HOST,
        UPGRADE,
        CONNECTION,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        TE,
        TRAILER,
        EXPECT,
    ];
    NAMES.contains(name) || name.as_str().starts_with("sec-websocket-")
}

/// Without the URL, the headers' values and the subprotocols, which may hold secrets.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("subprotocols", &self.subprotocols.len())
            .field("timeouts", &self.timeouts)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}

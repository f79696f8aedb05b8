//! One connection under hyper, from its accept to its end or its upgrade.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use dreamsocket_protocol::handshake::{self, RequestError};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
#[cfg(feature = "http2")]
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
#[cfg(any(feature = "http2", feature = "tls"))]
use tracing::Instrument;

use super::answer::Answer;
use super::course::Course;
use super::life::Slot;
use super::open::{Open, OpenAnswer, OpenGuard};
use super::preface::{self, Version};
#[cfg(feature = "http2")]
use super::streams::StreamExecutor;
use super::traffic::{Traffic, Watched};
use super::{Encryption, HttpService, Life, SocketPermit};
use crate::config::{Config, later};
use crate::hosts::{Hosts, asked_host};
use crate::hub::{Fault, Hub};
use crate::meter::{Reason, note_refused};
use crate::origin::{Encrypted, PeerAddr};

/// The smallest buffer that hyper takes, in bytes.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// hyper adds this to the present time, which has an end.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// How many requests and WebSockets one HTTP/2 connection carries at once: more than the 255 WebSockets that Chromium opens,
/// since it puts all of a site's on one connection and then lets requests wait behind them.
#[cfg(feature = "http2")]
const MAX_STREAMS: u32 = 400;

/// How many bytes a peer may send on one HTTP/2 stream before they are read.
#[cfg(feature = "http2")]
const STREAM_WINDOW: u32 = 64 * 1024;

/// The window of a whole connection. Its streams need three quarters of it, so that none holds up another. And h2 derives from it
/// how many small frames may wait unread before it ends the connection, and all that is open on it: half of it, at 256
/// bytes a frame. That makes some 65,000 messages for handlers that are busy.
#[cfg(feature = "http2")]
const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;

/// How many bytes wait in hyper for the peer to make room on a stream.
#[cfg(feature = "http2")]
const SEND_BUFFER: usize = 64 * 1024;

pub(super) struct Connection {
    pub(super) hub: Hub,
    pub(super) encryption: Encryption,
    pub(super) hosts: Arc<Hosts>,
    pub(super) peer_addr: Option<SocketAddr>,
    /// Whether the socket says the same: it is a plain one of tokio's.
    pub(super) is_own_addr: bool,
    pub(super) permit: SocketPermit,
    /// Fails when the server is dropped.
    pub(super) lifeline: watch::Receiver<()>,
}

impl Connection {
    /// Finds out what the client speaks, and serves it. What it says first has to come in time, and the drain does not
    /// wait for it. Ends with what is to follow in this task.
    pub(super) async fn serve<S: HttpService>(
        mut self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        service: S,
    ) -> Option<Life> {
        let traffic = Arc::default();
        // Under TLS, since a part of a record is progress, too.
        let io = Watched::new(io, &traffic);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.encryption {
            let acceptor = tokio_rustls::TlsAcceptor::from(tls.config());
            let serving = self.serve_tls(acceptor, io, traffic, service);
            return Some(Life::new(serving.in_current_span()));
        }
        let deadline = later(Instant::now(), self.hub.config().head_timeout);
        let (version, io) = {
            let detecting = pin!(preface::detect(io));
            self.begin(Fault::Slow, deadline, detecting).await?
        };
        // hyper begins anew with what is left of the head.
        self.serve_http(version, io, traffic, Some(deadline), service)
            .await
    }

    #[cfg(feature = "tls")]
    async fn serve_tls<S: HttpService>(
        mut self,
        acceptor: tokio_rustls::TlsAcceptor,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        traffic: Arc<Traffic>,
        service: S,
    ) -> Option<Life> {
        let deadline = later(Instant::now(), self.hub.config().tls_timeout);
        let io = {
            let handshake = pin!(acceptor.accept(io));
            self.begin(Fault::Tls, deadline, handshake).await?
        };
        let version = match io.get_ref().1.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            _ => Version::Http1,
        };
        self.serve_http(version, io, traffic, None, service).await
    }

    /// Waits for the beginning of a connection. `None` if there is nothing to go on with.
    async fn begin<R>(
        &mut self,
        fault: Fault,
        deadline: Instant,
        beginning: Pin<&mut impl Future<Output = io::Result<R>>>,
    ) -> Option<R> {
        // In this order, what is there already costs neither a timer nor a place among those that wait.
        tokio::select! {
            biased;
            result = beginning => match result {
                Ok(begun) => return Some(begun),
                Err(error) => {
                    tracing::debug!(%error, "a connection failed before its first request");
                    if fault == Fault::Tls {
                        self.hub.note_fault(fault);
                    }
                }
            },
            () = sleep_until(deadline) => {
                tracing::debug!(?fault, "a connection was cut: its beginning took too long");
                self.hub.note_fault(fault);
            }
            _ = self.lifeline.changed() => {}
            _ = self.hub.draining() => {}
        }
        None
    }

    /// Serves requests until the connection ends or is upgraded. After a drain has started no new request is taken (on HTTP/2
    /// once the WebSockets have ended), and the present ones have until the end of the drain time. The first head has until
    /// `deadline` where that is before hyper's own.
    async fn serve_http<S: HttpService>(
        self,
        version: Version,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        traffic: Arc<Traffic>,
        deadline: Option<Instant>,
        service: S,
    ) -> Option<Life> {
        let is_encrypted = self.encryption.is_some();
        let Self {
            hub,
            hosts,
            peer_addr,
            is_own_addr,
            permit,
            lifeline,
            ..
        } = self;
        // HTTP/1.1 has one thing open at a time, and hyper minds it.
        let open = (version == Version::Http2).then(Arc::<Open>::default);
        let own_addr = peer_addr.filter(|_| is_own_addr);
        let slot = (version == Version::Http1).then(|| Slot::new(own_addr));
        let permit = permit.with_handover(slot.as_ref().map(Slot::handover));
        let requests_hub = hub.clone();
        let requests_open = open.clone();
        let requests_traffic = Arc::clone(&traffic);
        let respond = service_fn(move |mut request: Request<Incoming>| {
            let open = requests_open.as_ref().map(Open::request);
            requests_traffic.note_request();
            let permit = permit.clone();
            let hub = requests_hub.clone();
            let service = service.clone();
            let hosts = Arc::clone(&hosts);
            // On HTTP/2 this runs in a task of the stream's own.
            async move {
                let extensions = request.extensions_mut();
                extensions.insert(hub);
                if is_encrypted {
                    extensions.insert(Encrypted);
                }
                // An upgrade takes it along, so that the socket counts until its session ends.
                extensions.insert(permit.with(open.clone()));
                if let Some(peer_addr) = peer_addr {
                    extensions.insert(PeerAddr(peer_addr));
                }
                let response = respond(service, &hosts, request, open).await?;
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    // Nothing comes of an upgrade whose answer was not sent.
                    permit.revoke_handover();
                }
                Ok::<_, Infallible>(response)
            }
        });
        let io = TokioIo::new(io);
        match version {
            Version::Http1 => {
                let connection = http1_builder(hub.config())
                    .serve_connection(io, respond)
                    .with_upgrades();
                let shut_down = |connection: Pin<&mut _>| {
                    http1::UpgradeableConnection::graceful_shutdown(connection)
                };
                let course = Course::new(&hub, &traffic, None, deadline);
                course.run(pin!(connection), shut_down, lifeline).await;
            }
            #[cfg(feature = "http2")]
            Version::Http2 => {
                let connection = http2_builder(hub.config()).serve_connection(io, respond);
                let shut_down =
                    |connection: Pin<&mut _>| http2::Connection::graceful_shutdown(connection);
                let serving = async move {
                    let course = Course::new(&hub, &traffic, open.as_deref(), None);
                    course.run(pin!(connection), shut_down, lifeline).await;
                    None
                };
                return Some(Life::new(serving.in_current_span()));
            }
            #[cfg(not(feature = "http2"))]
            Version::Http2 => {
                tracing::debug!("an HTTP/2 connection, which this program does not speak")
            }
        }
        slot.and_then(|slot| slot.take())
    }
}

fn http1_builder(config: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // It runs between requests, too: a connection that is kept alive is idle at most that long.
        .header_read_timeout(config.head_timeout.min(LONGEST_TIMEOUT))
        .max_header_size(config.max_head)
        // A head that never ends is given up when the buffer is full.
        .max_buf_size(config.max_head.max(SMALLEST_BUFFER));
    builder
}

#[cfg(feature = "http2")]
fn http2_builder(config: &Config) -> http2::Builder<StreamExecutor> {
    let heartbeat = config
        .heartbeat
        .map(|interval| interval.min(LONGEST_TIMEOUT));
    let mut builder = http2::Builder::new(StreamExecutor);
    builder
        .timer(TokioTimer::new())
        // A dead peer is found as the heartbeat finds one, and no sooner: the WebSockets on it have theirs.
        .keep_alive_interval(heartbeat.map(|interval| interval.saturating_mul(2)))
        .keep_alive_timeout(heartbeat.unwrap_or(LONGEST_TIMEOUT))
        // RFC 8441 §3.
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(config.max_head).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// What the service answers, if it is asked. An error of the service, which hyper would answer with the end of the
/// connection, is a 500.
async fn respond<S: HttpService>(
    service: S,
    hosts: &Hosts,
    request: Request<Incoming>,
    open: Option<OpenGuard>,
) -> Result<Response<Answer<S::Body>>, Infallible> {
    if let Err(error) = hosts.check(asked_host(&request)) {
        if asks_for_websocket(&request) {
            tracing::debug!(%error, "refused an upgrade");
            if let Some(hub) = request.extensions().get::<Hub>() {
                hub.note_refused(StatusCode::FORBIDDEN);
            }
            note_refused(StatusCode::FORBIDDEN, Reason::Host);
        } else {
            tracing::debug!(%error, "refused a request");
        }
        return Ok(Answer::line(StatusCode::FORBIDDEN, error));
    }
    Ok(match service.answer(request).await {
        Ok(response) => {
            let open = open.map(|open| Arc::new(OpenAnswer::new(open)));
            response.map(|body| Answer::Service { body, open })
        }
        Err(error) => {
            tracing::error!(
                error = &*error as &dyn std::error::Error,
                "the service failed"
            );
            Answer::empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    })
}

/// Whether a request wants a WebSocket, be its handshake in order or not: only those are counted as refused upgrades, and not
/// everybody who looks for pages at an address.
fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    #[cfg(feature = "http2")]
    if let Some(protocol) = request.extensions().get::<hyper::ext::Protocol>() {
        return protocol.as_str().eq_ignore_ascii_case("websocket");
    }
    let checked = handshake::check_request(request);
    !matches!(
        checked,
        Err(RequestError::NotHttp11 | RequestError::NotGet | RequestError::MissingUpgrade)
    )
}

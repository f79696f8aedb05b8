//! What a test asks a [`Server`](super::Server) for: a WebSocket, or an ordinary answer. Real HTTP, by hyper's client.

#[cfg(feature = "http2")]
mod http2;
mod line;

#[cfg(not(feature = "http2"))]
use std::convert::Infallible as Requests;
use std::future::Future;
use std::net::IpAddr;
use std::panic::Location;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::handshake;
use http::header::{HOST, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::time::timeout;

#[cfg(feature = "http2")]
use self::http2::Requests;
pub(super) use self::line::Failed;
use self::line::Line;
use super::client::{Client, Session};
use super::peer::Peer;
use super::response::Response;
use super::server::Door;
use super::settling::settle;
use super::transcript::Transcript;
use super::{BUFFER, PATIENCE};
use crate::compression::Compression;

/// Sixteen bytes that need not be random here.
const KEY: [u8; 16] = *b"the sample nonce";

/// A request to a server under test, made by [`Server::at`](super::Server::at).
///
/// It goes out on a connection of its own, over HTTP/1.1 unless [`with_http2`](Self::with_http2) says otherwise.
///
/// ```
/// # use axum::extract::Request;
/// # use axum::response::Response;
/// # use dreamsocket::{Action, Connection, Message, Selector, continue_connection, testing, upgrade_websocket};
/// # async fn chat(request: Request) -> Response { upgrade_websocket(request, (), on_init, on_message, on_close) }
/// # async fn on_init(_: &Connection, _: &()) -> ((), Option<Selector>) { ((), None) }
/// # async fn on_message(_: &mut (), _: Message, _: &Connection, _: &()) -> Action { continue_connection() }
/// # async fn on_close(_: (), _: &()) {}
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// # let server = testing::serve(axum::Router::new().route("/chat", axum::routing::any(chat)));
/// let client = server
///     .at("/chat")
///     .with_header("cookie", "session=5")
///     .with_header("origin", "http://localhost")
///     .with_peer_ip([192, 0, 2, 7])
///     .connect()
///     .await;
/// assert_eq!(client.connection().peer_addr().unwrap().ip().to_string(), "192.0.2.7");
///
/// // A handshake that is not in order.
/// let refused = server.at("/chat").without_header("sec-websocket-key").refused().await;
/// assert_eq!(refused.status(), 400);
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    door: Arc<Door>,
    uri: Uri,
    headers: HeaderMap,
    left_out: Vec<HeaderName>,
    subprotocols: Vec<String>,
    compression: Compression,
    peer_ip: Option<IpAddr>,
    buffer: usize,
    #[cfg(feature = "http2")]
    is_http2: bool,
}

impl RequestBuilder {
    #[track_caller]
    pub(super) fn new(door: Arc<Door>, path: &str) -> Self {
        assert!(path.starts_with('/'), "a path begins with a slash: {path}");
        let uri = match Uri::try_from(format!("http://localhost{path}")) {
            Ok(uri) => uri,
            Err(error) => panic!("{path} cannot be requested: {error}"),
        };
        Self {
            door,
            uri,
            headers: HeaderMap::new(),
            left_out: Vec::new(),
            subprotocols: Vec::new(),
            compression: Compression::off(),
            peer_ip: None,
            buffer: BUFFER,
            #[cfg(feature = "http2")]
            is_http2: false,
        }
    }

    /// Adds a header. One that the handshake has anyway, such as `host` or `sec-websocket-version`, is replaced.
    ///
    /// # Panics
    ///
    /// If this is no header.
    #[track_caller]
    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let header = (
            HeaderName::try_from(name),
            HeaderValue::from_bytes(value.as_ref()),
        );
        let (Ok(name), Ok(value)) = header else {
            panic!("the header {name:?} has a name or a value that none can have");
        };
        self.headers.append(name, value);
        self
    }

    /// Leaves out a header that the handshake has by itself, to see what the server says to that.
    ///
    /// # Panics
    ///
    /// If this is no name of a header.
    #[track_caller]
    pub fn without_header(mut self, name: &str) -> Self {
        match HeaderName::try_from(name) {
            Ok(name) => self.left_out.push(name),
            Err(_) => panic!("{name:?} is no name of a header"),
        }
        self
    }

    /// Offers these subprotocols. Which one was chosen is the [connection's](crate::Connection::subprotocol) to say.
    pub fn with_subprotocols<P: Into<String>>(
        mut self,
        subprotocols: impl IntoIterator<Item = P>,
    ) -> Self {
        self.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// Offers compression (permessage-deflate, RFC 7692); off unless told.
    pub const fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The address that the client comes from; 127.0.0.1 unless told. Each client has a port of its own.
    pub fn with_peer_ip(mut self, ip: impl Into<IpAddr>) -> Self {
        self.peer_ip = Some(ip.into());
        self
    }

    /// How many bytes the transport holds in each direction before the writer has to wait, at least 1; 64 KiB unless told.
    pub fn with_buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes.max(1);
        self
    }

    /// Asks over HTTP/2: for a WebSocket by extended CONNECT (RFC 8441), on a connection of its own.
    ///
    /// The host goes into `:authority`, so there has to be one, and one only. Headers of the connection, such as `upgrade`,
    /// cannot be added: HTTP/2 has none (RFC 9113 §8.2.2). Sending a request that is not so panics, as one does that cannot
    /// be sent at all.
    #[cfg(feature = "http2")]
    pub const fn with_http2(mut self) -> Self {
        self.is_http2 = true;
        self
    }

    /// Opens a WebSocket: a real handshake, through all that the server has before its handler.
    ///
    /// # Panics
    ///
    /// If the server refuses, with what it says; if what it answers is not a handshake; or if no answer comes within
    /// [`PATIENCE`].
    #[track_caller]
    pub fn connect(self) -> impl Future<Output = Client> {
        let at = Location::caller();
        async move {
            let what = format!("a WebSocket at {}", self.target());
            match within(at, &what, self.open()).await {
                Ok(Opened::Client(client)) => client,
                Ok(Opened::Refused(response)) => {
                    panic!("the server refused {what}\n  at {at}\n{response}")
                }
                Err(failed) => panic!("{failed} {what}\n  at {at}"),
            }
        }
    }

    /// Asks for a WebSocket that the server has to refuse, and returns what it says.
    ///
    /// # Panics
    ///
    /// If the server opens it, or if no answer comes within [`PATIENCE`].
    #[track_caller]
    pub fn refused(self) -> impl Future<Output = Response> {
        let at = Location::caller();
        async move {
            let what = format!("a WebSocket at {}", self.target());
            match within(at, &what, self.open()).await {
                Ok(Opened::Refused(response)) => response,
                Ok(Opened::Client(client)) => panic!(
                    "the server was to refuse {what}, and has opened it\n  at {at}\n{}",
                    client.transcript()
                ),
                Err(failed) => panic!("{failed} {what}\n  at {at}"),
            }
        }
    }

    /// Makes an ordinary GET request.
    ///
    /// # Panics
    ///
    /// If no answer comes within [`PATIENCE`], or one with a body of more than 16 MiB.
    #[track_caller]
    pub fn get(self) -> impl Future<Output = Response> {
        self.send(Method::GET, Bytes::new())
    }

    /// Makes an ordinary POST request. Its content type is a [header](Self::with_header) like others.
    ///
    /// # Panics
    ///
    /// As [`get`](Self::get).
    #[track_caller]
    pub fn post(self, body: impl Into<Bytes>) -> impl Future<Output = Response> {
        self.send(Method::POST, body)
    }

    /// Makes an ordinary request.
    ///
    /// # Panics
    ///
    /// As [`get`](Self::get).
    #[track_caller]
    pub fn send(self, method: Method, body: impl Into<Bytes>) -> impl Future<Output = Response> {
        let at = Location::caller();
        let body = Full::new(body.into());
        async move {
            let what = format!("{method} {}", self.target());
            match within(at, &what, self.exchange(method, body)).await {
                Ok(response) => response,
                Err(failed) => panic!("{failed} {what}\n  at {at}"),
            }
        }
    }

    /// Makes an ordinary GET request on which the server has to end the connection instead of answering.
    ///
    /// # Panics
    ///
    /// If it answers, or if it does neither within [`PATIENCE`].
    #[track_caller]
    pub fn unanswered(self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let what = format!("GET {}", self.target());
            match within(at, &what, self.exchange(Method::GET, Full::default())).await {
                Err(Failed::Ended(_)) => {}
                Err(failed) => panic!("{failed} {what}\n  at {at}"),
                Ok(response) => panic!("the server has answered {what}\n  at {at}\n{response}"),
            }
        }
    }

    fn target(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
    }

    async fn exchange(self, method: Method, body: Full<Bytes>) -> Result<Response, Failed> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        let line = Line::connect(&self).await?;
        let (response, _held) = line.ask(&self, self.finish(request)?).await?;
        let response = Response::read(response).await?;
        settle().await;
        Ok(response)
    }

    async fn open(self) -> Result<Opened, Failed> {
        let names: Vec<&str> = self.subprotocols.iter().map(String::as_str).collect();
        let wish = self.compression.wish();
        let request = handshake::client_request(&self.uri, KEY, &names, wish)?;
        let request = request.map(|()| Full::default());
        #[cfg(feature = "http2")]
        let request = match self.is_http2 {
            true => http2::as_connect(request),
            false => request,
        };
        let request = self.finish(request)?;
        let mut transcript = Transcript::new();
        transcript.note(format_args!(
            "client  -> {} {}",
            request.method(),
            self.target()
        ));
        let line = Line::connect(&self).await?;
        let counts = Arc::clone(&line.counts);
        let mut sight = line.sight.clone();
        let offered = offered(request.headers());
        let (mut response, held) = line.ask(&self, request).await?;
        transcript.note(format_args!("server  -> {}", response.status()));
        let Some(switching) = self.as_switching(&response) else {
            return Ok(Opened::Refused(Response::read(response).await?));
        };
        let offered: Vec<&str> = offered.iter().map(String::as_str).collect();
        let agreed = handshake::check_response(&switching, KEY, &offered, wish)?;
        let upgraded = hyper::upgrade::on(&mut response).await?;
        let (io, early) = match held {
            #[cfg(feature = "http2")]
            Some(requests) => http2::bridge(upgraded, requests, self.buffer),
            _ => match upgraded.downcast::<TokioIo<DuplexStream>>() {
                Ok(parts) => (parts.io.into_inner(), BytesMut::from(parts.read_buf)),
                Err(_) => return Err(Failed::Transport),
            },
        };
        let deflate = agreed
            .deflate
            .map(|params| (params, self.compression.tuning()));
        let peer = Peer::new(io, deflate, transcript, early);
        let connection = match sight.wait_for(Option::is_some).await {
            Ok(connection) => connection.clone(),
            // It is not a session of this library's.
            Err(_) => None,
        };
        let session = match connection {
            Some(_) => Session::Seen(sight),
            None => Session::Unseen,
        };
        let client = Client::new(peer, session, connection, counts);
        settle().await;
        Ok(Opened::Client(client))
    }

    /// The answer as HTTP/1.1 has it, if it opens a WebSocket.
    fn as_switching<B>(&self, response: &http::Response<B>) -> Option<http::Response<()>> {
        #[cfg(feature = "http2")]
        if self.is_http2 {
            return http2::as_switching(response);
        }
        (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| {
            let mut switching = http::Response::new(());
            *switching.status_mut() = response.status();
            switching.headers_mut().clone_from(response.headers());
            switching
        })
    }

    /// With the headers as the test wants them.
    fn finish(&self, mut request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>, Failed> {
        let headers = request.headers_mut();
        headers
            .entry(HOST)
            .or_insert(HeaderValue::from_static("localhost"));
        headers.extend(self.headers.clone());
        for name in &self.left_out {
            headers.remove(name);
        }
        #[cfg(feature = "http2")]
        if self.is_http2 {
            http2::finish(&mut request)?;
            return Ok(request);
        }
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = target.map_or_else(Uri::default, Uri::from);
        Ok(request)
    }
}

/// The subprotocols that a request names, on whatever lines.
fn offered(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Makes a hang a failure.
async fn within<T>(
    at: &Location<'_>,
    what: &str,
    asking: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    match timeout(PATIENCE, asking).await {
        Ok(result) => result,
        Err(_) => panic!("the server has not answered within {PATIENCE:?}: {what}\n  at {at}"),
    }
}

enum Opened {
    Client(Client),
    Refused(Response),
}

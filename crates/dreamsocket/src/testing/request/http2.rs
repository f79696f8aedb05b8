//! Requests over HTTP/2: a WebSocket by extended CONNECT (RFC 8441). The client of the test stays what it is; a task carries its
//! bytes to and from the stream.

use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::handshake;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE, UPGRADE};
use http::uri::{Authority, InvalidUriParts, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{DuplexStream, copy_bidirectional};

use super::line::{Failed, Line};
use crate::testing::http2::Counted;
use crate::testing::settling::{counted, settle};

/// The window of a stream.
const WINDOW: u32 = 64 * 1024;

/// The request of a handshake as RFC 8441 §5 has it.
pub(super) fn as_connect(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    *request.method_mut() = Method::CONNECT;
    let protocol = Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    for name in [UPGRADE, CONNECTION, SEC_WEBSOCKET_KEY] {
        request.headers_mut().remove(name);
    }
    request
}

/// The host goes into `:authority` (RFC 9113 §8.3.1). What hyper would leave out without a word is an error.
pub(super) fn finish(request: &mut Request<Full<Bytes>>) -> Result<(), Unsayable> {
    let headers = request.headers_mut();
    let is_of_connection = |(name, value): &(&HeaderName, &HeaderValue)| {
        OF_THE_CONNECTION.contains(&name.as_str()) || (*name == TE && *value != "trailers")
    };
    if let Some((name, _)) = headers.iter().find(is_of_connection) {
        return Err(Unsayable::Header(name.clone()));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Unsayable::Hosts);
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return Err(Unsayable::Authority(host.clone()));
    };
    headers.remove(HOST);
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(())
}

/// RFC 9113 §8.2.2, and `TE`, which may say `trailers`.
const OF_THE_CONNECTION: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// What HTTP/2 has no words for.
#[derive(Debug, thiserror::Error)]
pub(in crate::testing) enum Unsayable {
    #[error("it has no header `{0}`")]
    Header(HeaderName),
    #[error("it takes exactly one host")]
    Hosts,
    #[error("the host {0:?} cannot be its `:authority`")]
    Authority(HeaderValue),
    #[error(transparent)]
    Uri(#[from] InvalidUriParts),
}

/// The answer, if it opens the WebSocket, as HTTP/1.1 would have it.
pub(super) fn as_switching<B>(response: &Response<B>) -> Option<Response<()>> {
    if response.status() != StatusCode::OK {
        return None;
    }
    let mut switching = Response::new(());
    *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = switching.headers_mut();
    headers.clone_from(response.headers());
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, handshake::accept_key(ENCODED_KEY));
    Some(switching)
}

/// [`KEY`](super::KEY) in base64.
const ENCODED_KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

/// The connection stays open as long as this is held.
pub(super) type Requests = SendRequest<Full<Bytes>>;

impl Line {
    pub(super) async fn ask_http2(
        self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Requests), Failed> {
        let (mut requests, connection) = Builder::new(Counted)
            .initial_stream_window_size(WINDOW)
            .handshake(TokioIo::new(self.io))
            .await?;
        tokio::spawn(counted(async {
            // What goes wrong with it, the request is told.
            let _ = connection.await;
        }));
        // RFC 8441 §3: not before the server's SETTINGS allow it.
        settle().await;
        let response = requests.send_request(request).await?;
        Ok((response, requests))
    }
}

/// What the client of the test reads and writes; nothing has come early.
pub(super) fn bridge(
    upgraded: Upgraded,
    requests: Requests,
    buffer: usize,
) -> (DuplexStream, BytesMut) {
    let (mut near, far) = tokio::io::duplex(buffer);
    tokio::spawn(counted(async move {
        // An error of either side drops the stream, which resets it if it is not over.
        let _ = copy_bidirectional(&mut near, &mut TokioIo::new(upgraded)).await;
        drop(requests);
    }));
    (far, BytesMut::new())
}

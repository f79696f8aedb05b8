//! Requests over HTTP/2: a WebSocket by extended CONNECT (RFC 8441). The client of the test stays what it is; a task carries its
//! bytes to and from the stream.

use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::handshake;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
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

/// The host goes into `:authority` (RFC 9113 §8.3.1).
pub(super) fn finish(request: &mut Request<Full<Bytes>>) {
    let host = request.headers_mut().remove(HOST);
    let target = request.uri().path_and_query().cloned();
    let uri = Uri::builder()
        .scheme("http")
        .authority(
            host.as_ref()
                .map_or(&b"localhost"[..], HeaderValue::as_bytes),
        )
        .path_and_query(target.map_or_else(|| "/".to_owned(), |target| target.to_string()));
    if let Ok(uri) = uri.build() {
        *request.uri_mut() = uri;
    }
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

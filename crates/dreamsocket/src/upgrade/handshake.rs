//! The opening handshake on the server's side, over HTTP/1.1 (RFC 6455 §4.2) and HTTP/2 (RFC 8441): what the request asks
//! for, and the responses that accept or refuse it.
//!
//! Which rules a request must follow is the protocol crate's. Who may connect is not decided here.

use std::fmt;

use dreamsocket_protocol::handshake::{self, DeflateOffers, RequestError};
use http::header::{
    CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};

use crate::hub::{NotAdmitted, Unwelcome};
use crate::meter::{Reason, note_refused};

/// A valid request.
#[derive(Debug)]
pub(super) struct Handshake {
    /// HTTP/1.1's `Sec-WebSocket-Accept`; HTTP/2 has none.
    accept_key: Option<HeaderValue>,
    pub(super) subprotocols: Vec<String>,
    pub(super) deflate: DeflateOffers,
}

impl Handshake {
    pub(super) fn of<R>(request: &Request<R>) -> Result<Self, Box<Refusal>> {
        if request.version() == Version::HTTP_2 {
            return Self::of_http2(request);
        }
        let accepted =
            handshake::check_request(request).map_err(|error| Refusal::broken(&error))?;
        Ok(Self {
            accept_key: Some(accepted.accept_key),
            subprotocols: accepted.subprotocols,
            deflate: accepted.deflate,
        })
    }

    fn of_http2<R>(request: &Request<R>) -> Result<Self, Box<Refusal>> {
        check_protocol(request)?;
        let accepted =
            handshake::check_connect_request(request).map_err(|error| Refusal::broken(&error))?;
        Ok(Self {
            accept_key: None,
            subprotocols: accepted.subprotocols,
            deflate: accepted.deflate,
        })
    }

    /// RFC 6455 §4.2.2, RFC 8441 §5: the response that opens the WebSocket.
    pub(super) fn accept(
        &self,
        subprotocol: Option<&str>,
        extensions: Option<HeaderValue>,
    ) -> Response<String> {
        let mut response = Response::new(String::new());
        if let Some(accept_key) = &self.accept_key {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept_key.clone());
        }
        let headers = response.headers_mut();
        // The client offered this very name, so it is a token.
        if let Some(name) = subprotocol.and_then(|name| HeaderValue::from_str(name).ok()) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, name);
        }
        if let Some(extensions) = extensions {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
        }
        response
    }
}

/// RFC 8441 §4: a CONNECT says in `:protocol` what for. Other methods are left to the next check.
#[cfg(feature = "http2")]
fn check_protocol<R>(request: &Request<R>) -> Result<(), Box<Refusal>> {
    if request.method() != http::Method::CONNECT {
        return Ok(());
    }
    match request.extensions().get::<hyper::ext::Protocol>() {
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => Ok(()),
        // RFC 9220 §3 has this status for it.
        Some(_) => Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            Reason::Handshake,
            "the only `:protocol` of an extended CONNECT here is `websocket`",
        )),
        None => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            Reason::Handshake,
            "a WebSocket is opened with `:protocol = websocket` on HTTP/2",
        )),
    }
}

#[cfg(not(feature = "http2"))]
fn check_protocol<R>(_: &Request<R>) -> Result<(), Box<Refusal>> {
    tracing::error!(
        "a WebSocket over HTTP/2 was asked for, which needs the feature `http2` of dreamsocket"
    );
    Err(Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        Reason::Handshake,
        "this server does not open WebSockets over HTTP/2",
    ))
}

/// Why there is no session: a status and one plain line.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    reason: Reason,
    headers: HeaderMap,
    line: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: Reason, line: impl fmt::Display) -> Box<Self> {
        Box::new(Self {
            status,
            reason,
            headers: HeaderMap::new(),
            line: line.to_string(),
        })
    }

    fn broken(error: &RequestError) -> Box<Self> {
        let mut refusal = Self::new(error.status(), Reason::Handshake, error);
        refusal.headers = error.headers();
        refusal
    }

    pub(super) fn unavailable(unwelcome: Unwelcome) -> Box<Self> {
        let (status, reason) = match unwelcome {
            Unwelcome::Hub(NotAdmitted::Draining) => {
                (StatusCode::SERVICE_UNAVAILABLE, Reason::Draining)
            }
            Unwelcome::Hub(NotAdmitted::Full { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, Reason::Full)
            }
            Unwelcome::Address(_) => (StatusCode::TOO_MANY_REQUESTS, Reason::Address),
        };
        let mut refusal = Self::new(status, reason, unwelcome);
        refusal
            .headers
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        refusal
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Counts it for the feature `metrics`.
    pub(super) fn measure(&self) {
        note_refused(self.status, self.reason);
    }

    pub(super) fn into_response(self) -> Response<String> {
        tracing::debug!(
            status = self.status.as_u16(),
            reason = self.line,
            "refused an upgrade"
        );
        let mut response = Response::new(self.line + "\n");
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        response
    }
}

//! The client's side: its request, and what the server's response must have. Sixteen random bytes
//! for the key are the caller's to draw.

use super::deflate::{DeflateParams, DeflateWish, InvalidAnswer, check_answer, write_offer};
use super::extensions::{Malformed, parse_extensions};
use super::request::is_host;
use super::token::{Single, elements, find_single, list_contains, parse_token, trim_blanks};
use super::{accept_key, encode_key};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

/// A valid response to a client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseHandshake {
    /// The subprotocol that the server chose among the offered ones.
    pub subprotocol: Option<String>,
    /// What was agreed on of permessage-deflate; `None` if the server does not want it or it was not offered.
    pub deflate: Option<DeflateParams>,
}

/// Builds the request that opens a WebSocket over HTTP/1.1 (RFC 6455 §4.1).
///
/// `key` is sixteen random bytes, fresh for each connection; [`check_response`] needs them again, and the other arguments.
/// With `deflate`, permessage-deflate is offered.
/// The request has the origin form (path and query) for its target and the authority in `Host`, as
/// an HTTP/1.1 client connection sends it. Further headers are added to it by the caller.
///
/// # Errors
///
/// If the URI has no host, a port that is none, a path that can't be requested, or another scheme than `ws`, `wss`, `http` or `https`, or if a
/// subprotocol is no token or is offered twice.
pub fn client_request(
    uri: &Uri,
    key: [u8; 16],
    subprotocols: &[&str],
    deflate: Option<DeflateWish>,
) -> Result<Request<()>, InvalidRequest> {
    // RFC 3986 §3.1: in any case.
    let scheme = uri.scheme_str().unwrap_or_default();
    let is_scheme = |known: [&str; 2]| known.iter().any(|it| it.eq_ignore_ascii_case(scheme));
    let default_port = if is_scheme(["ws", "http"]) {
        80
    } else if is_scheme(["wss", "https"]) {
        443
    } else {
        return Err(InvalidRequest::Scheme);
    };
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or(InvalidRequest::MissingHost)?;
    // RFC 6455 §4.1: the port only if it's not the default. User information never.
    let host = match explicit_port(uri, host)? {
        Some(port) if port != default_port => format!("{host}:{port}"),
        _ => host.to_owned(),
    };
    // `Uri` takes brackets with anything in them, and then finds a host that is none.
    let host = HeaderValue::try_from(host).ok().filter(is_host);
    let host = host.ok_or(InvalidRequest::MissingHost)?;

    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = request_target(uri)?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, encode_key(key));
    if !subprotocols.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, join_subprotocols(subprotocols)?);
    }
    if let Some(wish) = deflate {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, write_offer(wish));
    }
    Ok(request)
}

/// `Uri` takes anything for a port, and then says that there is none: that would be another server than the one that was
/// asked for.
fn explicit_port(uri: &Uri, host: &str) -> Result<Option<u16>, InvalidRequest> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let (_, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
    let port = match authority.strip_prefix(host) {
        Some("" | ":") => return Ok(None),
        Some(rest) => rest.strip_prefix(':'),
        None => None,
    };
    let port = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.and_then(|port| port.parse().ok());
    port.map(Some).ok_or(InvalidRequest::Port)
}

/// RFC 6455 §3: the resource name begins with a slash also where the URI's path is empty, and is ASCII (RFC 3986 §2).
fn request_target(uri: &Uri) -> Result<Uri, InvalidRequest> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = if target.starts_with('?') {
        Uri::try_from(format!("/{target}"))
    } else {
        Uri::try_from(target)
    };
    let target = target.ok().filter(|target| {
        let text = target.path_and_query().map_or("", |target| target.as_str());
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
    });
    target.ok_or(InvalidRequest::Target)
}

fn join_subprotocols(subprotocols: &[&str]) -> Result<HeaderValue, InvalidRequest> {
    let mut known: Vec<&str> = Vec::new();
    for &name in subprotocols {
        if parse_token(name.as_bytes()).is_none() || known.contains(&name) {
            return Err(InvalidRequest::Subprotocol);
        }
        known.push(name);
    }
    HeaderValue::try_from(known.join(", ")).map_err(|_| InvalidRequest::Subprotocol)
}

/// Checks the server's response (RFC 6455 §4.1) to the request made with the same `key`, subprotocols and wish for
/// permessage-deflate.
///
/// # Errors
///
/// The first rule that the response breaks; [`ResponseError::Status`] if the server refused.
pub fn check_response<B>(
    response: &Response<B>,
    key: [u8; 16],
    offered_subprotocols: &[&str],
    offered_deflate: Option<DeflateWish>,
) -> Result<ResponseHandshake, ResponseError> {
    let headers = response.headers();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(ResponseError::Status {
            status: response.status(),
        });
    }
    // RFC 6455 §4.1: that and nothing else, unlike `Connection`.
    let is_websocket = |element: &[u8]| element.eq_ignore_ascii_case(b"websocket");
    let mut upgrades = elements(headers, UPGRADE).peekable();
    if upgrades.peek().is_none() || !upgrades.all(is_websocket) {
        return Err(ResponseError::MissingUpgrade);
    }
    if !list_contains(headers, CONNECTION, "upgrade") {
        return Err(ResponseError::MissingConnection);
    }
    let expected = accept_key(encode_key(key).as_bytes());
    match find_single(headers, SEC_WEBSOCKET_ACCEPT) {
        Single::One(accept) if trim_blanks(accept.as_bytes()) == expected.as_bytes() => {}
        _ => return Err(ResponseError::WrongAccept),
    }
    let extensions =
        parse_extensions(headers).map_err(|Malformed| ResponseError::InvalidExtension)?;
    let deflate = check_answer(&extensions, offered_deflate).map_err(|error| match error {
        InvalidAnswer::Unoffered => ResponseError::UnofferedExtension,
        InvalidAnswer::Parameters => ResponseError::InvalidExtension,
    })?;
    let subprotocol = match find_single(headers, SEC_WEBSOCKET_PROTOCOL) {
        Single::Missing => None,
        Single::Repeated => return Err(ResponseError::UnofferedSubprotocol),
        Single::One(chosen) => offered_subprotocols
            .iter()
            .find(|offered| offered.as_bytes() == trim_blanks(chosen.as_bytes()))
            .map(|&chosen| Some(chosen.to_owned()))
            .ok_or(ResponseError::UnofferedSubprotocol)?,
    };
    Ok(ResponseHandshake {
        subprotocol,
        deflate,
    })
}

/// A request that can't be built from what the caller gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The URI's scheme is not `ws`, `wss`, `http` or `https`, or there is none.
    #[error("the URI must begin with ws:// or wss://")]
    Scheme,
    /// The URI has no host, or one that is none.
    #[error("the URI has no host")]
    MissingHost,
    /// What follows the URI's host is no port: not a number, or larger than 65535.
    #[error("the URI's port is not a number up to 65535")]
    Port,
    /// The URI's path and query are no target of a request, such as `*`, too long with a slash in front, or not ASCII: what
    /// is not has to be percent-encoded.
    #[error("the URI's path and query can't be requested")]
    Target,
    /// A subprotocol is not a token (RFC 9110 §5.6.2), or is there twice.
    #[error("each subprotocol must be a token, and there once")]
    Subprotocol,
}

/// Why a response does not open a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The status is not 101: the server refused, or wants something else first.
    #[error("the server answered {status}, not 101 Switching Protocols")]
    Status {
        /// The response's status.
        status: StatusCode,
    },
    /// `Upgrade` is not `websocket`, or names something else as well.
    #[error("the response has no header `Upgrade: websocket`")]
    MissingUpgrade,
    /// No `upgrade` in `Connection`.
    #[error("the response has no header `Connection: Upgrade`")]
    MissingConnection,
    /// `Sec-WebSocket-Accept` is missing, repeated, or not the one for our key.
    #[error("the response's `Sec-WebSocket-Accept` does not match the key")]
    WrongAccept,
    /// The server chose a subprotocol that was not offered, or more than one.
    #[error("the server chose a subprotocol that was not offered")]
    UnofferedSubprotocol,
    /// The server uses an extension that was not offered, or one twice.
    #[error("the server chose an extension that was not offered")]
    UnofferedExtension,
    /// The server's extensions are malformed, or permessage-deflate has parameters that are no answer to the offer
    /// (RFC 7692 §7).
    #[error("the server's answer to the offer of permessage-deflate is not valid")]
    InvalidExtension,
}

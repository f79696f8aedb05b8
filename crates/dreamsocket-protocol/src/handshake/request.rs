//! The server's side: what a client's request must have, and what a refusal says. Who may connect
//! (origins, credentials, caps) is not decided here.

use std::collections::HashSet;

use super::accept_key;
use super::deflate::{DeflateParams, DeflateWish, Offer, accept_first};
use super::extensions::{Malformed, parse_extensions};
use super::token::{Single, elements, find_single, list_contains, parse_token, trim_blanks};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use http::header::{
    ALLOW, CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};

/// A valid request to upgrade an HTTP/1.1 connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestHandshake {
    /// The `Sec-WebSocket-Accept` of the 101 response.
    pub accept_key: HeaderValue,
    /// The subprotocols that the client offers, in its order, each once.
    pub subprotocols: Vec<String>,
    /// The offers of permessage-deflate, in the client's order.
    pub deflate: DeflateOffers,
}

/// A valid request to open a WebSocket on an HTTP/2 stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectHandshake {
    /// The subprotocols that the client offers, in its order, each once.
    pub subprotocols: Vec<String>,
    /// The offers of permessage-deflate, in the client's order.
    pub deflate: DeflateOffers,
}

/// Checks a request to upgrade an HTTP/1.1 connection (RFC 6455 §4.2.1).
///
/// The answer to a valid one is a 101 with `Upgrade: websocket`, `Connection: Upgrade`,
/// `Sec-WebSocket-Accept`, and at most one of the offered subprotocols in
/// `Sec-WebSocket-Protocol`.
///
/// # Errors
///
/// The first rule that the request breaks. The answer is a response with the error's
/// [`status`](RequestError::status), [`headers`](RequestError::headers) and text:
///
/// ```
/// # use dreamsocket_protocol::handshake::check_request;
/// let page_view = http::Request::builder().header("host", "example.com").body(())?;
/// let error = check_request(&page_view).unwrap_err();
///
/// let mut refusal = http::Response::new(format!("{error}\n"));
/// *refusal.status_mut() = error.status();
/// refusal.headers_mut().extend(error.headers());
/// assert_eq!(refusal.status(), 426);
/// assert_eq!(refusal.headers()["upgrade"], "websocket");
/// # Ok::<(), http::Error>(())
/// ```
pub fn check_request<B>(request: &Request<B>) -> Result<RequestHandshake, RequestError> {
    let headers = request.headers();
    if request.version() != Version::HTTP_11 {
        return Err(RequestError::NotHttp11);
    }
    if request.method() != Method::GET {
        return Err(RequestError::NotGet);
    }
    if !list_contains(headers, UPGRADE, "websocket") {
        return Err(RequestError::MissingUpgrade);
    }
    if !list_contains(headers, CONNECTION, "upgrade") {
        return Err(RequestError::MissingConnection);
    }
    let Single::One(host) = find_single(headers, HOST) else {
        return Err(RequestError::MissingHost);
    };
    if !is_host(host) {
        return Err(RequestError::InvalidHost);
    }
    check_version(headers)?;
    let key = match find_single(headers, SEC_WEBSOCKET_KEY) {
        Single::Missing => return Err(RequestError::MissingKey),
        Single::Repeated => return Err(RequestError::RepeatedKey),
        Single::One(key) => trim_blanks(key.as_bytes()),
    };
    if !is_sixteen_bytes(key) {
        return Err(RequestError::InvalidKey);
    }
    Ok(RequestHandshake {
        accept_key: accept_key(key),
        subprotocols: parse_subprotocols(headers)?,
        deflate: DeflateOffers::parse(headers)?,
    })
}

/// Checks a request to open a WebSocket on an HTTP/2 stream by extended CONNECT (RFC 8441 §5).
///
/// The caller has seen to it that the `:protocol` pseudo-header is `websocket`; the [`http`] crate
/// has no place for it. The answer to a valid one is a 200, with at most one of the offered
/// subprotocols; there is no key and no `Sec-WebSocket-Accept`.
///
/// # Errors
///
/// The first rule that the request breaks, as with [`check_request`].
pub fn check_connect_request<B>(request: &Request<B>) -> Result<ConnectHandshake, RequestError> {
    if request.version() != Version::HTTP_2 {
        return Err(RequestError::NotHttp2);
    }
    if request.method() != Method::CONNECT {
        return Err(RequestError::NotConnect);
    }
    check_version(request.headers()).map_err(|_| RequestError::UnsupportedVersionHttp2)?;
    Ok(ConnectHandshake {
        subprotocols: parse_subprotocols(request.headers())?,
        deflate: DeflateOffers::parse(request.headers())?,
    })
}

fn check_version(headers: &HeaderMap) -> Result<(), RequestError> {
    match find_single(headers, SEC_WEBSOCKET_VERSION) {
        Single::One(version) if trim_blanks(version.as_bytes()) == b"13" => Ok(()),
        _ => Err(RequestError::UnsupportedVersion),
    }
}

/// RFC 9112 §3.2: a host and perhaps a port, as in a URI's authority.
pub(super) fn is_host(value: &HeaderValue) -> bool {
    let text = trim_blanks(value.as_bytes());
    let Ok(authority) = Authority::try_from(text) else {
        return false;
    };
    let host = authority.host();
    match authority.as_str().strip_prefix(host) {
        Some("" | ":") => !host.is_empty(),
        Some(port) => !host.is_empty() && port.strip_prefix(':').is_some_and(is_port),
        None => false,
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_sixteen_bytes(key: &[u8]) -> bool {
    // The last digit holds four bits that mean nothing. Clients that made up a key by drawing
    // digits have set them, and no harm is in it.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    LENIENT.decode(key).is_ok_and(|key| key.len() == 16)
}

/// RFC 6455 §4.1 has a client name each subprotocol once; a repeated one is no reason to refuse it.
fn parse_subprotocols(headers: &HeaderMap) -> Result<Vec<String>, RequestError> {
    let mut subprotocols = Vec::new();
    // A set: to look through what there is for each name would take the square of the header's length.
    let mut known = HashSet::new();
    for element in elements(headers, SEC_WEBSOCKET_PROTOCOL) {
        let name = parse_token(element).ok_or(RequestError::InvalidSubprotocol)?;
        if known.insert(name) {
            subprotocols.push(name.to_owned());
        }
    }
    Ok(subprotocols)
}

/// The offers of permessage-deflate in a request (RFC 7692 §5); none if the client does not want it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeflateOffers(Vec<Offer>);

impl DeflateOffers {
    fn parse(headers: &HeaderMap) -> Result<Self, RequestError> {
        let extensions =
            parse_extensions(headers).map_err(|Malformed| RequestError::InvalidExtensions)?;
        Ok(Self(extensions.iter().filter_map(Offer::parse).collect()))
    }

    /// What is agreed on, and the `Sec-WebSocket-Extensions` of the response: the first offer that can be honoured
    /// decides. One with `server_max_window_bits=8` can't, since zlib does not compress with so small a window. `None` if
    /// there is no such offer: then the connection is opened without compression.
    ///
    /// ```
    /// use dreamsocket_protocol::handshake::{DeflateWish, check_connect_request};
    ///
    /// let request = http::Request::builder()
    ///     .method("CONNECT")
    ///     .version(http::Version::HTTP_2)
    ///     .header("sec-websocket-version", "13")
    ///     .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
    ///     .body(())?;
    /// let accepted = check_connect_request(&request)?;
    /// let (params, header) = accepted.deflate.accept(DeflateWish::ALONE).unwrap();
    /// assert!(params.server_no_context_takeover && params.client_no_context_takeover);
    /// assert_eq!(header, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn accept(&self, wish: DeflateWish) -> Option<(DeflateParams, HeaderValue)> {
        accept_first(&self.0, wish)
    }
}

/// Why a request does not open a WebSocket. Displayed, it's one plain line for the response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The method is not GET.
    #[error("a WebSocket is opened with GET")]
    NotGet,
    /// The method is not CONNECT, on HTTP/2.
    #[error("a WebSocket is opened with CONNECT on HTTP/2")]
    NotConnect,
    /// The request is not HTTP/1.1.
    #[error("a WebSocket upgrade needs HTTP/1.1")]
    NotHttp11,
    /// The request is not HTTP/2, and came to [`check_connect_request`].
    #[error("an extended CONNECT needs HTTP/2")]
    NotHttp2,
    /// No `websocket` in `Upgrade`.
    #[error("this is a WebSocket endpoint: the request needs the header `Upgrade: websocket`")]
    MissingUpgrade,
    /// No `upgrade` in `Connection`. A proxy that does not pass it on is the usual reason.
    #[error("the request needs the header `Connection: Upgrade`; does a proxy remove it?")]
    MissingConnection,
    /// No `Host`, or more than one.
    #[error("the request needs one `Host` header")]
    MissingHost,
    /// A `Host` that is not a host, with a port or without (RFC 9112 §3.2).
    #[error("`Host` must be a host, and perhaps a port")]
    InvalidHost,
    /// `Sec-WebSocket-Version` is not there once, or is not 13.
    #[error("the request needs the header `Sec-WebSocket-Version: 13`, once")]
    UnsupportedVersion,
    /// Likewise, on HTTP/2, which knows no upgrade (RFC 9113 §8.2.2).
    #[error("the request needs the header `Sec-WebSocket-Version: 13`, once")]
    UnsupportedVersionHttp2,
    /// No `Sec-WebSocket-Key`.
    #[error("the request needs the header `Sec-WebSocket-Key`")]
    MissingKey,
    /// More than one `Sec-WebSocket-Key`.
    #[error("the request has more than one `Sec-WebSocket-Key`")]
    RepeatedKey,
    /// A `Sec-WebSocket-Key` that is not sixteen bytes in base64.
    #[error("`Sec-WebSocket-Key` must be 16 bytes in base64")]
    InvalidKey,
    /// A `Sec-WebSocket-Protocol` that is not a list of tokens.
    #[error("`Sec-WebSocket-Protocol` must be a comma-separated list of tokens")]
    InvalidSubprotocol,
    /// A `Sec-WebSocket-Extensions` that is not a list of extensions (RFC 6455 §9.1).
    #[error("`Sec-WebSocket-Extensions` must be a comma-separated list of extensions")]
    InvalidExtensions,
}

impl RequestError {
    /// The status of the response: 405, 426 or 400.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotGet | Self::NotConnect => StatusCode::METHOD_NOT_ALLOWED,
            Self::MissingUpgrade | Self::UnsupportedVersion => StatusCode::UPGRADE_REQUIRED,
            Self::NotHttp11
            | Self::NotHttp2
            | Self::MissingConnection
            | Self::MissingHost
            | Self::InvalidHost
            | Self::UnsupportedVersionHttp2
            | Self::MissingKey
            | Self::RepeatedKey
            | Self::InvalidKey
            | Self::InvalidSubprotocol
            | Self::InvalidExtensions => StatusCode::BAD_REQUEST,
        }
    }

    /// The headers that the status asks for: `Allow` with 405; `Upgrade`, `Connection` and
    /// `Sec-WebSocket-Version` with 426, and that alone where the version is not supported on HTTP/2; none with other 400s.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let fields = match self {
            Self::NotGet => &[(ALLOW, "GET")][..],
            Self::NotConnect => &[(ALLOW, "CONNECT")],
            Self::MissingUpgrade | Self::UnsupportedVersion => &[
                (UPGRADE, "websocket"),
                (CONNECTION, "Upgrade"),
                (SEC_WEBSOCKET_VERSION, "13"),
            ],
            Self::UnsupportedVersionHttp2 => &[(SEC_WEBSOCKET_VERSION, "13")],
            _ => &[],
        };
        fields
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }
}

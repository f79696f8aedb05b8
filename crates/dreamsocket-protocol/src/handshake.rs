//! The opening handshake (RFC 6455 §4) as pure functions over [`http`] types, for both roles. Apart
//! from the engine because it ends before the first frame, and an HTTP stack carries it.
//!
//! A server checks the request and answers with what [`check_request`] returns:
//!
//! ```
//! use dreamsocket_protocol::handshake;
//!
//! let key = *b"the sample nonce";
//! let request = handshake::client_request(&"ws://example.com/chat".parse()?, key, &["soap"], None)?;
//! let accepted = handshake::check_request(&request)?;
//! assert_eq!(accepted.subprotocols, ["soap"]);
//!
//! let response = http::Response::builder()
//!     .status(101)
//!     .header("upgrade", "websocket")
//!     .header("connection", "Upgrade")
//!     .header("sec-websocket-accept", accepted.accept_key)
//!     .header("sec-websocket-protocol", "soap")
//!     .body(())?;
//! let checked = handshake::check_response(&response, key, &["soap"], None)?;
//! assert_eq!(checked.subprotocol.as_deref(), Some("soap"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod deflate;
mod extensions;
mod request;
mod response;
mod token;

pub use deflate::{DeflateParams, DeflateWish, MAX_WINDOW_BITS, MIN_WINDOW_BITS};
pub use request::{
    ConnectHandshake, DeflateOffers, RequestError, RequestHandshake, check_connect_request,
    check_request,
};
pub use response::{
    InvalidRequest, ResponseError, ResponseHandshake, check_response, client_request,
};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha1::{Digest, Sha1};

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`, both as they are in the headers.
///
/// ```
/// # use dreamsocket_protocol::handshake::accept_key;
/// // The example of RFC 6455 §1.3.
/// assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept_key(key: &[u8]) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    into_header(STANDARD.encode(digest))
}

/// The `Sec-WebSocket-Key` for a client's sixteen random bytes.
fn encode_key(key: [u8; 16]) -> HeaderValue {
    into_header(STANDARD.encode(key))
}

#[expect(clippy::expect_used, reason = "base64 is visible ASCII")]
fn into_header(base64: String) -> HeaderValue {
    HeaderValue::try_from(base64).expect("base64 is a header value")
}

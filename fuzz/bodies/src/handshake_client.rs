//! The client's half of the opening handshake: a server's response, any response, is taken if and only if a plain reading
//! of RFC 6455 §4.1 takes it; and a request for any URI is one that a server takes, or is not made.
//!
//! The input: the response as text, a line each, or a URI; behind it a byte that chooses which, and what is offered.

use crate::header_text::{elements, has_element, lines, parse_head};
use crate::input::Input;
use crate::opening::{KEY, Opening, open};
use dreamsocket_protocol::handshake::{DeflateWish, ResponseError, accept_key, check_response};
use http::{HeaderMap, Response, StatusCode, Uri};

/// See the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let choice = input.take();
    let subprotocols: &[&str] = if choice & 1 == 0 {
        &[]
    } else {
        &["soap", "wamp"]
    };
    let wish = (choice & 2 != 0).then_some(DeflateWish {
        context_takeover: choice & 4 != 0,
        window_bits: 9 + (choice >> 3) % 7,
    });
    if choice & 128 == 0 {
        check_any_response(input.rest(), subprotocols, wish);
    } else if let Ok(uri) = Uri::try_from(input.rest()) {
        check_any_uri(&uri, subprotocols, wish);
    }
}

fn check_any_response(input: &[u8], subprotocols: &[&str], wish: Option<DeflateWish>) {
    let (status, headers) = parse_head(input);
    let Ok(status) = StatusCode::from_bytes(status) else {
        return;
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let headers = response.headers();
    match check_response(&response, KEY, subprotocols, wish) {
        Ok(checked) => {
            assert!(is_switch(status, headers), "{response:?}");
            let chosen = lines(headers, "sec-websocket-protocol");
            assert_eq!(chosen, Vec::from_iter(checked.subprotocol.clone()));
            let subprotocol = checked.subprotocol.as_deref();
            assert!(subprotocol.is_none_or(|chosen| subprotocols.contains(&chosen)));
            let answer = lines(headers, "sec-websocket-extensions").concat();
            match (checked.deflate, wish) {
                (None, _) => assert!(answer.replace([',', ' ', '\t'], "").is_empty()),
                (Some(_), None) => panic!("nothing was offered: {response:?}"),
                (Some(params), Some(wish)) => {
                    assert!(answer.to_ascii_lowercase().contains("permessage-deflate"));
                    assert!((8..=15).contains(&params.server_max_window_bits));
                    // Our own messages fit what we wished for, and the server's what is kept of them.
                    assert!((8..=wish.window_bits).contains(&params.client_max_window_bits));
                    assert!(params.client_no_context_takeover || wish.context_takeover);
                    assert!(
                        params.server_no_context_takeover
                            || (wish.context_takeover
                                && params.server_max_window_bits <= wish.window_bits)
                    );
                }
            }
        }
        Err(ResponseError::UnofferedSubprotocol) => {
            let chosen = lines(headers, "sec-websocket-protocol");
            let is_offered = |chosen: &String| subprotocols.contains(&chosen.as_str());
            assert!(chosen.len() > 1 || !chosen.iter().all(is_offered));
        }
        Err(ResponseError::UnofferedExtension | ResponseError::InvalidExtension) => {
            assert!(headers.contains_key("sec-websocket-extensions"));
        }
        Err(error) => {
            assert!(!is_switch(status, headers), "{error}: {response:?}");
            assert!(!error.to_string().contains('\n'));
        }
    }
}

/// RFC 6455 §4.1, but for what the server chose.
fn is_switch(status: StatusCode, headers: &HeaderMap) -> bool {
    // The key in base64.
    let expected = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
    let expected = expected.to_str().expect("base64");
    status.as_u16() == 101
        && is_websocket(headers)
        && has_element(headers, "connection", "upgrade")
        && lines(headers, "sec-websocket-accept") == [expected]
}

/// RFC 6455 §4.1: that and nothing else.
fn is_websocket(headers: &HeaderMap) -> bool {
    let upgrades = elements(headers, "upgrade");
    let is_named = |name: &String| name.eq_ignore_ascii_case("websocket");
    !upgrades.is_empty() && upgrades.iter().all(is_named)
}

fn check_any_uri(uri: &Uri, subprotocols: &[&str], wish: Option<DeflateWish>) {
    let Some(Opening { request, .. }) = open(uri, subprotocols, wish, wish) else {
        return;
    };
    assert!(request.uri().path().starts_with('/'));
    assert!(request.uri().authority().is_none(), "the origin form");
    let host = request.headers()["host"].to_str().expect("visible ASCII");
    assert!(!host.contains('@'), "no user information: {host}");
    let asked = uri.host().expect("without one there is no request");
    let port = host
        .strip_prefix(asked)
        .expect("the host that was asked for");
    let scheme = uri.scheme_str().unwrap_or_default();
    let is_secure = ["wss", "https"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme));
    let default = if is_secure { 443 } else { 80 };
    match uri.port_u16() {
        Some(asked) if asked != default => assert_eq!(port, format!(":{asked}")),
        _ => assert_eq!(port, ""),
    }
}

//! A client's request, any request: taken if and only if a plain reading of RFC 6455 §4.2.1 takes it, refused with something
//! to say, and what is agreed on of compression is what the client offered.
//!
//! The input: the request as text, a line each.

use crate::header_text::{elements, has_element, is_token, lines, parse_head};
use dreamsocket_protocol::handshake::{
    DeflateOffers, DeflateParams, DeflateWish, RequestError, accept_key, check_connect_request,
    check_request,
};
use http::{HeaderMap, HeaderValue, Request, Version};

/// See the module.
pub fn run(input: &[u8]) {
    let Some(request) = parse_request(input) else {
        return;
    };
    let headers = request.headers();
    match check_request(&request) {
        Ok(accepted) => {
            assert!(is_upgrade(&request), "{request:?}");
            assert!(is_list_of_tokens(headers), "{request:?}");
            let key = &lines(headers, "sec-websocket-key")[0];
            assert_eq!(accepted.accept_key, accept_key(key.as_bytes()));
            check_subprotocols(headers, &accepted.subprotocols);
            check_offers(headers, &accepted.deflate);
        }
        Err(RequestError::InvalidSubprotocol) => assert!(!is_list_of_tokens(headers)),
        Err(RequestError::InvalidExtensions) => assert!(is_upgrade(&request)),
        Err(error) => {
            assert!(!is_upgrade(&request), "{error}: {request:?}");
            check_refusal(error);
        }
    }
    match check_connect_request(&request) {
        Ok(accepted) => {
            assert!(is_connect(&request), "{request:?}");
            check_subprotocols(headers, &accepted.subprotocols);
            check_offers(headers, &accepted.deflate);
        }
        Err(RequestError::InvalidSubprotocol) => assert!(!is_list_of_tokens(headers)),
        Err(RequestError::InvalidExtensions) => assert!(is_connect(&request)),
        Err(error) => {
            assert!(!is_connect(&request), "{error}: {request:?}");
            check_refusal(error);
        }
    }
}

/// The first line is `METHOD TARGET VERSION`. `None` if there is no such request.
fn parse_request(input: &[u8]) -> Option<Request<()>> {
    let (first, headers) = parse_head(input);
    let mut words = first.split(|&byte| byte == b' ');
    let method = words.next()?;
    let target = words.next()?;
    let version = match words.next()? {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/2" => Version::HTTP_2,
        _ => return None,
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .version(version)
        .body(())
        .ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

/// RFC 6455 §4.2.1 but for the two lists, which are checked last.
fn is_upgrade(request: &Request<()>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_11
        && request.method() == "GET"
        && has_element(headers, "upgrade", "websocket")
        && has_element(headers, "connection", "upgrade")
        && matches!(&lines(headers, "host")[..], [host] if is_host(host))
        && lines(headers, "sec-websocket-version") == ["13"]
        && matches!(&lines(headers, "sec-websocket-key")[..], [key] if is_key(key))
}

/// RFC 8441 §5, likewise.
fn is_connect(request: &Request<()>) -> bool {
    request.version() == Version::HTTP_2
        && request.method() == "CONNECT"
        && lines(request.headers(), "sec-websocket-version") == ["13"]
}

/// RFC 9112 §3.2, as far as a plain reading goes: a name or an address in brackets, and a port up to 65535 or none.
fn is_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else {
        return false;
    };
    let port = &host[authority.host().len().min(host.len())..];
    let is_port =
        |port: &str| port.is_empty() || port.parse::<u16>().is_ok() && !port.starts_with('+');
    !host.contains('@')
        && !authority.host().is_empty()
        && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Sixteen bytes in base64: 22 digits, of which the last has bits to spare, and the padding.
fn is_key(key: &str) -> bool {
    let is_digit = |char: char| char.is_ascii_alphanumeric() || char == '+' || char == '/';
    let digits = key.strip_suffix("==");
    digits.is_some_and(|digits| digits.len() == 22 && digits.chars().all(is_digit))
}

fn is_list_of_tokens(headers: &HeaderMap) -> bool {
    let offered = elements(headers, "sec-websocket-protocol");
    offered.iter().all(|name| is_token(name))
}

/// All that were offered, in order, each once.
fn check_subprotocols(headers: &HeaderMap, subprotocols: &[String]) {
    let mut expected: Vec<String> = Vec::new();
    for name in elements(headers, "sec-websocket-protocol") {
        if !expected.contains(&name) {
            expected.push(name);
        }
    }
    assert_eq!(subprotocols, expected);
}

/// A refusal says what is wrong in one line, and has the headers that its status asks for.
fn check_refusal(error: RequestError) {
    let line = error.to_string();
    assert!(!line.is_empty() && !line.contains('\n'));
    let headers = error.headers();
    match error.status().as_u16() {
        400 => assert!(headers.keys().all(|name| name == "sec-websocket-version")),
        405 => assert!(headers.contains_key("allow")),
        426 => assert!(headers.contains_key("upgrade")),
        other => panic!("{other}"),
    }
}

/// What is accepted of the offers, for each that could be wished for.
fn check_offers(headers: &HeaderMap, offers: &DeflateOffers) {
    for wish in [false, true].into_iter().flat_map(|context_takeover| {
        [8, 9, 12, 15, 16].map(|window_bits| DeflateWish {
            context_takeover,
            window_bits,
        })
    }) {
        let Some((params, answer)) = offers.accept(wish) else {
            continue;
        };
        let offered = elements(headers, "sec-websocket-extensions");
        let name = "permessage-deflate";
        let is_offer = |offer: &String| offer.to_ascii_lowercase().starts_with(name);
        assert!(offered.iter().any(is_offer), "{headers:?}");
        assert!((9..=15).contains(&params.server_max_window_bits));
        assert!((8..=15).contains(&params.client_max_window_bits));
        if wish.context_takeover {
            // No more is kept for the peer than was wished for.
            let kept = wish.window_bits.clamp(9, 15);
            assert!(params.server_max_window_bits <= kept);
            assert!(params.client_no_context_takeover || params.client_max_window_bits <= kept);
        } else {
            assert!(params.server_no_context_takeover && params.client_no_context_takeover);
        }
        check_answer(headers, params, &answer);
    }
}

/// The answer says what was agreed on, and a window for the client only if the client can be told one (RFC 7692 §7.1.2.2).
fn check_answer(headers: &HeaderMap, params: DeflateParams, answer: &HeaderValue) {
    let answer = answer.to_str().expect("visible ASCII");
    let says = |parameter: &str| answer.split("; ").any(|part| part == parameter);
    assert!(says("permessage-deflate"));
    assert_eq!(
        says("server_no_context_takeover"),
        params.server_no_context_takeover
    );
    assert_eq!(
        says("client_no_context_takeover"),
        params.client_no_context_takeover
    );
    let bits = params.server_max_window_bits;
    assert!(bits == 15 || says(&format!("server_max_window_bits={bits}")));
    let bits = params.client_max_window_bits;
    if bits < 15 {
        assert!(says(&format!("client_max_window_bits={bits}")));
        let offered = lines(headers, "sec-websocket-extensions").concat();
        assert!(offered.contains("client_max_window_bits"));
    }
}

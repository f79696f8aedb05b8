//! RFC 6455 §4: the opening handshake, both sides, and RFC 8441's on HTTP/2.

use dreamsocket_protocol::handshake::{
    DeflateWish, InvalidRequest, RequestError, ResponseError, accept_key, check_connect_request,
    check_request, check_response, client_request,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};

const KEY: [u8; 16] = *b"the sample nonce";
const KEY_TEXT: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The example of §1.2.
fn request() -> Request<()> {
    Request::builder()
        .uri("/chat")
        .header("host", "server.example.com")
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-key", KEY_TEXT)
        .header("origin", "http://example.com")
        .header("sec-websocket-protocol", "chat, superchat")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap()
}

fn response() -> Response<()> {
    Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-accept", ACCEPT)
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap()
}

/// Puts these lines in place of the field's; none removes it.
fn replace(headers: &mut HeaderMap, name: &'static str, lines: &[&str]) {
    headers.remove(name);
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
}

fn offered(lines: &[&str]) -> Result<Vec<String>, RequestError> {
    let mut request = request();
    replace(request.headers_mut(), "sec-websocket-protocol", lines);
    check_request(&request).map(|handshake| handshake.subprotocols)
}

#[test]
fn the_example_of_the_rfc() {
    let handshake = check_request(&request()).unwrap();
    assert_eq!(handshake.accept_key, ACCEPT);
    assert_eq!(handshake.subprotocols, ["chat", "superchat"]);
    assert_eq!(accept_key(KEY_TEXT.as_bytes()), ACCEPT);
    let handshake = check_response(&response(), KEY, &["chat", "superchat"], None).unwrap();
    assert_eq!(handshake.subprotocol.as_deref(), Some("chat"));
}

/// RFC 7692 §5.
#[test]
fn offers_of_compression_are_for_the_server_to_accept() {
    let accepted = |line: &'static str| {
        let mut request = request();
        replace(request.headers_mut(), "sec-websocket-extensions", &[line]);
        let handshake = check_request(&request).unwrap();
        handshake.deflate.accept(DeflateWish::ALONE)
    };
    let (params, header) = accepted("other, permessage-deflate").unwrap();
    assert!(params.server_no_context_takeover && params.client_no_context_takeover);
    assert_eq!(
        header,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    );
    assert_eq!(accepted("other"), None);
}

/// RFC 7692 §5.
#[test]
fn a_client_offers_compression_and_takes_an_answer_to_its_offer_only() {
    let wish = Some(DeflateWish::ALONE);
    let uri = Uri::from_static("ws://example.com/");
    let request = client_request(&uri, KEY, &[], wish).unwrap();
    assert_eq!(
        request.headers()["sec-websocket-extensions"],
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"
    );
    let check = |line, expected| {
        let mut response = response();
        replace(response.headers_mut(), "sec-websocket-protocol", &[]);
        replace(response.headers_mut(), "sec-websocket-extensions", &[line]);
        let deflate =
            check_response(&response, KEY, &[], wish).map(|agreed| agreed.deflate.is_some());
        assert_eq!(deflate, expected, "{line}");
    };
    let invalid = Err(ResponseError::InvalidExtension);
    check("permessage-deflate; server_no_context_takeover", Ok(true));
    check("permessage-deflate; unknown", invalid);
    check("permessage-deflate; =1", invalid);
    check("other", Err(ResponseError::UnofferedExtension));
}

#[test]
fn a_request_is_accepted_in_every_allowed_spelling() {
    let check = |name, lines: &[&str]| {
        let mut request = request();
        replace(request.headers_mut(), name, lines);
        assert!(check_request(&request).is_ok(), "{name}: {lines:?}");
    };
    for host in [
        "EXAMPLE.com",
        "a_b.example:",
        " 10.0.0.1:65535 ",
        "[::1]:9001",
    ] {
        check("host", &[host]);
    }
    check("upgrade", &["WebSocket"]);
    check("upgrade", &["h2c, websocket"]);
    check("upgrade", &["h2c", "websocket"]);
    check("connection", &["keep-alive, Upgrade"]);
    check("connection", &["keep-alive", "UPGRADE"]);
    check("sec-websocket-version", &[" 13 "]);
    // The last digit's low bits say nothing.
    check("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZR=="]);
    check("origin", &[]);
    check("sec-websocket-extensions", &["permessage-deflate"]);
}

#[test]
fn a_request_is_refused_for_each_rule_it_breaks() {
    let check = |name, lines: &[&str], error: RequestError, status| {
        let mut request = request();
        replace(request.headers_mut(), name, lines);
        assert_eq!(check_request(&request), Err(error), "{name}: {lines:?}");
        assert_eq!(error.status().as_u16(), status);
        assert!(!error.to_string().contains('\n'));
    };
    for lines in [
        &[][..],
        &["foo"],
        &["websocket2"],
        &["xwebsocket"],
        &["websocket/13"],
    ] {
        check("upgrade", lines, RequestError::MissingUpgrade, 426);
    }
    for host in [
        "",
        "a b",
        "a, b",
        "user@example.com",
        "example.com/path",
        "example.com:99x",
        "example.com:65536",
        "example.com:+80",
        ":80",
        "[::1",
    ] {
        check("host", &[host], RequestError::InvalidHost, 400);
    }
    for lines in [
        &[][..],
        &["keep-alive"],
        &["no-upgrade"],
        &["upgrades"],
        &["close upgrade"],
    ] {
        check("connection", lines, RequestError::MissingConnection, 400);
    }
    for lines in [
        &[][..],
        &["8"],
        &["013"],
        &["13, 8"],
        &["13", "13"],
        &["8", "13"],
    ] {
        check(
            "sec-websocket-version",
            lines,
            RequestError::UnsupportedVersion,
            426,
        );
    }
    for lines in [&[][..], &["a", "b"]] {
        check("host", lines, RequestError::MissingHost, 400);
    }
    check("sec-websocket-key", &[], RequestError::MissingKey, 400);
    check(
        "sec-websocket-key",
        &[KEY_TEXT, KEY_TEXT],
        RequestError::RepeatedKey,
        400,
    );
    let one_less = "dGhlIHNhbXBsZSBub25j";
    let one_more = "dGhlIHNhbXBsZSBub25jZTE=";
    let unpadded = "dGhlIHNhbXBsZSBub25jZQ";
    for key in [
        "",
        "abc",
        one_less,
        one_more,
        unpadded,
        "dGhlIHNhbXBsZSBub25j!Q==",
    ] {
        check("sec-websocket-key", &[key], RequestError::InvalidKey, 400);
    }
    for lines in [
        &["a b"][..],
        &["chat", "super chat"],
        &["a;b"],
        &["(x)"],
        &["é"],
    ] {
        check(
            "sec-websocket-protocol",
            lines,
            RequestError::InvalidSubprotocol,
            400,
        );
    }
}

#[test]
fn method_and_version_are_checked() {
    for method in [Method::POST, Method::CONNECT, Method::HEAD] {
        let mut request = request();
        *request.method_mut() = method;
        assert_eq!(check_request(&request), Err(RequestError::NotGet));
    }
    for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_2] {
        let mut request = request();
        *request.version_mut() = version;
        assert_eq!(check_request(&request), Err(RequestError::NotHttp11));
    }
    assert_eq!(RequestError::NotHttp11.status(), 400);
}

#[test]
fn a_refusal_says_what_it_wants() {
    let check = |error: RequestError, status: u16, expected: &[(&'static str, &'static str)]| {
        assert_eq!(error.status().as_u16(), status);
        let expected: HeaderMap = expected
            .iter()
            .map(|&(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        assert_eq!(error.headers(), expected);
    };
    let upgrade = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
    ];
    check(RequestError::NotGet, 405, &[("allow", "GET")]);
    check(RequestError::NotConnect, 405, &[("allow", "CONNECT")]);
    check(RequestError::MissingUpgrade, 426, &upgrade);
    check(RequestError::UnsupportedVersion, 426, &upgrade);
    check(RequestError::InvalidKey, 400, &[]);
}

#[test]
fn subprotocols_are_read_over_all_lines_in_order() {
    assert_eq!(offered(&[]).unwrap(), [""; 0]);
    assert_eq!(offered(&[""]).unwrap(), [""; 0]);
    assert_eq!(offered(&["b,a", "c"]).unwrap(), ["b", "a", "c"]);
    assert_eq!(offered(&[" a ,, b,"]).unwrap(), ["a", "b"]);
    assert_eq!(offered(&["a", "b, a"]).unwrap(), ["a", "b"], "each once");
    assert_eq!(offered(&["a, A"]).unwrap(), ["a", "A"], "case counts");
}

#[test]
fn http2_connects_without_key_and_upgrade() {
    let request = |method, version, websocket_version: &str| {
        Request::builder()
            .method(method)
            .version(version)
            .header("sec-websocket-version", websocket_version)
            .header("sec-websocket-protocol", "chat")
            .body(())
            .unwrap()
    };
    let accepted = check_connect_request(&request("CONNECT", Version::HTTP_2, "13")).unwrap();
    assert_eq!(accepted.subprotocols, ["chat"]);
    let check = |request, error| assert_eq!(check_connect_request(&request), Err(error));
    check(
        request("GET", Version::HTTP_2, "13"),
        RequestError::NotConnect,
    );
    check(
        request("CONNECT", Version::HTTP_11, "13"),
        RequestError::NotHttp2,
    );
    check(
        request("CONNECT", Version::HTTP_2, "8"),
        RequestError::UnsupportedVersionHttp2,
    );
    // RFC 9113 §8.2.2: nothing of the connection is in the answer.
    let error = RequestError::UnsupportedVersionHttp2;
    assert_eq!(error.status(), 400);
    let headers = error.headers();
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["sec-websocket-version"], "13");
}

#[test]
fn a_clients_request_is_one_that_a_server_accepts() {
    let check = |uri: &str, target: &str, host: &str| {
        let request = client_request(&uri.parse::<Uri>().unwrap(), KEY, &["a", "b"], None).unwrap();
        assert_eq!(request.uri(), target);
        assert_eq!(request.headers()["host"], host);
        assert_eq!(request.headers()["sec-websocket-key"], KEY_TEXT);
        let accepted = check_request(&request).unwrap();
        assert_eq!(accepted.accept_key, ACCEPT);
        assert_eq!(accepted.subprotocols, ["a", "b"]);
    };
    check("ws://example.com", "/", "example.com");
    check("ws://example.com/chat?q=1", "/chat?q=1", "example.com");
    check("ws://example.com?q=/1", "/?q=/1", "example.com");
    check("ws://example.com:9001?", "/?", "example.com:9001");
    check("ws://example.com:80/", "/", "example.com");
    check("wss://example.com:80/", "/", "example.com:80");
    check("wss://example.com:443/", "/", "example.com");
    check("ws://[::1]:9001/x", "/x", "[::1]:9001");
    check("http://user:password@example.com/", "/", "example.com");
    check("ws://user:1x@example.com:65535/", "/", "example.com:65535");
    check("ws://example.com:/", "/", "example.com");
    check("WS://example.com:80/", "/", "example.com");
    check(
        "Wss://example.com:443/%C3%BC?%20",
        "/%C3%BC?%20",
        "example.com",
    );
}

#[test]
fn a_clients_request_needs_a_host_a_scheme_and_tokens() {
    let check = |uri: &str, subprotocols: &[&str], error| {
        let uri = uri.parse::<Uri>().unwrap();
        assert_eq!(
            client_request(&uri, KEY, subprotocols, None).unwrap_err(),
            error
        );
    };
    check("/chat", &[], InvalidRequest::Scheme);
    check("example.com", &[], InvalidRequest::Scheme);
    check("ftp://example.com/", &[], InvalidRequest::Scheme);
    for port in ["65536", "99999", "90x1", "-1", "+80", "80+"] {
        check(
            &format!("ws://example.com:{port}/"),
            &[],
            InvalidRequest::Port,
        );
        check(&format!("wss://u@[::1]:{port}/"), &[], InvalidRequest::Port);
    }
    // What `Uri` takes for the host "]".
    check("ws://[::@]/", &[], InvalidRequest::MissingHost);
    check("ws://[::@]:9/", &[], InvalidRequest::MissingHost);
    check("ws://example.com/", &["a b"], InvalidRequest::Subprotocol);
    check("ws://example.com/", &[""], InvalidRequest::Subprotocol);
    check(
        "ws://example.com/",
        &["a", "a"],
        InvalidRequest::Subprotocol,
    );
    let uri = "ws://example.com/".parse().unwrap();
    let request = client_request(&uri, KEY, &[], None).unwrap();
    assert!(!request.headers().contains_key("sec-websocket-protocol"));
}

#[test]
fn a_clients_request_needs_a_path_that_can_be_requested() {
    let long = format!("?{}", "a".repeat(65_533));
    for target in ["*", &long, "/\u{fc}", "/?\u{e9}"] {
        let uri = Uri::builder().scheme("ws").authority("example.com");
        let uri = uri.path_and_query(target).build().unwrap();
        let error = client_request(&uri, KEY, &[], None).unwrap_err();
        assert_eq!(error, InvalidRequest::Target);
    }
}

#[test]
fn a_response_is_refused_for_each_rule_it_breaks() {
    let check = |name, lines: &[&str], expected: Result<Option<&str>, ResponseError>| {
        let mut response = response();
        replace(response.headers_mut(), name, lines);
        let checked = check_response(&response, KEY, &["chat", "superchat"], None);
        let checked = checked.map(|handshake| handshake.subprotocol);
        let expected = expected.map(|chosen| chosen.map(str::to_owned));
        assert_eq!(checked, expected, "{name}: {lines:?}");
    };
    check("upgrade", &["WEBSOCKET"], Ok(Some("chat")));
    check("upgrade", &[], Err(ResponseError::MissingUpgrade));
    for more in [&["h2c"][..], &["h2c, websocket"], &["websocket", "foo"]] {
        check("upgrade", more, Err(ResponseError::MissingUpgrade));
    }
    check("connection", &["keep-alive, upgrade"], Ok(Some("chat")));
    check(
        "connection",
        &["keep-alive"],
        Err(ResponseError::MissingConnection),
    );
    let accept = "sec-websocket-accept";
    check(accept, &[], Err(ResponseError::WrongAccept));
    check(accept, &[ACCEPT, ACCEPT], Err(ResponseError::WrongAccept));
    check(
        accept,
        &[&ACCEPT.to_lowercase()],
        Err(ResponseError::WrongAccept),
    );
    check(accept, &[KEY_TEXT], Err(ResponseError::WrongAccept));
    let extensions = "sec-websocket-extensions";
    check(extensions, &[""], Ok(Some("chat")));
    check(
        extensions,
        &["permessage-deflate"],
        Err(ResponseError::UnofferedExtension),
    );
    let protocol = "sec-websocket-protocol";
    check(protocol, &[], Ok(None));
    check(protocol, &["superchat"], Ok(Some("superchat")));
    check(
        protocol,
        &["other"],
        Err(ResponseError::UnofferedSubprotocol),
    );
    check(
        protocol,
        &["Chat"],
        Err(ResponseError::UnofferedSubprotocol),
    );
    check(
        protocol,
        &["chat, superchat"],
        Err(ResponseError::UnofferedSubprotocol),
    );
    check(
        protocol,
        &["chat", "chat"],
        Err(ResponseError::UnofferedSubprotocol),
    );
    check(protocol, &[""], Err(ResponseError::UnofferedSubprotocol));
}

#[test]
fn a_refusal_comes_with_its_status() {
    let mut response = response();
    *response.status_mut() = http::StatusCode::FORBIDDEN;
    let error = check_response(&response, KEY, &[], None).unwrap_err();
    assert_eq!(
        error,
        ResponseError::Status {
            status: http::StatusCode::FORBIDDEN
        }
    );
    assert!(error.to_string().contains("403"));
}

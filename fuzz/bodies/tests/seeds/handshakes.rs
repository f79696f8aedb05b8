//! Requests and responses, as text.

use crate::Seeds;

/// A valid request, to which each seed adds or from which it takes.
const REQUEST: &str = "\
GET /chat HTTP/1.1
Host: example.com
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
";

/// A valid response to the body's key.
const RESPONSE: &str = "\
101
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
";

pub(crate) fn server() -> Seeds {
    let replaced = |from: &str, to: &str| {
        assert!(REQUEST.contains(from));
        REQUEST.replace(from, to)
    };
    let with = |more: &str| format!("{REQUEST}{more}\n");
    let offer = |offer: &str| with(&format!("Sec-WebSocket-Extensions: {offer}"));
    let connect = "\
CONNECT https://example.com/chat HTTP/2
sec-websocket-version: 13
sec-websocket-protocol: soap
sec-websocket-extensions: permessage-deflate
";
    let seeds = [
        ("valid", REQUEST.to_owned()),
        ("connect", connect.to_owned()),
        (
            "connect-without-version",
            "CONNECT https://a/ HTTP/2".to_owned(),
        ),
        ("http-1.0", replaced("HTTP/1.1", "HTTP/1.0")),
        ("post", replaced("GET", "POST")),
        ("no-upgrade", replaced("Upgrade: websocket\n", "")),
        (
            "upgrade-list",
            replaced("Upgrade: websocket", "Upgrade: h2c, WebSocket"),
        ),
        (
            "upgrade-to-another",
            replaced("Upgrade: websocket", "Upgrade: websockets"),
        ),
        (
            "connection-list",
            replaced(
                "Connection: Upgrade",
                "Connection: keep-alive\nConnection: , upgrade,",
            ),
        ),
        (
            "connection-close",
            replaced("Connection: Upgrade", "Connection: close"),
        ),
        ("no-host", replaced("Host: example.com\n", "")),
        ("two-hosts", with("Host: other.example")),
        ("version-8", replaced("13", "8")),
        ("two-versions", with("Sec-WebSocket-Version: 8")),
        (
            "no-key",
            replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n", ""),
        ),
        (
            "two-keys",
            with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        ),
        (
            "key-of-15",
            replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"),
        ),
        ("key-with-bits-to-spare", replaced("ZQ==", "ZR==")),
        ("key-without-padding", replaced("ZQ==", "ZQ")),
        (
            "protocols",
            with("Sec-WebSocket-Protocol: soap, wamp, soap\nSec-WebSocket-Protocol: v1.chat"),
        ),
        (
            "protocol-that-is-no-token",
            with("Sec-WebSocket-Protocol: so ap"),
        ),
        (
            "protocol-that-is-no-text",
            with("Sec-WebSocket-Protocol: é"),
        ),
        (
            "deflate",
            offer("permessage-deflate; client_max_window_bits"),
        ),
        (
            "deflate-narrow",
            offer("permessage-deflate; server_max_window_bits=10; client_max_window_bits=9"),
        ),
        (
            "deflate-alone",
            offer("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
        (
            "deflate-quoted",
            offer("permessage-deflate; server_max_window_bits=\"12\""),
        ),
        (
            "deflate-8",
            offer(
                "permessage-deflate; server_max_window_bits=8, permessage-deflate; client_max_window_bits=8",
            ),
        ),
        (
            "deflate-unknown",
            offer("permessage-deflate; unknown, x-webkit-deflate-frame, PerMessage-Deflate"),
        ),
        (
            "deflate-twice",
            offer("permessage-deflate; client_max_window_bits; client_max_window_bits=10"),
        ),
        ("extensions-malformed", offer("a; x=\"1,2\"; y=")),
        ("carriage-returns", REQUEST.replace('\n', "\r\n")),
    ];
    let seeds = seeds.into_iter();
    seeds
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .collect()
}

pub(crate) fn client() -> Seeds {
    let replaced = |from: &str, to: &str| {
        assert!(RESPONSE.contains(from));
        RESPONSE.replace(from, to)
    };
    let with = |more: &str| format!("{RESPONSE}{more}\n");
    let answer = |answer: &str| with(&format!("Sec-WebSocket-Extensions: {answer}"));
    // Bits of the choice: 1 subprotocols, 2 compression, 4 with context takeover, the next three its window; 128 a URI.
    let (plain, named, alone, takeover, narrow) = (0, 1, 2, 6 | 6 << 3, 6 | 1 << 3);
    let seeds = [
        ("valid", plain, RESPONSE.to_owned()),
        ("status-200", plain, replaced("101", "200")),
        (
            "status-401",
            plain,
            "401\nWWW-Authenticate: Basic".to_owned(),
        ),
        ("no-upgrade", plain, replaced("Upgrade: websocket\n", "")),
        (
            "connection-list",
            plain,
            replaced("Connection: Upgrade", "Connection: keep-alive, upgrade"),
        ),
        (
            "no-connection",
            plain,
            replaced("Connection: Upgrade\n", ""),
        ),
        ("wrong-accept", plain, replaced("s3pP", "S3pP")),
        (
            "two-accepts",
            plain,
            with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ),
        ("protocol", named, with("Sec-WebSocket-Protocol: wamp")),
        ("no-protocol", named, RESPONSE.to_owned()),
        (
            "protocol-not-offered",
            plain,
            with("Sec-WebSocket-Protocol: wamp"),
        ),
        (
            "two-protocols",
            named,
            with("Sec-WebSocket-Protocol: soap\nSec-WebSocket-Protocol: wamp"),
        ),
        (
            "protocol-list",
            named,
            with("Sec-WebSocket-Protocol: soap, wamp"),
        ),
        ("deflate-not-offered", plain, answer("permessage-deflate")),
        (
            "deflate-alone",
            alone,
            answer("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
        ("deflate-not-alone", alone, answer("permessage-deflate")),
        ("deflate-takeover", takeover, answer("permessage-deflate")),
        ("deflate-declined", takeover, RESPONSE.to_owned()),
        (
            "deflate-narrow",
            narrow,
            answer("permessage-deflate; server_max_window_bits=10; client_max_window_bits=8"),
        ),
        (
            "deflate-too-wide",
            narrow,
            answer("permessage-deflate; server_max_window_bits=11"),
        ),
        (
            "deflate-no-value",
            takeover,
            answer("permessage-deflate; client_max_window_bits"),
        ),
        (
            "deflate-twice",
            takeover,
            answer("permessage-deflate, permessage-deflate"),
        ),
        ("another-extension", takeover, answer("x-other; a=1")),
        (
            "extensions-malformed",
            takeover,
            answer("permessage-deflate;"),
        ),
        ("uri", 128, "ws://example.com/chat?room=1".to_owned()),
        (
            "uri-without-path",
            128 | named,
            "wss://example.com".to_owned(),
        ),
        (
            "uri-port",
            128 | takeover,
            "ws://user:secret@example.com:8080/a".to_owned(),
        ),
        ("uri-default-port", 128, "wss://example.com:443/".to_owned()),
        ("uri-capitals", 128, "Wss://example.com:443/".to_owned()),
        ("uri-empty-port", 128, "ws://example.com:/".to_owned()),
        ("uri-large-port", 128, "ws://example.com:65536/".to_owned()),
        ("uri-ipv6", 128 | narrow, "ws://[::1]:9/?q".to_owned()),
        ("uri-at-sign-in-brackets", 128, "ws://[::@]:9/".to_owned()),
        ("uri-query-alone", 128, "ws://a?b".to_owned()),
        ("uri-of-two-slashes", 128, "http://a//b".to_owned()),
        ("uri-scheme", 128, "ftp://a/b".to_owned()),
        ("uri-star", 128, "*".to_owned()),
    ];
    let seeds = seeds.into_iter();
    let input = |choice, text: String| [text.as_bytes(), &[choice]].concat();
    seeds
        .map(|(name, choice, text)| (name.to_owned(), input(choice, text)))
        .collect()
}

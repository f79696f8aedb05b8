//! U2, U3: what a client that is not let in gets to read.

use crate::app::{App, config, long};
use crate::client::{Answer, CLOSE, Client, handshake};

/// The answer to a handshake in which a line is replaced; with "" it is left out.
async fn refused(app: &App, line: &str, replacement: &str) -> Answer {
    let request = handshake("/");
    assert!(request.contains(line));
    let request = request.replace(line, replacement) + "\r\n";
    let answer = Client::connect(app.address).await.request(&request).await;
    assert!(answer.body.ends_with('\n'), "{answer:?}");
    assert_eq!(answer.body.lines().count(), 1, "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    answer
}

#[tokio::test]
async fn u2_405_says_which_method() {
    let app = App::start(config()).await;
    let answer = refused(&app, "GET / HTTP", "POST / HTTP").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), "GET");
    assert_eq!(answer.body, "a WebSocket is opened with GET\n");
}

#[tokio::test]
async fn u2_426_says_which_version() {
    let app = App::start(config()).await;
    for (line, replacement, says) in [
        ("Upgrade: websocket\r\n", "", "`Upgrade: websocket`"),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: h2c\r\n",
            "`Upgrade: websocket`",
        ),
        ("Version: 13", "Version: 8", "`Sec-WebSocket-Version: 13`"),
        (
            "Sec-WebSocket-Version: 13\r\n",
            "",
            "`Sec-WebSocket-Version: 13`",
        ),
    ] {
        let answer = refused(&app, line, replacement).await;
        assert_eq!(answer.status, 426);
        assert_eq!(answer.header("upgrade"), "websocket");
        assert_eq!(answer.header("sec-websocket-version"), "13");
        assert!(answer.body.contains(says), "{answer:?}");
    }
}

#[tokio::test]
async fn u2_400_says_what_is_wrong() {
    let app = App::start(config()).await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (line, replacement, says) in [
        (
            "Connection: Upgrade",
            "Connection: keep-alive",
            "`Connection: Upgrade`",
        ),
        ("Host: localhost\r\n", "", "`Host`"),
        (key, "", "`Sec-WebSocket-Key`"),
        (key, "Sec-WebSocket-Key: short\r\n", "16 bytes"),
        (key, &key.repeat(2), "more than one"),
        (
            key,
            &format!("{key}Sec-WebSocket-Protocol: a b\r\n"),
            "tokens",
        ),
        // An HTTP/1.0 client is not told of an upgrade that it can't do.
        ("HTTP/1.1", "HTTP/1.0", "HTTP/1.1"),
    ] {
        let answer = refused(&app, line, replacement).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains(says), "{answer:?}");
    }
}

#[tokio::test]
async fn u2_503_when_the_hub_is_full_and_goes_on_when_it_is_not() {
    let app = App::start(config().with_max_connections(1)).await;
    let mut first = Client::open(app.address, "/").await;
    first.echo("in").await;
    let answer = refused(&app, "GET", "GET").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(
        answer.body.contains("(1, `Config::max_connections`)"),
        "{answer:?}"
    );
    first.send(CLOSE, &1000_u16.to_be_bytes()).await;
    first.expect_close(1000).await;
    while app.hub.connections() > 0 {
        tokio::task::yield_now().await;
    }
    Client::open(app.address, "/").await.echo("in").await;
}

#[tokio::test]
async fn u2_503_while_draining() {
    let mut app = App::start(long()).await;
    let mut client = Client::connect(app.address).await;
    client.write((handshake("/late") + "\r\n").as_bytes()).await;
    assert_eq!(app.note().await, "waiting");
    app.hub.drain();
    app.gate.send_replace(true);
    let answer = client.answer().await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.body, "the server is shutting down\n");
    app.ended().await;
}

#[tokio::test]
async fn u3_403_names_both_values_and_the_setting() {
    let app = App::start(config()).await;
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost:8080",
        "http://localhost.evil.example",
    ] {
        let line = format!("Host: localhost\r\nOrigin: {origin}\r\n");
        let answer = refused(&app, "Host: localhost\r\n", &line).await;
        assert_eq!(answer.status, 403);
        for named in [origin, "localhost", "Config::with_origins"] {
            assert!(answer.body.contains(named), "{named}: {answer:?}");
        }
    }
    let request = handshake("/") + "Origin: http://localhost\r\n\r\n";
    let answer = Client::connect(app.address).await.request(&request).await;
    assert_eq!(answer.status, 101);
}

//! U4 over HTTP/1.1 and HTTP/2: which subprotocol is chosen, and when there has to be one.

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::any;
use dreamsocket::{
    Action, Connection, Message, Selector, SendError, Server, Upgrade, continue_connection,
};

use crate::client::{Client, handshake, within};

async fn wanted(request: Request) -> impl IntoResponse {
    Upgrade::new(request)
        .with_subprotocols(["chat.v2", "chat.v1"])
        .run((), on_init, on_message, on_close)
}

async fn required(request: Request) -> impl IntoResponse {
    Upgrade::new(request)
        .with_subprotocols(["chat.v2", "chat.v1"])
        .require_subprotocol()
        .run((), on_init, on_message, on_close)
}

/// Says what was chosen.
async fn on_init(connection: &Connection, (): &()) -> Result<((), Option<Selector>), SendError> {
    let chosen = connection.subprotocol().unwrap_or("none").to_owned();
    connection.send_text(chosen).await?;
    Ok(((), None))
}

async fn on_message((): &mut (), _: Message, _: &Connection, (): &()) -> Action {
    continue_connection()
}

async fn on_close((): (), (): &()) {}

async fn serve() -> std::net::SocketAddr {
    let router = Router::new()
        .route("/wanted", any(wanted))
        .route("/required", any(required));
    let server = Server::new(router).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.run_until_drained());
    address
}

/// A subprotocol, none, or a refusal that says this.
type Expected = Result<Option<&'static str>, &'static str>;

/// The path, the lines of `Sec-WebSocket-Protocol`, and what comes of it.
const CASES: [(&str, &[&str], Expected); 12] = [
    ("/wanted", &[], Ok(None)),
    ("/wanted", &["soap"], Ok(None)),
    ("/wanted", &["chat.v1"], Ok(Some("chat.v1"))),
    // The server's order decides, over all lines.
    ("/wanted", &["chat.v1, chat.v2"], Ok(Some("chat.v2"))),
    ("/wanted", &["chat.v1", "soap,chat.v2"], Ok(Some("chat.v2"))),
    // Case counts.
    ("/wanted", &["CHAT.V2"], Ok(None)),
    ("/wanted", &["a b"], Err("tokens")),
    ("/wanted", &["chat.v2, (x)"], Err("tokens")),
    ("/required", &["chat.v1"], Ok(Some("chat.v1"))),
    ("/required", &[], Err("one of: chat.v2, chat.v1")),
    ("/required", &["soap"], Err("one of: chat.v2, chat.v1")),
    ("/required", &["chat.v2;"], Err("tokens")),
];

#[tokio::test]
async fn u4_over_http1() {
    let address = serve().await;
    for (path, lines, expected) in CASES {
        let mut request = handshake(path);
        for line in lines {
            request += &format!("Sec-WebSocket-Protocol: {line}\r\n");
        }
        let mut client = Client::connect(address).await;
        let answer = client.request(&(request + "\r\n")).await;
        match expected {
            Ok(chosen) => {
                assert_eq!(answer.status, 101, "{answer:?}");
                let header = format!("sec-websocket-protocol: {}", chosen.unwrap_or_default());
                assert_eq!(answer.head.contains(header.trim_end()), chosen.is_some());
                client.expect_text(chosen.unwrap_or("none")).await;
            }
            Err(says) => {
                assert_eq!(answer.status, 400, "{answer:?}");
                assert!(answer.body.contains(says), "{answer:?}");
            }
        }
    }
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn u4_over_http2() {
    use crate::http2::{Browser, connect_request, read};
    use hyper_util::rt::TokioIo;

    let address = serve().await;
    let mut browser = Browser::connect(address).await;
    for (path, lines, expected) in CASES {
        let headers: Vec<_> = lines
            .iter()
            .map(|line| ("sec-websocket-protocol", *line))
            .collect();
        let response = browser.send(connect_request(path, &headers)).await;
        match expected {
            Ok(chosen) => {
                assert_eq!(response.status(), 200, "{path} {lines:?}");
                let header = response.headers().get("sec-websocket-protocol");
                assert_eq!(header.map(|name| name.to_str().unwrap()), chosen);
                let upgraded = within(hyper::upgrade::on(response)).await.unwrap();
                let mut client = Client::new(TokioIo::new(upgraded));
                client.expect_text(chosen.unwrap_or("none")).await;
            }
            Err(says) => {
                let (status, _, line) = read(response).await;
                assert_eq!(status, 400, "{line}");
                assert!(line.contains(says), "{line}");
            }
        }
    }
}

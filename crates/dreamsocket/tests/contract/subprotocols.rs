//! U4 over HTTP/1.1 and HTTP/2: which subprotocol is chosen, and when there has to be one.

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::any;
use dreamsocket::testing::{self, RequestBuilder, Response};
use dreamsocket::{Action, Connection, Message, Selector, SendError, Upgrade, continue_connection};

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

async fn check(over: fn(RequestBuilder) -> RequestBuilder) {
    let router = Router::new()
        .route("/wanted", any(wanted))
        .route("/required", any(required));
    let server = testing::serve(router);
    for (path, lines, expected) in CASES {
        let mut request = over(server.at(path));
        for line in lines {
            request = request.with_header("sec-websocket-protocol", line);
        }
        match expected {
            // That the header says the same, the client has checked.
            Ok(chosen) => {
                let mut client = request.connect().await;
                client.expect_text(chosen.unwrap_or("none")).await;
            }
            Err(says) => {
                let refused: Response = request.refused().await;
                assert_eq!(refused.status(), 400, "{refused}");
                assert!(refused.text().contains(says), "{refused}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn u4_over_http1() {
    check(|request| request).await;
}

#[cfg(feature = "http2")]
#[tokio::test(start_paused = true)]
async fn u4_over_http2() {
    check(RequestBuilder::with_http2).await;
}

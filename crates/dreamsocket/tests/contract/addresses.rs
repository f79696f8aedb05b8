//! So much for each address and no more: connections, WebSockets, handshakes.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, get};
use dreamsocket::testing::{self, Server, advance, settle};
use dreamsocket::{
    Action, Config, Connection, Fault, Message, OriginPolicy, Rate, Selector, SendError,
    continue_connection, upgrade_websocket,
};
use http::StatusCode;

async fn echo(request: Request) -> Response {
    upgrade_websocket(request, (), on_init, on_message, on_close)
}

async fn on_init(_: &Connection, (): &()) -> ((), Option<Selector>) {
    ((), None)
}

async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    (): &(),
) -> Result<Action, SendError> {
    if let Message::Text(text) = message {
        connection.send_text(text).await?;
    }
    Ok(continue_connection())
}

async fn on_close((): (), (): &()) {}

fn serve(config: Config) -> Server {
    let router = Router::new()
        .route("/", any(echo))
        .route("/hello", get(async || "hello"));
    testing::run(dreamsocket::Server::new(router).with_config(config))
}

#[tokio::test(start_paused = true)]
async fn an_address_has_so_many_tcp_connections_and_no_more() {
    let server = serve(Config::default().with_max_sockets_per_address(Some(2)));
    let mut first = server.connect("/").await;
    let second = server.connect("/").await;
    server.at("/hello").unanswered().await;
    assert_eq!(server.hub().counts().faults(Fault::Crowded), 1);
    first.send_text("still here").await;
    first.expect_text("still here").await;
    let elsewhere = server.at("/hello").with_peer_ip([192, 0, 2, 1]);
    assert_eq!(elsewhere.get().await.text(), "hello");
    // Its place is free as soon as its session has ended.
    drop(second);
    settle().await;
    server.connect("/").await;
}

#[tokio::test(start_paused = true)]
async fn an_address_has_so_many_websockets_and_no_more() {
    let server = serve(Config::default().with_max_connections_per_address(Some(2)));
    let _first = server.connect("/").await;
    let mut second = server.connect("/").await;
    let refused = server.refused("/").await;
    assert_eq!(refused.status(), 429);
    let line = refused.text();
    assert!(
        line.contains("Config::max_connections_per_address"),
        "{line}"
    );
    let counts = server.hub().counts();
    assert_eq!(counts.refused(StatusCode::TOO_MANY_REQUESTS), 1);
    assert_eq!(server.get("/hello").await.status(), 200);
    second.vanish().await;
    second.ended().await;
    server.connect("/").await;
}

#[tokio::test(start_paused = true)]
async fn behind_a_trusted_proxy_each_client_is_counted_by_itself() {
    let proxy = IpAddr::from([127, 0, 0, 1]);
    let config = Config::default()
        .with_max_connections_per_address(Some(1))
        .with_origins(OriginPolicy::same_origin().trust_proxies([proxy]));
    let server = serve(config);
    let from = |client: &str| server.at("/").with_header("x-forwarded-for", client);
    let mut open = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "6.6.6.6, 192.0.2.3"] {
        open.push(from(client).connect().await);
    }
    // What a client writes there itself stands before what the proxy wrote.
    let again = from("7.7.7.7, 192.0.2.3").refused().await;
    assert_eq!(again.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn handshakes_of_an_address_are_earned() {
    let number = |number| NonZeroU32::new(number).unwrap();
    let rate = Rate::per_second(number(1)).with_burst(number(3));
    let server = serve(Config::default().with_handshakes_per_address(Some(rate)));
    for _ in 0..3 {
        server.connect("/").await;
    }
    let refused = server.refused("/").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.header("retry-after"), Some("1"));
    advance(Duration::from_secs(1)).await;
    server.connect("/").await;
    assert_eq!(server.refused("/").await.status(), 429);
    let counts = server.hub().counts();
    assert_eq!(counts.refused(StatusCode::TOO_MANY_REQUESTS), 2);
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_are_refused_count() {
    let number = |number| NonZeroU32::new(number).unwrap();
    let rate = Rate::per_second(number(1)).with_burst(number(3));
    let config = Config::default().with_max_connections(1);
    let server = serve(config.with_handshakes_per_address(Some(rate)));
    let foreign = || server.at("/").with_header("origin", "https://evil.example");
    let _open = server.connect("/").await;
    assert_eq!(foreign().refused().await.status(), 403);
    assert_eq!(server.refused("/").await.status(), 503);
    assert_eq!(foreign().refused().await.status(), 429);
    // What asks for no WebSocket is no handshake.
    assert_eq!(server.get("/hello").await.status(), 200);
}

//! A router in memory: handshakes, refusals, ordinary requests, and the drain.

use dreamsocket::testing::{self, Server};
use dreamsocket::{Cause, Compression, Config, OriginPolicy};
use tokio::time::Instant;

use crate::app::{Said, router};
use crate::failing::failure;

fn server() -> Server {
    testing::serve(router())
}

fn with(config: Config) -> Server {
    testing::run(dreamsocket::Server::new(router()).with_config(config))
}

#[tokio::test(start_paused = true)]
async fn a_websocket_goes_through_router_extractors_and_state() {
    let server = server();
    let mut client = server.connect("/chat?user=ada").await;
    client.expect_text("hello ada").await;
    client.send_text("hi").await;
    let said: Said = client.expect_json().await;
    assert_eq!((&*said.user, &*said.text), ("ada", "hi"));
    assert_eq!(server.hub().connections(), 1);
    assert_eq!(client.connection().subprotocol(), None);
    let peer = client.connection().peer_addr().unwrap();
    assert!(peer.ip().is_loopback());

    client.close(1000, "").await;
    client.expect_closed(1000).await;
    assert!(!client.is_ended());
    let begin = Instant::now();
    client.ended().await;
    assert!(client.is_ended());
    // As long as `on_close` takes.
    assert_eq!(begin.elapsed().as_secs(), 2);
    assert_eq!(server.hub().counts().closed(Cause::Peer), 1);
}

#[tokio::test(start_paused = true)]
async fn opening_a_websocket_moves_no_clock() {
    let server = server();
    let begin = Instant::now();
    let mut client = server.connect("/chat?user=ada").await;
    client.expect_text("hello ada").await;
    client.expect_nothing().await;
    assert_eq!(server.get("/health").await.text(), "fine");
    assert_eq!(begin.elapsed().as_nanos(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_a_value() {
    let server = server();
    let no_user = server.refused("/chat").await;
    assert_eq!(no_user.status(), 400);
    assert!(no_user.text().contains("user"), "{no_user}");
    assert_eq!(server.refused("/nowhere").await.status(), 404);
    assert_eq!(server.refused("/health").await.status(), 200);

    let banned = server
        .at("/chat?user=ada")
        .with_header("cookie", "banned=1");
    let banned = banned.refused().await;
    assert_eq!(banned.status(), 403);
    assert_eq!(banned.header("x-why"), Some("cookie"));
    assert_eq!(banned.text(), "you are banned");

    let foreign = server
        .at("/chat?user=ada")
        .with_header("origin", "https://evil.example");
    let foreign = foreign.refused().await;
    assert_eq!(foreign.status(), 403);
    assert!(foreign.text().contains("https://evil.example"), "{foreign}");

    let broken = server
        .at("/chat?user=ada")
        .without_header("sec-websocket-key");
    assert_eq!(broken.refused().await.status(), 400);
    let old = server
        .at("/chat?user=ada")
        .with_header("sec-websocket-version", "8");
    let old = old.refused().await;
    assert_eq!(old.status(), 426);
    assert_eq!(old.header("sec-websocket-version"), Some("13"));
    assert_eq!(server.hub().connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn bounds_hosts_and_origins_are_the_servers() {
    let server = dreamsocket::Server::new(router())
        .allowed_hosts(["chat.example"])
        .with_config(
            Config::default()
                .with_max_connections(1)
                .with_origins(OriginPolicy::same_origin().allow(["https://app.example"])),
        );
    let server = testing::run(server);
    let here = server
        .at("/chat?user=ada")
        .with_header("host", "chat.example");
    let _first = here
        .clone()
        .with_header("origin", "https://app.example")
        .connect()
        .await;
    let full = here.refused().await;
    assert_eq!(full.status(), 503);
    assert!(full.text().contains("max_connections"), "{full}");
    let elsewhere = server.get("/health").await;
    assert_eq!(elsewhere.status(), 403);
    assert!(elsewhere.text().contains("allowed_hosts"), "{elsewhere}");
}

#[tokio::test(start_paused = true)]
async fn clients_have_addresses() {
    let server = with(Config::default().with_max_connections_per_address(Some(1)));
    let ada = server.at("/chat?user=ada").with_peer_ip([192, 0, 2, 1]);
    let client = ada.clone().connect().await;
    let address = client.connection().peer_addr().unwrap();
    assert_eq!(address.ip().to_string(), "192.0.2.1");
    assert_eq!(ada.refused().await.status(), 429);
    let _grace = server
        .at("/chat?user=grace")
        .with_peer_ip([192, 0, 2, 2])
        .connect()
        .await;
}

#[tokio::test(start_paused = true)]
async fn subprotocols_are_agreed_on() {
    let server = server();
    let offer = server
        .at("/chat?user=ada")
        .with_subprotocols(["soap", "chat.v1"]);
    let client = offer.connect().await;
    assert_eq!(client.connection().subprotocol(), Some("chat.v1"));
    // Also on a line of its own, as some clients have it.
    let offer = server
        .at("/chat?user=ada")
        .with_header("sec-websocket-protocol", "soap")
        .with_header("sec-websocket-protocol", "chat.v2");
    let client = offer.connect().await;
    assert_eq!(client.connection().subprotocol(), Some("chat.v2"));
}

#[tokio::test(start_paused = true)]
async fn messages_are_compressed_both_ways() {
    let shared = Compression::shared().with_threshold(0);
    for (theirs, ours) in [
        (shared, shared),
        (Compression::dedicated(9), Compression::dedicated(12)),
        (Compression::off(), shared),
    ] {
        let server = with(Config::default().with_compression(theirs));
        let mut client = server
            .at("/chat?user=ada")
            .with_compression(ours.with_threshold(0))
            .connect()
            .await;
        client.expect_text("hello ada").await;
        let before = client.traffic();
        let long = vec![7; 10_000];
        for _ in 0..3 {
            client.send_binary(&long).await;
            client.expect_binary(&long).await;
        }
        let after = client.traffic();
        let is_small = after.bytes_read - before.bytes_read < 1_000
            && after.bytes_written - before.bytes_written < 1_000;
        assert_eq!(is_small, theirs != Compression::off());
    }
}

#[tokio::test(start_paused = true)]
async fn ordinary_requests_are_answered() {
    let server = server();
    let health = server.get("/health").await;
    assert_eq!((health.status().as_u16(), health.text()), (200, "fine"));
    assert_eq!(server.at("/echo").post("a=b").await.text(), "a=b");
    assert_eq!(server.get("/echo").await.status(), 405);
    let banned = server.at("/health").with_header("cookie", "banned=1");
    assert_eq!(banned.get().await.status(), 403);
    let head = server.at("/health").send(http::Method::HEAD, "").await;
    assert_eq!(head.header("content-length"), Some("4"));
    assert!(head.body().is_empty());
    assert_eq!(server.get("/said").await.json::<Vec<u32>>(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_with_1001_and_reports() {
    let mut server = server();
    let mut ada = server.connect("/chat?user=ada").await;
    let mut grace = server.connect("/chat?user=grace").await;
    ada.expect_text("hello ada").await;
    grace.expect_text("hello grace").await;
    grace.stall();
    let report = server.drain().await;
    ada.expect_closed(1001).await;
    ada.ended().await;
    grace.ended().await;
    assert_eq!((report.clean, report.cut), (2, 0));
    assert_eq!(server.drain().await, report);
}

#[tokio::test(start_paused = true)]
async fn a_drain_can_be_looked_at_while_it_lasts() {
    let mut server = server();
    let mut client = server.connect("/chat?user=ada").await;
    client.expect_text("hello ada").await;
    client.send_text("later").await;
    server.hub().drain();
    // The handler has its time.
    client.expect_closed(1001).await;
    let report = server.drain().await;
    // Longer than the drain time.
    assert_eq!((report.clean, report.cut), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn websockets_outlive_the_servers_handle() {
    let mut client = testing::serve(router()).connect("/chat?user=ada").await;
    client.expect_text("hello ada").await;
    client.send_text("count").await;
    client.expect_text("0").await;
}

#[tokio::test(start_paused = true)]
async fn a_websocket_of_another_library_can_be_talked_to() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    // One that says "hi" in a frame, and ends.
    let foreign = async |mut request: axum::extract::Request| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async {
            let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            io.write_all(b"\x81\x02hi\x88\x02\x03\xe8").await.unwrap();
            let _ = io.read_to_end(&mut Vec::new()).await;
        });
        axum::http::Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .body(axum::body::Body::empty())
            .unwrap()
    };
    let router = axum::Router::new().route("/", axum::routing::any(foreign));
    let server = testing::serve(router);
    let mut client = server.connect("/").await;
    client.expect_text("hi").await;
    client.expect_closed(1000).await;
    // What becomes of it on its side is not known.
    let unknown = "is not one of dreamsocket's, so";
    let message = failure(async { client.connection().id() }).await;
    assert!(message.contains(unknown), "{message}");
    let message = failure(async { client.is_ended() }).await;
    assert!(message.contains(unknown), "{message}");
    let message = failure(client.ended()).await;
    assert!(message.contains(unknown), "{message}");
    assert!(message.contains("router.rs:"), "{message}");
}

#[cfg(feature = "http2")]
#[tokio::test(start_paused = true)]
async fn over_http2_it_is_the_same() {
    let config = Config::default().with_compression(Compression::shared());
    let mut server = with(config);
    let at = |path: &str| server.at(path).with_http2();
    let begin = Instant::now();
    let mut client = at("/chat?user=ada")
        .with_subprotocols(["chat.v1"])
        .with_compression(Compression::shared())
        .with_header("origin", "http://localhost")
        .connect()
        .await;
    client.expect_text("hello ada").await;
    client.send_text("hi").await;
    assert_eq!(client.expect_json::<Said>().await.text, "hi");
    let long = vec![7; 100_000];
    client.send_binary(&long).await;
    client.expect_binary(&long).await;
    assert_eq!(client.connection().subprotocol(), Some("chat.v1"));
    assert!(client.traffic().bytes_written < 10_000);
    client.expect_nothing().await;
    assert_eq!(begin.elapsed().as_nanos(), 0);

    let banned = at("/chat?user=ada").with_header("cookie", "banned=1");
    let banned = banned.refused().await;
    assert_eq!(
        (banned.status().as_u16(), banned.text()),
        (403, "you are banned")
    );
    let foreign = at("/chat?user=ada").with_header("origin", "https://evil.example");
    assert_eq!(foreign.refused().await.status(), 403);
    assert_eq!(at("/health").get().await.text(), "fine");
    assert_eq!(at("/echo").post("a=b").await.text(), "a=b");

    let mut lost = at("/chat?user=grace").connect().await;
    lost.vanish().await;
    lost.ended().await;
    let report = server.drain().await;
    client.expect_closed(1001).await;
    client.ended().await;
    assert_eq!((report.clean, report.cut), (1, 0));
}

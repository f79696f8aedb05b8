//! Who may ask at all: known hosts, and so much for each address.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use dreamsocket::{Fault, OriginPolicy, Rate};
use http::StatusCode;

use crate::app::{App, config};
use crate::client::{Client, handshake};

async fn status(app: &App, request: &str) -> (u16, String) {
    let answer = Client::connect(app.address).await.request(request).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn on_loopback_other_hosts_are_refused_for_pages_and_websockets() {
    let app = App::start(config()).await;
    let foreign = handshake("/").replace("localhost", "evil.example") + "\r\n";
    let (code, line) = status(&app, &foreign).await;
    assert_eq!(code, 403);
    assert!(
        line.contains("evil.example") && line.contains("Server::allowed_hosts"),
        "{line}"
    );
    let (code, _) = status(&app, "GET /hello HTTP/1.1\r\nHost: evil.example:80\r\n\r\n").await;
    assert_eq!(code, 403);
    assert_eq!(app.hub.counts().refused(StatusCode::FORBIDDEN), 2);
    for host in ["localhost", "127.0.0.1:80", "[::1]"] {
        let request = format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(status(&app, &request).await, (200, "hello".into()));
    }

    let named = App::start_with(config(), |server| server.allowed_hosts(["chat.example"])).await;
    let request = "GET /hello HTTP/1.1\r\nHost: Chat.Example:3000\r\n\r\n";
    assert_eq!(status(&named, request).await.0, 200);
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn on_loopback_other_hosts_are_refused_over_http2() {
    let app = App::start(config()).await;
    let mut browser = crate::http2::Browser::connect(app.address).await;
    let (status, _, line) = browser.get_from("evil.example", "/hello").await;
    assert_eq!(status, 403);
    assert!(line.contains("Server::allowed_hosts"), "{line}");
    assert_eq!(browser.get_from("127.0.0.1:80", "/hello").await.0, 200);
}

#[tokio::test]
async fn an_address_has_so_many_tcp_connections_and_no_more() {
    let app = App::start(config().with_max_sockets_per_address(Some(2))).await;
    let mut first = Client::open(app.address, "/").await;
    let second = Client::open(app.address, "/").await;
    Client::connect(app.address).await.expect_end().await;
    assert_eq!(app.hub.counts().faults(Fault::Crowded), 1);
    first.echo("still here").await;
    drop(second);
    // Its place is free as soon as its session has ended.
    while app.hub.connections() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut third = loop {
        let mut client = Client::connect(app.address).await;
        let request = handshake("/") + "\r\n";
        if client.try_upgrade(&request).await {
            break client;
        }
    };
    third.echo("hello").await;
}

#[tokio::test]
async fn an_address_has_so_many_websockets_and_no_more() {
    let app = App::start(config().with_max_connections_per_address(Some(2))).await;
    let _first = Client::open(app.address, "/").await;
    let second = Client::open(app.address, "/").await;
    let request = handshake("/") + "\r\n";
    let (code, line) = status(&app, &request).await;
    assert_eq!(code, 429);
    assert!(
        line.contains("Config::max_connections_per_address"),
        "{line}"
    );
    assert_eq!(app.hub.counts().refused(StatusCode::TOO_MANY_REQUESTS), 1);
    assert_eq!(
        status(&app, "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .0,
        200
    );
    drop(second);
    while app.hub.connections() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Client::open(app.address, "/").await.echo("hello").await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_is_counted_by_itself() {
    let proxy = IpAddr::from([127, 0, 0, 1]);
    let config = config()
        .with_max_connections_per_address(Some(1))
        .with_origins(OriginPolicy::same_origin().trust_proxies([proxy]));
    let app = App::start(config).await;
    let from = |client: &str| format!("{}X-Forwarded-For: {client}\r\n\r\n", handshake("/"));
    let mut open = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "6.6.6.6, 192.0.2.3"] {
        let mut socket = Client::connect(app.address).await;
        assert_eq!(socket.request(&from(client)).await.status, 101, "{client}");
        open.push(socket);
    }
    // What a client writes there itself stands before what the proxy wrote.
    assert_eq!(status(&app, &from("7.7.7.7, 192.0.2.3")).await.0, 429);
}

#[tokio::test]
async fn handshakes_of_an_address_are_earned() {
    let number = |number| NonZeroU32::new(number).unwrap();
    let rate = Rate::per_second(number(1)).with_burst(number(3));
    let app = App::start(config().with_handshakes_per_address(Some(rate))).await;
    let request = handshake("/") + "\r\n";
    let mut refused = 0;
    for _ in 0..20 {
        match Client::connect(app.address).await.request(&request).await {
            answer if answer.status == 101 => {}
            answer => {
                assert_eq!(answer.status, 429);
                assert_eq!(answer.header("retry-after"), "1");
                refused += 1;
            }
        }
    }
    // However slow this machine is, it is not so slow that 20 handshakes are earned.
    assert!(refused > 0);
    assert_eq!(
        app.hub.counts().refused(StatusCode::TOO_MANY_REQUESTS),
        refused
    );
}

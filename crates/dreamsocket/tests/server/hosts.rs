//! Which hosts a server on a loopback address answers for. How much each address may have is in `../contract/addresses.rs`.

use dreamsocket::{Config, Hub, Server};
use http::StatusCode;

use crate::app::{self, App, config};
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
    // Upgrades are counted, and not whoever asks for pages by an address.
    assert_eq!(app.hub.counts().refused(StatusCode::FORBIDDEN), 1);
    for host in ["localhost", "127.0.0.1:80", "[::1]"] {
        let request = format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(status(&app, &request).await, (200, "hello".into()));
    }

    let named = App::start_with(config(), |server| server.allowed_hosts(["chat.example"])).await;
    let request = "GET /hello HTTP/1.1\r\nHost: Chat.Example:3000\r\n\r\n";
    assert_eq!(status(&named, request).await.0, 200);
}

/// 127.0.0.1 as an IPv6 socket has it.
#[tokio::test]
async fn a_loopback_address_may_be_mapped() {
    let (router, ..) = app::router(&Hub::new(Config::default()));
    let server = Server::new(router).bind("[::ffff:127.0.0.1]:0").await;
    let server = server.unwrap();
    let address = server.local_addr();
    let running = tokio::spawn(server.run_until_drained());
    for (host, status) in [("evil.example", 403), ("127.0.0.1", 200)] {
        let request = format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = Client::connect(address).await.request(&request).await;
        assert_eq!(answer.status, status, "{host}");
    }
    running.abort();
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
    assert_eq!(app.hub.counts().refused(StatusCode::FORBIDDEN), 0);
    let mut foreign = crate::http2::connect_request("/", &[]);
    *foreign.uri_mut() = "http://evil.example/".parse().unwrap();
    assert_eq!(browser.send(foreign).await.status(), 403);
    assert_eq!(app.hub.counts().refused(StatusCode::FORBIDDEN), 1);
}

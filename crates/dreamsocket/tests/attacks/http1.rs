//! Attacks before the upgrade, over HTTP/1.1.

use std::time::Duration;

use dreamsocket::Config;

use crate::budget::quiet;
use crate::peer::{HANDSHAKE, within};
use crate::target::Attack;

/// An attack that ends before there is a WebSocket, and is held to the memory of one handshake.
fn before_upgrade(config: Config) -> Attack {
    let memory = quiet(&config, 1);
    Attack::on(config).within_memory(memory)
}

#[test]
fn slow_headers_are_cut_off() {
    let config = Config::default().with_head_timeout(Duration::from_secs(1));
    before_upgrade(config).run(async |target| {
        let mut peer = target.connect().await;
        peer.write(HANDSHAKE.as_bytes()).await.unwrap();
        // A line now and then is no excuse.
        within(async {
            while peer.write(b"X: x\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert!(peer.answer().await.is_none());
        target.expect(&[("fault Slow", 1)]).await;
    });
}

#[test]
fn headers_too_large_are_431() {
    before_upgrade(Config::default()).run(async |target| {
        let mut peer = target.connect().await;
        let filler = "x".repeat(64 * 1024);
        let answer = peer
            .request(&format!("{HANDSHAKE}X-Filler: {filler}\r\n\r\n"))
            .await;
        assert_eq!(answer.status, 431);
        peer.expect_end().await;
        target.expect(&[("fault Http", 1)]).await;
    });
}

/// The server answers when its buffer is full, and does not read the rest.
#[test]
fn a_request_line_of_a_million_bytes_is_refused() {
    before_upgrade(Config::default()).run(async |target| {
        let mut peer = target.connect().await;
        let line = format!("GET /{}", "x".repeat(1_000_000));
        // The answer may be lost to the reset with which the rest is turned away.
        let answer = match peer.write(line.as_bytes()).await {
            Ok(()) => peer.answer().await,
            Err(_) => None,
        };
        let status = answer.map(|answer| answer.status);
        assert!([None, Some(431)].contains(&status), "{status:?}");
        peer.expect_end().await;
        target.expect(&[("fault Http", 1)]).await;
    });
}

/// DNS rebinding.
#[test]
fn a_foreign_host_on_a_loopback_address_is_403() {
    before_upgrade(Config::default()).run(async |target| {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            let mut peer = target.connect().await;
            let request = HANDSHAKE.replace("localhost", host) + "\r\n";
            let answer = peer.request(&request).await;
            assert_eq!(answer.status, 403);
            assert!(answer.body.contains(host), "{answer:?}");
            assert!(answer.body.contains("Server::allowed_hosts"), "{answer:?}");
        }
        target.expect(&[("refused 403", 3)]).await;
    });
}

/// A page of another site, in the browser of somebody who is logged in here.
#[test]
fn a_foreign_origin_is_403() {
    before_upgrade(Config::default()).run(async |target| {
        for origin in [
            "https://evil.example",
            "http://localhost.evil.example",
            "null",
        ] {
            let mut peer = target.connect().await;
            let answer = peer
                .request(&format!("{HANDSHAKE}Origin: {origin}\r\n\r\n"))
                .await;
            assert_eq!(answer.status, 403);
            assert!(answer.body.contains(origin), "{answer:?}");
        }
        target.expect(&[("refused 403", 3)]).await;
    });
}

/// As many names as a head has room for, again and again. They are read before the origin is looked at.
#[test]
fn thousands_of_subprotocols_cost_no_more_than_their_bytes() {
    before_upgrade(Config::default()).run(async |target| {
        let names: Vec<String> = (0..4000).map(|number| format!("{number:x}")).collect();
        let names = names.join(",");
        let request = format!(
            "{HANDSHAKE}Origin: https://evil.example\r\nSec-WebSocket-Protocol: {names}\r\n\r\n"
        );
        let mut peer = target.connect().await;
        // The square of it would take longer than anybody waits here.
        within(async {
            for _ in 0..2000 {
                assert_eq!(peer.request(&request).await.status, 403);
            }
        })
        .await;
        target.expect(&[("refused 403", 2000)]).await;
    });
}

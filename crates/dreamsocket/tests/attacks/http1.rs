//! Attacks before the upgrade, over HTTP/1.1.

use std::time::Duration;

use dreamsocket::Config;

use crate::peer::{HANDSHAKE, within};
use crate::target::Attack;

#[test]
fn slow_headers_are_cut_off() {
    let config = Config::default().with_head_timeout(Duration::from_millis(200));
    Attack::on(config).run(async |target| {
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
    Attack::on(Config::default()).run(async |target| {
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

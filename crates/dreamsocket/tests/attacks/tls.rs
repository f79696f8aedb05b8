//! Attacks before there is anything but TLS.

use std::time::Duration;

use dreamsocket::Config;

use crate::budget::quiet;
use crate::peer::within;
use crate::target::Attack;

/// The beginning of a record that holds a `ClientHello` of 512 bytes.
const HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

#[test]
fn a_slow_tls_handshake_is_cut_off() {
    let config = Config::default().with_tls_timeout(Duration::from_secs(1));
    let memory = quiet(&config, 1);
    let attack = Attack::on(config).within_memory(memory);
    attack.with_tls().run(async |target| {
        let mut peer = target.connect().await;
        peer.write(HELLO).await.unwrap();
        within(async {
            while peer.write(&[0]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(peer.take(1).await, None);
        target.expect(&[("fault Tls", 1)]).await;
    });
}

#[test]
fn what_is_no_tls_is_turned_away() {
    let memory = quiet(&Config::default(), 1);
    let attack = Attack::on(Config::default()).within_memory(memory);
    attack.with_tls().run(async |target| {
        let mut peer = target.connect().await;
        peer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        peer.expect_end().await;
        target.expect(&[("fault Tls", 1)]).await;
    });
}

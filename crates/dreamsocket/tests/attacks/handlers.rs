//! Handlers that a peer can bring to wait for ever.

use std::time::Duration;

use dreamsocket::Config;

use crate::peer::TEXT;
use crate::target::Attack;

#[test]
fn a_handler_that_never_returns_is_1011() {
    let config = Config::default().with_handler_timeout(Some(Duration::from_millis(300)));
    Attack::on(config).run(async |target| {
        let mut peer = target.open().await;
        peer.send(TEXT, b"hang").await;
        peer.expect_close(1011).await;
        peer.send_close(1011).await;
        peer.expect_end().await;
        target
            .expect(&[("on_close timed out 1011", 1), ("closed timed out", 1)])
            .await;
    });
}

/// There is no state yet, so `on_close` is not called (L2).
#[test]
fn an_init_that_never_returns_is_1011() {
    let config = Config::default().with_init_timeout(Duration::from_millis(300));
    Attack::on(config).run(async |target| {
        let mut peer = target.connect().await;
        peer.upgrade("/hanging").await;
        peer.expect_close(1011).await;
        peer.send_close(1011).await;
        peer.expect_end().await;
        target.expect(&[("closed timed out", 1)]).await;
    });
}

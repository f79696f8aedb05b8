//! Attacks with frames: lengths, fragments and payloads that are not what they should be.

use std::time::Duration;

use dreamsocket::Config;

use crate::peer::{BINARY, CONTINUATION, FIN, TEXT, frame, head};
use crate::target::Attack;

/// The closing handshake of an offender who does not answer ends soon.
fn config() -> Config {
    Config::default().with_close_time(Duration::from_millis(500))
}

#[test]
fn a_declared_length_of_2_to_the_63_is_1009() {
    Attack::on(config()).run(async |target| {
        let mut peer = target.open().await;
        let head = head(FIN | BINARY, (1 << 63) - 1);
        peer.flood(&[&*head, &[0; 16 * 1024]].concat(), |_| false)
            .await;
        peer.expect_close(1009).await;
        target
            .expect(&[("on_close limit 1009", 1), ("closed limit", 1)])
            .await;
    });
}

/// RFC 6455 §5.2: the most significant bit must be 0.
#[test]
fn a_declared_length_of_2_to_the_64_is_1002() {
    Attack::on(config()).run(async |target| {
        let mut peer = target.open().await;
        peer.write(&head(FIN | BINARY, u64::MAX)).await.unwrap();
        peer.expect_close(1002).await;
        peer.expect_end().await;
        target
            .expect(&[("on_close protocol 1002", 1), ("closed protocol", 1)])
            .await;
    });
}

#[test]
fn endless_fragments_are_1009() {
    Attack::on(config()).run(async |target| {
        let mut peer = target.open().await;
        peer.write(&frame(BINARY, b"first")).await.unwrap();
        peer.flood(&frame(CONTINUATION, &[0; 16 * 1024]), |_| false)
            .await;
        peer.expect_close(1009).await;
        target
            .expect(&[("on_close limit 1009", 1), ("closed limit", 1)])
            .await;
    });
}

#[test]
fn endless_empty_continuations_are_1009() {
    Attack::on(config()).run(async |target| {
        let mut peer = target.open().await;
        peer.write(&frame(TEXT, b"")).await.unwrap();
        peer.flood(&frame(CONTINUATION, b"").repeat(1000), |_| false)
            .await;
        peer.expect_close(1009).await;
        target
            .expect(&[("on_close limit 1009", 1), ("closed limit", 1)])
            .await;
    });
}

#[test]
fn endless_fragments_of_one_byte_are_1009() {
    Attack::on(config()).run(async |target| {
        let mut peer = target.open().await;
        peer.write(&frame(TEXT, b"x")).await.unwrap();
        peer.flood(&frame(CONTINUATION, b"x").repeat(1000), |_| false)
            .await;
        peer.expect_close(1009).await;
        target
            .expect(&[("on_close limit 1009", 1), ("closed limit", 1)])
            .await;
    });
}

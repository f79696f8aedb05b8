//! Attacks by doing too little: peers that do not read, do not go on, or do not leave.

use std::time::Duration;

use dreamsocket::Config;
use tokio::io::AsyncReadExt;

use crate::peer::{BINARY, CLOSE, FIN, TEXT, frame, head, within};
use crate::target::Attack;

fn config() -> Config {
    Config::default().with_close_time(Duration::from_millis(500))
}

#[test]
fn a_peer_that_never_reads_is_1013() {
    let config = config().with_stall_timeout(Duration::from_millis(500));
    Attack::on(config).run(async |target| {
        let mut peer = target.open().await;
        peer.send(TEXT, b"fill").await;
        target
            .expect(&[("on_close lagged 1013", 1), ("closed lagged", 1)])
            .await;
        // Only what the socket had taken is left, and the end.
        peer.expect_end().await;
    });
}

/// With a place for the bystander and one more.
#[test]
fn an_answer_that_is_not_read_is_cut_off() {
    let config = config()
        .with_answer_timeout(Duration::from_millis(500))
        .with_max_sockets(2);
    Attack::on(config).run(async |target| {
        let mut greedy = target.connect().await;
        let request = "GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n";
        greedy.write(request.as_bytes()).await.unwrap();
        let mut next = target.open().await;
        next.echo("there is room").await;
        target.expect(&[("fault Slow", 1)]).await;
    });
}

/// A byte now and then does not count: the sends that wait are given up after `send_timeout`.
#[test]
fn a_peer_that_reads_a_byte_now_and_then_is_1013() {
    let config = config()
        .with_send_timeout(Duration::from_millis(500))
        .with_stall_timeout(Duration::from_secs(2));
    Attack::on(config).run(async |target| {
        let mut peer = target.open().await;
        peer.send(TEXT, b"fill").await;
        let reading = async {
            while within(peer.io.read(&mut [0])).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = target.expect(&[("on_close lagged 1013", 1), ("closed lagged", 1)]);
        tokio::select! {
            () = reading => panic!("everything was read"),
            () = ended => {}
        }
        peer.expect_end().await;
    });
}

#[test]
fn a_peer_that_stops_inside_a_frame_is_lost() {
    let config = config().with_heartbeat(Some(Duration::from_millis(500)));
    Attack::on(config).run(async |target| {
        let mut peer = target.open().await;
        peer.write(&head(FIN | BINARY, 1000)).await.unwrap();
        peer.write(&[0; 500]).await.unwrap();
        peer.expect_end().await;
        target
            .expect(&[("on_close lost 1006", 1), ("closed lost", 1)])
            .await;
    });
}

#[test]
fn a_reset_inside_a_frame_is_a_lost_peer() {
    Attack::on(config()).run(async |target| {
        let mut peer = target.open().await;
        peer.write(&head(FIN | BINARY, 1000)).await.unwrap();
        peer.write(&[0; 500]).await.unwrap();
        peer.reset();
        target
            .expect(&[("on_close lost 1006", 1), ("closed lost", 1)])
            .await;
    });
}

/// RFC 6455 §5.5.1: nothing comes after a close, and nothing of it is looked at.
#[test]
fn a_peer_that_goes_on_after_its_close_is_cut_off() {
    Attack::on(config()).run(async |target| {
        let mut peer = target.open().await;
        peer.send(CLOSE, &1000_u16.to_be_bytes()).await;
        peer.flood(&frame(FIN | TEXT, &[b'x'; 1000]).repeat(16), |_| false)
            .await;
        peer.expect_close(1000).await;
        assert_eq!(peer.frame().await, None);
        target
            .expect(&[("on_close peer 1000", 1), ("closed peer", 1)])
            .await;
    });
}

//! Reconnecting over real sockets. What its delays are is tested beside the policy and on a paused clock; here the
//! first attempt is immediate, and the next ones are soon.

use std::time::Duration;

use dreamsocket::client::{Connect, ConnectError, EndReason, Ending, Reconnect};
use dreamsocket::{Config, Hub};

use crate::peer::{Peer, TEXT, listen, within};
use crate::recorder::Recorder;

fn at_once() -> Reconnect {
    Reconnect::new().with_first_delay(Duration::ZERO)
}

#[tokio::test]
async fn each_connection_has_a_fresh_state_and_its_number() {
    let (listener, url) = listen().await;
    let mut recorder = Recorder::new();
    let connect = Connect::new(url).with_reconnect(at_once());
    let (connected, mut peer) = tokio::join!(recorder.run(connect), Peer::open(&listener));
    let connected = connected.unwrap();
    recorder.expect("init 0").await;
    peer.send(TEXT, b"first").await;
    recorder.expect("text first").await;
    let first = connected.connection();
    drop(peer);
    recorder.expect("closed 1006 lost unclean after 2").await;

    let mut peer = Peer::open(&listener).await;
    recorder.expect("init 1").await;
    assert!(first.is_closed());
    assert_eq!(connected.connection().reconnects(), 1);
    peer.close(1012).await;
    peer.expect_close(1012).await;
    drop(peer);
    recorder.expect("closed 1012 peer clean after 1").await;

    let mut peer = Peer::open(&listener).await;
    recorder.expect("init 2").await;
    peer.close(1000).await;
    peer.expect_close(1000).await;
    drop(peer);
    recorder.expect("closed 1000 peer clean after 1").await;
    let ended = within(connected.ended()).await;
    assert_eq!((ended.reason, ended.reconnects), (EndReason::Final, 2));
}

#[tokio::test]
async fn a_refusal_ends_it_and_is_told() {
    let (listener, url) = listen().await;
    let mut recorder = Recorder::new();
    let connect = Connect::new(url).with_reconnect(at_once());
    let (connected, peer) = tokio::join!(recorder.run(connect), Peer::open(&listener));
    recorder.expect("init 0").await;
    drop(peer);
    let mut peer = Peer::accept(&listener).await;
    peer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        .await;
    drop(peer);
    let mut peer = Peer::accept(&listener).await;
    peer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        .await;
    let ended = within(connected.unwrap().ended()).await;
    assert_eq!((ended.reason, ended.reconnects), (EndReason::Failed, 0));
    let error = ended.error.unwrap();
    assert_eq!(error.to_string(), "the server refused with 403 Forbidden");
}

#[tokio::test]
async fn a_stop_between_connections_ends_it() {
    for is_drain in [false, true] {
        let (listener, url) = listen().await;
        let mut recorder = Recorder::new();
        let hub = Hub::new(Config::default());
        // An hour at least: only a stop can end the wait.
        let policy = Reconnect::new()
            .with_first_delay(Duration::from_secs(7_200))
            .with_max_delay(Duration::from_secs(7_200))
            .with_jitter(dreamsocket::client::Jitter::Equal);
        let connect = Connect::new(url).with_hub(&hub).with_reconnect(policy);
        let (connected, peer) = tokio::join!(recorder.run(connect), Peer::open(&listener));
        let connected = connected.unwrap();
        recorder.expect("init 0").await;
        drop(peer);
        recorder.expect("closed 1006 lost unclean after 1").await;
        if is_drain {
            hub.drain();
            within(hub.drained()).await;
        } else {
            connected.stop();
        }
        let ended = within(connected.ended()).await;
        assert_eq!(ended.reason, EndReason::Stopped);
        assert_eq!(u16::from(ended.closed.code), 1006);
    }
}

#[tokio::test]
async fn a_stop_is_not_undone() {
    // Even if the rule would have it.
    for policy in [at_once(), at_once().with_rule(|_| true)] {
        let (listener, url) = listen().await;
        let recorder = Recorder::new();
        let connect = Connect::new(url).with_reconnect(policy);
        let (connected, mut peer) = tokio::join!(recorder.run(connect), Peer::open(&listener));
        let connected = connected.unwrap();
        connected.stop();
        peer.expect_close(1000).await;
        peer.close(1000).await;
        drop(peer);
        let ended = within(connected.ended()).await;
        assert_eq!(ended.reason, EndReason::Stopped);
    }
}

#[tokio::test]
async fn attempts_are_counted_and_a_rule_of_ones_own_holds() {
    let (listener, url) = listen().await;
    let recorder = Recorder::new();
    let policy = at_once()
        .with_max_attempts(Some(2))
        .with_rule(|ending| match ending {
            Ending::Closed(closed) => u16::from(closed.code) == 4000,
            Ending::Failed(_) => true,
            _ => false,
        });
    let connect = Connect::new(url).with_reconnect(policy);
    let (connected, mut peer) = tokio::join!(recorder.run(connect), Peer::open(&listener));
    let connected = connected.unwrap();
    peer.close(4000).await;
    peer.expect_close(4000).await;
    drop((peer, listener));
    let ended = within(connected.ended()).await;
    assert_eq!(ended.reason, EndReason::Exhausted);
    assert!(matches!(&*ended.error.unwrap(), ConnectError::Connect(_)));
}

#[tokio::test]
async fn a_first_attempt_is_retried_only_if_wanted() {
    let (listener, url) = listen().await;
    let recorder = Recorder::new();
    let connect = Connect::new(url.as_str()).with_reconnect(at_once());
    let refuse = async {
        let mut peer = Peer::accept(&listener).await;
        peer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            .await;
    };
    let (failed, ()) = tokio::join!(recorder.run(connect), refuse);
    assert!(matches!(failed, Err(ConnectError::Refused(_))));

    let connect = Connect::new(url).with_reconnect(at_once().with_first_retried(true));
    let refuse_once = async {
        let mut peer = Peer::accept(&listener).await;
        peer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            .await;
        drop(peer);
        Peer::open(&listener).await
    };
    let (connected, _peer) = tokio::join!(recorder.run(connect), refuse_once);
    assert_eq!(connected.unwrap().connection().reconnects(), 0);
}

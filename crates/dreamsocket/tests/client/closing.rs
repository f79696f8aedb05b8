//! RFC 6455 §7: who closes, who ends the TCP connection, and what a server may do wrong.

use dreamsocket::client::{Connect, EndReason};
use dreamsocket::{Cause, Config, Hub};

use crate::peer::{CLOSE, PING, PONG, Peer, TEXT, listen, within};
use crate::recorder::Recorder;

#[tokio::test]
async fn after_both_close_frames_the_client_waits_for_the_server_to_end() {
    let (listener, url) = listen().await;
    let mut recorder = Recorder::new();
    let (connected, mut peer) =
        tokio::join!(recorder.run(Connect::new(url)), Peer::open(&listener));
    let connected = connected.unwrap();
    recorder.expect("init 0").await;
    peer.send(TEXT, b"stop").await;
    recorder.expect("text stop").await;
    peer.expect_close(1000).await;
    peer.close(1000).await;
    // It still listens: a ping behind the close is neither answered nor an error, and the end is ours to make.
    peer.send(PING, b"ignored").await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let read = peer.io.try_read(&mut [0]);
    let waits = read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(waits, "the client went first");
    drop(peer);
    let ended = within(connected.ended()).await;
    assert_eq!(
        (ended.closed.cause, ended.closed.clean),
        (Cause::Stopped, true)
    );
    assert_eq!((ended.reason, ended.reconnects), (EndReason::Final, 0));
    recorder.expect("closed 1000 stopped clean after 1").await;
}

#[tokio::test]
async fn a_servers_close_is_answered_also_if_the_server_shuts_its_writing_side() {
    let (listener, url) = listen().await;
    let mut recorder = Recorder::new();
    let (connected, mut peer) =
        tokio::join!(recorder.run(Connect::new(url)), Peer::open(&listener));
    recorder.expect("init 0").await;
    peer.close(1001).await;
    tokio::io::AsyncWriteExt::shutdown(&mut peer.io)
        .await
        .unwrap();
    peer.expect(CLOSE, &1001_u16.to_be_bytes()).await;
    assert_eq!(peer.frame().await, None);
    let ended = within(connected.unwrap().ended()).await;
    assert!(ended.closed.clean);
    recorder.expect("closed 1001 peer clean after 1").await;
}

#[tokio::test]
async fn the_answer_to_a_close_goes_out_behind_all_that_waits_although_the_server_has_ended() {
    let (listener, url) = listen().await;
    let mut recorder = Recorder::new();
    let (connected, mut peer) =
        tokio::join!(recorder.run(Connect::new(url)), Peer::open(&listener));
    let connected = connected.unwrap();
    recorder.expect("init 0").await;
    // More than the buffers of both sockets hold.
    const WAITING: usize = 32 * 1024 * 1024;
    let connection = connected.connection();
    connection.send_binary(vec![0; WAITING]).await.unwrap();
    peer.close(1001).await;
    tokio::io::AsyncWriteExt::shutdown(&mut peer.io)
        .await
        .unwrap();
    within(connection.closed()).await;

    let mut rest = Vec::new();
    within(tokio::io::AsyncReadExt::read_to_end(
        &mut peer.io,
        &mut rest,
    ))
    .await
    .unwrap();
    // A header of 14 bytes and the payload; then the close frame, with its mask.
    assert_eq!(rest.len(), 14 + WAITING + 8);
    assert_eq!(rest[14 + WAITING..][..2], [0x88, 0x82]);
    assert!(within(connected.ended()).await.closed.clean);
}

#[tokio::test]
async fn a_server_that_never_ends_is_left_when_the_close_time_is_up() {
    let (listener, url) = listen().await;
    let recorder = Recorder::new();
    let config = Config::default().with_close_time(std::time::Duration::from_millis(20));
    let (connected, mut peer) = tokio::join!(
        recorder.run(Connect::new(url).with_config(config)),
        Peer::open(&listener)
    );
    let connected = connected.unwrap();
    connected.stop_with(4000, "enough").unwrap();
    peer.expect(CLOSE, b"\x0f\xa0enough").await;
    peer.close(4000).await;
    assert_eq!(peer.frame().await, None);
    assert!(within(connected.ended()).await.closed.clean);
    assert!(connected.stop_with(1006, "").is_err());
}

#[tokio::test]
async fn a_masked_frame_of_the_server_is_1002() {
    let (listener, url) = listen().await;
    let mut recorder = Recorder::new();
    let (connected, mut peer) =
        tokio::join!(recorder.run(Connect::new(url)), Peer::open(&listener));
    recorder.expect("init 0").await;
    peer.write(b"\x81\x82\0\0\0\0hi").await;
    peer.expect_close(1002).await;
    drop(peer);
    within(connected.unwrap().ended()).await;
    recorder
        .expect("closed 1002 protocol unclean after 1")
        .await;
}

#[tokio::test]
async fn a_message_past_the_bound_is_1009_and_a_lost_server_1006() {
    for is_lost in [false, true] {
        let (listener, url) = listen().await;
        let mut recorder = Recorder::new();
        let config = Config::default().with_max_message(10);
        let (connected, mut peer) = tokio::join!(
            recorder.run(Connect::new(url).with_config(config)),
            Peer::open(&listener)
        );
        recorder.expect("init 0").await;
        if is_lost {
            drop(peer);
            recorder.expect("closed 1006 lost unclean after 1").await;
        } else {
            peer.send(TEXT, b"eleven char").await;
            peer.expect_close(1009).await;
            drop(peer);
            recorder.expect("closed 1009 limit unclean after 1").await;
        }
        within(connected.unwrap().ended()).await;
    }
}

#[tokio::test]
async fn a_drain_of_its_hub_closes_a_client() {
    let (listener, url) = listen().await;
    let mut recorder = Recorder::new();
    let hub = Hub::new(Config::default());
    let (connected, mut peer) = tokio::join!(
        recorder.run(Connect::new(url.as_str()).with_hub(&hub)),
        Peer::open(&listener)
    );
    recorder.expect("init 0").await;
    assert_eq!(hub.connections(), 1);
    hub.drain();
    peer.expect(CLOSE, b"\x03\xe9the client is shutting down")
        .await;
    peer.close(1001).await;
    drop(peer);
    recorder.expect("closed 1001 drained clean after 1").await;
    assert_eq!(within(hub.drained()).await.clean, 1);
    within(connected.unwrap().ended()).await;

    let error = recorder
        .run(Connect::new(url).with_hub(&hub))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the hub is draining");
}

#[tokio::test]
async fn frames_are_masked_each_with_a_key_of_its_own() {
    let (listener, url) = listen().await;
    let recorder = Recorder::new();
    let (connected, mut peer) =
        tokio::join!(recorder.run(Connect::new(url)), Peer::open(&listener));
    let connected = connected.unwrap();
    let mut masks = std::collections::HashSet::new();
    for _ in 0..50 {
        connected.connection().send_text("same").await.unwrap();
        masks.insert(peer.expect(TEXT, b"same").await.mask);
        peer.send(PING, b"same").await;
        masks.insert(peer.expect(PONG, b"same").await.mask);
    }
    connected.stop();
    masks.insert(peer.frame().await.unwrap().mask);
    assert_eq!(masks.len(), 101);
    assert!(!masks.contains(&[0; 4]));
}

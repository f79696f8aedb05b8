//! What a bad or greedy peer gets (1002, 1007, 1009), and the bounds with their defaults.

use std::time::Duration;

use dreamsocket::testing::{Frame, settle};
use dreamsocket::{Config, Hub, Selector, continue_connection};
use tokio::time::Instant;

use crate::logs;
use crate::stage::{ECHO, IGNORE, Stage};

const MIB: usize = 1024 * 1024;

/// What the peer does is answered with `code`, reaches the handler as `expected`, and fills no log.
async fn check(config: Config, frames: Vec<Frame>, code: u16, expected: &str) {
    let logs = logs::capture();
    let (mut client, stage) = Stage::new(ECHO).with_config(config).connect();
    client.send_text("fine").await;
    client.expect_text("fine").await;
    let begin = Instant::now();
    client.send(frames).await;
    client.expect_closed(code).await;
    client.ended().await;
    assert_eq!(
        begin.elapsed(),
        Duration::ZERO,
        "it is told that nothing comes"
    );
    assert_eq!(
        stage.seen(),
        [
            "init".to_owned(),
            "fine".to_owned(),
            expected.to_owned(),
            format!("on_close 2, {expected}"),
        ]
    );
    assert_eq!(logs.loud(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_the_protocol_is_closed_with_1002() {
    let cases = [
        vec![Frame::text("x").unmasked()],
        vec![Frame::new(3, "x")],
        vec![Frame::new(0xB, "x")],
        vec![Frame::text("x").with_reserved_bits(4)],
        vec![Frame::text("x").with_reserved_bits(1)],
        vec![Frame::continuation("x")],
        vec![Frame::text("x").unfinished(), Frame::text("x")],
        vec![Frame::ping("x").unfinished()],
        vec![Frame::ping(vec![0; 126])],
        vec![Frame::close(1005, "")],
        vec![Frame::close_with_payload(vec![3])],
        // What stands behind it is ignored.
        vec![
            Frame::new(3, "x"),
            Frame::text("behind"),
            Frame::close(1000, ""),
        ],
    ];
    for frames in cases {
        check(
            Config::default(),
            frames,
            1002,
            "closed 1002 protocol unclean",
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn text_that_is_not_utf8_is_closed_with_1007() {
    let cases = [
        vec![Frame::text(vec![0xff])],
        vec![
            Frame::text(vec![0xc3]).unfinished(),
            Frame::continuation("x"),
        ],
        // Before the message ends.
        vec![Frame::text(vec![0xff]).unfinished()],
        vec![Frame::close_with_payload(vec![3, 0xe8, 0xff])],
    ];
    for frames in cases {
        check(
            Config::default(),
            frames,
            1007,
            "closed 1007 protocol unclean",
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_big_is_closed_with_1009() {
    let small = || {
        Config::default()
            .with_max_message(1_000)
            .with_max_frame(500)
    };
    let cases = [
        (small(), vec![Frame::binary(vec![0; 501])]),
        (
            small(),
            vec![
                Frame::binary(vec![0; 400]).unfinished(),
                Frame::continuation(vec![0; 400]).unfinished(),
                Frame::continuation(vec![0; 201]),
            ],
        ),
        // Each fragment is charged 64 bytes at least.
        (
            small(),
            std::iter::once(Frame::binary("").unfinished())
                .chain((0..15).map(|_| Frame::continuation("").unfinished()))
                .collect(),
        ),
        (Config::default(), vec![Frame::binary(vec![0; MIB + 1])]),
        (Config::default(), vec![Frame::text(vec![b'x'; MIB + 1])]),
    ];
    for (config, frames) in cases {
        check(config, frames, 1009, "closed 1009 limit unclean").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_as_big_as_may_be_passes() {
    let (mut client, stage) = Stage::new(IGNORE).connect();
    client.send_binary(vec![0; MIB]).await;
    assert_eq!(stage.messages(), ["1048576 bytes"]);
    client
        .send([
            Frame::binary(vec![0; MIB / 2]).unfinished(),
            Frame::continuation(vec![0; MIB / 2]),
        ])
        .await;
    assert_eq!(stage.messages(), ["1048576 bytes"]);
}

#[tokio::test(start_paused = true)]
async fn a_close_code_of_a_registry_or_an_application_is_echoed() {
    for code in [1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999] {
        let (mut client, stage) = Stage::new(ECHO).connect();
        client.close(code, "reason").await;
        client.expect_closed(code).await;
        client.ended().await;
        assert_eq!(stage.messages(), [format!("closed {code} peer clean")]);
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let seconds = Duration::from_secs;
    let config = Config::default();
    assert_eq!(config.max_message, MIB);
    assert_eq!(config.max_frame, MIB);
    assert_eq!(config.outbox, MIB);
    assert_eq!(config.init_timeout, seconds(10));
    assert_eq!(config.handler_timeout, Some(seconds(60)));
    assert_eq!(config.send_timeout, seconds(10));
    assert_eq!(config.heartbeat, Some(seconds(30)));
    assert_eq!(config.close_time, seconds(5));
    assert_eq!(config.stall_timeout, seconds(30));
    assert_eq!(config.control_frames, 100);
    assert_eq!(config.max_connections, 10_000);
    assert_eq!(config.drain_time, seconds(10));
    assert_eq!(config.max_head, 16 * 1024);
    assert_eq!(config.head_timeout, seconds(10));
    assert_eq!(config.max_sockets, 12_000);
}

#[tokio::test(start_paused = true)]
async fn a_connections_own_bounds_come_before_the_hubs() {
    let hub = Hub::new(Config::default().with_max_message(10));
    let (mut client, _stage) = Stage::new(ECHO).with_hub(&hub).connect();
    client.send_text("more than ten bytes").await;
    client.expect_closed(1009).await;
    let (mut client, _stage) = Stage::new(ECHO)
        .with_hub(&hub)
        .with_config(Config::default())
        .connect();
    client.send_text("more than ten bytes").await;
    client.expect_text("more than ten bytes").await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_at_once() {
    async fn on_init(_: &dreamsocket::Connection, _: &()) -> ((), Option<Selector>) {
        ((), None)
    }
    async fn on_message(
        (): &mut (),
        message: dreamsocket::Message,
        connection: &dreamsocket::Connection,
        _: &(),
    ) -> Result<dreamsocket::Action, dreamsocket::SendError> {
        if let dreamsocket::Message::Text(text) = message {
            connection.send_text(text).await?;
        }
        Ok(continue_connection())
    }
    async fn on_close((): (), _: &()) {}
    let hub = Hub::new(Config::default());
    let builder = crate::builder().with_hub(&hub);
    let connect = |_| builder.clone().connect((), on_init, on_message, on_close);
    let mut clients: Vec<_> = (0..1_000).map(connect).collect();
    for client in &mut clients {
        drop(client.send_text("hello"));
    }
    for client in &mut clients {
        client.expect_text("hello").await;
    }
    assert_eq!(hub.connections(), 1_000);
    drop(clients);
    settle().await;
    assert_eq!(hub.connections(), 0);
}

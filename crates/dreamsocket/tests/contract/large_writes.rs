//! S2, where it hangs on how much the transport takes at once. Not run over HTTP/2, where one write takes 16 KiB and what
//! follows waits until hyper's task has run.

use std::time::Duration;

use dreamsocket::testing::{Frame, settle};
use dreamsocket::{Broadcaster, Config, Message, OnMissed, Prepared, continue_connection};
use tokio::time::Instant;

use crate::stage::{Act, ECHO, IGNORE, Stage, act};

const MIB: usize = 1024 * 1024;

#[tokio::test(start_paused = true)]
async fn s2_large_and_small_messages_leave_with_one_write() {
    const SEND: Act = act!(|_, _, connection, _| {
        connection.send_text("small").await?;
        connection.send_binary(vec![1; 10_000]).await?;
        connection.send_text("small").await?;
        connection.send_binary(vec![1; 20_000]).await?;
        Ok(continue_connection())
    });
    let (mut client, _stage) = Stage::new(SEND).connect();
    client.send_text("go").await;
    assert_eq!(client.traffic().writes, 1);
}

#[tokio::test(start_paused = true)]
async fn s2_flushed_when_64_kib_are_pending() {
    const CHECK: Act = act!(|_, message, connection, stage| {
        if let Message::Text(_) = message {
            stage.note(connection.buffered_bytes().to_string());
            connection.send_binary(vec![0; 20_000]).await?;
        }
        Ok(continue_connection())
    });
    let (mut client, stage) = Stage::new(CHECK)
        .with(|builder| builder.with_buffer(MIB))
        .connect();
    client.send((0..20).map(|_| Frame::text(""))).await;
    let pending = stage.messages();
    let most = pending.iter().filter_map(|line| line.parse().ok());
    let most: usize = most.max().unwrap();
    assert!(most < 64 * 1024 + 20_000, "{pending:?}");
    assert!(client.traffic().writes >= 5, "{:?}", client.traffic());
}

#[tokio::test(start_paused = true)]
async fn s2_a_forwarded_topic_goes_out_in_batches_of_64_kib() {
    let topic = Broadcaster::new().topic("prices");
    let (mut client, _stage) = Stage::new(IGNORE)
        .with(|builder| builder.with_buffer(1_000_000))
        .connect();
    let channel = topic.subscribe();
    for _ in 0..20 {
        topic.publish(Prepared::binary(vec![0; 16_000])).unwrap();
    }
    let before = client.traffic().writes;
    let _forward = client.connection().forward(channel, |_| OnMissed::End);
    for _ in 0..20 {
        client.expect_binary(vec![0; 16_000]).await;
    }
    assert_eq!(client.traffic().writes - before, 4);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_the_peer_does_not_take_is_unclean_and_over_with_close_time() {
    let config = Config::default()
        .with_close_time(Duration::from_secs(5))
        .with_stall_timeout(Duration::from_secs(1));
    let (mut client, stage) = Stage::new(ECHO)
        .with_config(config)
        .with(|builder| builder.with_buffer(64))
        .connect();
    settle().await;
    client.stall();
    let begin = Instant::now();
    // The answer to the close goes with that to the text, and of both the peer takes a part.
    let text = "x".repeat(100);
    client
        .send([Frame::text(text.clone()), Frame::close(1000, "")])
        .await;
    client.ended().await;
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
    assert_eq!(stage.messages(), [&*text, "closed 1000 peer unclean"]);
}

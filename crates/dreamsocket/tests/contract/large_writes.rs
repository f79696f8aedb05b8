//! S2, where it hangs on how much the transport takes at once. Not run over HTTP/2, where one write takes 16 KiB and what
//! follows waits until hyper's task has run.

use dreamsocket::testing::Frame;
use dreamsocket::{Message, continue_connection};

use crate::stage::{Act, Stage, act};

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

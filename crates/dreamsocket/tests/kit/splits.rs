//! Bytes that come in pieces.

use dreamsocket::testing::{self, Frame};

use crate::app::router;

#[tokio::test(start_paused = true)]
async fn a_message_may_come_in_any_pieces() {
    let server = testing::serve(router());
    let mut client = server.connect("/chat?user=ada").await;
    client.expect_text("hello ada").await;
    let message = || {
        [
            Frame::binary("Hel").unfinished(),
            Frame::ping("there?"),
            Frame::continuation("lo"),
        ]
    };
    let length: usize = message().iter().map(|frame| frame.to_bytes().len()).sum();
    for at in 1..=length {
        let before = client.traffic();
        client.send_split(message(), [at]).await;
        client.expect_pong("there?").await;
        client.expect_binary("Hello").await;
        let reads = client.traffic().reads - before.reads;
        assert_eq!(reads, if at == length { 1 } else { 2 });
    }
    let before = client.traffic();
    client.send_split(message(), std::iter::repeat(1)).await;
    client.expect_pong("there?").await;
    client.expect_binary("Hello").await;
    assert_eq!(client.traffic().reads - before.reads, length);
}

#[tokio::test(start_paused = true)]
async fn a_small_transport_splits_what_the_session_writes() {
    let server = testing::serve(router());
    let mut client = server.at("/chat?user=ada").with_buffer(3).connect().await;
    client.expect_text("hello ada").await;
    client.send_binary([7; 1_000]).await;
    client.expect_binary([7; 1_000]).await;
}

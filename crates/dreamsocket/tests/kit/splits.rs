//! Bytes that come in pieces.

use std::sync::{Arc, OnceLock};

use dreamsocket::testing::{self, Client, Frame};
use dreamsocket::{
    Action, Closed, Connection, Message, Selector, SendError, continue_connection, stop_connection,
};

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

/// How the session has ended.
type Ending = Arc<OnceLock<Closed>>;

async fn on_init(_: &Connection, _: &Ending) -> ((), Option<Selector>) {
    ((), None)
}

/// Asks the client for something while it is sending.
async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    _: &Ending,
) -> Result<Action, SendError> {
    match message {
        Message::Text(text) if text == "ping" => connection.ping().await?,
        Message::Text(text) if text == "quit" => return Ok(stop_connection()),
        Message::Text(text) => connection.send_text(text).await?,
        _ => {}
    }
    Ok(continue_connection())
}

async fn on_close((): (), closed: Closed, ending: &Ending) {
    ending.set(closed).unwrap();
}

fn connect() -> (Client, Ending) {
    let ending = Ending::default();
    let client = testing::connect(Arc::clone(&ending), on_init, on_message, on_close);
    (client, ending)
}

#[tokio::test(start_paused = true)]
async fn answers_wait_for_the_end_of_a_frame() {
    let frames = |first: &'static str| [Frame::text(first), Frame::text("x")];
    let length = frames("ping")
        .map(|frame| frame.to_bytes().len())
        .iter()
        .sum();
    let cuts = (1..=length).map(|at| vec![at]);
    for sizes in cuts.chain([vec![1; length], vec![3; length]]) {
        let (mut client, ending) = connect();
        client.send_split(frames("ping"), sizes.clone()).await;
        client.expect_ping().await;
        client.expect_text("x").await;
        // The session has got the pong.
        assert!(client.connection().round_trip_time().is_some(), "{sizes:?}");
        client.close(1000, "").await;
        client.expect_closed(1000).await;
        client.ended().await;
        assert!(ending.get().unwrap().clean, "{sizes:?}");

        let (mut client, ending) = connect();
        client.send_split(frames("quit"), sizes.clone()).await;
        client.expect_closed(1000).await;
        client.ended().await;
        let closed = ending.get().unwrap();
        assert!(
            closed.clean,
            "{sizes:?} {closed:?}\n{}",
            client.transcript()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_that_is_still_to_come_keeps_no_answer_back() {
    let (mut client, _) = connect();
    let frames = [Frame::text("ping"), Frame::close(1000, "")];
    client.send_split(frames, std::iter::repeat(1)).await;
    client.expect_ping().await;
    assert!(client.connection().round_trip_time().is_some());
    client.expect_closed(1000).await;
}

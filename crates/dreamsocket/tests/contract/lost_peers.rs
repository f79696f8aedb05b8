//! L5: what a peer said before it was lost, where a write notices it.
//!
//! Only over a bare transport: on HTTP/2 the first write after a peer's end succeeds.

use std::num::NonZeroU32;
use std::time::Duration;

use dreamsocket::testing::{Frame, advance, settle};
use dreamsocket::{Config, Message, Rate, continue_connection};

use crate::stage::{Act, Stage, act};

/// Says something to the peer, and does not mind that it has gone.
const SAY: Act = act!(|_, message, connection, _| {
    if let Message::Text(_) = message {
        let _ = connection.try_send_text("x");
    }
    Ok(continue_connection())
});

/// A hundred messages that come in one piece, and what comes behind them.
fn hundred(last: Option<Frame>) -> impl Iterator<Item = Frame> {
    let frames = (0..100).map(|number| Frame::text(number.to_string()));
    frames.chain(last)
}

fn expected(last: &str) -> Vec<String> {
    let mut expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    expected.push(last.to_owned());
    expected
}

#[tokio::test(start_paused = true)]
async fn l5_messages_before_a_failed_write_are_delivered() {
    for (last, end) in [
        (None, "closed 1006 lost unclean"),
        (Some(Frame::close(1000, "")), "closed 1000 peer unclean"),
        (
            Some(Frame::text(vec![0xff])),
            "closed 1007 protocol unclean",
        ),
    ] {
        // The session writes after 64 messages.
        let (mut client, stage) = Stage::new(SAY)
            .with(|builder| builder.with_early(hundred(last)))
            .connect();
        client.vanish().await;
        client.ended().await;
        assert_eq!(stage.messages(), expected(end));
    }
}

/// Waits on "hold" until it is released.
const HOLD: Act = act!(|_, message, _, stage| {
    if matches!(&message, Message::Text(text) if text == "hold") {
        stage.hold().await;
    }
    Ok(continue_connection())
});

#[tokio::test(start_paused = true)]
async fn l5_messages_that_wait_for_their_rate_are_delivered_when_a_write_fails() {
    let half = &Frame::text("half").to_bytes()[..5];
    for (first, last, end) in [
        ("one", half, "closed 1006 lost unclean"),
        ("hold", half, "closed 1006 lost unclean"),
        (
            "one",
            &Frame::close(1000, "").to_bytes(),
            "closed 1000 peer unclean",
        ),
        (
            "hold",
            &Frame::close(1000, "").to_bytes(),
            "closed 1000 peer unclean",
        ),
    ] {
        let rate = Rate::per_second(NonZeroU32::MIN);
        let config = Config::default().with_message_rate(Some(rate));
        let (mut client, stage) = Stage::new(HOLD).with_config(config).connect();
        // What is behind the first waits where it was read.
        drop(client.send([first, "two", "three"].map(Frame::text)));
        client.send_raw(last).await;
        client.vanish().await;
        assert_eq!(stage.messages(), [first]);
        let connection = client.connection().clone();
        connection.try_send_text("into nothing").unwrap();
        settle().await;
        assert!(connection.is_closed());
        // The session looks again.
        connection.set_bounds(Config::default());
        settle().await;
        stage.release();
        client.ended().await;
        assert_eq!(stage.messages(), ["two", "three", end], "after {first}");
    }
}

#[tokio::test(start_paused = true)]
async fn l5_a_peer_that_has_ended_and_does_not_read_loses_no_message_to_the_stall_timeout() {
    let config = Config::default()
        .with_handler_timeout(None)
        .with_outbox(1_000);
    let (mut client, stage) = Stage::new(HOLD)
        .with_config(config)
        .with(|builder| builder.with_buffer(64))
        .connect();
    client.stall();
    client.send(["hold", "two"].map(Frame::text)).await;
    let connection = client.connection().clone();
    while connection.try_send_binary(vec![0; 300]).is_ok() {
        settle().await;
    }
    client.shut_down_writing().await;
    assert!(connection.is_closed());
    advance(Duration::from_secs(61)).await;
    stage.release();
    client.ended().await;
    assert_eq!(
        stage.messages(),
        ["hold", "two", "closed 1006 lost unclean"]
    );
}

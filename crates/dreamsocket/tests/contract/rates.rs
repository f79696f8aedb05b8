//! What a peer may do in a time: rates, idle time, lifetime, and bounds that change with a login. All off by default.

use std::num::NonZeroU32;
use std::time::Duration;

use dreamsocket::testing::{Frame, advance};
use dreamsocket::{CloseCode, Config, Excess, Hub, Message, Rate, continue_connection};
use tokio::time::Instant;

use crate::stage::{Act, ECHO, HOLD_AND_ECHO, IGNORE, Stage, act, always};

fn rate(per_second: u32, burst: u32) -> Option<Rate> {
    let number = |number| NonZeroU32::new(number).unwrap();
    Some(Rate::per_second(number(per_second)).with_burst(number(burst)))
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn messages_past_the_rate_wait_and_none_is_lost() {
    let hub = Hub::new(Config::default().with_message_rate(rate(10, 20)));
    let (mut client, stage) = Stage::new(IGNORE).with_hub(&hub).connect();
    let begin = Instant::now();
    client
        .send((0..50).map(|number| Frame::text(number.to_string())))
        .await;
    assert_eq!(stage.messages().len(), 20, "the burst");
    advance(SECOND).await;
    assert_eq!(stage.messages().len(), 10);
    while begin.elapsed() < 3 * SECOND {
        advance(SECOND).await;
    }
    let rest = stage.messages();
    assert_eq!(rest.first().map(String::as_str), Some("30"));
    assert_eq!(rest.last().map(String::as_str), Some("49"));
    let pauses = hub.counts().read_pauses();
    assert!(pauses > 0);
    // After a while there is a burst again.
    advance(10 * SECOND).await;
    client.send((0..30).map(|_| Frame::text("x"))).await;
    assert_eq!(stage.messages().len(), 20);
    // They are counted on when the connection has ended.
    drop(client);
    advance(10 * SECOND).await;
    assert_eq!(hub.connections(), 0);
    assert!(hub.counts().read_pauses() >= pauses);
}

#[tokio::test(start_paused = true)]
async fn l9_a_peer_that_waits_for_its_rate_is_not_called_dead() {
    let config = Config::default()
        .with_message_rate(rate(1, 1))
        .with_heartbeat(Some(Duration::from_millis(100)));
    let (mut client, stage) = Stage::new(ECHO).with_config(config).connect();
    client.send((0..5).map(|_| Frame::text("x"))).await;
    for _ in 0..5 {
        client.expect_text("x").await;
    }
    assert_eq!(stage.messages().len(), 5);
    assert!(!client.connection().is_closed());
}

#[tokio::test(start_paused = true)]
async fn bytes_past_the_rate_wait() {
    let config = Config::default().with_byte_rate(rate(1_000, 2_000));
    let (mut client, stage) = Stage::new(IGNORE).with_config(config).connect();
    // A frame of a thousand bytes costs its header as well.
    client
        .send((0..100).map(|_| Frame::binary(vec![0; 992])))
        .await;
    let begin = Instant::now();
    let mut seen = stage.messages().len();
    // What came in one piece is let through and has to be earned afterwards.
    assert!(seen <= 17, "{seen}");
    while seen < 100 {
        advance(SECOND).await;
        seen += stage.messages().len();
        assert!(begin.elapsed() < 200 * SECOND);
    }
    assert!(begin.elapsed() >= 80 * SECOND, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn past_the_rate_a_connection_can_be_closed_instead() {
    let config = Config::default()
        .with_message_rate(rate(10, 5))
        .with_rate_excess(Excess::Close);
    let (mut client, stage) = Stage::new(IGNORE).with_config(config).connect();
    client.send((0..5).map(|_| Frame::text("x"))).await;
    advance(SECOND).await;
    client.send((0..6).map(|_| Frame::text("x"))).await;
    client.expect_closed(1008).await;
    client.ended().await;
    let seen = stage.messages();
    assert_eq!(seen.len(), 11);
    assert_eq!(seen.last().unwrap(), "closed 1008 limit clean");

    let config = Config::default()
        .with_byte_rate(rate(1_000, 1_000))
        .with_rate_excess(Excess::Close);
    let (mut client, stage) = Stage::new(IGNORE).with_config(config).connect();
    client.send_binary(vec![0; 900]).await;
    client.send_binary(vec![0; 900]).await;
    client.expect_closed(1008).await;
    client.ended().await;
    assert_eq!(stage.messages().last().unwrap(), "closed 1008 limit clean");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_with_1008_and_pings_are_no_messages() {
    let config = Config::default().with_idle_timeout(Some(60 * SECOND));
    let (mut client, stage) = Stage::new(ECHO).with_config(config).connect();
    advance(40 * SECOND).await;
    client.send_text("here").await;
    client.expect_text("here").await;
    for _ in 0..5 {
        advance(11 * SECOND).await;
        client.ping("x").await;
    }
    assert!(!client.connection().is_closed());
    advance(6 * SECOND).await;
    client.expect_closed(1008).await;
    client.ended().await;
    assert_eq!(stage.messages(), ["here", "closed 1008 limit clean"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_only_listens_is_not_idle_while_there_is_something_to_hear() {
    let config = Config::default().with_idle_timeout(Some(10 * SECOND));
    let ticks = tokio::time::interval(5 * SECOND);
    let (client, _stage) = Stage::new(IGNORE)
        .with_config(config)
        .with_selector(dreamsocket::Selector::from(ticks).map(|_| "tick".to_owned()))
        .connect();
    advance(60 * SECOND).await;
    assert!(!client.connection().is_closed());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_idle_while_a_handler_works() {
    let config = Config::default().with_idle_timeout(Some(10 * SECOND));
    let (mut client, stage) = Stage::new(HOLD_AND_ECHO).with_config(config).connect();
    client.send_text("hold").await;
    advance(30 * SECOND).await;
    assert!(!client.connection().is_closed());
    stage.release();
    client.expect_text("hold").await;
    advance(11 * SECOND).await;
    client.expect_closed(1008).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_lasted_long_enough_is_closed_with_1001() {
    let config = Config::default().with_max_lifetime(Some(60 * SECOND));
    let (mut client, stage) = Stage::new(IGNORE)
        .with_config(config)
        .with_selector(always(std::iter::repeat_n("x".to_owned(), 3)))
        .connect();
    advance(59 * SECOND).await;
    assert!(!client.connection().is_closed());
    advance(SECOND).await;
    client.expect_closed(1001).await;
    client.ended().await;
    let seen = stage.messages();
    assert_eq!(seen.last().unwrap(), "closed 1001 limit clean");
}

/// Lets the peer do more once it has said the password.
const LOGIN: Act = act!(|_, message, connection, _| {
    match message {
        Message::Text(text) if text == "password" => {
            connection.set_bounds(Config::default().with_max_message(10_000));
            connection.send_text("welcome").await?;
        }
        Message::Text(text) => connection.send_text(text).await?,
        _ => {}
    }
    Ok(continue_connection())
});

/// Before the login: little, slowly, and not for long.
fn strict() -> Config {
    Config::default()
        .with_max_message(100)
        .with_message_rate(rate(1, 2))
        .with_max_lifetime(Some(10 * SECOND))
}

#[tokio::test(start_paused = true)]
async fn wider_bounds_hold_after_a_login() {
    let (mut client, _stage) = Stage::new(LOGIN).with_config(strict()).connect();
    client.send_text("password").await;
    client.expect_text("welcome").await;
    let long = "x".repeat(5_000);
    for _ in 0..20 {
        client.send_text(&long).await;
        client.expect_text(&long).await;
    }
    advance(30 * SECOND).await;
    assert!(!client.connection().is_closed());
    client.send_text("x".repeat(10_001)).await;
    client.expect_closed(1009).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_login_the_strict_bounds_hold() {
    let (mut client, stage) = Stage::new(LOGIN).with_config(strict()).connect();
    client.send_text("x".repeat(101)).await;
    client.expect_closed(1009).await;

    let (mut client, _) = Stage::new(LOGIN).with_config(strict()).connect();
    advance(10 * SECOND).await;
    client.expect_closed(1001).await;
    client.ended().await;
    assert!(stage.messages().len() <= 1);
    // Bounds that come too late change nothing.
    client.connection().set_bounds(Config::default());
    let closed = client.connection().close(CloseCode::NORMAL, "").await;
    assert!(closed.is_ok());
}

/// Has an idle timeout from the first message on.
const TIMED: Act = act!(|_, message, connection, _| {
    if let Message::Text(text) = message {
        connection.set_bounds(Config::default().with_idle_timeout(Some(10 * SECOND)));
        connection.send_text(text).await?;
    }
    Ok(continue_connection())
});

#[tokio::test(start_paused = true)]
async fn an_idle_time_that_is_set_late_is_counted_from_then() {
    let (mut client, _stage) = Stage::new(TIMED).connect();
    advance(60 * SECOND).await;
    client.send_text("here").await;
    client.expect_text("here").await;
    advance(9 * SECOND).await;
    assert!(!client.connection().is_closed());
    advance(SECOND).await;
    client.expect_closed(1008).await;
}

/// Does as [`LOGIN`] does, and works on until the peer has gone.
const LOGIN_AND_STAY: Act = act!(|_, message, connection, stage| {
    if let Message::Text(_) = message {
        connection.set_bounds(Config::default());
        connection.closed().await;
        stage.note("closed");
    }
    Ok(continue_connection())
});

#[tokio::test(start_paused = true)]
async fn l3_reading_goes_on_when_wider_bounds_end_a_pause_beside_a_handler() {
    let config = Config::default()
        .with_message_rate(rate(1, 1))
        .with_handler_timeout(None);
    let (mut client, stage) = Stage::new(LOGIN_AND_STAY).with_config(config).connect();
    // The login itself is all that may come in this second.
    client.send_text("login").await;
    client.ping("still here").await;
    let begin = Instant::now();
    client.expect_pong("still here").await;
    assert!(begin.elapsed().is_zero(), "nothing holds reading up");
    client.vanish().await;
    assert_eq!(
        stage.messages(),
        ["login", "closed", "closed 1006 lost unclean"]
    );
}

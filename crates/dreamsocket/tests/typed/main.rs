//! Typed messages: what is decoded before `on_message`, what is encoded after it, and what becomes of the rest.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dreamsocket::testing::{self, Client};
#[cfg(feature = "messagepack")]
use dreamsocket::typed::MessagePack;
use dreamsocket::typed::{Connection, Format, Json, Message, OnUndecodable};
use dreamsocket::{
    Action, BoxError, Broadcaster, CloseCode, Closed, Config, Selector, SendError, Topic,
    continue_connection, stop_connection,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Ask {
    Add { a: i64, b: i64 },
    Fail,
    Stop,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Tell {
    Ready,
    Sum { sum: i64 },
    Wrong { reason: String },
    News { text: String },
}

/// What handlers need, and what they saw.
struct App {
    news: Topic<String>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl App {
    fn new() -> (Self, Topic<String>, Arc<Mutex<Vec<String>>>) {
        let news = Broadcaster::new().topic("news");
        let seen = Arc::default();
        let app = Self {
            news: news.clone(),
            seen: Arc::clone(&seen),
        };
        (app, news, seen)
    }
}

async fn on_init<F: Format>(
    connection: &Connection<Tell, F>,
    app: &App,
) -> Result<(i64, Option<Selector<String>>), SendError> {
    connection.send(&Tell::Ready).await?;
    Ok((0, Some(Selector::from(app.news.subscribe()))))
}

async fn on_message<F: Format>(
    total: &mut i64,
    message: Message<Ask, String>,
    connection: &Connection<Tell, F>,
    app: &App,
) -> Result<Action<String>, BoxError> {
    match message {
        Message::Received(Ask::Add { a, b }) => {
            *total += a + b;
            connection.try_send(&Tell::Sum { sum: *total })?;
        }
        Message::Received(Ask::Fail) => return Err("on purpose".into()),
        Message::Received(Ask::Stop) => return Ok(stop_connection()),
        Message::Undecodable(undecodable) => {
            assert!(!format!("{undecodable:?}").contains("secret"));
            let reason = undecodable.to_string();
            connection.send(&Tell::Wrong { reason }).await?;
        }
        Message::Custom(text) => connection.send(&Tell::News { text }).await?,
        Message::Missed(_) => {}
        Message::ConnectionClosed(closed) => note(app, "told", &closed),
    }
    Ok(continue_connection())
}

async fn on_close(total: i64, closed: Closed, app: &App) {
    note(app, &format!("ended with {total}"), &closed);
}

fn note(app: &App, what: &str, closed: &Closed) {
    let line = format!("{what}: {} {:?}", closed.code, closed.cause);
    app.seen.lock().unwrap().push(line);
}

async fn connect(policy: OnUndecodable) -> (Client, Topic<String>, Arc<Mutex<Vec<String>>>) {
    let (app, news, seen) = App::new();
    let config = Config::default().with_undecodable(policy);
    let mut client = testing::Builder::new().with_config(config).connect_typed(
        app,
        on_init::<Json>,
        on_message::<Json>,
        on_close,
    );
    assert_eq!(client.expect_json::<Tell>().await, Tell::Ready);
    (client, news, seen)
}

#[tokio::test(start_paused = true)]
async fn what_comes_is_decoded_and_what_goes_is_encoded() {
    let (mut client, news, seen) = connect(OnUndecodable::Tell).await;
    client.send_json(&Ask::Add { a: 1, b: 2 }).await;
    assert_eq!(client.expect_json::<Tell>().await, Tell::Sum { sum: 3 });
    // JSON is read in binary messages, too, and answered in text.
    client.send_binary(br#"{"type":"add","a":4,"b":5}"#).await;
    client.expect_text(r#"{"type":"sum","sum":12}"#).await;
    news.publish("hello".to_owned()).unwrap();
    let text = "hello".to_owned();
    assert_eq!(client.expect_json::<Tell>().await, Tell::News { text });
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    client.ended().await;
    assert_eq!(
        *seen.lock().unwrap(),
        ["told: 1000 Peer", "ended with 12: 1000 Peer"]
    );
}

#[tokio::test(start_paused = true)]
async fn stops_and_errors_are_those_of_the_plain_loop() {
    for (ask, code) in [(Ask::Stop, 1000), (Ask::Fail, 1011)] {
        let (mut client, _news, seen) = connect(OnUndecodable::Tell).await;
        client.send_json(&ask).await;
        client.expect_closed(code).await;
        client.ended().await;
        assert_eq!(seen.lock().unwrap().len(), 1, "on_close and no more");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_decode_is_told_without_what_it_was() {
    let (mut client, ..) = connect(OnUndecodable::Tell).await;
    for (text, reason) in [
        ("secret", "the message is no JSON (line 1, column 1)"),
        ("", "the message is no JSON (line 1, column 0)"),
        (
            r#"{"type":"add","a":"secret","b":1}"#,
            "the message is JSON of another shape than is expected here (line 1, column 33)",
        ),
    ] {
        client.send_text(text).await;
        let Tell::Wrong { reason: told } = client.expect_json().await else {
            unreachable!("{text}")
        };
        let told = told.split(" (").next().unwrap();
        assert_eq!(told, reason.split(" (").next().unwrap(), "{text}");
    }
    client.send_json(&Ask::Add { a: 1, b: 1 }).await;
    assert_eq!(client.expect_json::<Tell>().await, Tell::Sum { sum: 2 });
}

#[tokio::test(start_paused = true)]
async fn what_does_not_decode_may_close_with_1007() {
    let (mut client, _news, seen) = connect(OnUndecodable::Close).await;
    client.send_text("secret").await;
    let reason = client.expect_closed(CloseCode::INVALID_PAYLOAD).await;
    assert!(reason.starts_with("the message is no JSON"), "{reason}");
    client.ended().await;
    assert_eq!(
        *seen.lock().unwrap(),
        ["told: 1007 Protocol", "ended with 0: 1007 Protocol"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_decode_may_be_ignored() {
    let (mut client, ..) = connect(OnUndecodable::Ignore).await;
    client.send_text("nonsense").await;
    client.send_json(&Ask::Add { a: 1, b: 1 }).await;
    assert_eq!(client.expect_json::<Tell>().await, Tell::Sum { sum: 2 });
}

#[cfg(feature = "messagepack")]
#[tokio::test(start_paused = true)]
async fn message_pack_goes_in_binary_messages() {
    let (app, ..) = App::new();
    let mut client = testing::connect_typed(
        app,
        on_init::<MessagePack>,
        on_message::<MessagePack>,
        on_close,
    );
    let pack = |tell: &Tell| rmp_serde::to_vec_named(tell).unwrap();
    client.expect_binary(pack(&Tell::Ready)).await;
    let ask = rmp_serde::to_vec_named(&Ask::Add { a: 1, b: 2 }).unwrap();
    client.send_binary(&ask).await;
    client.expect_binary(pack(&Tell::Sum { sum: 3 })).await;
    // Text, what is cut off, what has something behind it, and what is nested without end.
    let reason = "the message is no MessagePack, or of another shape than is expected here";
    let wrong = pack(&Tell::Wrong {
        reason: reason.to_owned(),
    });
    client.send_text("text").await;
    client.expect_binary(&wrong).await;
    for bytes in [
        ask[..ask.len() - 1].to_vec(),
        [&ask[..], b"x"].concat(),
        vec![0x91; 100_000],
    ] {
        client.send_binary(bytes).await;
        client.expect_binary(&wrong).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_encoded_is_an_error_and_sends_nothing() {
    async fn init(
        connection: &Connection<std::collections::HashMap<(u8, u8), u8>>,
        _: &(),
    ) -> ((), Option<Selector>) {
        let map = [((1, 2), 3)].into();
        let error = connection.send(&map).await.unwrap_err();
        assert!(matches!(error, SendError::Unencodable(_)), "{error}");
        assert!(connection.try_send(&map).is_err());
        ((), None)
    }
    async fn message(
        _: &mut (),
        _: Message<Ask>,
        _: &Connection<std::collections::HashMap<(u8, u8), u8>>,
        _: &(),
    ) -> Action {
        continue_connection()
    }
    async fn close(_: (), _: &()) {}
    let mut client = testing::connect_typed((), init, message, close);
    testing::advance(Duration::from_secs(1)).await;
    client.expect_nothing().await;
}

//! What the tests look at: connections in memory, and requests to an inspector without a server.

use dreamsocket::inspector::Inspector;
use dreamsocket::testing::{self, Client};
use dreamsocket::{
    Action, Connection, Hub, Message, Selector, SendError, Topic, continue_connection,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

pub(crate) type Answer = Response<Full<bytes::Bytes>>;

/// The state of the connections, whose type's name the lists have.
#[derive(Debug)]
pub(crate) struct Player;

/// Echoes texts.
pub(crate) async fn echo(
    _: &mut Player,
    message: Message<String>,
    connection: &Connection,
    _: &Option<Topic<String>>,
) -> Result<Action<String>, SendError> {
    if let Message::Text(text) = message {
        connection.send_text(text).await?;
    }
    Ok(continue_connection())
}

async fn on_init(
    _: &Connection,
    topic: &Option<Topic<String>>,
) -> (Player, Option<Selector<String>>) {
    let channel = topic.as_ref().map(Topic::subscribe);
    (Player, channel.map(Selector::from))
}

async fn on_close(_: Player, _: &Option<Topic<String>>) {}

/// A connection of this hub, on a topic or on none.
pub(crate) fn connect(hub: &Hub, peer: [u8; 4], topic: Option<Topic<String>>) -> Client {
    testing::Builder::new()
        .with_hub(hub)
        .with_buffer(1024)
        .with_peer_addr((peer, 4321).into())
        .connect(topic, on_init, echo, on_close)
}

/// What the inspector answers to a request of a program.
pub(crate) async fn request(
    inspector: &Inspector,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    inspector.respond(request.body(()).unwrap()).await
}

pub(crate) async fn text(answer: Answer) -> String {
    let body = answer.into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// What is answered with 200 and JSON.
pub(crate) async fn json(inspector: &Inspector, uri: &str) -> Value {
    let answer = request(inspector, Method::GET, uri, &[]).await;
    assert_eq!(answer.status(), StatusCode::OK, "{uri}");
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_str(&text(answer).await).unwrap()
}

/// One field of each connection that is listed.
pub(crate) fn column<'a>(listed: &'a Value, field: &str) -> Vec<&'a Value> {
    let rows = listed["connections"].as_array().unwrap();
    rows.iter().map(|row| &row[field]).collect()
}

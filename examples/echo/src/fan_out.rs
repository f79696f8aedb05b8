//! `/pub` and `/sub`: every message sent to the one reaches all of the other, in order.

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use dreamsocket::{
    Action, BoxError, ChannelOptions, Close, CloseCode, Connection, Message, PublishError,
    Selector, Text, Topic, continue_connection, upgrade_websocket,
};

#[derive(Clone)]
pub(crate) enum Payload {
    Text(Text),
    Binary(Bytes),
}

#[derive(Clone)]
pub(crate) struct FanOut {
    pub(crate) topic: Topic<Payload>,
    /// How many messages a subscriber may fall behind.
    pub(crate) behind: usize,
}

pub(crate) async fn publish(State(fan_out): State<FanOut>, request: Request) -> Response {
    upgrade_websocket(
        request,
        fan_out,
        on_publisher,
        on_published,
        on_publisher_gone,
    )
}

async fn on_publisher(_: &Connection, _: &FanOut) -> ((), Option<Selector>) {
    ((), None)
}

async fn on_published(
    (): &mut (),
    message: Message,
    _: &Connection,
    fan_out: &FanOut,
) -> Result<Action, PublishError> {
    match message {
        Message::Text(text) => fan_out.topic.publish(Payload::Text(text))?,
        Message::Binary(bytes) => fan_out.topic.publish(Payload::Binary(bytes))?,
        Message::Custom(_) | Message::Missed(_) | Message::ConnectionClosed(_) => {
            return Ok(continue_connection());
        }
    };
    Ok(continue_connection())
}

async fn on_publisher_gone((): (), _: &FanOut) {}

pub(crate) async fn subscribe(State(fan_out): State<FanOut>, request: Request) -> Response {
    upgrade_websocket(
        request,
        fan_out,
        on_subscriber,
        on_delivery,
        on_subscriber_gone,
    )
}

async fn on_subscriber(_: &Connection, fan_out: &FanOut) -> ((), Option<Selector<Payload>>) {
    let options = ChannelOptions::new().capacity(fan_out.behind);
    let channel = fan_out.topic.subscribe_with(options);
    ((), Some(Selector::from(channel)))
}

async fn on_delivery(
    (): &mut (),
    message: Message<Payload>,
    connection: &Connection,
    _: &FanOut,
) -> Result<Action<Payload>, BoxError> {
    match message {
        Message::Custom(Payload::Text(text)) => connection.send_text(text).await?,
        Message::Custom(Payload::Binary(bytes)) => connection.send_binary(bytes).await?,
        // A subscriber of this stream wants all of it or none: one with a gap has to start again.
        Message::Missed(_) => {
            return Err(Close::new(CloseCode::TRY_AGAIN_LATER, "too far behind").into());
        }
        Message::Text(_) | Message::Binary(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_subscriber_gone((): (), _: &FanOut) {}

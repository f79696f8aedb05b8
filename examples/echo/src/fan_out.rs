//! `/pub` and `/sub`: every message sent to the one reaches all of the other, in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, ChannelOptions, Closed, Connection, Forward, Message, OnMissed, Prepared, PublishError,
    Selector, Topic, continue_connection, upgrade_websocket,
};

#[derive(Clone)]
pub(crate) struct FanOut {
    pub(crate) topic: Topic<Prepared>,
    /// How many messages a subscriber may fall behind.
    pub(crate) behind: usize,
    /// How many of `/sub` ended with each close code.
    pub(crate) closed: Arc<Mutex<BTreeMap<u16, u64>>>,
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
        Message::Text(text) => fan_out.topic.publish(Prepared::text(text))?,
        Message::Binary(bytes) => fan_out.topic.publish(Prepared::binary(bytes))?,
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
        on_subscribers_message,
        on_subscriber_gone,
    )
}

/// The topic's messages go out without a handler: all that a subscriber's connection keeps is the forwarding.
async fn on_subscriber(connection: &Connection, fan_out: &FanOut) -> (Forward, Option<Selector>) {
    // A subscriber of this stream wants all of it or none: one that is too far behind has to start again.
    let options = ChannelOptions::new()
        .capacity(fan_out.behind)
        .end_when_full();
    let channel = fan_out.topic.subscribe_with(options);
    (connection.forward(channel, |_| OnMissed::End), None)
}

/// What a subscriber says is not listened to.
async fn on_subscribers_message(_: &mut Forward, _: Message, _: &Connection, _: &FanOut) -> Action {
    continue_connection()
}

async fn on_subscriber_gone(_: Forward, closed: Closed, fan_out: &FanOut) {
    let mut counts = fan_out
        .closed
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *counts.entry(closed.code.into()).or_default() += 1;
}

/// A line for each close code: the code, and how many of `/sub` ended with it.
pub(crate) async fn closed(State(fan_out): State<FanOut>) -> String {
    let counts = fan_out
        .closed
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    counts
        .iter()
        .map(|(code, count)| format!("{code} {count}\n"))
        .collect()
}

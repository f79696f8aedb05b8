//! `/echo`: every message goes back as it came. `/topic`: so it does on a connection that is subscribed to a topic.

use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, Broadcaster, Connection, Message, Prepared, Selector, SendError, continue_connection,
    upgrade_websocket,
};

pub(crate) async fn echo(request: Request) -> Response {
    upgrade_websocket(request, (), on_init, on_message, on_close)
}

async fn on_init(_: &Connection, (): &()) -> ((), Option<Selector>) {
    ((), None)
}

async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    (): &(),
) -> Result<Action, SendError> {
    match message {
        Message::Text(text) => connection.send_text(text).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        Message::Custom(_) | Message::Missed(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close((): (), (): &()) {}

type Topics = Broadcaster<Prepared>;

pub(crate) async fn topic(State(topics): State<Topics>, request: Request) -> Response {
    upgrade_websocket(
        request,
        topics,
        on_subscribed,
        on_subscribed_message,
        on_unsubscribed,
    )
}

async fn on_subscribed(_: &Connection, topics: &Topics) -> ((), Option<Selector<Prepared>>) {
    ((), Some(Selector::from(topics.topic("topic").subscribe())))
}

async fn on_subscribed_message(
    (): &mut (),
    message: Message<Prepared>,
    connection: &Connection,
    _: &Topics,
) -> Result<Action<Prepared>, SendError> {
    match message {
        Message::Text(text) => connection.send_text(text).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        Message::Custom(message) => connection.send_prepared(&message).await?,
        Message::Missed(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_unsubscribed((): (), _: &Topics) {}

//! `/pub` and `/sub`, and the rooms of `/chat`: prepared messages, forwarded from topics. `/sub-handled` has the selector and
//! `on_message` in their way.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, Broadcaster, Channel, ChannelOptions, Connection, Forward, Message, OnMissed, Prepared,
    PublishError, Selector, SendError, Topic, continue_connection, upgrade_websocket,
};

type Topics = Broadcaster<Prepared>;

/// What a connection to a topic keeps: its forwarding, if it listens and not only speaks.
type Listening = Option<Forward>;

/// How many messages a subscriber may fall behind, and somebody in a room. Who falls further behind is closed, as on the other
/// servers.
const BEHIND: usize = 4096;
const BEHIND_IN_ROOM: usize = 1024;

fn join(topic: &Topic<Prepared>, behind: usize) -> Channel<Prepared> {
    topic.subscribe_with(ChannelOptions::new().capacity(behind).end_when_full())
}

pub(crate) async fn publish(State(topics): State<Topics>, request: Request) -> Response {
    let published = topics.topic("pub");
    upgrade_websocket(request, published, on_publisher, on_said, on_close)
}

async fn on_publisher(_: &Connection, _: &Topic<Prepared>) -> (Listening, Option<Selector>) {
    (None, None)
}

pub(crate) async fn subscribe(State(topics): State<Topics>, request: Request) -> Response {
    let published = topics.topic("pub");
    upgrade_websocket(request, published, on_subscriber, on_ignored, on_close)
}

async fn on_subscriber(
    connection: &Connection,
    published: &Topic<Prepared>,
) -> (Listening, Option<Selector>) {
    let forward = connection.forward(join(published, BEHIND), |_| OnMissed::End);
    (Some(forward), None)
}

pub(crate) async fn chat(
    Path(room): Path<String>,
    State(topics): State<Topics>,
    request: Request,
) -> Response {
    let room = topics.topic(format!("chat/{room}"));
    upgrade_websocket(request, room, on_member, on_said, on_close)
}

async fn on_member(
    connection: &Connection,
    room: &Topic<Prepared>,
) -> (Listening, Option<Selector>) {
    let forward = connection.forward(join(room, BEHIND_IN_ROOM), |_| OnMissed::End);
    (Some(forward), None)
}

async fn on_said(
    _: &mut Listening,
    message: Message,
    _: &Connection,
    topic: &Topic<Prepared>,
) -> Result<Action, PublishError> {
    let message = match message {
        Message::Text(text) => Prepared::text(text),
        Message::Binary(bytes) => Prepared::binary(bytes),
        Message::Custom(_) | Message::Missed(_) | Message::ConnectionClosed(_) => {
            return Ok(continue_connection());
        }
    };
    topic.publish(message)?;
    Ok(continue_connection())
}

async fn on_ignored(_: &mut Listening, _: Message, _: &Connection, _: &Topic<Prepared>) -> Action {
    continue_connection()
}

async fn on_close(_: Listening, _: &Topic<Prepared>) {}

pub(crate) async fn subscribe_handled(State(topics): State<Topics>, request: Request) -> Response {
    let published = topics.topic("pub");
    upgrade_websocket(
        request,
        published,
        on_handled,
        on_published,
        on_handled_gone,
    )
}

async fn on_handled(
    _: &Connection,
    published: &Topic<Prepared>,
) -> ((), Option<Selector<Prepared>>) {
    ((), Some(Selector::from(join(published, BEHIND))))
}

async fn on_published(
    (): &mut (),
    message: Message<Prepared>,
    connection: &Connection,
    _: &Topic<Prepared>,
) -> Result<Action<Prepared>, SendError> {
    if let Message::Custom(message) = message {
        connection.send_prepared(&message).await?;
    }
    Ok(continue_connection())
}

async fn on_handled_gone((): (), _: &Topic<Prepared>) {}

//! `/echo`: every message goes back as it came.

use axum::extract::Request;
use axum::response::Response;
use dreamsocket::{
    Action, Connection, Message, Selector, SendError, continue_connection, upgrade_websocket,
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

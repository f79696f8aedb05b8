//! What a person gets who is known: a greeting, and everything said back by name.

use axum::response::Response;
use dreamsocket::{
    Action, Connection, Message, Selector, SendError, continue_connection, upgrade_websocket,
};

/// Opens the WebSocket of somebody who is known.
pub(crate) fn greet(request: axum::extract::Request, name: String) -> Response {
    upgrade_websocket(request, name, on_init, on_message, on_close)
}

async fn on_init(
    connection: &Connection,
    name: &String,
) -> Result<((), Option<Selector>), SendError> {
    connection.send_text(format!("hello {name}")).await?;
    Ok(((), None))
}

async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    name: &String,
) -> Result<Action, SendError> {
    if let Message::Text(text) = message {
        connection.send_text(format!("{name}: {text}")).await?;
    }
    Ok(continue_connection())
}

async fn on_close((): (), _: &String) {}

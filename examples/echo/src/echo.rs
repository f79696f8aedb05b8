//! `/echo`: every message goes back as it came.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{Action, Connection, Message, Selector, SendError, Upgrade, continue_connection};

/// Speaks these subprotocols, the preferred one first.
pub(crate) async fn echo(State(subprotocols): State<Arc<[String]>>, request: Request) -> Response {
    Upgrade::new(request)
        .with_subprotocols(subprotocols.iter().cloned())
        .run((), on_init, on_message, on_close)
        .map(Body::new)
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

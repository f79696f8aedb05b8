//! `/version`: the first message says which HTTP the WebSocket was opened over, such as `HTTP/2.0`; nothing else is said.

use axum::extract::Request;
use axum::http::Version;
use axum::response::Response;
use dreamsocket::{
    Action, Connection, Message, Selector, SendError, continue_connection, upgrade_websocket,
};

pub(crate) async fn version(request: Request) -> Response {
    let version = request.version();
    upgrade_websocket(request, version, on_init, on_message, on_close)
}

async fn on_init(
    connection: &Connection,
    version: &Version,
) -> Result<((), Option<Selector>), SendError> {
    connection.send_text(format!("{version:?}")).await?;
    Ok(((), None))
}

async fn on_message((): &mut (), _: Message, _: &Connection, _: &Version) -> Action {
    continue_connection()
}

async fn on_close((): (), _: &Version) {}

//! `/echo`: every message goes back as it came.

use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, Connection, Message, Selector, SendError, continue_connection, upgrade_websocket,
};

use super::App;

pub(super) async fn echo(State(app): State<App>, request: Request) -> Response {
    upgrade_websocket(request, app, on_init, on_message, on_close)
}

async fn on_init(_: &Connection, app: &App) -> ((), Option<Selector>) {
    app.note_begun();
    ((), None)
}

async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    _: &App,
) -> Result<Action, SendError> {
    match message {
        Message::Text(text) => connection.send_text(text).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        Message::Custom(_) | Message::Missed(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close((): (), app: &App) {
    app.note_ended();
}

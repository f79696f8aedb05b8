//! The handlers, which are the same on both ends of a connection: every message goes back as it came.

use dreamsocket::{Action, Connection, Message, Selector, SendError, continue_connection};

pub(crate) async fn on_init(_: &Connection, (): &()) -> ((), Option<Selector>) {
    ((), None)
}

pub(crate) async fn on_message(
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

pub(crate) async fn on_close((): (), (): &()) {}

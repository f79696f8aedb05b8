//! The three handlers of a connection: each text comes back in capitals.

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
    if let Message::Text(text) = message {
        connection.send_text(text.to_uppercase()).await?;
    }
    Ok(continue_connection())
}

pub(crate) async fn on_close((): (), (): &()) {}

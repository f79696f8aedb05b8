//! The handlers: every message goes back as it came.

use dreamsocket::client::{Connect, ConnectError};
use dreamsocket::{Action, Closed, Connection, Message, Selector, SendError, continue_connection};

/// Runs one connection to its end.
pub(crate) async fn until_closed(connect: Connect) -> Result<Closed, ConnectError> {
    let connected = connect.run((), on_init, on_message, on_close).await?;
    Ok(connected.ended().await.closed)
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

//! Handlers that tell the test what happens to them, and echo.

use dreamsocket::client::{Connect, ConnectError, Connected};
use dreamsocket::{
    Action, Closed, Connection, Message, Selector, SendError, continue_connection, stop_connection,
};
use tokio::sync::mpsc;

use crate::peer::within;

/// What the handlers tell, line by line.
pub(crate) struct Recorder {
    lines: mpsc::UnboundedReceiver<String>,
    sender: mpsc::UnboundedSender<String>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let (sender, lines) = mpsc::unbounded_channel();
        Self { lines, sender }
    }

    /// Connects with handlers that tell this recorder. A text `stop` stops, one that begins with `echo` is echoed.
    pub(crate) async fn run(&self, connect: Connect) -> Result<Connected, ConnectError> {
        within(connect.run(self.sender.clone(), on_init, on_message, on_close)).await
    }

    pub(crate) async fn expect(&mut self, line: &str) {
        assert_eq!(within(self.lines.recv()).await.unwrap(), line);
    }
}

type Lines = mpsc::UnboundedSender<String>;

async fn on_init(connection: &Connection, lines: &Lines) -> (u32, Option<Selector>) {
    let _ = lines.send(format!("init {}", connection.reconnects()));
    (0, None)
}

async fn on_message(
    count: &mut u32,
    message: Message,
    connection: &Connection,
    lines: &Lines,
) -> Result<Action, SendError> {
    *count += 1;
    match message {
        Message::Text(text) => {
            let _ = lines.send(format!("text {}", text.as_str()));
            if text.as_str() == "stop" {
                return Ok(stop_connection());
            }
            if text.as_str().starts_with("echo") {
                connection.send_text(text).await?;
            }
        }
        Message::Binary(bytes) => {
            let _ = lines.send(format!("binary {}", bytes.len()));
        }
        Message::Custom(_) | Message::Missed(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close(count: u32, closed: Closed, lines: &Lines) {
    let clean = if closed.clean { "clean" } else { "unclean" };
    let (code, cause) = (u16::from(closed.code), closed.cause);
    let _ = lines.send(format!("closed {code} {cause} {clean} after {count}"));
}

//! A lock of the standard library held while a send waits.

#![allow(unused_imports)]

use dreamsocket::{Action, BoxError, Closed, Connection, Message, Selector, continue_connection, upgrade_websocket};

struct Dependencies;
struct Chat;
struct Event;

async fn on_init(_: &Connection, _: &Dependencies) -> (Chat, Option<Selector<Event>>) {
    (Chat, None)
}

static LAST: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());

async fn on_message(
    _: &mut Chat,
    message: Message<Event>,
    connection: &Connection,
    _: &Dependencies,
) -> Result<Action<Event>, BoxError> {
    if let Message::Text(text) = message {
        let mut last = LAST.lock().unwrap();
        connection.send_text(last.clone()).await?;
        *last = text.to_string();
    }
    Ok(continue_connection())
}

async fn on_close(_: Chat, _: Closed, _: &Dependencies) {}

fn main() {
    let request = http::Request::new(());
    let _: http::Response<String> =
        upgrade_websocket(request, Dependencies, on_init, on_message, on_close);
}

//! An action that is made and not returned.

#![allow(unused_imports)]

use dreamsocket::{Action, BoxError, Closed, Connection, Message, Selector, continue_connection, upgrade_websocket};

struct Dependencies;
struct Chat;
struct Event;

async fn on_init(_: &Connection, _: &Dependencies) -> (Chat, Option<Selector<Event>>) {
    (Chat, None)
}

#[deny(unused_must_use)]
async fn on_message(
    _: &mut Chat,
    message: Message<Event>,
    _: &Connection,
    _: &Dependencies,
) -> Action<Event> {
    if let Message::Text(_) = message {
        dreamsocket::stop_connection::<Event>();
    }
    continue_connection()
}

async fn on_close(_: Chat, _: Closed, _: &Dependencies) {}

fn main() {
    let request = http::Request::new(());
    let _: http::Response<String> =
        upgrade_websocket(request, Dependencies, on_init, on_message, on_close);
}

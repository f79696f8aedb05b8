//! A message type other than the selector's.

#![allow(unused_imports)]

use dreamsocket::{Action, Closed, Connection, Message, Selector, continue_connection, upgrade_websocket};

struct Dependencies;
struct Chat;
struct Event;

async fn on_init(_: &Connection, _: &Dependencies) -> (Chat, Option<Selector<Event>>) {
    (Chat, None)
}

async fn on_message(
    _: &mut Chat,
    _: Message<u8>,
    _: &Connection,
    _: &Dependencies,
) -> Action<u8> {
    continue_connection()
}

async fn on_close(_: Chat, _: Closed, _: &Dependencies) {}

fn main() {
    let request = http::Request::new(());
    let _: http::Response<String> =
        upgrade_websocket(request, Dependencies, on_init, on_message, on_close);
}

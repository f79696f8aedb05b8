//! An `on_close` for another state.

#![allow(unused_imports)]

use dreamsocket::{Action, BoxError, Closed, Connection, Message, Selector, continue_connection, upgrade_websocket};

struct Dependencies;
struct Chat;
struct Event;

async fn on_init(_: &Connection, _: &Dependencies) -> (Chat, Option<Selector<Event>>) {
    (Chat, None)
}

async fn on_message(
    _: &mut Chat,
    _: Message<Event>,
    _: &Connection,
    _: &Dependencies,
) -> Action<Event> {
    continue_connection()
}

async fn on_close(_: u32, _: &Dependencies) {}

fn main() {
    let request = http::Request::new(());
    let _: http::Response<String> =
        upgrade_websocket(request, Dependencies, on_init, on_message, on_close);
}

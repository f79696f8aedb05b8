//! An upgrade whose response is not returned.

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

async fn on_close(_: Chat, _: Closed, _: &Dependencies) {}

#[deny(unused_must_use)]
async fn chat(request: http::Request<()>) {
    upgrade_websocket::<String, _, _, _, _, _, _, _, _>(request, Dependencies, on_init, on_message, on_close);
}

fn main() {
    drop(chat(http::Request::new(())));
}

//! A handler that captures what it needs instead of taking it from the dependencies.

#![allow(unused_imports)]

use dreamsocket::{Action, Connection, Message, Selector, continue_connection, upgrade_websocket};

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

fn main() {
    let request = http::Request::new(());
    let captured = String::from("a name");
    let on_close = move |_: Chat, _: &Dependencies| {
        let captured = captured.clone();
        async move { drop(captured) }
    };
    let _: http::Response<String> =
        upgrade_websocket(request, Dependencies, on_init, on_message, on_close);
}

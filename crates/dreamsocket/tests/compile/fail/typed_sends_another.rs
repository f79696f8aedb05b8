//! A send of another type than the connection's.

#![allow(unused_imports)]

use dreamsocket::typed::{self, Connection, Message};
use dreamsocket::{Action, Selector, continue_connection};

#[derive(serde::Deserialize)]
struct Ask;
#[derive(serde::Serialize)]
struct Tell;
struct Dependencies;
struct Chat;

async fn on_init(_: &Connection<Tell>, _: &Dependencies) -> (Chat, Option<Selector>) {
    (Chat, None)
}

async fn on_message(
    _: &mut Chat,
    _: Message<Ask>,
    connection: &Connection<Tell>,
    _: &Dependencies,
) -> Action {
    let _ = connection.send(&"hi").await;
    continue_connection()
}

async fn on_close(_: Chat, _: &Dependencies) {}

fn main() {
    let request = http::Request::new(());
    let _: http::Response<String> =
        typed::upgrade_websocket(request, Dependencies, on_init, on_message, on_close);
}

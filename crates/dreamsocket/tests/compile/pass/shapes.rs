//! Every shape of the handlers, and every response.

use std::convert::Infallible;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dreamsocket::{
    Action, BoxError, Closed, Connection, Message, Selector, SendError, Upgrade,
    continue_connection, upgrade_websocket,
};
use http_body_util::{BodyExt, Full, combinators::BoxBody};

struct Dependencies;
struct State;
struct Event;

async fn plain_init(_: &Connection, _: &Dependencies) -> (State, Option<Selector<Event>>) {
    (State, None)
}

async fn fallible_init(
    _: &Connection,
    _: &Dependencies,
) -> Result<(State, Option<Selector<Event>>), std::io::Error> {
    Ok((State, Some(Selector::new())))
}

async fn plain(
    _: &mut State,
    _: Message<Event>,
    _: &Connection,
    _: &Dependencies,
) -> Action<Event> {
    continue_connection()
}

async fn boxed(
    _: &mut State,
    _: Message<Event>,
    _: &Connection,
    _: &Dependencies,
) -> Result<Action<Event>, BoxError> {
    Ok(continue_connection())
}

async fn sending(
    _: &mut State,
    message: Message<Event>,
    connection: &Connection,
    _: &Dependencies,
) -> Result<Action<Event>, SendError> {
    if let Message::Text(text) = message {
        connection.send_text(text).await?;
    }
    Ok(continue_connection())
}

async fn anyhow(
    _: &mut State,
    _: Message<Event>,
    _: &Connection,
    _: &Dependencies,
) -> anyhow::Result<Action<Event>> {
    Ok(continue_connection())
}

async fn close(_: State, _: &Dependencies) {}

async fn close_with(_: State, _: Closed, _: &Dependencies) {}

async fn axum_response(request: axum::extract::Request) -> Response {
    upgrade_websocket(request, Dependencies, plain_init, plain, close)
}

async fn axum_into_response(request: axum::extract::Request) -> impl IntoResponse {
    Upgrade::new(request).run(Dependencies, fallible_init, boxed, close_with)
}

async fn hyper_full(
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    Ok(upgrade_websocket(request, Dependencies, plain_init, sending, close))
}

async fn boxed_body(
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let response = Upgrade::new(request).run(Dependencies, plain_init, anyhow, close);
    Ok(response.map(BodyExt::boxed))
}

/// The handlers may be generic, and a closure that captures nothing is a function, too.
async fn generic(request: axum::extract::Request) -> Response {
    async fn on_init<T: Default>(_: &Connection, _: &()) -> (T, Option<Selector>) {
        (T::default(), None)
    }
    async fn on_message<T>(_: &mut T, _: Message, _: &Connection, _: &()) -> Action {
        continue_connection()
    }
    async fn on_close<T>(_: T, _: &()) {}
    upgrade_websocket(request, (), on_init::<u8>, on_message::<u8>, on_close::<u8>)
}

fn main() {
    let _: axum::Router = axum::Router::new()
        .route("/response", axum::routing::any(axum_response))
        .route("/into-response", axum::routing::any(axum_into_response))
        .route("/generic", axum::routing::any(generic));
    let _ = hyper::service::service_fn(hyper_full);
    let _ = hyper::service::service_fn(boxed_body);
}

//! A small chat behind what applications have in front of a handler: extractors, a middleware, state, a topic.

use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use dreamsocket::{
    Action, BoxError, Broadcaster, Connection, Message, Selector, Topic, Upgrade,
    continue_connection, stop_connection,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) user: String,
    pub(crate) text: String,
}

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) room: Topic<Said>,
}

#[derive(Deserialize)]
struct Who {
    user: String,
}

pub(crate) struct Dependencies {
    user: String,
    room: Topic<Said>,
}

pub(crate) fn router() -> Router {
    let app = App {
        room: Broadcaster::new().topic("lobby"),
    };
    Router::new()
        .route("/chat", any(chat))
        .route("/health", get(async || "fine"))
        .route("/echo", post(async |body: String| body))
        .route("/never", any(std::future::pending::<()>))
        .route("/said", get(async || "[1, 2]"))
        .layer(from_fn(ban))
        .with_state(app)
}

/// A middleware that lets a cookie decide.
async fn ban(headers: HeaderMap, request: Request, next: Next) -> Response {
    let cookies = headers.get_all("cookie").iter();
    if cookies.into_iter().any(|cookie| cookie == "banned=1") {
        return (
            StatusCode::FORBIDDEN,
            [("x-why", "cookie")],
            "you are banned",
        )
            .into_response();
    }
    next.run(request).await
}

async fn chat(Query(who): Query<Who>, State(app): State<App>, request: Request) -> Response {
    let dependencies = Dependencies {
        user: who.user,
        room: app.room,
    };
    Upgrade::new(request)
        .with_subprotocols(["chat.v2", "chat.v1"])
        .run(dependencies, on_init, on_message, on_close)
        .into_response()
}

async fn on_init(
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<(u32, Option<Selector<Said>>), BoxError> {
    let channel = dependencies.room.subscribe();
    connection
        .send_text(format!("hello {}", dependencies.user))
        .await?;
    Ok((0, Some(Selector::from(channel))))
}

async fn on_message(
    count: &mut u32,
    message: Message<Said>,
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<Action<Said>, BoxError> {
    match message {
        Message::Text(text) if text == "count" => {
            connection.send_text(count.to_string()).await?;
        }
        Message::Text(text) if text == "later" => {
            tokio::time::sleep(Duration::from_secs(20)).await;
            connection.send_text("now").await?;
        }
        Message::Text(text) if text == "bye" => return Ok(stop_connection()),
        Message::Text(text) => {
            *count += 1;
            let user = dependencies.user.clone();
            let text = text.to_string();
            dependencies.room.publish(Said { user, text })?;
        }
        Message::Custom(said) => connection.send_json(&said).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        Message::Missed(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

/// Takes a while.
async fn on_close(_: u32, _: &Dependencies) {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

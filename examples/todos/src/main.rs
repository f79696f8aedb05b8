//! Run with `cargo run --release -p todos -- --listen 127.0.0.1:3002`.
//!
//! An ordinary axum app, things to do as JSON, that gained live updates: whoever opens a WebSocket at `/todos/live` is sent
//! the list, and from then on each thing that was added or done. New are the dozen lines behind a comment `live`, closing
//! braces and imports not counted. Four more, behind `drain`, let axum's own server close its WebSockets with 1001 when the
//! program is asked to end. A client that is too slow is closed with 1013, and begins anew with the list.
//!
//! Under axum's own server nobody compares the host that was asked for with the address listened on, as `dreamsocket::Server`
//! does on a loopback address: a page elsewhere whose name is made to lead here (DNS rebinding) reads the list.
//!
//! ```sh
//! curl -H 'content-type: application/json' -d '{"title":"water the plants"}' http://127.0.0.1:3002/todos
//! curl -X POST http://127.0.0.1:3002/todos/1/done
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use dreamsocket::{Action, BoxError, Broadcaster, Config, Connection, Forward, Hub, Message};
use dreamsocket::{
    OnMissed, Prepared, Selector, SendError, continue_connection, upgrade_websocket,
};
use lexopt::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

const MOST_TODOS: usize = 1_000;
/// Bytes of a title.
const LONGEST_TITLE: usize = 200;

#[derive(Clone, Default)]
struct App {
    todos: Arc<Mutex<BTreeMap<u64, Todo>>>,
    // live: 1
    live: Broadcaster<Prepared>,
}

#[derive(Clone, Serialize)]
struct Todo {
    id: u64,
    title: String,
    done: bool,
}

#[derive(Deserialize)]
struct NewTodo {
    title: String,
}

fn router(app: App) -> Router {
    Router::new()
        .route("/todos", get(list).post(add))
        .route("/todos/{id}/done", post(finish))
        // live: 1
        .route("/todos/live", any(live))
        .layer(from_fn(log))
        .with_state(app)
}

// live: 9
async fn live(State(app): State<App>, request: Request) -> Response {
    upgrade_websocket(request, app, on_init, on_message, on_close)
}

async fn on_init(page: &Connection, app: &App) -> Result<(Forward, Option<Selector>), SendError> {
    let changes = app.live.topic("todos").subscribe(); // Before the list, so that nothing falls between.
    page.send_json(&app.list()).await?;
    Ok((page.forward(changes, |_| OnMissed::End), None))
}

async fn on_message(_: &mut Forward, _: Message, _: &Connection, _: &App) -> Action {
    continue_connection()
}

async fn on_close(_: Forward, _: &App) {}

async fn list(State(app): State<App>) -> Json<Vec<Todo>> {
    Json(app.list())
}

async fn add(
    State(app): State<App>,
    Json(new): Json<NewTodo>,
) -> Result<(StatusCode, Json<Todo>), Problem> {
    if new.title.is_empty() || new.title.len() > LONGEST_TITLE {
        return Err(Problem(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let mut todos = app.todos();
    if todos.len() >= MOST_TODOS {
        return Err(Problem(StatusCode::INSUFFICIENT_STORAGE));
    }
    let id = todos.last_key_value().map_or(1, |(last, _)| last + 1);
    let (title, done) = (new.title, false);
    let todo = app.save(&mut todos, Todo { id, title, done })?;
    Ok((StatusCode::CREATED, todo))
}

async fn finish(State(app): State<App>, Path(id): Path<u64>) -> Result<Json<Todo>, Problem> {
    let mut todos = app.todos();
    let todo = todos.get(&id).ok_or(Problem(StatusCode::NOT_FOUND))?;
    let (title, done) = (todo.title.clone(), true);
    app.save(&mut todos, Todo { id, title, done })
}

impl App {
    fn todos(&self) -> MutexGuard<'_, BTreeMap<u64, Todo>> {
        self.todos.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> Vec<Todo> {
        self.todos().values().cloned().collect()
    }

    /// Keeps it, in the place of what had its number. The list is locked, so all changes have one order.
    fn save(&self, todos: &mut BTreeMap<u64, Todo>, todo: Todo) -> Result<Json<Todo>, Problem> {
        todos.insert(todo.id, todo.clone());
        // live: 1
        self.live.topic("todos").publish(Prepared::json(&todo)?)?;
        Ok(Json(todo))
    }
}

/// What a request is answered with that cannot be done.
struct Problem(StatusCode);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl<E: std::error::Error> From<E> for Problem {
    fn from(error: E) -> Self {
        tracing::error!(%error, "a request failed");
        Self(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A line for each request; of a WebSocket when it is opened.
async fn log(request: Request, next: Next) -> Response {
    let (method, uri, since) = (
        request.method().clone(),
        request.uri().clone(),
        Instant::now(),
    );
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), since.elapsed());
    tracing::info!(%method, path = uri.path(), status, ?took);
    response
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("todos: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "tells the address")]
async fn run() -> Result<(), BoxError> {
    let mut listen = "127.0.0.1:3002".to_owned();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = parser.value()?.string()?,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let listener = TcpListener::bind(&listen).await?;
    println!("listening on {}", listener.local_addr()?);
    // drain: 4
    let hub = Hub::new(Config::default());
    let router = router(App::default()).layer(hub.layer());
    let server = axum::serve(listener, router).with_graceful_shutdown(hub.drain_on_signal());
    hub.run(server).await?;
    Ok(())
}

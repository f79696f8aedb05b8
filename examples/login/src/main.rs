//! Run with `cargo run --release -p login -- --listen 127.0.0.1:3001`.
//!
//! Four ways to know who is at the other end of a WebSocket, each a route. Three are settled before the upgrade, by ordinary
//! extractors; the fourth by the first message. The people are `ada` with the password `lovelace`, and `grace` with `hopper`.

mod first_message;
mod greeting;
mod people;
#[cfg(test)]
mod tests;
mod ways;

use std::process::ExitCode;

use axum::Router;
use axum::routing::{any, post};
use dreamsocket::{BoxError, Server};
use lexopt::prelude::*;

use crate::people::People;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("login: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "tells the address")]
async fn run() -> Result<(), BoxError> {
    let mut listen = "127.0.0.1:3001".to_owned();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = parser.value()?.string()?,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let server = Server::new(router()).bind(&listen).await?;
    println!("listening on {}", server.local_addr());
    server.run().await?;
    Ok(())
}

/// Everything that is served; the tests serve it in memory.
fn router() -> Router {
    Router::new()
        .route("/login", post(ways::log_in))
        .route("/ticket", post(ways::give_ticket))
        .route("/by-cookie", any(ways::by_cookie))
        .route("/by-token", any(ways::by_token))
        .route("/by-ticket", any(ways::by_ticket))
        .route("/by-first-message", any(first_message::by_first_message))
        .with_state(People::default())
}

//! Run with `cargo run --release -p board -- --listen 127.0.0.1:3005`, then open <http://127.0.0.1:3005> in two windows.
//!
//! A drawing board that everybody shares, for what comes at a high rate. A page gathers what its pointer does and sends it once
//! for each picture that its screen shows; the server gathers what all pages draw and sends it on once in 16 ms, the same
//! bytes to everybody, without running a handler for each. Lines must not have gaps, so a page that is too far behind is closed
//! with 1013 and comes back; of a cursor only the latest place counts, so a slow page skips places. Whoever comes late is sent the
//! picture as it is, which is bounded. All of it is binary: `wire.rs`.

mod board;
mod page;
mod person;
mod picture;
mod wire;

use std::num::NonZeroU32;
use std::process::ExitCode;

use axum::routing::any;
use dreamsocket::{BoxError, Config, Rate, Server};
use lexopt::prelude::*;

use crate::board::{Board, MOST_PEOPLE};

/// Messages a second of one page: those of a screen of 240 Hz. Whoever sends more is read later.
const MESSAGE_RATE: NonZeroU32 = NonZeroU32::new(240).unwrap();

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("board: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "tells where to open the page")]
async fn run() -> Result<(), BoxError> {
    let mut listen = "127.0.0.1:3005".to_owned();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = parser.value()?.string()?,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let config = Config::default()
        .with_max_connections(MOST_PEOPLE)
        .with_max_message(wire::LARGEST_ASK)
        .with_message_rate(Some(Rate::per_second(MESSAGE_RATE)));
    let board = Board::new();
    let router = page::router()
        .route("/draw", any(person::draw))
        .with_state(board.clone());
    let server = Server::new(router)
        .with_config(config)
        .bind(&listen)
        .await?;
    println!("listening on http://{}", server.local_addr());
    tokio::select! {
        report = server.run() => println!("{}", report?),
        () = board.keep_telling() => {}
    }
    Ok(())
}

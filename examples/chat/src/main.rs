//! Run with `cargo run --release -p chat`, then open <http://127.0.0.1:3000> in two windows.

mod args;
mod chat;
mod event;
mod limits;
mod pace;
mod page;

use std::process::ExitCode;

use axum::routing::any;
use dreamsocket::{BoxError, Broadcaster, Config, Presence, Server};

use crate::args::Args;
use crate::chat::App;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "tells where to open the page")]
async fn run() -> Result<(), BoxError> {
    let args = Args::parse()?;
    let app = App {
        rooms: Broadcaster::new(),
        people: Presence::new(),
        pace: args.pace,
    };
    let router = page::router()
        .route("/chat", any(chat::chat))
        .with_state(app);
    let config = Config::default().with_max_message(16 * 1024);
    let server = Server::new(router)
        .with_config(config)
        .bind(&args.listen)
        .await?;
    println!("listening on http://{}", server.local_addr());
    let report = server.run().await?;
    println!("{report}");
    Ok(())
}

//! Run with `cargo run --release -p echo -- --listen 127.0.0.1:9001`.
//!
//! The conformance and load target: `/echo` sends every message back, and what is sent to `/pub` reaches all of `/sub`.

mod args;
mod echo;
mod fan_out;

use std::process::ExitCode;

use axum::Router;
use axum::routing::any;
use dreamsocket::{BoxError, Broadcaster, Config, Server};
use tracing_subscriber::filter::LevelFilter;

use crate::args::Args;
use crate::fan_out::FanOut;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::WARN)
        .init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), BoxError> {
    let args = Args::parse()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = args.workers {
        runtime.worker_threads(workers.get());
    }
    runtime.enable_all().build()?.block_on(serve(args))
}

#[expect(
    clippy::print_stdout,
    reason = "tells the address, and that connections are accepted"
)]
async fn serve(args: Args) -> Result<(), BoxError> {
    let fan_out = FanOut {
        topic: Broadcaster::new().topic("pub"),
        behind: args.behind,
    };
    let router = Router::new()
        .route("/echo", any(echo::echo))
        .route("/pub", any(fan_out::publish))
        .route("/sub", any(fan_out::subscribe))
        .with_state(fan_out);
    let config = Config::default()
        .with_max_message(args.max_message)
        .with_max_frame(args.max_message)
        .with_max_connections(usize::MAX)
        .with_max_sockets(usize::MAX);
    let server = Server::new(router)
        .with_config(config)
        .bind(&args.listen)
        .await?;
    println!("listening on {}", server.local_addr());
    server.run().await?;
    Ok(())
}

//! Run with `cargo run --release -p dashboard -- --listen 127.0.0.1:3006`, then open <http://127.0.0.1:3006>.
//!
//! A live dashboard: one task samples what this machine and this program do and puts it into a `tokio::sync::watch`; each page
//! is sent a binary frame of fixed layout (`sample.rs`), which it draws on canvas. Only the latest sample counts, so nothing is to
//! queue up: the watch holds one, each connection's outbox one, and the socket's buffer is small. A slow page skips what came
//! between, and sees by the numbers that it did.

mod page;
mod sample;
mod sampler;
mod viewer;

use std::process::ExitCode;
use std::time::Duration;

use axum::routing::any;
use dreamsocket::{BoxError, Server};
use lexopt::prelude::*;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::sample::Sample;
use crate::sampler::Sampler;

/// Bytes that a socket holds for a page. Linux takes twice that, for its own needs.
const SEND_BUFFER: u32 = 4 * 1024;

const USAGE: &str = "\
usage: dashboard [--listen ADDRESS] [--every MILLISECONDS]
  --listen ADDRESS      where to listen; port 0 takes a free one (127.0.0.1:3006)
  --every MILLISECONDS  how often to sample: from 10 to 10000 (100)
";

struct Args {
    listen: String,
    every: Duration,
}

impl Args {
    fn parse() -> Result<Self, lexopt::Error> {
        let (mut listen, mut every) = ("127.0.0.1:3006".to_owned(), 100);
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("listen") => listen = parser.value()?.string()?,
                Long("every") => every = parser.value()?.parse()?,
                Short('h') | Long("help") => {
                    eprint!("{USAGE}");
                    std::process::exit(0);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        if !(10..=10_000).contains(&every) {
            return Err("--every is from 10 to 10000".into());
        }
        let every = Duration::from_millis(every);
        Ok(Self { listen, every })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dashboard: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "tells where to open the page")]
async fn run() -> Result<(), BoxError> {
    let args = Args::parse()?;
    let latest = watch::Sender::new(Sample::default());
    let router = page::router()
        .route("/live", any(viewer::live))
        .with_state(latest.subscribe());
    let server = Server::new(router)
        .with_config(viewer::config())
        .listen_on(listen(&args.listen)?)?;
    println!("listening on http://{}", server.local_addr());
    let sampler = Sampler::new(server.hub().clone());
    tokio::select! {
        report = server.run() => println!("{}", report?),
        () = sampler.keep_sampling(args.every, &latest) => {}
    }
    Ok(())
}

/// A listener whose connections have a small send buffer, which they take over from it: the system's own may hold thousands of
/// samples.
fn listen(address: &str) -> Result<TcpListener, BoxError> {
    let named = |error| format!("cannot listen on {address}: {error}");
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.parse()?).map_err(named)?;
    Ok(socket.listen(1024).map_err(named)?)
}

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

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::routing::any;
use dreamsocket::{BoxError, Server};
use lexopt::prelude::*;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::sync::watch;

use crate::sample::Sample;
use crate::sampler::Sampler;

/// Bytes that a socket holds for a page. Linux takes twice that, for its own needs.
const SEND_BUFFER: u32 = 4 * 1024;

const USAGE: &str = "\
usage: dashboard [--listen ADDRESS] [--every MILLISECONDS]
  --listen ADDRESS      where to listen, an address or a name, and a port; port 0 takes a free one (127.0.0.1:3006)
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
        .listen_on(listen(&args.listen).await?)?;
    println!("listening on http://{}", server.local_addr());
    let sampler = Sampler::new(server.hub().clone());
    tokio::select! {
        report = server.run() => println!("{}", report?),
        () = sampler.keep_sampling(args.every, &latest) => {}
    }
    Ok(())
}

/// Listens on the first of a name's addresses that can be had.
async fn listen(name: &str) -> Result<TcpListener, BoxError> {
    let named = |error: io::Error| format!("cannot listen on {name}: {error}");
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in lookup_host(name).await.map_err(named)? {
        result = listen_on(address);
        if result.is_ok() {
            break;
        }
    }
    Ok(result.map_err(named)?)
}

/// A listener whose connections have a small send buffer, which they take over from it: the system's own may hold thousands of
/// samples.
fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

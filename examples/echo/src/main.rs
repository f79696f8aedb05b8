//! Run with `cargo run --release -p echo -- --listen 127.0.0.1:9001`.
//!
//! The conformance and load target: `/echo` sends every message back, and what is sent to `/pub` reaches all of `/sub`;
//! `/closed` tells how the subscribers' connections ended, `/version` which HTTP a WebSocket came over.

mod args;
mod echo;
mod fan_out;
mod handlers;
mod version;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};
use dreamsocket::{BoxError, Broadcaster, Config, Server, Tls};
use tokio::net::{TcpListener, TcpSocket, lookup_host};
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
        closed: Arc::default(),
    };
    let router = Router::new()
        .route(
            "/echo",
            any(echo::echo).with_state(args.subprotocols.into()),
        )
        .route("/pub", any(fan_out::publish))
        .route("/sub", any(fan_out::subscribe))
        .route("/closed", get(fan_out::closed))
        .route("/version", any(version::version))
        .with_state(fan_out);
    let config = Config::default()
        .with_max_message(args.max_message)
        .with_max_frame(args.max_message)
        .with_outbox(args.outbox)
        .with_compression(args.compression)
        .with_max_connections(usize::MAX)
        .with_max_sockets(usize::MAX);
    let server = Server::new(router).with_config(config);
    let server = match (args.tls_cert, args.tls_key) {
        (None, None) => server,
        (Some(certificates), Some(key)) => server.tls(Tls::from_pem_files(certificates, key)?),
        _ => return Err("--tls-cert and --tls-key go together".into()),
    };
    let server = match args.send_buffer {
        None => server.bind(&args.listen).await?,
        Some(bytes) => server.listen_on(listen_with(&args.listen, bytes).await?)?,
    };
    println!("listening on {}", server.local_addr());
    server.run().await?;
    Ok(())
}

/// A listener whose connections have a send buffer of that size, which they take over from it.
async fn listen_with(name: &str, send_buffer: u32) -> Result<TcpListener, BoxError> {
    let named = |error: io::Error| format!("cannot listen on {name}: {error}");
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in lookup_host(name).await.map_err(named)? {
        result = listen_on(address, send_buffer);
        if result.is_ok() {
            break;
        }
    }
    Ok(result.map_err(named)?)
}

fn listen_on(address: SocketAddr, send_buffer: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    socket.set_send_buffer_size(send_buffer)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

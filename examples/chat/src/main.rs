//! Run with `cargo run --release -p chat`, then open <http://127.0.0.1:3000> in two windows.

mod args;
mod chat;
mod event;
mod limits;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "no_metrics.rs"]
mod metrics;
mod pace;
mod page;
mod shared;

use std::path::Path;
use std::process::ExitCode;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{any, get};
use dreamsocket::inspector::Inspector;
use dreamsocket::{BoxError, Config, Hub, Server};
use tracing_subscriber::EnvFilter;

use crate::args::Args;
use crate::chat::App;
use crate::metrics::Metrics;
use crate::shared::Shared;

#[tokio::main]
async fn main() -> ExitCode {
    // A broker's client tells every connection that it makes.
    let levels = EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(levels.unwrap_or_else(|_| "info,async_nats=warn".into()))
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
    // Before anything that is measured.
    let metrics = args.metrics.as_deref().map(Metrics::install).transpose()?;
    let app = App {
        shared: Shared::open(&args.broker).await?,
        pace: args.pace,
    };
    let metrics = match metrics {
        Some(metrics) => Some(metrics.serve(&app.shared).await?),
        None => None,
    };
    let config = Config::default()
        .with_max_message(16 * 1024)
        .with_heartbeat(Some(args.heartbeat));
    let hub = Hub::new(config);
    let inspector = args.inspects.then(|| inspect(&hub, &app.shared));
    let mut router = page::router()
        .route("/chat", any(chat::chat))
        .route("/ready", get(ready))
        .with_state(app);
    if let Some(inspector) = inspector {
        router = router.nest_service("/inspect", inspector);
    }
    let mut server = Server::new(router).with_hub(hub).allowed_hosts(args.hosts);
    let mut scheme = "http";
    if let Some((certificates, key)) = &args.tls {
        server = encrypt(server, certificates, key)?;
        scheme = "https";
    }
    let server = server.bind(&args.listen).await?;
    if args.inspects && !server.local_addr().ip().is_loopback() {
        return Err("--inspect shows every connection to whoever asks: only with a loopback address in --listen".into());
    }
    println!("listening on {scheme}://{}", server.local_addr());
    if let Some(address) = metrics {
        println!("metrics on http://{address}/metrics");
    }
    let report = server.run().await?;
    println!("{report}");
    Ok(())
}

/// Shows every connection and closes any, to whoever can reach it.
fn inspect(hub: &Hub, shared: &Shared) -> Inspector {
    Inspector::new(hub)
        .with_broadcaster("said", &shared.said)
        .with_broadcaster("typing", &shared.typing)
}

/// Asked by whoever sends clients here: without the broker this node hears and tells nothing.
async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    if app.shared.health().is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "no connection to the broker\n",
        )
    }
}

#[cfg(feature = "tls")]
fn encrypt(
    server: Server<Router>,
    certificates: &Path,
    key: &Path,
) -> Result<Server<Router>, BoxError> {
    Ok(server.tls(dreamsocket::Tls::from_pem_files(certificates, key)?))
}

#[cfg(not(feature = "tls"))]
fn encrypt(_: Server<Router>, _: &Path, _: &Path) -> Result<Server<Router>, BoxError> {
    Err("this program was built without TLS: build it with `--features tls`".into())
}

//! Run with `cargo run --release -p bare-hyper -- --listen 127.0.0.1:3003`.
//!
//! WebSockets on hyper alone, without a framework: `/shout` answers in capitals. The upgrade is the same as under axum; what a
//! server does around it is spelled out here, `serving.rs`, and `dreamsocket::Server` brings it ready; beside that it speaks HTTP/2 and
//! answers on a loopback address only for its own hosts, which keeps pages out whose name is made to lead here.

mod serving;
mod shout;

use std::convert::Infallible;
use std::process::ExitCode;

use bytes::Bytes;
use dreamsocket::{BoxError, Config, Hub, upgrade_websocket};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use lexopt::prelude::*;
use tokio::net::TcpListener;

/// Answers any request. `upgrade_websocket` gives back a `Response` like any other.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match request.uri().path() {
        "/" => Response::new("A WebSocket to /shout is answered in capitals.\n".into()),
        "/shout" => upgrade_websocket(
            request,
            (),
            shout::on_init,
            shout::on_message,
            shout::on_close,
        ),
        _ => {
            let mut response = Response::new("There is nothing here.\n".into());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare-hyper: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "tells the address, and how it ended")]
async fn run() -> Result<(), BoxError> {
    let mut listen = "127.0.0.1:3003".to_owned();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = parser.value()?.string()?,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let listener = TcpListener::bind(&listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let hub = Hub::new(Config::default());
    let report = hub.run(serving::serve(listener, hub.clone())).await?;
    println!("{report}");
    Ok(())
}

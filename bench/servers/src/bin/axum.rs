//! axum's own `ws`, which is tokio-tungstenite over hyper, served as `axum::serve` does it, and as its examples do it for TLS.
//!
//! Its defaults are the buffers that it documents for load: 128 KiB for reading and as much for writing, which is written
//! when it is flushed. It has no permessage-deflate.

use std::process::ExitCode;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use servers::{BoxError, Can, Channels, Listener, MAX_MESSAGE, Path};

fn main() -> ExitCode {
    let can = Can {
        deflate: false,
        tls: true,
    };
    servers::run("axum", can, async |args| {
        let router = Router::new()
            .route("/{*path}", any(upgrade))
            .with_state(Channels::default());
        let serve = move |transport| {
            let router = TowerToHyperService::new(router.clone());
            async {
                let http = Builder::new(TokioExecutor::new());
                http.serve_connection_with_upgrades(TokioIo::new(transport), router)
                    .await
            }
        };
        Listener::bind(&args)?.run(serve).await
    })
}

async fn upgrade(
    OriginalUri(uri): OriginalUri,
    State(channels): State<Channels<Message>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(path) = Path::parse(uri.path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(async |socket| {
            // A connection that fails concerns nobody else; the load generator notices.
            let _ = serve(socket, path, channels).await;
        })
}

async fn serve(socket: WebSocket, path: Path, channels: Channels<Message>) -> Result<(), BoxError> {
    let is_data = |message: &Message| matches!(message, Message::Text(_) | Message::Binary(_));
    servers::serve(socket, path, channels, is_data).await
}

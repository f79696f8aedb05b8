//! axum's own `ws`, which is tokio-tungstenite over hyper.
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
use servers::{BoxError, Can, Channels, MAX_MESSAGE, Path};

fn main() -> ExitCode {
    let can = Can {
        deflate: false,
        // `axum::serve` speaks no TLS by itself.
        tls: false,
    };
    servers::run("axum", can, async |args| {
        let router = Router::new()
            .route("/{*path}", any(upgrade))
            .with_state(Channels::default());
        let listener = servers::listen(&args.listen)?;
        println!("listening on {}", listener.local_addr()?);
        let listener = axum::serve::ListenerExt::tap_io(listener, |tcp| {
            // Fails only for a connection that is gone.
            let _ = tcp.set_nodelay(true);
        });
        axum::serve(listener, router).await?;
        Ok(())
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

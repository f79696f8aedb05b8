//! tokio-tungstenite over a TCP stream of its own.
//!
//! Its documentation recommends a read buffer of 128 KiB for load and a write buffer that is flushed after several messages;
//! both are its defaults. It has no permessage-deflate.

use std::process::ExitCode;

use servers::{BoxError, Can, Channels, Listener, MAX_MESSAGE, Path, Transport};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

fn main() -> ExitCode {
    let can = Can {
        deflate: false,
        tls: true,
    };
    servers::run("tokio-tungstenite", can, async |args| {
        let channels = Channels::default();
        let serve = move |transport| connection(transport, channels.clone());
        Listener::bind(&args)?.run(serve).await
    })
}

async fn connection(transport: Transport, channels: Channels<Message>) -> Result<(), BoxError> {
    let mut path = None;
    #[expect(
        clippy::result_large_err,
        reason = "the callback's type is the library's"
    )]
    let read_path = |request: &Request, response: Response| {
        path = Path::parse(request.uri().path());
        if path.is_some() {
            return Ok(response);
        }
        let mut not_found = ErrorResponse::new(None);
        *not_found.status_mut() = StatusCode::NOT_FOUND;
        Err(not_found)
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let socket = accept_hdr_async_with_config(transport, read_path, Some(config)).await?;
    let path = path.ok_or("no such path")?;
    let is_data = |message: &Message| message.is_text() || message.is_binary();
    servers::serve(socket, path, channels, is_data).await
}

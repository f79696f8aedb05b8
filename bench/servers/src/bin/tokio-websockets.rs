//! tokio-websockets over a TCP stream of its own; its SIMD is chosen as it runs, and the hash is ring's, as it recommends.
//!
//! Its sink is flushed after 8 KiB by default; 64 KiB let more messages leave with one write, which costs no memory since
//! payloads wait by reference. It has no permessage-deflate.

use std::process::ExitCode;

use servers::{BoxError, Can, Channels, Listener, MAX_MESSAGE, Path, Transport};
use tokio_websockets::{Config, Limits, Message, ServerBuilder};

fn main() -> ExitCode {
    let can = Can {
        deflate: false,
        tls: true,
    };
    servers::run("tokio-websockets", can, async |args| {
        let channels = Channels::default();
        let serve = move |transport| connection(transport, channels.clone());
        Listener::bind(&args)?.run(serve).await
    })
}

async fn connection(transport: Transport, channels: Channels<Message>) -> Result<(), BoxError> {
    let (request, socket) = ServerBuilder::new()
        .config(Config::default().flush_threshold(64 * 1024))
        .limits(Limits::default().max_payload_len(Some(MAX_MESSAGE)))
        .accept(transport)
        .await?;
    let path = Path::parse(request.uri().path()).ok_or("no such path")?;
    let is_data = |message: &Message| message.is_text() || message.is_binary();
    servers::serve(socket, path, channels, is_data).await
}

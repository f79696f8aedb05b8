//! tokio-websockets over a TCP stream of its own; its SIMD is chosen as it runs, and the hash is ring's, as it recommends.
//!
//! Its sink is flushed after 8 KiB by default; 64 KiB let more messages leave with one write, which costs no memory since
//! payloads wait by reference. It flushes by itself when it is asked for the next message, so that the echo takes all that is
//! ready before it feeds. It has no permessage-deflate.

use std::process::ExitCode;

use futures_util::{FutureExt, SinkExt, StreamExt};
use servers::{BoxError, Can, Channels, Listener, MAX_MESSAGE, Path, Transport};
use tokio_websockets::{Config, Error, Limits, Message, ServerBuilder, WebSocketStream};

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
    if path == Path::Echo {
        return Ok(echo(socket).await?);
    }
    servers::serve(socket, path, channels, is_data).await
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

async fn echo(mut socket: WebSocketStream<Transport>) -> Result<(), Error> {
    let mut ready = Vec::new();
    while let Some(message) = socket.next().await {
        let mut next = Some(message);
        while let Some(message) = next {
            ready.push(message?);
            next = socket.next().now_or_never().flatten();
        }
        for message in ready.drain(..).filter(is_data) {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

//! sockudo-ws over a TCP stream of its own, with its defaults, which are its fast settings: SIMD, and writes that are held
//! back until a flush. (It recommends mimalloc, too; all servers here have the system's allocator.)
//!
//! Messages go to many through its own `PubSub`, whose queues are unbounded: a subscriber that does not read is not dropped.

use std::process::ExitCode;
use std::sync::Arc;

use bytes::BytesMut;
use servers::{BoxError, Can, Listener, MAX_MESSAGE, Path, Socket, Transport};
use sockudo_ws::deflate::negotiate_server_deflate;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::pubsub::PubSub;
use sockudo_ws::server::WebSocketServer;
use sockudo_ws::stream::CompressedWebSocketStream;
use sockudo_ws::{Compression, Config, Error, Http1, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

fn main() -> ExitCode {
    let can = Can {
        deflate: true,
        tls: true,
    };
    servers::run("sockudo-ws", can, async |args| {
        let compression = if args.deflate {
            Compression::Shared
        } else {
            Compression::Disabled
        };
        let config = Config::builder()
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE)
            .compression(compression)
            .build();
        let topics = Arc::new(PubSub::new());
        let serve = move |transport| connection(transport, config.clone(), Arc::clone(&topics));
        Listener::bind(&args)?.run(serve).await
    })
}

async fn connection(
    transport: Transport,
    config: Config,
    topics: Arc<PubSub>,
) -> Result<(), BoxError> {
    if config.compression.is_enabled() {
        return compressed(transport, config, topics).await;
    }
    let server = WebSocketServer::<Http1>::new(config);
    let (socket, request) = server.accept_raw(transport).await?;
    serve(socket, &request.path, &topics).await
}

/// Its server agrees on no extension, so that the handshake is by hand, of its parts.
async fn compressed(
    mut transport: Transport,
    config: Config,
    topics: Arc<PubSub>,
) -> Result<(), BoxError> {
    let deflate = config.compression.to_deflate_config();
    let deflate = deflate.ok_or("compression is off")?;
    let mut head = BytesMut::new();
    let (response, deflate, path, length) = loop {
        if transport.read_buf(&mut head).await? == 0 {
            return Err("the handshake was cut off".into());
        }
        if let Some((request, length)) = parse_request(&head)? {
            let offers = request.extensions.ok_or("no extension is offered")?;
            let agreed = negotiate_server_deflate(offers, &deflate).ok_or("nothing to agree on")?;
            let key = generate_accept_key(request.key);
            let response = build_response(&key, None, Some(&agreed.to_response_header()));
            break (response, agreed.config, request.path.into_owned(), length);
        }
    };
    transport.write_all(&response).await?;
    let rest = head.split_off(length).freeze();
    let socket =
        CompressedWebSocketStream::server_with_leftover(transport, config, deflate, Some(rest));
    serve(socket, &path, &topics).await
}

async fn serve(
    socket: impl Socket<Message, Error>,
    path: &str,
    topics: &PubSub,
) -> Result<(), BoxError> {
    let is_data = |message: &Message| matches!(message, Message::Text(_) | Message::Binary(_));
    let publish_to = |topic| {
        move |message| {
            topics.publish(topic, message);
        }
    };
    let topic = match Path::parse(path).ok_or("no such path")? {
        Path::Echo => return Ok(servers::echo(socket, is_data).await?),
        Path::Pub => {
            let publish = publish_to("published");
            return Ok(servers::listen_to(socket, is_data, publish).await?);
        }
        Path::Sub => "published",
        Path::Chat(_) => path,
    };
    let (sender, inbox) = mpsc::unbounded_channel();
    let subscriber = topics.create_subscriber(sender);
    topics.subscribe(subscriber, topic);
    let ended = if topic == path {
        servers::take_part(socket, inbox, is_data, publish_to(topic)).await
    } else {
        servers::take_part(socket, inbox, is_data, drop).await
    };
    topics.remove_subscriber(subscriber);
    Ok(ended?)
}

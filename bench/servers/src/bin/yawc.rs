//! yawc over hyper, with the buffers of its published benchmark: 128 KiB for reading, and 64 KiB before what is fed is
//! written. Text is checked to be UTF-8, which it does only on request, by SIMD.
//!
//! Its compressors come from a pool, as it recommends where no context is kept. They are zlib-rs here, as in all Rust servers
//! that compress, since Cargo unites the features of one workspace.

use std::process::ExitCode;

use futures_util::StreamExt;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use servers::{Args, BoxError, Can, Channels, Listener, MAX_MESSAGE, Path};
use yawc::{CompressionLevel, DeflatePool, Frame, OpCode, Options, UpgradeFut, WebSocket};

fn main() -> ExitCode {
    let can = Can {
        deflate: true,
        tls: true,
    };
    servers::run("yawc", can, async |args| {
        let (channels, options) = (Channels::default(), options(&args));
        let serve = move |transport| {
            let (channels, options) = (channels.clone(), options.clone());
            let answer =
                service_fn(move |request| answer(request, channels.clone(), options.clone()));
            async {
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(transport), answer);
                Ok(connection.with_upgrades().await?)
            }
        };
        Listener::bind(&args)?.run(serve).await
    })
}

fn options(args: &Args) -> Options {
    let options = Options::default()
        .with_limits(MAX_MESSAGE, MAX_MESSAGE)
        .with_read_buffer_capacity(128 * 1024)
        .with_backpressure_boundary(64 * 1024)
        .with_utf8();
    if !args.deflate {
        return options;
    }
    options
        .with_compression_level(CompressionLevel::default())
        .server_no_context_takeover()
        .client_no_context_takeover()
        .with_deflate_pool(DeflatePool::new(64))
}

async fn answer(
    mut request: Request<Incoming>,
    channels: Channels<Frame>,
    options: Options,
) -> Result<Response<Empty<Bytes>>, BoxError> {
    let Some(path) = Path::parse(request.uri().path()) else {
        let mut not_found = Response::new(Empty::new());
        *not_found.status_mut() = StatusCode::NOT_FOUND;
        return Ok(not_found);
    };
    let (response, upgrade) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(connection(upgrade, path, channels));
    Ok(response)
}

async fn connection(
    upgrade: UpgradeFut,
    path: Path,
    channels: Channels<Frame>,
) -> Result<(), BoxError> {
    // Its stream gives frames, which are whole messages, and ends with the first error.
    let socket = upgrade.await?.map(Ok::<_, yawc::WebSocketError>);
    let is_data = |frame: &Frame| matches!(frame.opcode(), OpCode::Text | OpCode::Binary);
    servers::serve(socket, path, channels, is_data).await
}

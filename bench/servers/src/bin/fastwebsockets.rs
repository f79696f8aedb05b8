//! fastwebsockets over hyper, as in its examples (but without their `unconstrained`), with its defaults: SIMD for UTF-8, and
//! vectored writes from 1 KiB on.
//!
//! Each echo is a write of its own: reading cannot be given up half-way, so that nobody can ask whether there is more. What
//! goes to many is collected by a `BufWriter` and flushed. It has no permessage-deflate.

use std::process::ExitCode;

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError,
    WebSocketRead, WebSocketWrite,
};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use servers::{BoxError, Can, Channels, Inbox, Listener, MAX_MESSAGE, Path};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter};
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::sync::mpsc;

/// A frame whose payload can be shared, which those of the library cannot.
type Message = (OpCode, Bytes);

fn main() -> ExitCode {
    let can = Can {
        deflate: false,
        tls: true,
    };
    servers::run("fastwebsockets", can, async |args| {
        let channels = Channels::default();
        let serve = move |transport| {
            let channels = channels.clone();
            let answer = service_fn(move |request| answer(request, channels.clone()));
            async {
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(transport), answer);
                Ok(connection.with_upgrades().await?)
            }
        };
        Listener::bind(&args)?.run(serve).await
    })
}

async fn answer(
    mut request: Request<Incoming>,
    channels: Channels<Message>,
) -> Result<Response<Empty<Bytes>>, BoxError> {
    let Some(path) = Path::parse(request.uri().path()) else {
        let mut not_found = Response::new(Empty::new());
        *not_found.status_mut() = StatusCode::NOT_FOUND;
        return Ok(not_found);
    };
    let (response, upgrade) = upgrade(&mut request)?;
    tokio::spawn(connection(upgrade, path, channels));
    Ok(response)
}

async fn connection(
    upgrade: UpgradeFut,
    path: Path,
    channels: Channels<Message>,
) -> Result<(), WebSocketError> {
    let mut socket = upgrade.await?;
    socket.set_max_message_size(MAX_MESSAGE);
    match path {
        Path::Echo => echo(FragmentCollector::new(socket)).await,
        Path::Pub => publish(FragmentCollector::new(socket), &channels.published).await,
        Path::Sub => take_part(socket, channels.published.subscribe(), None).await,
        Path::Chat(room) => {
            let room = channels.room(room);
            take_part(socket, room.subscribe(), Some(room)).await
        }
    }
}

type WebSocket = fastwebsockets::WebSocket<TokioIo<Upgraded>>;

async fn echo(mut socket: FragmentCollector<TokioIo<Upgraded>>) -> Result<(), WebSocketError> {
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

async fn publish(
    mut socket: FragmentCollector<TokioIo<Upgraded>>,
    sender: &Sender<Message>,
) -> Result<(), WebSocketError> {
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            // Fails only if nobody listens.
            OpCode::Text | OpCode::Binary => drop(sender.send(message(frame))),
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

fn message(frame: Frame<'static>) -> Message {
    let payload = match frame.payload {
        Payload::Bytes(payload) => payload.freeze(),
        Payload::Owned(payload) => payload.into(),
        payload => Bytes::copy_from_slice(&payload),
    };
    (frame.opcode, payload)
}

/// Sends what is received, beside reading what the client says, which goes to `sender`, or nowhere.
async fn take_part(
    socket: WebSocket,
    receiver: Receiver<Message>,
    sender: Option<Sender<Message>>,
) -> Result<(), WebSocketError> {
    let (reader, writer) = socket.split(|io| {
        let (reader, writer) = tokio::io::split(io);
        (reader, BufWriter::new(writer))
    });
    // What the reader has to answer: pongs, and the close frame.
    let (answers, answered) = mpsc::unbounded_channel();
    tokio::select! {
        ended = read(reader, sender, answers) => ended,
        ended = write(writer, receiver, answered) => ended,
    }
}

async fn read(
    reader: WebSocketRead<impl AsyncRead + Unpin>,
    sender: Option<Sender<Message>>,
    answers: mpsc::UnboundedSender<Frame<'static>>,
) -> Result<(), WebSocketError> {
    let mut reader = FragmentCollectorRead::new(reader);
    let mut answer = |frame| {
        let sent = answers.send(frame);
        async { sent }
    };
    loop {
        let frame = reader.read_frame(&mut answer).await?;
        match (frame.opcode, &sender) {
            (OpCode::Text | OpCode::Binary, Some(sender)) => drop(sender.send(message(frame))),
            // The writer ends when the close frame is out.
            (OpCode::Close, _) => std::future::pending().await,
            _ => {}
        }
    }
}

async fn write(
    mut writer: WebSocketWrite<impl AsyncWrite + Unpin>,
    mut receiver: Receiver<Message>,
    mut answers: mpsc::UnboundedReceiver<Frame<'static>>,
) -> Result<(), WebSocketError> {
    loop {
        tokio::select! {
            received = receiver.receive() => {
                let mut next = received;
                if next.is_none() {
                    return Ok(());
                }
                while let Some((opcode, payload)) = next {
                    let payload = Payload::Borrowed(&payload);
                    writer.write_frame(Frame::new(true, opcode, None, payload)).await?;
                    next = receiver.receive_now();
                }
                writer.flush().await?;
            }
            Some(answer) = answers.recv() => {
                let is_close = answer.opcode == OpCode::Close;
                writer.write_frame(answer).await?;
                writer.flush().await?;
                if is_close {
                    return Ok(());
                }
            }
        }
    }
}

//! A stream of an HTTP/2 connection between the session and its client, in memory: hyper's server on the one side, h2's
//! client on the other, and extended CONNECT between them (RFC 8441).
//!
//! The client of the test stays what it is; a bridge carries its bytes. As over TCP, a client that vanishes is an end, and
//! a reset once something is written to it.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};
use http_body_util::Empty;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::oneshot;

use super::settling::counted;
use crate::transport::{PIECE, SmallWrites};

/// How many bytes of the connection are on the way in memory. The windows of the stream are what bounds it.
const CONNECTION_BUFFER: usize = 64 * 1024;

/// The largest window (RFC 9113 §6.9.1). The connection has it, since h2 closes one with many small frames that nobody has
/// read; how many that are it takes from this window.
const UNBOUNDED: u32 = i32::MAX as u32;

/// How many bytes the bridge carries at once.
const CHUNK: usize = 4 * 1024;

/// Opens a stream whose windows are `window` bytes. `near` is joined to the one end, the other is returned.
pub(super) async fn open(
    near: DuplexStream,
    window: usize,
    early: Vec<u8>,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    let (server, client) = tokio::io::duplex(CONNECTION_BUFFER);
    let window =
        u32::try_from(window).map_or(i32::MAX as u32, |window| window.min(i32::MAX as u32));
    let on_upgrade = serve(server, window);
    let (mut writing, reading) = connect(client, window).await.map_err(io::Error::other)?;
    if !early.is_empty() {
        writing
            .send_data(early.into(), false)
            .map_err(io::Error::other)?;
    }
    tokio::spawn(counted(bridge(near, writing, reading)));
    let on_upgrade = on_upgrade.await.map_err(io::Error::other)?;
    let upgraded = on_upgrade.await.map_err(io::Error::other)?;
    Ok(SmallWrites::new(
        TokioIo::new(upgraded),
        Some(PIECE.min(window as usize)),
    ))
}

/// A server that says yes to the one request that comes.
fn serve(io: DuplexStream, window: u32) -> oneshot::Receiver<OnUpgrade> {
    let (sender, receiver) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let connection = http2::Builder::new(Counted)
        .enable_connect_protocol()
        .initial_stream_window_size(window)
        .initial_connection_window_size(UNBOUNDED)
        .max_send_buf_size(window as usize)
        .serve_connection(
            TokioIo::new(io),
            service_fn(move |mut request: Request<_>| {
                let on_upgrade = hyper::upgrade::on(&mut request);
                if let Some(sender) = lock(&sender).take() {
                    let _ = sender.send(on_upgrade);
                }
                std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
            }),
        );
    tokio::spawn(counted(async {
        let _ = connection.await;
    }));
    receiver
}

/// The client's stream, opened by extended CONNECT.
async fn connect(
    io: DuplexStream,
    window: u32,
) -> Result<(SendStream<Bytes>, RecvStream), h2::Error> {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(window)
        .initial_connection_window_size(UNBOUNDED)
        .data_frame_budget(usize::MAX);
    let (requests, connection) = builder.handshake(io).await?;
    tokio::spawn(counted(async {
        let _ = connection.await;
    }));
    // RFC 8441 §3: not before the server's SETTINGS allow it.
    while !requests.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = http::Uri::from_static("http://localhost/");
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    let (response, writing) = requests.ready().await?.send_request(request, false)?;
    Ok((writing, response.await?.into_body()))
}

/// Carries bytes both ways until both have ended.
async fn bridge(near: DuplexStream, writing: SendStream<Bytes>, reading: RecvStream) {
    let (from_client, to_client) = tokio::io::split(near);
    let writing = Mutex::new(writing);
    tokio::join!(
        carry_up(from_client, &writing),
        carry_down(reading, to_client, &writing)
    );
}

async fn carry_up(mut from_client: ReadHalf<DuplexStream>, writing: &Mutex<SendStream<Bytes>>) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from_client.read(&mut chunk).await {
        let mut rest = Bytes::copy_from_slice(chunk.get(..count).unwrap_or_default());
        while !rest.is_empty() {
            lock(writing).reserve_capacity(rest.len());
            let room = poll_fn(|context| lock(writing).poll_capacity(context)).await;
            let Some(Ok(room)) = room else {
                // The session has ended, and takes nothing more.
                break;
            };
            let piece = rest.split_to(room.min(rest.len()));
            if lock(writing).send_data(piece, false).is_err() {
                break;
            }
        }
    }
    let _ = lock(writing).send_data(Bytes::new(), true);
}

async fn carry_down(
    mut reading: RecvStream,
    mut to_client: WriteHalf<DuplexStream>,
    writing: &Mutex<SendStream<Bytes>>,
) {
    while let Some(Ok(data)) = reading.data().await {
        if to_client.write_all(&data).await.is_err() {
            lock(writing).send_reset(Reason::CANCEL);
            return;
        }
        let _ = reading.flow_control().release_capacity(data.len());
    }
    let _ = to_client.shutdown().await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spawns what hyper wants to run, so that [`settle`](super::settle) waits for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted;

impl<F> Executor<F> for Counted
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        tokio::spawn(counted(future));
    }
}

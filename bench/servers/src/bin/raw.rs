//! Bare TCP: what the machine can do, without HTTP and without frames.
//!
//! The first byte of a connection tells its role and is not answered: `e` echo, `s` subscriber, `p` publisher, `c` and a byte
//! for the room: chat. A connection that ends before it is dropped, which measures the bare accept.

use std::io::{self, IoSlice};
use std::process::ExitCode;

use bytes::{Bytes, BytesMut};
use servers::{BoxError, Can, Channels, Listener, Transport};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};

const BUFFER: usize = 64 * 1024;

/// How many chunks go out with one write.
const CHUNKS: usize = 64;

fn main() -> ExitCode {
    let can = Can {
        deflate: false,
        tls: false,
    };
    servers::run("raw", can, async |args| {
        let channels = Channels::default();
        let serve = move |transport| connection(transport, channels.clone());
        Listener::bind(&args)?.run(serve).await
    })
}

async fn connection(mut transport: Transport, channels: Channels<Bytes>) -> Result<(), BoxError> {
    match transport.read_u8().await? {
        b'e' => echo(transport).await?,
        b'p' => publish(transport, &channels.published).await?,
        b's' => take_part(transport, channels.published.subscribe(), None).await?,
        b'c' => {
            let room = transport.read_u8().await?;
            let sender = channels.room(room.to_string());
            take_part(transport, sender.subscribe(), Some(sender)).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn echo(mut transport: Transport) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(BUFFER);
    while transport.read_buf(&mut buffer).await? > 0 {
        transport.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}

async fn publish(mut transport: Transport, sender: &Sender<Bytes>) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(BUFFER);
    while transport.read_buf(&mut buffer).await? > 0 {
        // Fails only if there is no subscriber.
        let _ = sender.send(buffer.split().freeze());
        buffer.reserve(BUFFER);
    }
    Ok(())
}

/// Writes what is received; what is read goes to `sender`, or nowhere.
async fn take_part(
    transport: Transport,
    mut receiver: Receiver<Bytes>,
    sender: Option<Sender<Bytes>>,
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(transport);
    let mut buffer = BytesMut::new();
    let mut chunks = Vec::with_capacity(CHUNKS);
    loop {
        tokio::select! {
            biased;
            received = receiver.recv() => match received {
                Ok(chunk) => {
                    chunks.push(chunk);
                    while chunks.len() < CHUNKS && let Ok(chunk) = receiver.try_recv() {
                        chunks.push(chunk);
                    }
                    write_all(&mut writer, &chunks).await?;
                    chunks.clear();
                }
                Err(RecvError::Closed | RecvError::Lagged(_)) => return Ok(()),
            },
            read = reader.read_buf(&mut buffer) => {
                if read? == 0 {
                    return Ok(());
                }
                let chunk = buffer.split().freeze();
                if let Some(sender) = &sender {
                    let _ = sender.send(chunk);
                }
            }
        }
    }
}

/// Writes the chunks as they are, several with one system call.
async fn write_all(writer: &mut (impl AsyncWrite + Unpin), chunks: &[Bytes]) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); CHUNKS];
    for (slice, chunk) in slices.iter_mut().zip(chunks) {
        *slice = IoSlice::new(chunk);
    }
    let mut left = &mut slices[..chunks.len()];
    while !left.is_empty() {
        match writer.write_vectored(left).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut left, written),
        }
    }
    Ok(())
}

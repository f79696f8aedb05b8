//! The loops of libraries whose WebSocket is a `Stream` and a `Sink` of messages: each is fed all that is ready before it is
//! flushed, so that what is pipelined or published in one go leaves in one write.
//!
//! They end with the tokio budget of the task at the latest, which makes a socket answer that nothing is ready.

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};

use crate::{BoxError, Channels, Path};

/// A library's WebSocket.
pub trait Socket<M, E>: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin {}

impl<S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin, M, E> Socket<M, E> for S {}

/// Serves a connection that asked for `path`; `is_data` tells text and binary messages from the others.
pub async fn serve<M: Clone, E: Into<BoxError>>(
    socket: impl Socket<M, E>,
    path: Path,
    channels: Channels<M>,
    is_data: fn(&M) -> bool,
) -> Result<(), BoxError> {
    let ended = match path {
        Path::Echo => echo(socket, is_data).await,
        Path::Pub => publish(socket, &channels.published, is_data).await,
        Path::Sub => {
            let receiver = channels.published.subscribe();
            take_part(socket, receiver, |_| ()).await
        }
        Path::Chat(room) => {
            let sender = channels.room(room);
            let say = |message| {
                if is_data(&message) {
                    // Fails only if nobody is in the room, and this connection is.
                    let _ = sender.send(message);
                }
            };
            take_part(socket, sender.subscribe(), say).await
        }
    };
    ended.map_err(Into::into)
}

/// Every message goes back as it came.
async fn echo<M, E>(mut socket: impl Socket<M, E>, is_data: fn(&M) -> bool) -> Result<(), E> {
    while let Some(message) = socket.next().await {
        let mut next = Some(message);
        while let Some(message) = next {
            let message = message?;
            if is_data(&message) {
                socket.feed(message).await?;
            }
            next = socket.next().now_or_never().flatten();
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn publish<M, E>(
    mut socket: impl Socket<M, E>,
    sender: &Sender<M>,
    is_data: fn(&M) -> bool,
) -> Result<(), E> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if is_data(&message) {
            // Fails only if there is no subscriber.
            let _ = sender.send(message);
        }
    }
    Ok(())
}

/// Sends what is received, and hands what the client says to `said`. Whoever falls too far behind is dropped.
async fn take_part<M: Clone, E>(
    mut socket: impl Socket<M, E>,
    mut receiver: Receiver<M>,
    said: impl Fn(M),
) -> Result<(), E> {
    loop {
        tokio::select! {
            biased;
            received = receiver.recv() => match received {
                Ok(message) => {
                    socket.feed(message).await?;
                    while let Ok(message) = receiver.try_recv() {
                        socket.feed(message).await?;
                    }
                    socket.flush().await?;
                }
                Err(RecvError::Closed | RecvError::Lagged(_)) => return Ok(()),
            },
            message = socket.next() => match message {
                Some(message) => said(message?),
                None => return Ok(()),
            },
        }
    }
}

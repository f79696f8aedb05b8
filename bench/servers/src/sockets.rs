//! The loops of libraries whose WebSocket is a `Stream` and a `Sink` of messages: each is fed all that is ready before it is
//! flushed, so that what is pipelined or published in one go leaves in one write.
//!
//! They end with the tokio budget of the task at the latest, which makes a socket answer that nothing is ready.

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tokio::sync::{broadcast, mpsc};

use crate::{BoxError, Channels, Path};

/// A library's WebSocket.
pub trait Socket<M, E>: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin {}

impl<S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin, M, E> Socket<M, E> for S {}

/// What a connection is sent.
pub trait Inbox<M> {
    /// The next message; nothing once the connection has fallen too far behind.
    fn receive(&mut self) -> impl Future<Output = Option<M>>;

    /// The next message, if it is there already.
    fn receive_now(&mut self) -> Option<M>;
}

impl<M: Clone> Inbox<M> for broadcast::Receiver<M> {
    async fn receive(&mut self) -> Option<M> {
        // `Lagged` is an end, too.
        self.recv().await.ok()
    }

    fn receive_now(&mut self) -> Option<M> {
        self.try_recv().ok()
    }
}

impl<M> Inbox<M> for mpsc::UnboundedReceiver<M> {
    async fn receive(&mut self) -> Option<M> {
        self.recv().await
    }

    fn receive_now(&mut self) -> Option<M> {
        self.try_recv().ok()
    }
}

/// Serves a connection that asked for `path`; `is_data` tells text and binary messages from the others.
pub async fn serve<M: Clone, E: Into<BoxError>>(
    socket: impl Socket<M, E>,
    path: Path,
    channels: Channels<M>,
    is_data: fn(&M) -> bool,
) -> Result<(), BoxError> {
    let ended = match path {
        Path::Echo => echo(socket, is_data).await,
        Path::Pub => listen_to(socket, is_data, send_to(&channels.published)).await,
        Path::Sub => take_part(socket, channels.published.subscribe(), is_data, drop).await,
        Path::Chat(room) => {
            let room = channels.room(room);
            take_part(socket, room.subscribe(), is_data, send_to(&room)).await
        }
    };
    ended.map_err(Into::into)
}

fn send_to<M>(sender: &broadcast::Sender<M>) -> impl Fn(M) {
    // Fails only if nobody listens.
    |message| drop(sender.send(message))
}

/// Every message goes back as it came.
pub async fn echo<M, E>(mut socket: impl Socket<M, E>, is_data: fn(&M) -> bool) -> Result<(), E> {
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

/// Hands what the client says to `said`.
pub async fn listen_to<M, E>(
    mut socket: impl Socket<M, E>,
    is_data: fn(&M) -> bool,
    said: impl Fn(M),
) -> Result<(), E> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if is_data(&message) {
            said(message);
        }
    }
    Ok(())
}

/// Sends what comes into `inbox`, and hands what the client says to `said`. Whoever falls too far behind is dropped.
pub async fn take_part<M, E>(
    mut socket: impl Socket<M, E>,
    mut inbox: impl Inbox<M>,
    is_data: fn(&M) -> bool,
    said: impl Fn(M),
) -> Result<(), E> {
    loop {
        tokio::select! {
            biased;
            received = inbox.receive() => {
                let Some(message) = received else {
                    return Ok(());
                };
                socket.feed(message).await?;
                while let Some(message) = inbox.receive_now() {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
            message = socket.next() => {
                let Some(message) = message else {
                    return Ok(());
                };
                let message = message?;
                if is_data(&message) {
                    said(message);
                }
            }
        }
    }
}

//! [`Output`]: what is written to the standard streams, in order, by a thread of its own.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::BYTES;
use crate::failure::{Failure, written};
use crate::interrupt::Interrupt;

/// How many chunks wait to be written at most, and of how many bytes ([`BYTES`]); past it nothing more is received.
const CHUNKS: usize = 64;

/// How long the end of the output is waited for when an end was asked for.
const LAST: Duration = Duration::from_secs(2);

/// Something to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// To the standard output.
    Out(Vec<u8>),
    /// A line for the standard error.
    Err(String),
}

impl Chunk {
    const fn len(&self) -> usize {
        match self {
            Self::Out(bytes) => bytes.len(),
            Self::Err(line) => line.len(),
        }
    }
}

pub(super) struct Output {
    chunks: mpsc::Sender<(Chunk, OwnedSemaphorePermit)>,
    /// Bytes that still find room.
    room: Arc<Semaphore>,
    ended: oneshot::Receiver<io::Result<()>>,
    /// Whether something was dropped because an end was asked for.
    is_cut: bool,
}

impl Output {
    /// The thread ends when the output is finished and all is written, or when nobody reads any more.
    pub(super) fn start() -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let (ending, ended) = oneshot::channel();
        thread::spawn(move || {
            // A receiver that is gone has waited long enough.
            let _ = ending.send(write_all(chunks));
        });
        Self {
            chunks: sender,
            room: Arc::new(Semaphore::new(BYTES as usize)),
            ended,
            is_cut: false,
        }
    }

    /// Waits for room, and tells how long it did. When an end is asked for, it does not, and drops what finds none.
    pub(super) async fn write(
        &mut self,
        chunks: Vec<Chunk>,
        interrupt: &mut Interrupt,
    ) -> Duration {
        let since = Instant::now();
        for chunk in chunks {
            tokio::select! {
                biased;
                () = send(&self.chunks, &self.room, chunk) => {}
                () = interrupt.wait() => {
                    self.is_cut = true;
                    break;
                }
            }
        }
        since.elapsed()
    }

    /// Returns when nobody reads the standard output any more.
    pub(super) async fn gone(&self) {
        self.chunks.closed().await;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.chunks.is_closed()
    }

    /// Waits until all is written; for as long as somebody reads slowly, unless an end is asked for.
    pub(super) async fn finish(self, mut interrupt: Interrupt) -> Result<(), Failure> {
        drop(self.chunks);
        let mut ended = self.ended;
        let done = tokio::select! {
            biased;
            done = &mut ended => Some(done),
            () = interrupt.wait() => timeout(LAST, ended).await.ok(),
        };
        match done {
            Some(Ok(Err(error))) => written(Err(error)),
            Some(_) if !self.is_cut => Ok(()),
            _ => Err(Failure::Ended(
                "not all of the output was written: nobody reads it".to_owned(),
            )),
        }
    }
}

async fn send(
    chunks: &mpsc::Sender<(Chunk, OwnedSemaphorePermit)>,
    room: &Arc<Semaphore>,
    chunk: Chunk,
) {
    // A larger one goes when it is the only one.
    let bytes = u32::try_from(chunk.len()).map_or(BYTES, |bytes| bytes.min(BYTES));
    if let Ok(room) = Arc::clone(room).acquire_many_owned(bytes).await {
        let _ = chunks.send((chunk, room)).await;
    }
}

fn write_all(mut chunks: mpsc::Receiver<(Chunk, OwnedSemaphorePermit)>) -> io::Result<()> {
    while let Some((chunk, _room)) = chunks.blocking_recv() {
        match chunk {
            Chunk::Out(bytes) => {
                let mut output = io::stdout().lock();
                output.write_all(&bytes)?;
                output.flush()?;
            }
            // Facts are for whoever looks.
            Chunk::Err(line) => {
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn bytes_wait_for_room_and_the_largest_message_finds_some() {
        let (sender, mut chunks) = mpsc::channel(CHUNKS);
        let room = Arc::new(Semaphore::new(BYTES as usize));
        let large = || Chunk::Out(vec![0; 3 * BYTES as usize]);
        let small = || Chunk::Out(vec![0; 10]);
        send(&sender, &room, large()).await;
        {
            let mut second = pin!(send(&sender, &room, small()));
            let mut context = Context::from_waker(Waker::noop());
            assert!(second.as_mut().poll(&mut context).is_pending());
            drop(chunks.recv().await);
            second.await;
        }
        drop(chunks.recv().await);
        send(&sender, &room, large()).await;
    }
}

//! [`Output`]: what is written to the standard streams, in order, by a thread of its own.

use std::io::{self, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::interrupt::Interrupt;

/// How many chunks wait to be written at most; past it nothing more is received.
const CHUNKS: usize = 64;

/// Something to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// To the standard output.
    Out(Vec<u8>),
    /// A line for the standard error.
    Err(String),
}

pub(super) struct Output(mpsc::Sender<Chunk>);

impl Output {
    /// The thread ends when the output is dropped and all is written, or when nobody reads any more; then the receiver is told.
    pub(super) fn start() -> (Self, oneshot::Receiver<()>) {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let (ending, ended) = oneshot::channel();
        thread::spawn(move || {
            write_all(chunks);
            drop(ending);
        });
        (Self(sender), ended)
    }

    /// Waits for room. When an end is asked for, it does not, and drops what finds none.
    pub(super) async fn write(&self, chunks: Vec<Chunk>, interrupt: &mut Interrupt) {
        for chunk in chunks {
            match self.0.try_send(chunk) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(chunk)) => tokio::select! {
                    _ = self.0.send(chunk) => {}
                    () = interrupt.wait() => return,
                },
            }
        }
    }

    /// Returns when nobody reads the standard output any more.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }
}

fn write_all(mut chunks: mpsc::Receiver<Chunk>) {
    while let Some(chunk) = chunks.blocking_recv() {
        match chunk {
            Chunk::Out(bytes) => {
                let mut output = io::stdout().lock();
                if output
                    .write_all(&bytes)
                    .and_then(|()| output.flush())
                    .is_err()
                {
                    return;
                }
            }
            // Facts are for whoever looks.
            Chunk::Err(line) => {
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
    }
}

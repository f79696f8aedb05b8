//! The tasks of an HTTP/2 connection's streams: how one that a session has left behind comes to its end.
//!
//! hyper writes an upgraded stream from a task of its own, which waits for the stream's window however long that stays
//! shut, also when nobody writes any more. A TCP socket that is dropped keeps nothing; neither shall a stream.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::AbortHandle;
use tracing::Instrument;

use super::open::OpenGuard;

tokio::task_local! {
    /// The stream whose request this task answers.
    static STREAM: Stream;
}

/// A stream, as far as it has become one of an upgrade.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    writing: Arc<OnceLock<AbortHandle>>,
    /// Given to the task that writes, so that the stream counts as open as long as that runs.
    open: Arc<OnceLock<OpenGuard>>,
}

impl Stream {
    /// The one whose request this task answers.
    pub(super) fn current() -> Option<Self> {
        STREAM.try_with(Self::clone).ok()
    }

    /// Keeps its connection from being idle while it is written to.
    pub(super) fn hold(&self, open: OpenGuard) {
        // The first request is the only one of a stream.
        let _ = self.open.set(open);
    }

    /// Lets what was written go out within `time`; then the stream is reset. Nothing may write to it any more.
    pub(super) fn leave(&self, time: Duration) {
        let Some(writing) = self.writing.get().filter(|task| !task.is_finished()) else {
            return;
        };
        let writing = writing.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            writing.abort();
        });
    }
}

/// Spawns what hyper wants to run, in the span of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamExecutor;

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let future = future.in_current_span();
        match Stream::current() {
            // The task of a stream starts another one only to write what was upgraded.
            Some(stream) => {
                let open = stream.open.get().cloned();
                let task = tokio::spawn(async move {
                    future.await;
                    drop(open);
                });
                let _ = stream.writing.set(task.abort_handle());
            }
            None => drop(tokio::spawn(STREAM.scope(Stream::default(), future))),
        }
    }
}

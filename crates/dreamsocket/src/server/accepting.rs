//! The task that accepts: where the connections' tasks are, so that neither a connection nor its task goes from the thread
//! of `main` to another one.
//!
//! Apart, since what a task holds is dropped by the runtime some time after it was asked to, and a listener is to be closed
//! at once.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use tokio::task::JoinHandle;
use tracing::Instrument;

/// Accepts until it is dropped.
pub(super) struct Accepting {
    accepting: Arc<Mutex<Option<Endless>>>,
    task: JoinHandle<()>,
}

type Endless = Pin<Box<dyn Future<Output = Infallible> + Send>>;

impl Accepting {
    pub(super) fn start(accepting: impl Future<Output = Infallible> + Send + 'static) -> Self {
        let accepting: Endless = Box::pin(accepting.in_current_span());
        let accepting = Arc::new(Mutex::new(Some(accepting)));
        let polled = Arc::clone(&accepting);
        let task = tokio::spawn(poll_fn(move |context| {
            let mut polled = polled.lock().unwrap_or_else(PoisonError::into_inner);
            match polled.as_mut().map(|polled| polled.as_mut().poll(context)) {
                Some(Poll::Pending) => Poll::Pending,
                Some(Poll::Ready(never)) => match never {},
                None => Poll::Ready(()),
            }
        }));
        Self { accepting, task }
    }

    /// Never ends, but panics as accepting does.
    pub(super) async fn ended(&mut self) -> Infallible {
        if let Err(error) = (&mut self.task).await
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
        // The runtime is going.
        std::future::pending().await
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        // Waits at most for what the task is accepting at this moment.
        let accepting = self
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.task.abort();
        drop(accepting);
    }
}

//! The signals that start a drain, and end one: SIGTERM and SIGINT on Unix, Ctrl-C elsewhere.
//!
//! One task listens and counts, from the first call of [`SignalWatch::listen`] on, so that no signal falls between the
//! one that starts a drain and the wait for the next.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Default)]
pub(super) struct SignalWatch {
    /// How many signals have come.
    count: watch::Sender<u32>,
    /// Empty until somebody wants signals: listening takes their default effect from the process for good.
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl SignalWatch {
    /// Calls `on_signal` at each signal from here on, as long as `self` and the present runtime exist. Does nothing if
    /// there is a listener already.
    pub(super) fn listen(&self, on_signal: impl Fn() + Send + 'static) -> io::Result<()> {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        // A listener has finished if its runtime is gone.
        if listener.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        let mut signals = Signals::listen()?;
        let count = self.count.clone();
        *listener = Some(tokio::spawn(async move {
            loop {
                signals.next().await;
                count.send_modify(|count| *count = count.saturating_add(1));
                on_signal();
            }
        }));
        Ok(())
    }

    /// Resolves when two signals have come.
    pub(super) async fn second(&self) {
        let mut count = self.count.subscribe();
        // An error can't come: the sender is in `self`.
        let _ = count.wait_for(|count| *count >= 2).await;
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        let listener = self.listener.get_mut();
        if let Some(task) = listener.unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals(());

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self(()))
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

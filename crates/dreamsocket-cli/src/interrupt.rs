//! [`Interrupt`]: Ctrl-C or SIGTERM asks for an orderly end; the second one ends at once.

use std::process;

use tokio::sync::watch;

/// The exit code of shells for a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether the user wants an end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens from now on. Needs a runtime.
    pub(crate) fn listen() -> Self {
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            asked().await;
            sender.send_replace(true);
            asked().await;
            process::exit(INTERRUPTED);
        });
        Self(receiver)
    }

    /// Returns when an end was asked for, also if it was before.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|&is_asked| is_asked).await.is_err() {
            // The task above never ends without it.
            std::future::pending().await
        }
    }

    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

async fn asked() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

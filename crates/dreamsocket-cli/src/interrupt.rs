//! [`Interrupt`]: Ctrl-C or SIGTERM asks for an orderly end; the second one ends at once.
//!
//! A thread of its own listens, so that the second one is heard whatever all others wait for.

use std::{process, thread};

use tokio::sync::watch;
use tokio::time::Instant;

/// The exit code of shells for a program that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Since when the user wants an end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<Option<Instant>>);

impl Interrupt {
    /// Listens from now on. Where that fails, the signals do what they do to any program.
    pub(crate) fn listen() -> Self {
        let (sender, receiver) = watch::channel(None);
        let (ready, listening) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(mut signals) = Signals::listen() else {
                    return;
                };
                let _ = ready.send(());
                signals.next().await;
                sender.send_replace(Some(Instant::now()));
                signals.next().await;
                process::exit(INTERRUPTED.into());
            });
        });
        let _ = listening.recv();
        Self(receiver)
    }

    /// Returns when an end was asked for, also if it was before.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            // Nobody listens.
            std::future::pending().await
        }
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked_at().is_some()
    }

    /// When an end was asked for.
    pub(crate) fn asked_at(&self) -> Option<Instant> {
        *self.0.borrow()
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}

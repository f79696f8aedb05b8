//! What of an HTTP connection is still open: requests that nobody has finished with, upgrades, and WebSockets among them. A
//! connection with nothing open is idle; one whose WebSockets have ended may be told to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::config::later;

/// One connection's.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Everything that is open has a receiver.
    all: watch::Sender<()>,
    /// Each WebSocket has one of these, too.
    sessions: watch::Sender<()>,
    /// How many requests there were.
    count: AtomicU64,
}

/// Something that is open, until it is dropped.
#[derive(Debug, Clone)]
pub(super) struct OpenGuard {
    open: Arc<Open>,
    _all: watch::Receiver<()>,
    _session: Option<watch::Receiver<()>>,
}

impl Open {
    /// One more request.
    pub(super) fn request(self: &Arc<Self>) -> OpenGuard {
        self.count.fetch_add(1, Ordering::Relaxed);
        OpenGuard {
            open: Arc::clone(self),
            _all: self.all.subscribe(),
            _session: None,
        }
    }

    /// Waits until there is no WebSocket.
    pub(super) async fn sessions_ended(&self) {
        self.sessions.closed().await;
    }

    /// Waits until there was nothing for that long.
    pub(super) async fn idle(&self, time: Duration) {
        loop {
            self.all.closed().await;
            let count = self.count.load(Ordering::Relaxed);
            sleep_until(later(Instant::now(), time)).await;
            if self.all.is_closed() && count == self.count.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

impl OpenGuard {
    /// It is a WebSocket.
    pub(super) fn for_session(self) -> Self {
        let session = self.open.sessions.subscribe();
        Self {
            _session: Some(session),
            ..self
        }
    }
}

//! What of an HTTP connection is still open: requests that nobody has finished with, upgrades, and WebSockets among them. A
//! connection with nothing open is idle; one whose WebSockets have ended may be told to go; one with nothing but answers that
//! the peer does not take is stalled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::config::later;

/// One connection's.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Each request that is open has a receiver.
    requests: watch::Sender<()>,
    /// Each WebSocket has one of these, too.
    sessions: watch::Sender<()>,
    /// How many of the requests have an answer that waits for the peer to make room.
    blocked: AtomicUsize,
    /// Grows with every request and whatever of an answer goes out.
    steps: AtomicU64,
}

/// Something that is open, until it is dropped.
#[derive(Debug, Clone)]
pub(super) struct OpenGuard {
    request: Arc<OpenRequest>,
    _session: Option<watch::Receiver<()>>,
}

#[derive(Debug)]
struct OpenRequest {
    open: Arc<Open>,
    _receiver: watch::Receiver<()>,
}

impl Open {
    /// One more request.
    pub(super) fn request(self: &Arc<Self>) -> OpenGuard {
        // Where answers wait, another request is none of the peer's steps towards them.
        if self.blocked.load(Ordering::Relaxed) == 0 {
            self.note_step();
        }
        OpenGuard {
            request: Arc::new(OpenRequest {
                open: Arc::clone(self),
                _receiver: self.requests.subscribe(),
            }),
            _session: None,
        }
    }

    /// Something goes on.
    pub(super) fn note_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn has_sessions(&self) -> bool {
        !self.sessions.is_closed()
    }

    /// Waits until there is no WebSocket.
    pub(super) async fn sessions_ended(&self) {
        self.sessions.closed().await;
    }

    /// Waits until there was nothing for that long.
    pub(super) async fn idle(&self, time: Duration) {
        loop {
            self.requests.closed().await;
            if !self.has_step_within(time).await && self.requests.is_closed() {
                return;
            }
        }
    }

    /// Waits until there was nothing for that long but answers for which the peer makes no room.
    pub(super) async fn stalled(&self, time: Duration) {
        loop {
            let has_step = self.has_step_within(time).await;
            let blocked = self.blocked.load(Ordering::Relaxed);
            // A WebSocket has bounds of its own, and what a handler is busy with is the application's.
            let is_all = blocked > 0 && blocked == self.requests.receiver_count();
            if !has_step && is_all && !self.has_sessions() {
                return;
            }
        }
    }

    async fn has_step_within(&self, time: Duration) -> bool {
        let steps = self.steps.load(Ordering::Relaxed);
        sleep_until(later(Instant::now(), time)).await;
        steps != self.steps.load(Ordering::Relaxed)
    }
}

impl OpenGuard {
    /// It is a WebSocket.
    pub(super) fn for_session(self) -> Self {
        let session = self.request.open.sessions.subscribe();
        Self {
            _session: Some(session),
            ..self
        }
    }
}

/// The answer to a request that is open, until all of it is out.
#[derive(Debug)]
pub(super) struct OpenAnswer {
    guard: OpenGuard,
    is_blocked: AtomicBool,
}

impl OpenAnswer {
    pub(super) fn new(guard: OpenGuard) -> Self {
        let answer = Self {
            guard,
            is_blocked: AtomicBool::new(false),
        };
        answer.set_blocked(true);
        answer
    }

    /// Something of it went out.
    pub(super) fn note_step(&self) {
        self.guard.request.open.note_step();
    }

    /// Whether the next step is the peer's, and not the body's. Once it is, the peer has all of its time.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        let open = &self.guard.request.open;
        match (
            self.is_blocked.swap(is_blocked, Ordering::Relaxed),
            is_blocked,
        ) {
            (false, true) => {
                open.blocked.fetch_add(1, Ordering::Relaxed);
                open.note_step();
            }
            (true, false) => {
                open.blocked.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        self.set_blocked(false);
    }
}

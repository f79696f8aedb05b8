//! How many connections a server holds at once.
//!
//! A permit is taken before a connection is accepted, so that those past the cap wait in the system's queue. It goes with
//! the requests, in their extensions; [`Upgrade`](crate::Upgrade) takes it along, since a WebSocket still is a socket. An
//! upgrade by other means gives it back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::life::Handover;
use super::open::OpenGuard;
#[cfg(feature = "http2")]
use super::streams::Stream;
use crate::hub::SocketPlace;

/// What else the process may have open: its logs, listeners, databases.
const SPARE_FILES: usize = 64;

/// The cap.
pub(super) struct Sockets {
    permits: Arc<Semaphore>,
    limit: usize,
}

/// A connection's place under the cap; shared by all that keeps its socket open.
#[derive(Debug, Clone)]
pub(crate) struct SocketPermit {
    _socket: Arc<Socket>,
    /// On HTTP/1.1: the connection's task, which runs the WebSocket.
    handover: Option<Handover>,
    /// Boxed, since only these have it.
    on_http2: Option<Box<OnHttp2>>,
}

#[derive(Debug)]
struct Socket {
    _permit: OwnedSemaphorePermit,
    /// Among those of its address, if they are counted.
    _place: Option<Box<SocketPlace>>,
}

/// What a request of HTTP/2 keeps open.
#[derive(Debug, Clone)]
struct OnHttp2 {
    /// Tells the connection that something of it is still open.
    open: OpenGuard,
    /// The stream that a WebSocket has, and how long it has when the WebSocket has ended.
    #[cfg(feature = "http2")]
    stream: Option<(Stream, Duration)>,
}

impl SocketPermit {
    pub(super) fn new(permit: OwnedSemaphorePermit, place: Option<SocketPlace>) -> Self {
        Self {
            _socket: Arc::new(Socket {
                _permit: permit,
                _place: place.map(Box::new),
            }),
            handover: None,
            on_http2: None,
        }
    }

    /// For the requests of a connection that hands its WebSocket over.
    pub(super) fn with_handover(self, handover: Option<Handover>) -> Self {
        Self { handover, ..self }
    }

    /// For a request of this task's, if it answers one of HTTP/2.
    pub(super) fn with(&self, open: Option<OpenGuard>) -> Self {
        let on_http2 = open.map(|open| {
            #[cfg(feature = "http2")]
            let stream = Stream::current();
            #[cfg(feature = "http2")]
            if let Some(stream) = &stream {
                // Whoever upgrades it, it is open as long as somebody writes to it.
                stream.hold(open.clone());
            }
            Box::new(OnHttp2 {
                open,
                #[cfg(feature = "http2")]
                stream: stream.map(|stream| (stream, Duration::MAX)),
            })
        });
        Self {
            on_http2,
            ..self.clone()
        }
    }

    /// For the WebSocket that comes of the request. When it has ended, what it wrote last has `close_time` to go out.
    #[cfg_attr(
        not(feature = "http2"),
        expect(unused_variables, reason = "a matter of streams")
    )]
    pub(crate) fn for_session(mut self, close_time: Duration) -> Self {
        if let Some(mut on_http2) = self.on_http2.take() {
            on_http2.open = on_http2.open.for_session();
            #[cfg(feature = "http2")]
            if let Some((_, time)) = &mut on_http2.stream {
                *time = close_time;
            }
            self.on_http2 = Some(on_http2);
        }
        self
    }

    /// The task that the WebSocket can run in.
    pub(crate) fn take_handover(&mut self) -> Option<Handover> {
        self.handover.take()
    }

    /// The request has been answered with something else than an upgrade.
    pub(super) fn revoke_handover(&self) {
        if let Some(handover) = &self.handover {
            handover.revoke();
        }
    }

    /// The WebSocket has ended.
    pub(crate) fn leave(self) {
        #[cfg(feature = "http2")]
        if let Some((stream, time)) = self.on_http2.and_then(|on_http2| on_http2.stream) {
            stream.leave(time);
        }
    }
}

impl Sockets {
    /// At most `wanted` connections, less if the process may not have as many files open.
    pub(super) fn new(wanted: usize) -> Self {
        let mut limit = wanted.min(Semaphore::MAX_PERMITS);
        if let Some(open_files) = open_files()
            && open_files.saturating_sub(SPARE_FILES) < limit
        {
            limit = open_files.saturating_sub(SPARE_FILES);
            // Whoever asks for as many as there are gets them.
            if wanted != usize::MAX {
                tracing::warn!(
                    open_files,
                    "`Config::max_sockets` is {wanted}, but the limit of open files allows {limit} TCP connections"
                );
            }
        }
        // With none at all the server would look alive and never answer.
        let limit = limit.max(1);
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Whether the next one has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Waits for a place.
    pub(super) async fn admit(&self, log: &mut Log) -> OwnedSemaphorePermit {
        if self.is_full() && log.is_due() {
            tracing::warn!(
                limit = self.limit,
                "accepting pauses: there are as many TCP connections as may be"
            );
        }
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// The soft limit of open files.
#[cfg(unix)]
fn open_files() -> Option<usize> {
    // `rlimit` is one safe call over libc, which tokio brings anyway; the standard library has none.
    let (soft, _) = rlimit::Resource::NOFILE.get().ok()?;
    usize::try_from(soft).ok()
}

/// Windows has no limit of sockets that a process could ask for.
#[cfg(not(unix))]
fn open_files() -> Option<usize> {
    None
}

/// Keeps the log to one line a second, however often something happens.
#[derive(Debug, Default)]
pub(super) struct Log {
    last: Option<Instant>,
}

impl Log {
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self
            .last
            .is_none_or(|last| now - last >= Duration::from_secs(1));
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

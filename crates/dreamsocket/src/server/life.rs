//! The task of a connection: HTTP until that ends, then the WebSocket that came of it.
//!
//! A second task for the WebSocket would be spawned and woken for nothing, since HTTP/1.1 is over by then. Both parts are
//! boxed, so that the task is small and is not moved about with them, and HTTP's memory goes when its part is over.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use tokio::runtime::{self, Handle};
use tokio::task;

/// A WebSocket from its upgrade to its end.
pub(crate) type SessionTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a connection's task does.
pub(super) enum Life {
    Http(Pin<Box<dyn Future<Output = Option<SessionTask>> + Send>>),
    WebSocket(SessionTask),
}

impl Life {
    /// `http` ends with the WebSocket that is to follow it, if there is one.
    pub(super) fn new(http: impl Future<Output = Option<SessionTask>> + Send + 'static) -> Self {
        Self::Http(Box::pin(http))
    }
}

impl Future for Life {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            *self = match &mut *self {
                Self::Http(http) => match ready!(http.as_mut().poll(context)) {
                    // What is left of HTTP is dropped here: the upgrade is granted by now, or never will be.
                    Some(session) => Self::WebSocket(session),
                    None => return Poll::Ready(()),
                },
                Self::WebSocket(session) => return session.as_mut().poll(context),
            };
        }
    }
}

/// Where upgrades leave their session for the connection's task. Owned by what that task does for HTTP.
pub(super) struct Slot {
    place: Arc<Place>,
}

/// The way to a [`Slot`]. It goes with the requests, and keeps nothing: a session that holds one holds not itself.
#[derive(Debug, Clone)]
pub(crate) struct Handover {
    place: Weak<Place>,
}

struct Place {
    session: Mutex<Option<SessionTask>>,
    runtime: runtime::Id,
    task: Option<task::Id>,
    /// What the socket itself would say.
    peer_addr: Option<SocketAddr>,
}

impl Slot {
    /// In this task. `peer_addr` is what the socket itself would say, if that is known.
    pub(super) fn new(peer_addr: Option<SocketAddr>) -> Self {
        Self {
            place: Arc::new(Place {
                session: Mutex::new(None),
                runtime: Handle::current().id(),
                task: task::try_id(),
                peer_addr,
            }),
        }
    }

    pub(super) fn handover(&self) -> Handover {
        Handover {
            place: Arc::downgrade(&self.place),
        }
    }

    pub(super) fn take(&self) -> Option<SessionTask> {
        self.place.lock().take()
    }
}

impl Handover {
    /// The address of the socket's peer, if it is known without asking the socket.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        self.place.upgrade()?.peer_addr
    }

    /// Leaves a session, which starts when HTTP has ended. Given back if HTTP has ended, or if the caller is in another task
    /// or runtime: then the session belongs to that one.
    pub(crate) fn give(&self, session: SessionTask) -> Result<(), SessionTask> {
        let Some(place) = self.place.upgrade() else {
            return Err(session);
        };
        if task::try_id() != place.task || Handle::current().id() != place.runtime {
            return Err(session);
        }
        let left = place.lock().replace(session);
        // Without the lock: what it drops is the application's.
        drop(left);
        Ok(())
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Option<SessionTask>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

//! The task of a connection: HTTP until that ends, then the WebSocket that came of it.
//!
//! A second task for the WebSocket would be spawned and woken for nothing, since HTTP/1.1 is over by then. Both parts are
//! boxed, so that the task is small and is not moved about with them, and the memory of each part goes when it is over.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use tokio::runtime::{self, Handle};
use tokio::task;

/// What a connection's task does: a part that ends with the next one. Each is dropped before the next one begins.
pub(crate) struct Life(Pin<Box<dyn Future<Output = Option<Self>> + Send>>);

impl Life {
    /// A life that begins with this part.
    pub(crate) fn new(part: impl Future<Output = Option<Self>> + Send + 'static) -> Self {
        Self(Box::pin(part))
    }
}

impl Future for Life {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        #[cfg(feature = "testing")]
        crate::testing::note_poll();
        while let Some(next) = ready!(self.0.as_mut().poll(context)) {
            *self = next;
        }
        Poll::Ready(())
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
    session: Mutex<Option<Life>>,
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

    pub(super) fn take(&self) -> Option<Life> {
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
    pub(crate) fn give(&self, session: Life) -> Result<(), Life> {
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

    /// Drops a session that was left and will not start, with the places that it holds.
    pub(super) fn revoke(&self) {
        if let Some(place) = self.place.upgrade() {
            let left = place.lock().take();
            drop(left);
        }
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Option<Life>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_part_begins_when_the_one_before_is_gone() {
        struct First {
            _held: Arc<()>,
            next: Option<Life>,
        }
        impl Future for First {
            type Output = Option<Life>;

            fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Life>> {
                Poll::Ready(self.next.take())
            }
        }
        let held = Arc::new(());
        let weak = Arc::downgrade(&held);
        let next = Life::new(async move {
            assert_eq!(weak.strong_count(), 0);
            None
        });
        Life::new(First {
            _held: held,
            next: Some(next),
        })
        .await;
    }

    /// With a sign of whether it is still there.
    fn part() -> (Life, Weak<()>) {
        let held = Arc::new(());
        let weak = Arc::downgrade(&held);
        let life = Life::new(async move {
            drop(held);
            None
        });
        (life, weak)
    }

    #[tokio::test]
    async fn only_the_connections_own_task_leaves_a_session_and_only_in_time() {
        let slot = tokio::spawn(async {
            let slot = Slot::new(None);
            let handover = slot.handover();
            let (first, replaced) = part();
            let (second, kept) = part();
            assert!(handover.give(first).is_ok());
            assert!(handover.give(second).is_ok());
            assert_eq!((replaced.strong_count(), kept.strong_count()), (0, 1));
            assert!(slot.take().is_some() && slot.take().is_none());
            slot
        });
        let slot = slot.await.unwrap();
        let handover = slot.handover();
        assert!(handover.give(part().0).is_err());
        let late = tokio::spawn(async {
            let late = Slot::new(None).handover();
            late.give(part().0).is_err()
        });
        assert!(late.await.unwrap());
    }
}

//! The task of a WebSocket on a server: waits until hyper hands the socket over, then runs the session.
//!
//! Written by hand, so that what only the first part needs takes no memory beside the second: this future is what an idle
//! connection holds.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::hub::Admission;
use crate::message::Closed;
use crate::server::SocketPermit;
use crate::session::Outcome;

/// How a session ended, and when.
type Ended = (Outcome, Closed, Instant);

/// A session that has begun: on a bare TCP stream, or on anything else, which is boxed so that it costs the first nothing.
pub(super) enum Begun<R> {
    Tcp(R),
    Other(Pin<Box<dyn Future<Output = Ended> + Send>>),
}

/// What is given back when a connection has ended.
pub(super) struct Places {
    pub(super) admission: Admission,
    /// Under a `Server`: the socket's place under its cap.
    pub(super) socket_permit: Option<SocketPermit>,
    /// How long what was written last may take to go out.
    pub(super) close_time: Duration,
}

impl Places {
    fn give_back(self, outcome: Outcome, closed: &Closed) {
        self.admission.ended(outcome, closed);
        if let Some(permit) = self.socket_permit {
            permit.leave(self.close_time);
        }
    }
}

pin_project! {
    /// `begin` opens the session on the socket that hyper hands over.
    pub(super) struct Task<B, R> {
        #[pin]
        stage: Stage<B, R>,
        places: Option<Places>,
    }
}

pin_project! {
    #[project = StageProjected]
    enum Stage<B, R> {
        Upgrading { on_upgrade: OnUpgrade, begin: Option<B> },
        Tcp { #[pin] session: R },
        Other { session: Pin<Box<dyn Future<Output = Ended> + Send>> },
    }
}

impl<B, R> Task<B, R>
where
    B: FnOnce(Upgraded, &mut Admission) -> Begun<R>,
    R: Future<Output = Ended>,
{
    pub(super) fn new(on_upgrade: OnUpgrade, places: Places, begin: B) -> Self {
        let begin = Some(begin);
        Self {
            stage: Stage::Upgrading { on_upgrade, begin },
            places: Some(places),
        }
    }
}

impl<B, R> Future for Task<B, R>
where
    B: FnOnce(Upgraded, &mut Admission) -> Begun<R>,
    R: Future<Output = Ended>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let (outcome, closed, _) = loop {
            match this.stage.as_mut().project() {
                StageProjected::Upgrading { on_upgrade, begin } => {
                    let upgraded = match ready!(Pin::new(on_upgrade).poll(context)) {
                        Ok(upgraded) => upgraded,
                        Err(error) => {
                            tracing::debug!(%error, "the client went away before the upgrade");
                            return Poll::Ready(());
                        }
                    };
                    let (Some(begin), Some(places)) = (begin.take(), this.places.as_mut()) else {
                        return Poll::Ready(());
                    };
                    let stage = match begin(upgraded, &mut places.admission) {
                        Begun::Tcp(session) => Stage::Tcp { session },
                        Begun::Other(session) => Stage::Other { session },
                    };
                    this.stage.set(stage);
                }
                StageProjected::Tcp { session } => break ready!(session.poll(context)),
                StageProjected::Other { session } => {
                    break ready!(session.as_mut().poll(context));
                }
            }
        };
        if let Some(places) = this.places.take() {
            places.give_back(outcome, &closed);
        }
        Poll::Ready(())
    }
}

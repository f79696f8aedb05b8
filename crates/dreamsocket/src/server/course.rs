//! The course of a connection under hyper, from its first request to its end, and what ends it before that: a drain, idleness,
//! a peer that takes nothing.

use std::error::Error as _;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::open::Open;
use super::traffic::Traffic;
use crate::hub::{Fault, Hub};

/// A connection under hyper, and what its bounds go by.
pub(super) struct Course<'a> {
    hub: &'a Hub,
    traffic: &'a Traffic,
    /// What it carries, if that ends with it (HTTP/2).
    open: Option<&'a Open>,
    /// Until when there has to be a request.
    deadline: Option<Instant>,
}

impl<'a> Course<'a> {
    pub(super) const fn new(
        hub: &'a Hub,
        traffic: &'a Traffic,
        open: Option<&'a Open>,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            hub,
            traffic,
            open,
            deadline,
        }
    }

    /// Drives the connection to its end.
    pub(super) async fn run<C: Future<Output = hyper::Result<()>>>(
        &self,
        connection: Pin<&mut C>,
        shut_down: impl FnOnce(Pin<&mut C>),
        lifeline: watch::Receiver<()>,
    ) {
        // In this order: what is waited for after it depends on what hyper has done.
        tokio::select! {
            biased;
            () = self.drive(connection, shut_down, lifeline) => {}
            () = self.unasked() => {
                tracing::debug!("an HTTP connection was cut: its first request took too long");
                self.hub.note_fault(Fault::Slow);
            }
            () = self.stalled() => {
                tracing::debug!("an HTTP connection was cut: the peer takes nothing of what it asked for");
                self.hub.note_fault(Fault::Slow);
            }
        }
    }

    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        shut_down: impl FnOnce(Pin<&mut C>),
        mut lifeline: watch::Receiver<()>,
    ) {
        let (hub, open) = (self.hub, self.open);
        let idle = async || match open {
            Some(open) => open.idle(hub.config().head_timeout).await,
            // hyper's own timeout holds between the requests of HTTP/1.1.
            None => std::future::pending().await,
        };
        let since = tokio::select! {
            biased;
            result = connection.as_mut() => return self.note_end(result),
            _ = lifeline.changed() => return,
            since = hub.draining() => Some(since),
            () = idle() => None,
        };
        // WebSockets on streams get their 1001 first; then no more streams are taken. Requests that are open are finished after
        // GOAWAY, so that a connection on which there is always one is told to go as well.
        if let (Some(open), Some(since)) = (open, since) {
            tokio::select! {
                biased;
                result = connection.as_mut() => return self.note_end(result),
                _ = lifeline.changed() => return,
                () = open.sessions_ended() => {}
                () = sleep_until(hub.end(since)) => {}
            }
        }
        shut_down(connection.as_mut());
        let overdue = async {
            let since = hub.draining().await;
            sleep_until(if open.is_some() {
                hub.end(since)
            } else {
                hub.cut_at(since)
            })
            .await;
        };
        tokio::select! {
            biased;
            result = connection => self.note_end(result),
            _ = lifeline.changed() => {}
            () = overdue => tracing::debug!("an HTTP connection was cut: the drain time is up"),
            // Nothing of ours is open, but streams that the peer does not read to their end.
            () = idle() => tracing::debug!("an HTTP connection was cut: it did not end after GOAWAY"),
        }
    }

    /// Waits until the first request is late.
    async fn unasked(&self) {
        match self.deadline {
            Some(deadline) => self.traffic.unasked(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the peer has made no room for `answer_timeout` for what HTTP has for it.
    async fn stalled(&self) {
        let time = self.hub.config().answer_timeout;
        let time = time.max(Duration::from_millis(1));
        let Some(open) = self.open else {
            return self.traffic.stalled(time).await;
        };
        let unread = async {
            loop {
                self.traffic.stalled(time).await;
                if !open.has_sessions() {
                    return;
                }
                // WebSockets have bounds of their own.
                open.sessions_ended().await;
            }
        };
        tokio::select! {
            () = unread => {}
            () = open.stalled(time) => {}
        }
    }

    /// How a connection ends is mostly the peer's doing, so it is nothing to warn of.
    fn note_end(&self, result: hyper::Result<()>) {
        let Err(error) = result else { return };
        tracing::debug!(%error, source = error.source(), "an HTTP connection failed");
        if error.is_timeout() {
            // A client that is done lets the connection be, as every browser does.
            if self.open.is_some() || !self.traffic.is_at_rest() {
                self.hub.note_fault(Fault::Slow);
            }
        } else if error.is_parse() || is_broken_http2(&error) {
            self.hub.note_fault(Fault::Http);
        }
    }
}

/// Whether the peer broke a rule or a bound of HTTP/2; a connection that was lost did not.
#[cfg(feature = "http2")]
fn is_broken_http2(error: &hyper::Error) -> bool {
    let error = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| !error.is_io())
}

#[cfg(not(feature = "http2"))]
fn is_broken_http2(_: &hyper::Error) -> bool {
    false
}

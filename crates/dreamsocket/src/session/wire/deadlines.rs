//! Deadlines: one alarm for all of a connection's, set to the earliest.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dreamsocket_protocol::{CloseCode, Text};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop;
use tokio::time::Instant;

use super::Wire;
use super::closing::lost;
use crate::config::{READ_AHEAD, later};
use crate::message::Cause;

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.finished.is_some() {
            return earliest([self.handler_deadline, self.cut_at]);
        }
        let (heartbeat, paused) = match self.closing {
            Some(_) => (None, None),
            None if self.noted.is_some() => (None, None),
            None => (self.heartbeat.deadline(), self.bounds.paused_until()),
        };
        let (idle, lifetime) = match self.closing {
            Some(_) => (None, None),
            None => (self.idle_deadline(), self.bounds.lifetime_deadline()),
        };
        earliest([
            heartbeat,
            paused,
            idle,
            lifetime,
            self.closing.as_ref().map(|closing| closing.deadline),
            self.stall_deadline(),
            self.postponed.as_ref().and_then(|request| request.at),
            self.handler_deadline,
            self.cut_at,
        ])
    }

    fn stall_deadline(&self) -> Option<Instant> {
        // One that is over at once would be looked at without end.
        let timeout = self.config.stall_timeout.max(Duration::from_millis(1));
        self.stalled.map(|since| later(since, timeout))
    }

    /// While a handler works nobody is idle.
    fn idle_deadline(&self) -> Option<Instant> {
        self.bounds.idle_deadline().filter(|_| !self.is_handling)
    }

    /// Acts on the deadlines that have passed. False if one is the caller's to act on.
    pub(super) fn handle_deadlines(&mut self, context: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let is_past = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_past(self.handler_deadline) || is_past(self.cut_at) {
            if is_past(self.cut_at) && self.closing.is_some() {
                self.finish_closing();
            }
            return false;
        }
        if is_past(self.closing.as_ref().map(|closing| closing.deadline)) {
            self.finish_closing();
            return true;
        }
        if is_past(self.postponed.as_ref().and_then(|request| request.at))
            && let Some(request) = self.postponed.take()
        {
            self.close(request.cause, request.code, request.reason);
            return true;
        }
        if is_past(self.stall_deadline()) {
            self.stalled = Some(now);
            let something_waits = self.shared.outbox.is_full() || !self.forwards.is_empty();
            if something_waits && self.closing.is_none() {
                tracing::info!("closing: the peer has read nothing for the stall timeout");
                self.close(Cause::Lagged, CloseCode::TRY_AGAIN_LATER, Text::default());
            }
            return true;
        }
        if self.closing.is_none() {
            if is_past(self.bounds.lifetime_deadline()) {
                self.exceed(
                    CloseCode::GOING_AWAY,
                    "the connection has lasted as long as it may",
                );
                return true;
            }
            if is_past(self.idle_deadline()) {
                self.exceed(CloseCode::POLICY, "idle for too long");
                return true;
            }
        }
        if is_past(self.bounds.paused_until()) {
            self.bounds.refill(now);
            self.shared.note_pause();
            // Reading goes on: the caller must look at the socket again.
            self.wake(context);
            return true;
        }
        if is_past(self.heartbeat.deadline()) && self.closing.is_none() && self.noted.is_none() {
            self.handle_silence(context);
        }
        true
    }

    /// L9: a peer is only lost if everything that could be read has been read and nothing was there.
    pub(super) fn handle_silence(&mut self, context: &mut Context<'_>) {
        if self.heartbeat.is_last() {
            let read = {
                let mut reading = pin!(coop::unconstrained(poll_fn(|context| {
                    Poll::Ready(self.poll_read(context, READ_AHEAD))
                })));
                reading.as_mut().poll(context)
            };
            match read {
                Poll::Ready(Poll::Ready(Ok(()))) => self.wake(context),
                Poll::Ready(Poll::Ready(Err(end))) => {
                    self.noted.get_or_insert(end);
                    self.wake(context);
                }
                _ => {
                    tracing::debug!("closing: the peer has not answered the heartbeat");
                    self.finish(lost(Some(io::ErrorKind::TimedOut)));
                }
            }
        } else {
            self.heartbeat.note_silence();
            self.ping();
        }
    }

    pub(super) fn wake(&self, context: &Context<'_>) {
        context.waker().wake_by_ref();
    }
}

fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}

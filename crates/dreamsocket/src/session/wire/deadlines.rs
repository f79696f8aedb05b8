//! Deadlines: one alarm for all of a connection's, set to the earliest.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dreamsocket_protocol::{CloseCode, Text};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop;

use super::super::clock::{Moment, Span};
use super::{Phase, Wire};
use crate::config::READ_AHEAD;
use crate::forward::Forwarding;
use crate::message::Cause;

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// Whether a deadline has passed; else the task is woken when the next one does.
    pub(super) fn is_deadline_past(&mut self, context: &mut Context<'_>) -> bool {
        let deadline = self.next_deadline();
        if deadline.is_never() {
            return false;
        }
        let now = self.clock.now();
        if deadline.is_past(now) {
            return true;
        }
        // A deadline that moves later, as the heartbeat's does all the time, leaves the alarm alone until it goes off, which it
        // does when its time has passed and not before.
        if (deadline < self.alarm_at || self.alarm_at.is_past(now))
            && let (Some(now), Some(at)) = (self.clock.instant(now), self.clock.instant(deadline))
        {
            let at = self.alarm.set(context.waker(), now, at);
            self.alarm_at = self.clock.moment(at);
        }
        false
    }

    fn next_deadline(&self) -> Moment {
        let of_handlers = self.handler_deadline.min(self.cut_at);
        let of_phase = match self.phase {
            Phase::Finished => return of_handlers,
            Phase::Closing => self.closing_deadline(),
            Phase::Open => {
                let of_reading = match self.has_noted {
                    true => Moment::NEVER,
                    false => self.heartbeat.deadline().min(self.bounds.paused_until()),
                };
                of_reading
                    .min(self.idle_deadline())
                    .min(self.bounds.lifetime_deadline())
                    .min(self.postponed_deadline())
            }
        };
        of_phase.min(self.stall_deadline).min(of_handlers)
    }

    fn closing_deadline(&self) -> Moment {
        let closing = self
            .ending
            .as_ref()
            .and_then(|ending| ending.closing.as_ref());
        closing.map_or(Moment::NEVER, |closing| closing.deadline)
    }

    fn postponed_deadline(&self) -> Moment {
        let postponed = self
            .ending
            .as_ref()
            .and_then(|ending| ending.postponed.as_ref());
        postponed
            .and_then(|request| request.at)
            .map_or(Moment::NEVER, |at| self.clock.moment(at))
    }

    pub(super) fn stall_time(&self) -> Span {
        // One that is over at once would be looked at without end.
        Span::from(self.config().stall_timeout.max(Duration::from_millis(1)))
    }

    /// While a handler works nobody is idle.
    fn idle_deadline(&self) -> Moment {
        match self.is_handling {
            true => Moment::NEVER,
            false => self.bounds.idle_deadline(),
        }
    }

    /// Acts on the deadlines that have passed. False if one is the caller's to act on.
    pub(super) fn handle_deadlines(&mut self, context: &mut Context<'_>) -> bool {
        let now = self.clock.now();
        // Before the end of the drain time, which may have passed meanwhile, too: it ends only what is closing.
        if self.postponed_deadline().is_past(now)
            && let Some(request) = self.ending().postponed.take()
        {
            self.close(request.cause, request.code, request.reason);
            return true;
        }
        if self.handler_deadline.is_past(now) || self.cut_at.is_past(now) {
            if self.cut_at.is_past(now) && self.phase == Phase::Closing {
                self.finish_closing();
            }
            return false;
        }
        if self.phase == Phase::Closing && self.closing_deadline().is_past(now) {
            self.finish_closing();
            return true;
        }
        if self.stall_deadline.is_past(now) {
            self.stall_deadline = now.after(self.stall_time());
            let something_waits =
                self.shared.outbox.is_full() || self.forwards.iter().any(Forwarding::is_waiting);
            // A peer that has ended is not closed for not reading: messages of it wait.
            if something_waits && self.phase == Phase::Open && !self.is_end_noted() {
                tracing::debug!("closing: the peer has read nothing for the stall timeout");
                self.close(Cause::Lagged, CloseCode::TRY_AGAIN_LATER, Text::default());
            }
            return true;
        }
        if self.phase == Phase::Open {
            if self.bounds.lifetime_deadline().is_past(now) {
                self.exceed(
                    CloseCode::GOING_AWAY,
                    "the connection has lasted as long as it may",
                );
                return true;
            }
            if self.idle_deadline().is_past(now) {
                self.exceed(CloseCode::POLICY, "idle for too long");
                return true;
            }
        }
        if self.bounds.paused_until().is_past(now) {
            self.bounds.refill();
            self.shared.note_pause();
            self.meter.note_read_pause();
            // Reading goes on: the caller must look at the socket again.
            self.wake(context);
            return true;
        }
        if self.phase == Phase::Open && !self.has_noted && self.heartbeat.deadline().is_past(now) {
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
                Poll::Ready(Poll::Ready(Err(end))) => self.handle_last(end, context),
                _ => {
                    tracing::debug!("closing: the peer has not answered the heartbeat");
                    self.handle_end(io::ErrorKind::TimedOut, context);
                }
            }
        } else {
            self.heartbeat.note_silence(self.clock.now());
            self.ping();
        }
    }

    pub(super) fn wake(&self, context: &Context<'_>) {
        context.waker().wake_by_ref();
    }
}

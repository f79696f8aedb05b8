//! The writing side: what the outbox and forwarded channels hold goes out in as few system calls as serve (S2, S3).

use std::any::Any;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use dreamsocket_protocol::{CloseCode, Text};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop;

use super::super::buffers::Buffers;
use super::super::clock::Moment;
use super::super::{guard, log_panic};
use super::closing::{let_go, lost};
use super::{Noted, Phase, Wire};
use crate::config::CONTROL_RESERVE;
use crate::forward::{Forwarded, Forwarding};
use crate::message::{Cause, Closed};
use crate::outbox::{Outbox, Outgoing};
use crate::random::mask_key;

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// Writes whatever there is to write, as far as the socket takes it.
    pub(super) fn poll_output(&mut self, context: &mut Context<'_>) {
        // Payloads are dropped on the way, and the release of foreign memory may panic.
        if let Err(payload) = guard(|| self.write_out(context)) {
            self.end_midway(payload);
        }
        let Self {
            meter,
            shared,
            freed,
            ..
        } = self;
        // What was written and not given back yet waits no more.
        meter.flush(&shared.counters, || {
            shared.outbox.buffered().saturating_sub(*freed)
        });
    }

    /// A payload's drop panicked. What is encoded may be a part of a frame by now, so nothing more can be said to the peer.
    #[cold]
    fn end_midway(&mut self, payload: Box<dyn Any + Send>) {
        log_panic("the drop of a payload", payload);
        // Not for the pool: what they account for is half done.
        let_go(self.buffers.take());
        self.finish(Closed {
            cause: Cause::Panicked,
            ..lost(None)
        });
    }

    fn write_out(&mut self, context: &mut Context<'_>) {
        self.handled = 0;
        self.unanswered = 0;
        loop {
            self.take_outbox();
            if self.is_broken {
                // What was written last may be a part of a frame.
                if self.phase == Phase::Closing {
                    self.finish_closing();
                }
                return;
            }
            if !self.encode_batch(context) {
                break;
            }
            let (Some(io), Some(buffers)) = (self.io.as_mut(), self.buffers.as_mut()) else {
                return;
            };
            let mut progressed = false;
            let polled = buffers.writer.poll_write(io, context, &mut progressed);
            if progressed {
                self.unflushed = true;
                self.stall_deadline = Moment::NEVER;
                self.shared.outbox.made_progress();
            }
            match polled {
                Poll::Ready(Ok(())) => self.freed += std::mem::take(&mut buffers.writer.charge),
                Poll::Ready(Err(error)) => return self.handle_end(error.kind(), context),
                Poll::Pending => {
                    if self.stall_deadline.is_never() {
                        self.stall_deadline = self.clock.look().after(self.stall_time());
                    }
                    self.watch_forwards(context);
                    break;
                }
            }
        }
        if self.unflushed
            && let Some(io) = self.io.as_mut()
        {
            match Pin::new(io).poll_flush(context) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => self.handle_end(error.kind(), context),
                Poll::Pending => {}
            }
        }
    }

    /// Flushes before more pongs wait than the engine keeps.
    pub(super) fn answer(&mut self, context: &mut Context<'_>) {
        self.unanswered += 1;
        if self.unanswered >= CONTROL_RESERVE / 2 {
            self.poll_output(context);
            // The next message's handler may be next.
            self.settle();
        }
    }

    /// The peer has ended, perhaps only its writing side: what it asked for before still goes out, as far as the socket
    /// takes it now.
    pub(super) fn flush_at_end(&mut self, context: &mut Context<'_>) {
        let mut flush = pin!(coop::unconstrained(poll_fn(|context| {
            self.poll_output(context);
            Poll::Ready(())
        })));
        let _ = flush.as_mut().poll(context);
    }

    /// Takes what handles have put into the outbox, if there is anything.
    pub(super) fn take_outbox(&mut self) {
        let outbox = &self.shared.outbox;
        if outbox.buffered() > self.charged() || outbox.is_wanted() {
            let buffers = self.buffers.get_or_insert_with(Buffers::take);
            let freed = std::mem::take(&mut self.freed);
            let takes_all = buffers.outgoing.is_empty();
            let wanted = outbox.take(&mut buffers.outgoing, freed);
            if takes_all {
                // What they were behind is encoded before they are looked at.
                for forwarding in &mut self.forwards {
                    forwarding.set_behind(false);
                }
            }
            if let Some(wanted) = wanted {
                self.handle_wanted(*wanted);
            }
        }
    }

    /// What is charged to the outbox for messages that it does not hold any more.
    fn charged(&self) -> usize {
        let buffers = self.buffers.as_ref();
        self.freed + buffers.map_or(0, |buffers| buffers.writer.charge)
    }

    fn writer_is_full(&self) -> bool {
        self.buffers
            .as_ref()
            .is_some_and(|buffers| buffers.writer.is_full())
    }

    /// Whether everything encoded is written.
    pub(super) fn is_written(&self) -> bool {
        self.buffers
            .as_ref()
            .is_none_or(|buffers| buffers.writer.is_empty())
    }

    /// Encodes a batch, if none is being written. False if there is nothing to write.
    fn encode_batch(&mut self, context: &mut Context<'_>) -> bool {
        if !self.is_written() {
            return true;
        }
        if self.engine.has_control() {
            let buffers = self.buffers.get_or_insert_with(Buffers::take);
            self.engine.poll_control(mask_key, buffers.writer.tail());
        }
        if let Some(Buffers {
            outgoing, writer, ..
        }) = self.buffers.as_deref_mut()
        {
            let (mut messages, mut bytes) = (0, 0);
            while !writer.is_full()
                && let Some(message) = outgoing.pop_front()
            {
                let length = message.payload().len();
                messages += 1;
                bytes += length;
                writer.charge += self.shared.outbox.charge(length) as usize;
                writer.push(&mut self.engine, message, self.is_server, mask_key);
            }
            self.shared.counters.note_out(messages, bytes);
        }
        if !self.forwards.is_empty() {
            self.encode_forwards(context);
        }
        if self.phase == Phase::Closing
            && self.engine.has_close()
            && self
                .buffers
                .as_ref()
                .is_none_or(|buffers| buffers.outgoing.is_empty())
            && self.shared.outbox.is_drained()
        {
            let buffers = self.buffers.get_or_insert_with(Buffers::take);
            self.engine.poll_close(mask_key, buffers.writer.tail());
        }
        !self.is_written()
    }

    /// S3: takes messages out of forwarded channels, in turn, as long as there is room for them.
    fn encode_forwards(&mut self, context: &mut Context<'_>) {
        let mut forwards = self.take_forwards();
        // Whoever was first is last the next time.
        if forwards.len() > 1 {
            forwards.rotate_left(1);
        }
        let mut lease = Lease::default();
        forwards.retain_mut(|forwarding| {
            forwarding.is_behind() || self.encode_forward(forwarding, &mut lease, context)
        });
        self.shared.outbox.release(lease.left);
        self.put_forwards(forwards);
    }

    /// Without those that were stopped.
    fn take_forwards(&mut self) -> Vec<Forwarding> {
        let mut forwards = std::mem::take(&mut self.forwards).into_vec();
        if forwards.iter().any(Forwarding::is_stopped) {
            let stopped = forwards.extract_if(.., |forwarding| forwarding.is_stopped());
            // Their messages are the application's, and so are their ends.
            let_go(stopped.collect::<Vec<_>>());
        }
        forwards
    }

    fn put_forwards(&mut self, forwards: Vec<Forwarding>) {
        if self.phase == Phase::Open {
            self.forwards = forwards.into();
        } else {
            let_go(forwards);
        }
    }

    /// Takes messages out of one channel until it is empty, the writer is full or there is no room. False when it has
    /// ended.
    fn encode_forward(
        &mut self,
        forwarding: &mut Forwarding,
        lease: &mut Lease,
        context: &mut Context<'_>,
    ) -> bool {
        while self.phase == Phase::Open && !self.writer_is_full() {
            let message = match forwarding.poll_message(&self.shared, context) {
                Poll::Pending => return true,
                Poll::Ready(Forwarded::Message(message)) => message,
                Poll::Ready(Forwarded::Ended) => return false,
                Poll::Ready(Forwarded::Lagged) => {
                    self.lag();
                    return false;
                }
                Poll::Ready(Forwarded::Panicked(payload)) => {
                    log_panic("on_missed", payload);
                    self.close(Cause::Panicked, CloseCode::INTERNAL, Text::default());
                    return false;
                }
            };
            let length = message.payload().len();
            let charge = self.shared.outbox.charge(length);
            if !self.take_room(charge as usize, lease) {
                forwarding.hold(message);
                break;
            }
            self.shared.counters.note_out(1, length);
            let buffers = self.buffers.get_or_insert_with(Buffers::take);
            buffers.writer.charge += charge as usize;
            let message = Outgoing::Prepared(message);
            buffers
                .writer
                .push(&mut self.engine, message, self.is_server, mask_key);
        }
        self.watch_forward(forwarding, context)
    }

    /// Takes room for a forwarded message. What was written makes room, too: nobody looks again when it is given back later.
    fn take_room(&mut self, charge: usize, lease: &mut Lease) -> bool {
        if lease.take(charge, &self.shared.outbox) {
            return true;
        }
        if self.freed == 0 {
            return false;
        }
        self.settle();
        lease.take(charge, &self.shared.outbox)
    }

    /// The socket takes nothing: channels wait, and those that are to end when they lag are heeded.
    fn watch_forwards(&mut self, context: &mut Context<'_>) {
        let mut forwards = self.take_forwards();
        forwards.retain_mut(|forwarding| self.watch_forward(forwarding, context));
        self.put_forwards(forwards);
    }

    /// The end of a channel is heeded also while nothing is taken out of it. False when it has ended.
    fn watch_forward(&mut self, forwarding: &mut Forwarding, context: &mut Context<'_>) -> bool {
        let lagged = forwarding.poll_lagged(context);
        if lagged {
            self.lag();
        }
        !lagged
    }

    /// Nothing reaches the peer any more: a write has failed, or the heartbeat has found nobody. Messages that came before
    /// still wait for their handlers.
    pub(super) fn handle_end(&mut self, error: io::ErrorKind, context: &mut Context<'_>) {
        self.is_broken = true;
        self.stall_deadline = Moment::NEVER;
        self.freed = 0;
        let leftovers = self.shared.outbox.end();
        let unwritten = self.buffers.as_mut().map(|buffers| {
            (
                std::mem::take(&mut buffers.writer),
                std::mem::take(&mut buffers.outgoing),
            )
        });
        let_go((leftovers, unwritten));
        let end = Noted::End(Some(error));
        if self.is_closing() {
            return self.carry_out(end);
        }
        // A close frame or a violation that came before stands.
        if !self.has_noted {
            self.note(end);
        }
        self.carry_out_if_next(context);
    }
}

/// Room in the outbox for forwarded messages, taken for some at once so that its lock is not taken for each.
#[derive(Debug, Default)]
struct Lease {
    left: usize,
}

impl Lease {
    /// How much is taken at once: little enough that others who look meanwhile still find room.
    const BYTES: usize = 4 * 1024;

    fn take(&mut self, charge: usize, outbox: &Outbox) -> bool {
        if self.left < charge {
            self.left += outbox.lease(charge.max(Self::BYTES) - self.left);
        }
        match self.left.checked_sub(charge) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

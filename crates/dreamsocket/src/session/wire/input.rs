//! The reading side: the next message, reading ahead beside a handler (L3), and discarding while a close is under way.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use dreamsocket_protocol::Event;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::super::buffers::Buffers;
use super::{Inbound, Noted, Phase, Wire, saturated};
use crate::config::{READ, READ_AHEAD};

/// After how many reads of what nobody wants any more the task lets others run.
const DISCARDED_READS: u32 = 32;

/// How many bytes of a message cost a unit of tokio's budget beside the message's own.
const BYTES_PER_UNIT: usize = 4 * 1024;

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// The next message of the peer, in order. `Ready(None)` once a close is under way.
    #[inline(always)]
    pub(in crate::session) fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Inbound>> {
        loop {
            if self.is_closing() {
                return Poll::Ready(None);
            }
            if self.ahead.is_some()
                && let Some(message) = self.take_ahead()
            {
                return Poll::Ready(Some(message));
            }
            if self.has_noted {
                if let Some(message) = self.decode_before_end() {
                    return Poll::Ready(Some(message));
                }
                self.carry_out_noted(context);
                continue;
            }
            if !self.bounds.paused_until().is_never() {
                self.freeze();
                return Poll::Pending;
            }
            match self.decode() {
                Some(Decoded::Message(message)) => {
                    self.ahead_read = self.left_to_decode();
                    return Poll::Ready(Some(message));
                }
                Some(Decoded::Control) => self.answer(context),
                Some(Decoded::Last(noted)) => self.note(noted),
                None => {
                    // All that is known to be missing of a large frame, but never much of what stands behind it.
                    let limit = self.engine.bytes_wanted().max(READ);
                    match self.poll_read(context, limit) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(end)) => self.note(end),
                        Poll::Pending => {
                            self.ahead_read = 0;
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
    }

    /// Reads and decodes ahead while a handler runs: at most [`READ_AHEAD`] bytes, and messages of as many bytes and one
    /// more, whatever they are inflated to.
    pub(super) fn read_ahead(&mut self, context: &mut Context<'_>) {
        if self.has_noted {
            // The last message before it may be the one that is being handled.
            self.carry_out_if_next(context);
        }
        while !self.has_noted && !self.is_closing() {
            let held = self.ahead.as_ref().map_or(0, |ahead| ahead.held);
            if !self.bounds.paused_until().is_never() || held >= READ_AHEAD {
                return self.freeze();
            }
            let noted = match self.decode() {
                Some(Decoded::Message(message)) => {
                    self.keep(message);
                    continue;
                }
                Some(Decoded::Control) => {
                    self.answer(context);
                    continue;
                }
                Some(Decoded::Last(noted)) => noted,
                None => {
                    let room = READ_AHEAD.saturating_sub(self.ahead_read as usize);
                    if room == 0 {
                        return self.freeze();
                    }
                    match self.poll_read(context, room) {
                        Poll::Ready(Ok(())) => continue,
                        Poll::Ready(Err(end)) => end,
                        Poll::Pending => return,
                    }
                }
            };
            self.handle_last(noted, context);
        }
    }

    /// What ends the stream of messages has come beside a handler.
    pub(super) fn handle_last(&mut self, noted: Noted, context: &mut Context<'_>) {
        if let Noted::End(_) = noted {
            self.flush_at_end(context);
            // Nothing reaches a peer that has gone; `closed()` must not wait for the messages before.
            self.shared.outbox.begin_close();
        }
        if self.is_closing() {
            return self.carry_out(noted);
        }
        self.note(noted);
        self.carry_out_if_next(context);
    }

    /// Reads and forgets while a close is under way, until the peer's close frame or its end.
    pub(super) fn discard(&mut self, context: &mut Context<'_>) {
        for _ in 0..DISCARDED_READS {
            if self.phase != Phase::Closing {
                return;
            }
            if let Some(buffers) = &mut self.buffers {
                while self.engine.handle_input(&mut buffers.read).is_some() {}
            }
            let is_over = self.engine.is_close_received() && self.engine.violation().is_none();
            if is_over && !self.awaits_end() {
                return;
            }
            match self.poll_read(context, usize::MAX) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return self.finish_closing(),
                Poll::Pending => return,
            }
        }
        // A peer that floods keeps the task neither from its deadlines nor from letting others run.
        self.wake(context);
    }

    /// Lets what was noted take effect, unless a message comes before it: then that is read ahead.
    #[cold]
    pub(super) fn carry_out_if_next(&mut self, context: &mut Context<'_>) {
        if self.ahead.is_some() {
            return;
        }
        match self.decode_before_end() {
            Some(message) => self.keep(message),
            None => self.carry_out_noted(context),
        }
    }

    /// The next of the messages that were read when nothing reached the peer any more: the end that was noted then comes behind
    /// them, and what ends their stream takes its place. No rate is waited for, since nothing more can come.
    #[cold]
    fn decode_before_end(&mut self) -> Option<Inbound> {
        while self.is_end_noted() {
            match self.decode()? {
                Decoded::Message(message) => return Some(message),
                // Nobody is there to be answered.
                Decoded::Control => {}
                Decoded::Last(noted) => self.note(noted),
            }
        }
        None
    }

    /// What was noted is next.
    #[cold]
    fn carry_out_noted(&mut self, context: &mut Context<'_>) {
        if let Some(noted) = self.take_noted() {
            if let Noted::End(_) = noted {
                self.flush_at_end(context);
            }
            self.carry_out(noted);
        }
    }

    /// Reads a message ahead.
    fn keep(&mut self, message: Inbound) {
        let ahead = self.ahead.get_or_insert_default();
        ahead.held += message.len();
        ahead.messages.push_back(message);
    }

    /// The next of the messages that were read ahead.
    fn take_ahead(&mut self) -> Option<Inbound> {
        let ahead = self.ahead.as_mut()?;
        let message = ahead.messages.pop_front();
        ahead.held -= message.as_ref().map_or(0, Inbound::len);
        if ahead.messages.is_empty() {
            self.ahead = None;
            self.ahead_read = self.left_to_decode();
        }
        message
    }

    /// Nothing can be read from here on, so the heartbeat's clock stands still.
    fn freeze(&mut self) {
        self.heartbeat.freeze(self.clock.now());
    }

    #[inline(always)]
    fn decode(&mut self) -> Option<Decoded> {
        let buffers = self.buffers.as_mut()?;
        if buffers.read.is_empty() {
            return None;
        }
        Some(match self.engine.handle_input(&mut buffers.read)? {
            Event::Text(text) => self.charge(Inbound::Text(text)),
            Event::Binary(bytes) => self.charge(Inbound::Binary(bytes)),
            other => self.handle_other(other),
        })
    }

    /// Deals with what is no message.
    #[cold]
    fn handle_other(&mut self, event: Event) -> Decoded {
        match event {
            Event::Text(text) => self.charge(Inbound::Text(text)),
            Event::Binary(bytes) => self.charge(Inbound::Binary(bytes)),
            Event::Ping(_) => {
                self.bounds.note_control(&self.clock);
                Decoded::Control
            }
            Event::Pong(payload) => {
                match self.heartbeat.handle_pong(&payload, self.clock.look()) {
                    Some(time) => {
                        self.shared.set_round_trip(time);
                        self.meter.note_round_trip(time);
                    }
                    // Nobody asked for it. An answer to a ping of ours is no more than we wanted.
                    None => self.bounds.note_control(&self.clock),
                }
                Decoded::Control
            }
            Event::Close(frame) => Decoded::Last(Noted::Close(frame)),
            Event::Violation(violation) => Decoded::Last(Noted::Violation(violation)),
        }
    }

    /// Charges a message to the peer's rate.
    #[inline]
    fn charge(&mut self, message: Inbound) -> Decoded {
        self.debt = self
            .debt
            .saturating_add(saturated(message.len() / BYTES_PER_UNIT));
        if self.bounds.note_message(&self.clock) {
            Decoded::Message(message)
        } else {
            Decoded::Last(Noted::Excess)
        }
    }

    /// Reads once, at most `limit` bytes.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<(), Noted>> {
        if self.heartbeat.is_frozen() {
            self.heartbeat.thaw(self.clock.now());
        }
        let Some(io) = self.io.as_mut() else {
            return Poll::Ready(Err(Noted::End(None)));
        };
        let buffers = self.buffers.get_or_insert_with(Buffers::take);
        buffers.make_room(self.engine.bytes_wanted());
        let mut buffer = (&mut buffers.read).limit(limit);
        let polled = pin!(io.read_buf(&mut buffer)).poll(context);
        match polled {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Noted::End(None))),
            Poll::Ready(Ok(count)) => {
                self.ahead_read = self.ahead_read.saturating_add(saturated(count));
                self.heartbeat.heard(self.clock.now());
                if self.phase == Phase::Open && !self.bounds.note_bytes(count, &self.clock) {
                    return Poll::Ready(Err(Noted::Excess));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Noted::End(Some(error.kind())))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Bytes that were read and not decoded.
    #[inline]
    fn left_to_decode(&self) -> u32 {
        self.buffers
            .as_ref()
            .map_or(0, |buffers| saturated(buffers.read.len()))
    }
}

enum Decoded {
    Message(Inbound),
    Control,
    Last(Noted),
}

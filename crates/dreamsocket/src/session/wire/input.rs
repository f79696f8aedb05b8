//! The reading side: the next message, reading ahead beside a handler (L3), and discarding while a close is under way.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use dreamsocket_protocol::Event;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::super::buffers;
use super::{Inbound, Noted, Wire};
use crate::config::READ_AHEAD;

/// After how many reads of what nobody wants any more the task lets others run.
const DISCARDED_READS: u32 = 32;

/// How many bytes of a message cost a unit of tokio's budget beside the message's own.
const BYTES_PER_UNIT: usize = 64 * 1024;

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// The next message of the peer, in order. `Ready(None)` once a close is under way.
    pub(in crate::session) fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Inbound>> {
        loop {
            if self.is_closing() {
                return Poll::Ready(None);
            }
            if let Some(message) = self.ahead.pop_front() {
                self.ahead_held -= message.len();
                if self.ahead.is_empty() {
                    self.ahead = VecDeque::new();
                    self.ahead_read = self.read.len();
                }
                return Poll::Ready(Some(message));
            }
            if let Some(noted) = self.noted.take() {
                if let Noted::End(_) = noted {
                    self.flush_at_end(context);
                }
                self.carry_out(noted);
                continue;
            }
            if self.bounds.paused_until().is_some() {
                self.heartbeat.freeze();
                return Poll::Pending;
            }
            match self.decode() {
                Some(Decoded::Message(message)) => {
                    self.ahead_read = self.read.len();
                    return Poll::Ready(Some(message));
                }
                Some(Decoded::Control) => self.answer(context),
                Some(Decoded::Last(noted)) => self.note(noted),
                None => {
                    // All that is known to be missing of a large frame, but never much of what stands behind it.
                    let limit = self.engine.bytes_wanted().max(READ_AHEAD);
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
        while self.noted.is_none() && !self.is_closing() {
            if self.bounds.paused_until().is_some() || self.ahead_held >= READ_AHEAD {
                return self.heartbeat.freeze();
            }
            let noted = match self.decode() {
                Some(Decoded::Message(message)) => {
                    self.ahead_held += message.len();
                    self.ahead.push_back(message);
                    continue;
                }
                Some(Decoded::Control) => {
                    self.answer(context);
                    continue;
                }
                Some(Decoded::Last(noted)) => noted,
                None => {
                    let room = READ_AHEAD.saturating_sub(self.ahead_read);
                    if room == 0 {
                        return self.heartbeat.freeze();
                    }
                    match self.poll_read(context, room) {
                        Poll::Ready(Ok(())) => continue,
                        Poll::Ready(Err(end)) => end,
                        Poll::Pending => return,
                    }
                }
            };
            if let Noted::End(_) = noted {
                self.flush_at_end(context);
                // Nothing reaches a peer that has gone; `closed()` must not wait for the messages before.
                self.shared.outbox.begin_close();
            }
            if self.ahead.is_empty() {
                self.carry_out(noted);
            } else {
                self.note(noted);
            }
        }
    }

    /// Reads and forgets while a close is under way, until the peer's close frame or its end.
    pub(super) fn discard(&mut self, context: &mut Context<'_>) {
        for _ in 0..DISCARDED_READS {
            if self.closing.is_none() {
                return;
            }
            while self.engine.handle_input(&mut self.read).is_some() {}
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

    fn decode(&mut self) -> Option<Decoded> {
        if self.read.is_empty() {
            return None;
        }
        Some(match self.engine.handle_input(&mut self.read)? {
            Event::Text(text) => self.charge(Inbound::Text(text)),
            Event::Binary(bytes) => self.charge(Inbound::Binary(bytes)),
            Event::Ping(_) => {
                self.bounds.note_control();
                Decoded::Control
            }
            Event::Pong(payload) => {
                self.bounds.note_control();
                if let Some(time) = self.heartbeat.handle_pong(&payload) {
                    self.shared.set_round_trip(time);
                }
                Decoded::Control
            }
            Event::Close(frame) => Decoded::Last(Noted::Close(frame)),
            Event::Violation(violation) => Decoded::Last(Noted::Violation(violation)),
        })
    }

    /// Charges a message to the peer's rate.
    fn charge(&mut self, message: Inbound) -> Decoded {
        self.debt += message.len() / BYTES_PER_UNIT;
        if self.bounds.note_message() {
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
        let Some(io) = self.io.as_mut() else {
            return Poll::Ready(Err(Noted::End(None)));
        };
        self.heartbeat.thaw();
        if self.read.capacity() == 0 {
            self.read = buffers::take();
        } else if self.read.is_empty() || self.read.capacity() - self.read.len() < READ_AHEAD / 4 {
            // Grown by what has come, never by what a peer declares; taken back to the front when empty.
            self.read.reserve(self.read.len().max(READ_AHEAD));
        }
        let mut buffer = (&mut self.read).limit(limit);
        let polled = pin!(io.read_buf(&mut buffer)).poll(context);
        match polled {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Noted::End(None))),
            Poll::Ready(Ok(count)) => {
                self.ahead_read = self.ahead_read.saturating_add(count);
                self.heartbeat.heard();
                if self.closing.is_none() && !self.bounds.note_bytes(count) {
                    return Poll::Ready(Err(Noted::Excess));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Noted::End(Some(error.kind())))),
            Poll::Pending => {
                if self.read.is_empty() {
                    buffers::give_back(std::mem::take(&mut self.read));
                }
                Poll::Pending
            }
        }
    }
}

enum Decoded {
    Message(Inbound),
    Control,
    Last(Noted),
}

//! One connection's transport side: socket, engine, outbox and deadlines, driven by polling.
//!
//! Knows nothing of handlers, states or message types: the session asks it for the next message
//! ([`Wire::poll_message`]), lets it work while a handler runs ([`Wire::poll_beside`]), and tells it to close. All its
//! buffers are empty while nothing is under way.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use dreamsocket_protocol::{
    CloseCode, CloseFrame, Engine, Event, MAX_CLOSE_REASON, Role, Text, Violation,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::coop;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::bucket::ControlBucket;
use super::buffers;
use super::heartbeat::Heartbeat;
use super::writer::Writer;
use crate::config::{CONTROL_RESERVE, Config, FLUSH_BYTES, FLUSH_MESSAGES, READ_AHEAD, later};
use crate::connection::Shared;
use crate::forward::{Forwarded, Forwarding};
use crate::message::{Cause, Closed};
use crate::outbox::{CloseRequest, Outgoing, Wanted};

/// A whole message from the peer.
#[derive(Debug)]
pub(super) enum Inbound {
    Text(Text),
    Binary(Bytes),
}

/// What ends the stream of messages, noted behind those that wait.
#[derive(Debug)]
enum Noted {
    Close(CloseFrame),
    Violation(Violation),
    End(Option<io::ErrorKind>),
}

/// Why a running handler is to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It took longer than it may.
    TimedOut,
    /// The drain time is up.
    Drained,
}

/// A close under way.
#[derive(Debug)]
struct Closing {
    closed: Closed,
    deadline: Instant,
    /// Whether the writing side of the socket is shut down.
    is_shut: bool,
}

#[derive(Debug)]
pub(super) struct Wire<T> {
    /// `None` once the connection is over.
    io: Option<T>,
    engine: Engine,
    shared: Arc<Shared>,
    config: Arc<Config>,
    alarm: Alarm,

    /// Bytes read; between frames and messages empty, and then without memory.
    read: BytesMut,
    /// Whole messages that were decoded while a handler ran.
    ahead: VecDeque<Inbound>,
    /// Bytes read behind the message that was handed out last.
    ahead_read: usize,
    noted: Option<Noted>,

    /// Messages taken from the outbox and not encoded yet.
    outgoing: VecDeque<Outgoing>,
    writer: Writer,
    is_server: bool,
    /// Channels whose messages go out without a handler.
    forwards: VecDeque<Forwarding>,
    /// Whether bytes were written that a buffering transport may still hold.
    unflushed: bool,
    /// Messages handled since the last flush.
    handled: u32,
    /// Control frames handled since the last flush.
    unanswered: u32,
    /// Since when the socket takes nothing.
    stalled: Option<Instant>,
    /// Whether a write has failed.
    is_broken: bool,

    heartbeat: Heartbeat,
    control: ControlBucket,
    /// A close that a spread drain has set for later.
    postponed: Option<CloseRequest>,
    cut_at: Option<Instant>,
    /// `on_close` runs: the end of the drain time does not touch it.
    is_shielded: bool,
    handler_deadline: Option<Instant>,
    closing: Option<Closing>,
    finished: Option<Closed>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// `early` are bytes that came with the upgrade request.
    pub(super) fn new(
        io: T,
        early: &[u8],
        role: Role,
        shared: Arc<Shared>,
        config: Arc<Config>,
    ) -> Self {
        let mut read = BytesMut::new();
        if !early.is_empty() {
            read = buffers::take();
            read.extend_from_slice(early);
        }
        Self {
            io: Some(io),
            engine: Engine::new(role, config.limits()),
            shared,
            alarm: Alarm::default(),
            ahead_read: read.len(),
            read,
            ahead: VecDeque::new(),
            noted: None,
            outgoing: VecDeque::new(),
            writer: Writer::default(),
            is_server: role == Role::Server,
            forwards: VecDeque::new(),
            unflushed: false,
            handled: 0,
            unanswered: 0,
            stalled: None,
            is_broken: false,
            heartbeat: Heartbeat::new(config.heartbeat),
            control: ControlBucket::new(config.control_frames),
            postponed: None,
            cut_at: None,
            is_shielded: false,
            handler_deadline: None,
            closing: None,
            finished: None,
            config,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Whether a close is under way or done, or the end has come and waits behind messages.
    pub(super) fn is_ending(&self) -> bool {
        self.closing.is_some() || self.finished.is_some() || self.noted.is_some()
    }

    /// Whether messages are no longer handed out, since a close is queued.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some() || self.finished.is_some()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// How it ended, once it has.
    pub(super) fn closed(&self) -> Closed {
        self.finished.clone().unwrap_or_else(|| lost(None))
    }

    /// When running handlers are dropped because of a drain.
    pub(super) fn cut_deadline(&self) -> Option<Instant> {
        self.cut_at
    }

    /// From here on the end of the drain time cuts nothing.
    pub(super) fn shield(&mut self) {
        self.is_shielded = true;
        self.cut_at = None;
    }

    // ---- closing

    /// Queues a close of ours behind everything sent so far. What the peer sent and no handler has seen is dropped.
    pub(super) fn close(&mut self, cause: Cause, code: CloseCode, reason: Text) {
        if let Some(noted) = self.noted.take() {
            // The peer came first.
            return self.carry_out(noted);
        }
        if self.is_closing() {
            return;
        }
        let reason = cut_reason(reason);
        let mut closed = Closed {
            code,
            reason,
            clean: false,
            cause,
        };
        if let Err(error) = self.engine.close(closed.code, &closed.reason) {
            tracing::error!(%error, "the application's close is not valid, closing with 1011");
            closed.code = CloseCode::INTERNAL;
            closed.reason = Text::default();
            // 1011 without a reason is always valid.
            let _ = self.engine.close(closed.code, "");
        }
        self.begin_close(closed);
    }

    fn begin_close(&mut self, closed: Closed) {
        let deadline = later(Instant::now(), self.config.close_time);
        self.shared.outbox.begin_close();
        self.forwards = VecDeque::new();
        self.closing = Some(Closing {
            closed,
            deadline,
            is_shut: false,
        });
        self.ahead = VecDeque::new();
        self.postponed = None;
    }

    /// Lets what was noted take effect: nothing waits before it any more.
    fn carry_out(&mut self, noted: Noted) {
        if self.is_closing() {
            if let Noted::End(_) = noted {
                self.finish_closing();
            }
            return;
        }
        match noted {
            Noted::Close(frame) => {
                let code = frame.code.unwrap_or(CloseCode::NO_STATUS);
                self.begin_close(Closed {
                    code,
                    reason: frame.reason,
                    clean: false,
                    cause: Cause::Peer,
                });
            }
            Noted::Violation(violation) => {
                let code = violation.close_code();
                let cause = if code == CloseCode::TOO_BIG {
                    Cause::Limit
                } else {
                    Cause::Protocol
                };
                tracing::debug!(%violation, "closing: the peer broke the protocol");
                let reason = cut_reason(Text::from(violation.to_string()));
                self.begin_close(Closed {
                    code,
                    reason,
                    clean: false,
                    cause,
                });
            }
            Noted::End(error) => self.finish(lost(error)),
        }
    }

    /// Ends the connection now. Bytes not written are lost.
    fn finish(&mut self, closed: Closed) {
        self.shared.outbox.end();
        self.io = None;
        self.closing = None;
        self.noted = None;
        self.ahead = VecDeque::new();
        self.outgoing = VecDeque::new();
        self.forwards = VecDeque::new();
        self.writer = Writer::default();
        self.read = BytesMut::new();
        if self.finished.is_none() {
            tracing::debug!(code = %closed.code, cause = %closed.cause, clean = closed.clean, "closed");
            self.finished = Some(closed);
        }
    }

    /// Ends a connection whose close is under way.
    fn finish_closing(&mut self) {
        if let Some(closing) = self.closing.take() {
            let is_sent = self.engine.is_close_sent() && self.writer.is_empty() && !self.is_broken;
            let clean = is_sent && self.engine.is_close_received();
            self.finish(Closed {
                clean,
                ..closing.closed
            });
        }
    }

    // ---- reading

    /// The next message of the peer, in order. `Ready(None)` once a close is under way.
    pub(super) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Inbound>> {
        loop {
            if self.is_closing() {
                return Poll::Ready(None);
            }
            if let Some(message) = self.ahead.pop_front() {
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
            if self.control.is_paused() {
                self.heartbeat.freeze();
                return Poll::Pending;
            }
            match self.decode() {
                Some(Decoded::Message(message)) => {
                    self.ahead_read = self.read.len();
                    return Poll::Ready(Some(message));
                }
                Some(Decoded::Control) => self.answer(context),
                Some(Decoded::Last(noted)) => self.noted = Some(noted),
                None => {
                    // All that is known to be missing of a large frame, but never much of what stands behind it.
                    let limit = self.engine.bytes_wanted().max(READ_AHEAD);
                    match self.poll_read(context, limit) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(end)) => self.noted = Some(end),
                        Poll::Pending => {
                            self.ahead_read = 0;
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
    }

    /// Reads and decodes ahead while a handler runs, at most [`READ_AHEAD`] bytes.
    fn read_ahead(&mut self, context: &mut Context<'_>) {
        while self.noted.is_none() && !self.is_closing() {
            if self.control.is_paused() {
                return self.heartbeat.freeze();
            }
            let noted = match self.decode() {
                Some(Decoded::Message(message)) => {
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
                self.noted = Some(noted);
            }
        }
    }

    /// Reads and forgets while a close is under way, until the peer's close frame or its end.
    fn discard(&mut self, context: &mut Context<'_>) {
        while self.closing.is_some() {
            while self.engine.handle_input(&mut self.read).is_some() {}
            if self.engine.is_close_received() && self.engine.violation().is_none() {
                return;
            }
            match self.poll_read(context, usize::MAX) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return self.finish_closing(),
                Poll::Pending => return,
            }
        }
    }

    fn decode(&mut self) -> Option<Decoded> {
        if self.read.is_empty() {
            return None;
        }
        Some(match self.engine.handle_input(&mut self.read)? {
            Event::Text(text) => Decoded::Message(Inbound::Text(text)),
            Event::Binary(bytes) => Decoded::Message(Inbound::Binary(bytes)),
            Event::Ping(_) => {
                self.control.take();
                Decoded::Control
            }
            Event::Pong(payload) => {
                self.control.take();
                if let Some(time) = self.heartbeat.handle_pong(&payload) {
                    self.shared.set_round_trip(time);
                }
                Decoded::Control
            }
            Event::Close(frame) => Decoded::Last(Noted::Close(frame)),
            Event::Violation(violation) => Decoded::Last(Noted::Violation(violation)),
        })
    }

    /// Reads once, at most `limit` bytes.
    fn poll_read(&mut self, context: &mut Context<'_>, limit: usize) -> Poll<Result<(), Noted>> {
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

    // ---- working beside the handlers

    /// The session's task runs.
    pub(super) fn awake(&self) {
        self.shared.outbox.unpark();
    }

    /// A handler has returned.
    pub(super) fn handler_ended(&mut self) {
        self.handled += 1;
        self.handler_deadline = None;
        self.heed();
    }

    /// Lets what handles asked for take effect now: their close comes before what the handler returned, and before
    /// messages that no handler has seen (L5).
    pub(super) fn heed(&mut self) {
        if self.shared.outbox.is_wanted()
            && let Some(wanted) = self.shared.outbox.take(&mut self.outgoing)
        {
            self.handle_wanted(wanted);
        }
    }

    /// Whether what handlers sent is to be flushed before the next message.
    pub(super) fn is_flush_due(&self) -> bool {
        self.handled >= FLUSH_MESSAGES || self.shared.outbox.buffered() >= FLUSH_BYTES
    }

    /// Works while a handler waits: flushes, reads ahead, closes, minds the deadlines. Ready when the handler is to be
    /// dropped.
    pub(super) fn poll_beside(
        &mut self,
        context: &mut Context<'_>,
        limit: Option<Duration>,
    ) -> Poll<Cut> {
        if self.handler_deadline.is_none() {
            self.handler_deadline = limit.map(|limit| later(Instant::now(), limit));
        }
        loop {
            self.read_ahead(context);
            self.poll_work(context);
            let now = Instant::now();
            if self
                .handler_deadline
                .is_some_and(|deadline| deadline <= now)
            {
                return Poll::Ready(Cut::TimedOut);
            }
            if self.cut_at.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Cut::Drained);
            }
            if self.park(context) {
                return Poll::Pending;
            }
        }
    }

    /// Does everything that needs no handler, short of reading messages.
    pub(super) fn poll_work(&mut self, context: &mut Context<'_>) {
        loop {
            self.poll_output(context);
            if self.closing.is_some() {
                self.discard(context);
                self.poll_closing(context);
            }
            let deadline = self.next_deadline();
            if self.alarm.poll(context, deadline).is_pending() {
                return;
            }
            if !self.handle_deadlines(context) {
                return;
            }
        }
    }

    /// False if there is something to do before the task may sleep.
    pub(super) fn park(&self, context: &Context<'_>) -> bool {
        let takes_messages =
            self.finished.is_none() && self.outgoing.is_empty() && self.writer.is_empty();
        self.shared.outbox.park(context, takes_messages)
    }

    /// Writes whatever there is to write, as far as the socket takes it.
    fn poll_output(&mut self, context: &mut Context<'_>) {
        self.handled = 0;
        self.unanswered = 0;
        loop {
            if let Some(wanted) = self.shared.outbox.take(&mut self.outgoing) {
                self.handle_wanted(wanted);
            }
            if self.writer.is_empty() && !self.encode_batch(context) {
                break;
            }
            let Some(io) = self.io.as_mut() else { return };
            let mut progressed = false;
            let polled = self.writer.poll_write(io, context, &mut progressed);
            if progressed {
                self.unflushed = true;
                self.stalled = None;
                self.shared.outbox.made_progress();
            }
            match polled {
                Poll::Ready(Ok(())) => self
                    .shared
                    .outbox
                    .release(std::mem::take(&mut self.writer.charge)),
                Poll::Ready(Err(error)) => return self.handle_end(error.kind()),
                Poll::Pending => {
                    self.stalled.get_or_insert_with(Instant::now);
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
                Poll::Ready(Err(error)) => self.handle_end(error.kind()),
                Poll::Pending => {}
            }
        }
    }

    /// Flushes before more pongs wait than the engine keeps.
    fn answer(&mut self, context: &mut Context<'_>) {
        self.unanswered += 1;
        if self.unanswered >= CONTROL_RESERVE / 2 {
            self.poll_output(context);
        }
    }

    /// The peer has ended, perhaps only its writing side: what it asked for before still goes out, as far as the socket
    /// takes it now.
    fn flush_at_end(&mut self, context: &mut Context<'_>) {
        let mut flush = pin!(coop::unconstrained(poll_fn(|context| {
            self.poll_output(context);
            Poll::Ready(())
        })));
        let _ = flush.as_mut().poll(context);
    }

    /// Encodes a batch into the empty writer. False if there is nothing to write.
    fn encode_batch(&mut self, context: &mut Context<'_>) -> bool {
        if self.engine.has_control() {
            self.engine.poll_control(mask_key, self.writer.tail());
        }
        while !self.writer.is_full()
            && let Some(message) = self.outgoing.pop_front()
        {
            self.writer.charge += self.shared.outbox.charge(message.payload().len()) as usize;
            self.writer
                .push(&mut self.engine, message, self.is_server, mask_key);
        }
        if !self.forwards.is_empty() {
            self.encode_forwards(context);
        }
        if self.closing.is_some()
            && self.engine.has_close()
            && self.outgoing.is_empty()
            && self.shared.outbox.is_drained()
        {
            self.engine.poll_close(mask_key, self.writer.tail());
        }
        !self.writer.is_empty()
    }

    /// The peer is too far behind a channel that its subscriber wants to end then (B3).
    pub(super) fn lag(&mut self) {
        tracing::info!("closing: the peer is too far behind a channel");
        let reason = Text::from_static("too far behind");
        self.close(Cause::Lagged, CloseCode::TRY_AGAIN_LATER, reason);
    }

    /// S3: takes messages out of forwarded channels, in turn, as long as there is room for them.
    fn encode_forwards(&mut self, context: &mut Context<'_>) {
        let mut forwards = std::mem::take(&mut self.forwards);
        forwards.retain(|forwarding| !forwarding.is_stopped());
        for _ in 0..forwards.len() {
            let Some(mut forwarding) = forwards.pop_front() else {
                break;
            };
            if self.encode_forward(&mut forwarding, context) {
                forwards.push_back(forwarding);
            }
        }
        if self.closing.is_none() {
            self.forwards = forwards;
        }
    }

    /// Takes messages out of one channel until it is empty, the writer is full or there is no room. False when it has
    /// ended.
    fn encode_forward(&mut self, forwarding: &mut Forwarding, context: &mut Context<'_>) -> bool {
        while self.closing.is_none() && !self.writer.is_full() {
            let message = match forwarding.poll_message(context) {
                Poll::Pending => return true,
                Poll::Ready(Forwarded::Message(message)) => message,
                Poll::Ready(Forwarded::Ended) => return false,
                Poll::Ready(Forwarded::Lagged) => {
                    self.lag();
                    return false;
                }
                Poll::Ready(Forwarded::Panicked(payload)) => {
                    super::log_panic("on_missed", &*payload);
                    self.close(Cause::Panicked, CloseCode::INTERNAL, Text::default());
                    return false;
                }
            };
            let charge = self.shared.outbox.charge(message.payload().len());
            if !self.shared.outbox.try_charge(charge) {
                forwarding.hold(message);
                break;
            }
            self.writer.charge += charge as usize;
            let message = Outgoing::Prepared(message);
            self.writer
                .push(&mut self.engine, message, self.is_server, mask_key);
        }
        self.watch_forward(forwarding, context)
    }

    /// The socket takes nothing: channels wait, and those that are to end when they lag are heeded.
    fn watch_forwards(&mut self, context: &mut Context<'_>) {
        let mut forwards = std::mem::take(&mut self.forwards);
        forwards.retain_mut(|forwarding| {
            !forwarding.is_stopped() && self.watch_forward(forwarding, context)
        });
        if self.closing.is_none() {
            self.forwards = forwards;
        }
    }

    /// The end of a channel is heeded also while nothing is taken out of it. False when it has ended.
    fn watch_forward(&mut self, forwarding: &mut Forwarding, context: &mut Context<'_>) -> bool {
        let lagged = forwarding.poll_lagged(context);
        if lagged {
            self.lag();
        }
        !lagged
    }

    fn handle_wanted(&mut self, wanted: Wanted) {
        self.forwards.extend(wanted.forwards);
        for _ in 0..wanted.pings {
            self.ping();
        }
        if let Some(at) = wanted.cut_at
            && !self.is_shielded
        {
            self.cut_at = Some(at);
        }
        if let Some(request) = wanted.close {
            if request.at.is_some_and(|at| at > Instant::now()) {
                self.postponed = Some(request);
            } else {
                self.close(request.cause, request.code, request.reason);
            }
        }
    }

    fn ping(&mut self) {
        let payload = self.heartbeat.next_ping();
        // Refused when the reserve is full, and then there is traffic enough.
        let _ = self.engine.ping(&payload);
    }

    /// The socket failed while we wrote. Messages that came before still wait for their handlers.
    fn handle_end(&mut self, error: io::ErrorKind) {
        self.is_broken = true;
        self.writer = Writer::default();
        self.outgoing.clear();
        self.shared.outbox.end();
        if self.closing.is_some() || self.ahead.is_empty() {
            self.noted = None;
            self.carry_out(Noted::End(Some(error)));
        } else if self.noted.is_none() {
            self.noted = Some(Noted::End(Some(error)));
        }
    }

    /// Moves a closing handshake on.
    fn poll_closing(&mut self, context: &mut Context<'_>) {
        let Some(closing) = self.closing.as_mut() else {
            return;
        };
        if !self.engine.is_close_sent() || !self.writer.is_empty() || self.unflushed {
            return;
        }
        let is_over = self.engine.is_close_received();
        // RFC 6455 §7.1.1: after both close frames the server closes the TCP connection. After a violation the peer is
        // told that nothing more comes, and what it still sends is read, so that no reset overtakes our close frame.
        if (is_over || self.engine.violation().is_some())
            && !closing.is_shut
            && let Some(io) = self.io.as_mut()
        {
            match Pin::new(io).poll_shutdown(context) {
                Poll::Pending => return,
                Poll::Ready(_) => closing.is_shut = true,
            }
        }
        if is_over {
            self.finish_closing();
        }
    }

    // ---- deadlines

    fn next_deadline(&self) -> Option<Instant> {
        if self.finished.is_some() {
            return earliest([self.handler_deadline, self.cut_at]);
        }
        let (heartbeat, paused) = match self.closing {
            Some(_) => (None, None),
            None if self.noted.is_some() => (None, None),
            None => (self.heartbeat.deadline(), self.control.paused_until()),
        };
        earliest([
            heartbeat,
            paused,
            self.closing.as_ref().map(|closing| closing.deadline),
            self.stalled
                .map(|since| later(since, self.config.stall_timeout)),
            self.postponed.as_ref().and_then(|request| request.at),
            self.handler_deadline,
            self.cut_at,
        ])
    }

    /// Acts on the deadlines that have passed. False if one is the caller's to act on.
    fn handle_deadlines(&mut self, context: &mut Context<'_>) -> bool {
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
        if is_past(
            self.stalled
                .map(|since| later(since, self.config.stall_timeout)),
        ) {
            self.stalled = Some(now);
            if self.shared.outbox.is_full() && self.closing.is_none() {
                tracing::info!("closing: the peer has read nothing for the stall timeout");
                self.close(Cause::Lagged, CloseCode::TRY_AGAIN_LATER, Text::default());
            }
            return true;
        }
        if is_past(self.control.paused_until()) {
            self.control.refill(now);
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
    fn handle_silence(&mut self, context: &mut Context<'_>) {
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

    fn wake(&self, context: &Context<'_>) {
        context.waker().wake_by_ref();
    }
}

enum Decoded {
    Message(Inbound),
    Control,
    Last(Noted),
}

fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}

fn lost(error: Option<io::ErrorKind>) -> Closed {
    let reason = error.map_or_else(Text::default, |error| Text::from(error.to_string()));
    Closed {
        code: CloseCode::ABNORMAL,
        reason,
        clean: false,
        cause: Cause::Lost,
    }
}

/// Cuts a reason that is too long for a close frame, at a character.
fn cut_reason(reason: Text) -> Text {
    if reason.len() <= MAX_CLOSE_REASON {
        return reason;
    }
    Text::from(&reason[..reason.floor_char_boundary(MAX_CLOSE_REASON)])
}

/// Masking keys are a client's business (RFC 6455 §5.3); a server is never asked for one.
fn mask_key() -> [u8; 4] {
    [0; 4]
}

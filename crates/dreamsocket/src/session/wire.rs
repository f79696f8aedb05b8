//! One connection's transport side: socket, engine, outbox and deadlines, driven by polling.
//!
//! Knows nothing of handlers, states or message types: the session asks it for the next message
//! ([`Wire::poll_message`]), lets it work while a handler runs ([`Wire::poll_beside`]), and tells it to close. All its
//! buffers are empty while nothing is under way.

mod closing;
mod deadlines;
mod input;
mod output;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::{CloseFrame, Engine, Role, Text, Violation};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::{self, RestoreOnPending};
use tokio::time::Instant;

use self::closing::lost;
use super::alarm::Alarm;
use super::bounds::Bounds;
use super::buffers;
use super::heartbeat::Heartbeat;
use super::writer::Writer;
use crate::config::{Config, FLUSH_BYTES, FLUSH_MESSAGES, later};
use crate::connection::Shared;
use crate::forward::Forwarding;
use crate::message::Closed;
use crate::outbox::{CloseRequest, Outgoing, Wanted};

/// A whole message from the peer.
#[derive(Debug)]
pub(super) enum Inbound {
    Text(Text),
    Binary(Bytes),
}

impl Inbound {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// What ends the stream of messages, noted behind those that wait.
#[derive(Debug)]
enum Noted {
    Close(CloseFrame),
    Violation(Violation),
    End(Option<io::ErrorKind>),
    /// The peer sends more than it may.
    Excess,
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
    /// Bytes of payload in them: more than came over the wire where they were compressed.
    ahead_held: usize,
    /// Bytes read behind the message that was handed out last.
    ahead_read: usize,
    noted: Option<Noted>,
    /// Units of tokio's budget that large messages cost beside their own.
    debt: usize,

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
    bounds: Bounds,
    /// A close that a spread drain has set for later.
    postponed: Option<CloseRequest>,
    cut_at: Option<Instant>,
    /// `on_close` runs: the end of the drain time does not touch it.
    is_shielded: bool,
    handler_deadline: Option<Instant>,
    /// Whether a handler runs that has to wait.
    is_handling: bool,
    closing: Option<Closing>,
    finished: Option<Closed>,
    /// When the end was seen or a close began, whichever came first.
    ended_at: Option<Instant>,
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
        let mut engine = Engine::new(role, config.limits());
        if let Some(params) = shared.facts.deflate {
            engine = engine.with_deflate(params, config.compression.tuning());
        }
        Self {
            io: Some(io),
            engine,
            shared,
            alarm: Alarm::default(),
            ahead_read: read.len(),
            read,
            ahead: VecDeque::new(),
            ahead_held: 0,
            debt: 0,
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
            bounds: Bounds::new(&config),
            postponed: None,
            cut_at: None,
            is_shielded: false,
            handler_deadline: None,
            is_handling: false,
            closing: None,
            finished: None,
            ended_at: None,
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

    /// When the end was seen or a close began; now, if neither has.
    pub(super) fn ended_at(&self) -> Instant {
        self.ended_at.unwrap_or_else(Instant::now)
    }

    /// Puts the end behind the messages that wait.
    fn note(&mut self, noted: Noted) {
        self.ended_at.get_or_insert_with(Instant::now);
        self.noted = Some(noted);
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

    /// The session's task runs.
    pub(super) fn awake(&self) {
        self.shared.outbox.unpark();
    }

    /// A handler has returned.
    pub(super) fn handler_ended(&mut self) {
        self.handled += 1;
        self.handler_deadline = None;
        self.is_handling = false;
        self.bounds.note_activity();
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

    /// Takes of tokio's budget what the next message costs. A large one costs more, since it may have been inflated from next
    /// to nothing: a peer must not keep the thread longer than others do (L4).
    pub(super) fn poll_budget(&mut self, context: &mut Context<'_>) -> Poll<RestoreOnPending> {
        loop {
            let budget = ready!(coop::poll_proceed(context));
            if self.debt == 0 {
                return Poll::Ready(budget);
            }
            self.debt -= 1;
            budget.made_progress();
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
        self.is_handling = true;
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

    fn handle_wanted(&mut self, wanted: Wanted) {
        self.forwards.extend(wanted.forwards);
        if let Some(config) = wanted.bounds {
            self.engine.set_limits(config.limits());
            self.bounds.set(&config);
            self.heartbeat.set_interval(config.heartbeat);
        }
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
}

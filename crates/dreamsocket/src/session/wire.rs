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

use bytes::Bytes;
use dreamsocket_broadcaster::Missed;
use dreamsocket_protocol::{CloseFrame, Engine, Role, Text, Violation};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::{self, RestoreOnPending};
use tokio::time::Instant;

use self::closing::lost;
use super::Outcome;
use super::alarm::Alarm;
use super::bounds::Bounds;
use super::buffers::Buffers;
use super::clock::{Clock, Moment, Span};
use super::heartbeat::Heartbeat;
use crate::config::{Config, FLUSH_BYTES, FLUSH_MESSAGES};
use crate::connection::Shared;
use crate::connection::span::note_end;
use crate::forward::Forwarding;
use crate::message::Closed;
use crate::meter::{Measured, Meter};
use crate::outbox::{CloseRequest, Wanted};

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
    deadline: Moment,
    /// Whether the writing side of the socket is shut down.
    is_shut: bool,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A close is queued.
    Closing,
    Finished,
}

/// What a connection holds that is ending, or that is to end.
#[derive(Debug, Default)]
struct Ending {
    noted: Option<Noted>,
    /// A close that a spread drain has set for later.
    postponed: Option<CloseRequest>,
    closing: Option<Closing>,
    finished: Option<Closed>,
    /// When the end was seen or a close began, whichever came first.
    at: Option<Instant>,
}

/// Whole messages that were decoded while a handler ran.
#[derive(Debug, Default)]
struct Ahead {
    messages: VecDeque<Inbound>,
    /// Bytes of payload in them: more than came over the wire where they were compressed.
    held: usize,
}

/// Small, since an idle connection is little else: what is there only now and then is boxed.
///
/// One that is dropped before its end, as by a runtime that is shut down, ends the outbox: handles in other runtimes must not
/// wait for it.
#[derive(Debug)]
pub(super) struct Wire<T> {
    /// `None` once the connection is over.
    io: Option<T>,
    engine: Engine,
    shared: Arc<Shared>,
    clock: Clock,
    /// Whether the task let others run, so that the time is another.
    is_away: bool,
    alarm: Alarm,
    /// What the alarm is set to.
    alarm_at: Moment,

    /// Not there while nothing is under way.
    buffers: Option<Box<Buffers>>,
    /// Not there when it is empty.
    ahead: Option<Box<Ahead>>,
    /// Bytes read behind the message that was handed out last.
    ahead_read: u32,
    /// Units of tokio's budget that large messages cost beside their own.
    debt: u32,

    /// Bytes of the outbox's room that were written and not given back yet.
    freed: usize,
    /// Channels whose messages go out without a handler, in the order of their turns.
    forwards: Box<[Forwarding]>,
    is_server: bool,
    /// Whether bytes were written that a buffering transport may still hold.
    unflushed: bool,
    /// Messages handled since the last flush.
    handled: u32,
    /// Control frames handled since the last flush.
    unanswered: u32,
    /// When the socket has taken nothing for as long as it may.
    stall_deadline: Moment,
    /// Whether nothing reaches the peer any more.
    is_broken: bool,

    heartbeat: Heartbeat,
    bounds: Bounds,
    /// When running handlers are dropped because of a drain.
    cut_at: Moment,
    /// `on_close` runs: the end of the drain time does not touch it.
    is_shielded: bool,
    handler_deadline: Moment,
    /// Whether a handler runs that has to wait.
    is_handling: bool,
    meter: Meter,
    phase: Phase,
    /// Whether there is an end that waits behind messages.
    has_noted: bool,
    ending: Option<Box<Ending>>,
}

impl<T> Drop for Wire<T> {
    fn drop(&mut self) {
        if self.phase != Phase::Finished {
            closing::let_go(self.shared.outbox.end());
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// `early` are bytes that came with the upgrade request.
    pub(super) fn new(io: T, early: &[u8], role: Role, shared: Arc<Shared>) -> Self {
        let config = Arc::clone(&shared.facts.config);
        let buffers = (!early.is_empty()).then(|| {
            let mut buffers = Buffers::take();
            buffers.read.extend_from_slice(early);
            buffers
        });
        let mut engine = Engine::new(role, config.limits());
        if let Some(params) = shared.facts.deflate {
            engine = engine.with_deflate(params, config.compression.tuning());
        }
        let meter = Meter::open(role, shared.facts.is_measured);
        Self {
            io: Some(io),
            engine,
            shared,
            clock: Clock::start(),
            is_away: true,
            alarm: Alarm::default(),
            alarm_at: Moment::NEVER,
            ahead_read: saturated(early.len()),
            buffers,
            ahead: None,
            debt: 0,
            freed: 0,
            forwards: Box::default(),
            is_server: role == Role::Server,
            unflushed: false,
            handled: 0,
            unanswered: 0,
            stall_deadline: Moment::NEVER,
            is_broken: false,
            heartbeat: Heartbeat::new(config.heartbeat),
            bounds: Bounds::new(&config),
            cut_at: Moment::NEVER,
            is_shielded: false,
            handler_deadline: Moment::NEVER,
            is_handling: false,
            meter,
            phase: Phase::Open,
            has_noted: false,
            ending: None,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.shared.facts.config
    }

    /// Whether a close is under way or done, or the end has come and waits behind messages.
    pub(super) fn is_ending(&self) -> bool {
        self.is_closing() || self.has_noted
    }

    /// Whether messages are no longer handed out, since a close is queued.
    pub(super) fn is_closing(&self) -> bool {
        self.phase != Phase::Open
    }

    pub(super) fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// How it ended, once it has.
    pub(super) fn closed(&self) -> Closed {
        self.ending
            .as_ref()
            .and_then(|ending| ending.finished.clone())
            .unwrap_or_else(|| lost(None))
    }

    /// When the end was seen or a close began; now, if neither has.
    fn ended_at(&self) -> Instant {
        self.ending
            .as_ref()
            .and_then(|ending| ending.at)
            .unwrap_or_else(Instant::now)
    }

    /// What is said of the connection when it is over, in the logs, too.
    pub(super) fn end(&mut self, outcome: Outcome) -> (Outcome, Closed, Instant) {
        let closed = self.closed();
        let lasted = self.clock.read().since(Moment::START).duration();
        note_end(&self.shared, &closed, lasted);
        self.meter.end(&self.shared.counters, &closed, lasted);
        (outcome, closed, self.ended_at())
    }

    fn ending(&mut self) -> &mut Ending {
        self.ending.get_or_insert_default()
    }

    /// As [`ending`](Self::ending), and the end is in sight.
    fn end_seen(&mut self) -> &mut Ending {
        let ending = self.ending();
        ending.at.get_or_insert_with(Instant::now);
        ending
    }

    /// Puts the end behind the messages that wait.
    fn note(&mut self, noted: Noted) {
        self.end_seen().noted = Some(noted);
        self.has_noted = true;
    }

    fn take_noted(&mut self) -> Option<Noted> {
        if !self.has_noted {
            return None;
        }
        self.has_noted = false;
        self.ending.as_mut().and_then(|ending| ending.noted.take())
    }

    /// Whether the peer's end has come without a close frame, and waits behind messages.
    fn is_end_noted(&self) -> bool {
        let ending = self.ending.as_ref().filter(|_| self.has_noted);
        matches!(
            ending.and_then(|ending| ending.noted.as_ref()),
            Some(Noted::End(_))
        )
    }

    /// Whether a drain has cut what handlers may do.
    pub(super) fn is_cut(&self) -> bool {
        self.cut_at.is_past(self.clock.read())
    }

    /// From here on the end of the drain time cuts nothing.
    pub(super) fn shield(&mut self) {
        self.is_shielded = true;
        self.cut_at = Moment::NEVER;
    }

    /// The session's task runs.
    #[inline]
    pub(super) fn awake(&mut self) {
        if self.is_away {
            self.is_away = false;
            self.shared.outbox.unpark();
            self.clock.expire();
        }
    }

    /// The task lets others run.
    pub(super) const fn doze(&mut self) {
        self.is_away = true;
    }

    /// `on_message` is told of a gap.
    pub(super) fn note_missed(&self, missed: &Missed) {
        self.shared.note_missed(missed);
    }

    /// A message of the peer goes to `on_message`.
    #[inline]
    pub(super) fn note_handed(&self, message: &Inbound) {
        self.shared.counters.note_in(message.len());
    }

    /// A handler is about to be called.
    #[inline(always)]
    pub(super) fn handler_begins(&mut self, handler: Measured) {
        self.meter.handler_begins(handler);
    }

    /// A handler has returned.
    pub(super) fn handler_ended(&mut self) {
        self.meter.handler_ended();
        self.handled += 1;
        self.handler_deadline = Moment::NEVER;
        self.is_handling = false;
        self.bounds.note_activity(|| self.clock.look());
        self.heed();
    }

    /// Lets what handles asked for take effect now: their close comes before what the handler returned, and before
    /// messages that no handler has seen (L5).
    pub(super) fn heed(&mut self) {
        if self.shared.outbox.is_wanted() {
            self.take_outbox();
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
        if self.handler_deadline.is_never() {
            self.handler_deadline = self.clock.look().after(Span::of(limit));
        }
        loop {
            self.read_ahead(context);
            self.poll_work(context);
            let now = self.clock.now();
            if self.handler_deadline.is_past(now) {
                return Poll::Ready(Cut::TimedOut);
            }
            if self.cut_at.is_past(now) {
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
            if self.phase == Phase::Closing {
                self.discard(context);
                self.poll_closing(context);
            }
            if !self.is_deadline_past(context) || !self.handle_deadlines(context) {
                return;
            }
        }
    }

    /// False if there is something to do before the task may sleep.
    pub(super) fn park(&mut self, context: &Context<'_>) -> bool {
        if let Some(mut buffers) = self.buffers.take() {
            if buffers.is_empty() {
                buffers.give_back();
            } else {
                buffers.shrink();
                self.buffers = Some(buffers);
            }
        }
        let takes_messages = !self.is_finished() && self.is_all_written();
        let freed = std::mem::take(&mut self.freed);
        self.is_away = self.shared.outbox.park(context, takes_messages, freed);
        self.is_away
    }

    /// Gives back the room of what was written, where the task goes on instead of going to sleep.
    pub(super) fn settle(&mut self) {
        let freed = std::mem::take(&mut self.freed);
        self.shared.outbox.release(freed);
    }

    /// Whether nothing is on its way out.
    fn is_all_written(&self) -> bool {
        self.buffers
            .as_ref()
            .is_none_or(|buffers| buffers.is_written())
    }

    fn handle_wanted(&mut self, wanted: Wanted) {
        if !wanted.forwards.is_empty() {
            let mut forwards = std::mem::take(&mut self.forwards).into_vec();
            forwards.reserve_exact(wanted.forwards.len());
            forwards.extend(wanted.forwards);
            self.forwards = forwards.into();
        }
        if let Some(config) = wanted.bounds {
            self.engine.set_limits(config.limits());
            self.bounds.set(&config, &mut self.clock);
            self.heartbeat.set_interval(config.heartbeat);
        }
        for _ in 0..wanted.pings {
            self.ping();
        }
        if let Some(at) = wanted.cut_at
            && !self.is_shielded
        {
            self.cut_at = self.clock.moment(at);
        }
        if let Some(request) = wanted.close {
            if request.at.is_some_and(|at| at > Instant::now()) {
                self.ending().postponed = Some(request);
            } else {
                self.close(request.cause, request.code, request.reason);
            }
        }
    }

    fn ping(&mut self) {
        let payload = self.heartbeat.next_ping(self.clock.look());
        // Refused when the reserve is full, and then there is traffic enough.
        let _ = self.engine.ping(&payload);
    }
}

/// As far as it can be counted: what is above is as much as can be.
fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

//! The oracle: looks at every event of a schedule and says which promise of the contract it breaks, by its number.
//!
//! It knows what the application was told and did, and what went over the wire below each session; of the library it knows
//! the contract alone. An endpoint is one session with its transport, on a server or a client: all of them are held to the
//! same. What is exact is checked at the event; what has to happen soon is checked when a tick has ended, after which a
//! host has nothing left to do.

mod channels;
mod ends;
mod handlers;
mod sends;
mod sources;
mod ticks;
mod wire;

use std::cell::Cell;
use std::fmt;

use self::channels::Forwarded;
use self::ends::Closer;
use self::handlers::Life;
use self::sends::Sends;
use self::sources::Selection;
use self::wire::Wire;
use crate::event::{Event, Role, Seen};
use crate::frames::{Decoder, Item, Print, head};
use crate::record::{EndpointId, WORLD};

/// How much is read ahead of a running handler at most, in bytes (L3).
pub(crate) const READ_AHEAD: usize = 16 * 1024;

/// What an entry of the outbox is charged beside its payload (S1).
const ENTRY_CHARGE: usize = 64;

/// How many control frames are kept (S1).
const CONTROL_RESERVE: usize = 64;

/// How late something may be, in microseconds: deadlines come to the millisecond.
const SLACK: u64 = 5_000;

/// The bounds of all sessions of a schedule; times in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) tick: u64,
    pub(crate) close_time: u64,
    pub(crate) handler_timeout: u64,
    pub(crate) init_timeout: u64,
    pub(crate) send_timeout: u64,
    pub(crate) stall_timeout: u64,
    pub(crate) drain_time: u64,
    pub(crate) is_drain_spread: bool,
    pub(crate) heartbeat: Option<u64>,
    pub(crate) outbox: usize,
    pub(crate) max_message: usize,
}

/// A promise that was broken.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Violation {
    /// The number of the contract, such as `L5`.
    pub law: &'static str,
    /// What is wrong.
    pub what: String,
    /// Of which endpoint; [`EndpointId::MAX`] for none.
    pub endpoint: u32,
    /// When it was seen, in microseconds.
    pub at: u64,
}

impl Violation {
    pub(crate) fn new(law: &'static str, what: impl Into<String>) -> Self {
        Self {
            law,
            what: what.into(),
            endpoint: WORLD,
            at: 0,
        }
    }

    fn of(mut self, endpoint: EndpointId) -> Self {
        self.endpoint = endpoint;
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.at as f64 / 1_000.0;
        write!(f, "{} is broken at {millis:.3} ms: {}", self.law, self.what)
    }
}

type Checked = Result<(), Violation>;

thread_local! {
    /// A schedule has a thread of its own.
    static CHECKS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has compared what is with what has to be.
pub(crate) fn checks() -> u64 {
    CHECKS.get()
}

/// It has to be so, or the law is broken.
fn ensure<W: Into<String>>(is_so: bool, law: &'static str, what: impl FnOnce() -> W) -> Checked {
    CHECKS.set(CHECKS.get() + 1);
    match is_so {
        true => Ok(()),
        false => Err(Violation::new(law, what())),
    }
}

/// A moment of the story: the time of its host, and the number of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    at: u64,
    index: u64,
}

#[derive(Debug)]
pub(crate) struct Oracle {
    bounds: Bounds,
    endpoints: Vec<Endpoint>,
    /// The number of the last message of each topic.
    numbers: Vec<(u32, u64)>,
    /// Where the frames of prepared messages lie.
    shared: Vec<(Print, usize)>,
    index: u64,
    drain_at: Option<u64>,
    server_ended_at: Option<u64>,
    pub(crate) violation: Option<Violation>,
}

/// A session, its transport and its handlers.
#[derive(Debug)]
struct Endpoint {
    id: EndpointId,
    role: Role,
    wire: Wire,
    life: Life,
    sends: Sends,
    selection: Selection,
    forwards: Vec<Forwarded>,
    /// Why the connection ends, in the order in which the reasons were seen.
    closers: Vec<Closer>,
    /// The host was crashed: nothing is promised.
    is_crashed: bool,
}

impl Oracle {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            endpoints: Vec::new(),
            numbers: Vec::new(),
            shared: Vec::new(),
            index: 0,
            drain_at: None,
            server_ended_at: None,
            violation: None,
        }
    }

    pub(crate) fn open(&mut self, role: Role) -> EndpointId {
        let id = u32::try_from(self.endpoints.len()).unwrap_or(WORLD);
        let limit = self.bounds.max_message;
        self.endpoints.push(Endpoint {
            id,
            role,
            wire: Wire::new(role, limit),
            life: Life::default(),
            sends: Sends::default(),
            selection: Selection::default(),
            forwards: Vec::new(),
            closers: Vec::new(),
            is_crashed: false,
        });
        id
    }

    /// Whether nothing is promised of that endpoint any more.
    pub(crate) fn is_crashed(&self, endpoint: EndpointId) -> bool {
        let endpoint = self.endpoints.get(endpoint as usize);
        endpoint.is_some_and(|endpoint| endpoint.is_crashed)
    }

    fn endpoint(&mut self, id: EndpointId) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(id as usize)
    }

    /// Looks at an event.
    pub(crate) fn handle(&mut self, at: u64, endpoint: EndpointId, event: &Event) -> Checked {
        self.index += 1;
        let now = Moment {
            at,
            index: self.index,
        };
        match event {
            Event::Drain => return self.drain(now),
            Event::ServerEnded { clean, cut } => return self.server_ended(now, *clean, *cut),
            Event::Crashed => {
                self.crash();
                return Ok(());
            }
            Event::Published {
                topic,
                number,
                key,
                local,
            } => return self.published(now, *topic, *number, *key, *local),
            Event::FeedPublished { topic, number } => {
                self.feed_published(now, *topic, *number);
                return Ok(());
            }
            Event::DrainAwaited => return self.drain_awaited(now),
            _ => {}
        }
        let (drain_at, bounds) = (self.drain_at, self.bounds);
        let last = match event {
            Event::Forward { topic, .. } => self.last_number(*topic),
            _ => 0,
        };
        let Some(endpoint) = self.endpoint(endpoint) else {
            return Ok(());
        };
        let drain_at = drain_at.filter(|_| endpoint.role == Role::Server);
        endpoint.handle(now, event, &bounds, drain_at, last)
    }

    /// The world ends for the server: what it ran is gone, and so is its drain.
    fn crash(&mut self) {
        for endpoint in &mut self.endpoints {
            if endpoint.role == Role::Server {
                endpoint.is_crashed = true;
                endpoint.selection.die();
            }
        }
        self.drain_at = None;
    }

    pub(crate) fn next_number(&mut self, topic: u32) -> u64 {
        match self.numbers.iter_mut().find(|(known, _)| *known == topic) {
            Some((_, number)) => {
                *number += 1;
                *number
            }
            None => {
                self.numbers.push((topic, 1));
                1
            }
        }
    }

    fn last_number(&self, topic: u32) -> u64 {
        let known = self.numbers.iter().find(|(known, _)| *known == topic);
        known.map_or(0, |(_, number)| *number)
    }

    pub(crate) fn touch(&mut self, endpoint: EndpointId, version: u64) {
        if let Some(endpoint) = self.endpoint(endpoint) {
            endpoint.life.version = version;
        }
    }

    pub(crate) fn woken(&mut self, endpoint: EndpointId, to_write: bool, at: u64) {
        if let Some(endpoint) = self.endpoint(endpoint) {
            match to_write {
                true => endpoint.wire.writable_at.get_or_insert(at),
                false => endpoint.wire.readable_at.get_or_insert(at),
            };
        }
    }

    pub(crate) fn asked(&mut self, endpoint: EndpointId) {
        if let Some(endpoint) = self.endpoint(endpoint) {
            endpoint.wire.readable_at = None;
        }
    }

    pub(crate) fn decode_input(&mut self, endpoint: EndpointId, bytes: &[u8]) -> Vec<Seen> {
        let Some(Endpoint { wire, .. }) = self.endpoint(endpoint) else {
            return Vec::new();
        };
        let seen = decode(&mut wire.input, bytes);
        if wire.input.has_deflate() {
            wire.output.agree_on_deflate();
        }
        seen
    }

    pub(crate) fn decode_output(&mut self, endpoint: EndpointId, bytes: &[u8]) -> Vec<Seen> {
        let Some(Endpoint { wire, .. }) = self.endpoint(endpoint) else {
            return Vec::new();
        };
        let seen = decode(&mut wire.output, bytes);
        if wire.output.has_deflate() {
            wire.input.agree_on_deflate();
        }
        seen
    }

    /// S3: a prepared message lies in one place, whatever the number of connections that write it.
    pub(crate) fn shared(&mut self, frame: &[u8]) -> Checked {
        let print = Print::of(frame);
        let place = frame.as_ptr() as usize;
        match self.shared.iter().find(|(known, _)| *known == print) {
            None => {
                self.shared.push((print, place));
                Ok(())
            }
            Some((_, known)) => ensure(
                *known == place,
                "S3",
                || "a prepared message was encoded a second time",
            ),
        }
    }

    /// How many sessions have run to their end.
    pub(crate) fn sessions(&self) -> u64 {
        let ended = self.endpoints.iter().filter(|it| it.life.is_over());
        ended.count() as u64
    }
}

impl Endpoint {
    fn handle(
        &mut self,
        now: Moment,
        event: &Event,
        bounds: &Bounds,
        drain_at: Option<u64>,
        last_number: u64,
    ) -> Checked {
        match event {
            Event::Read(count) => self.read(now, *count, bounds),
            Event::ReadEnd(_) => {
                self.ended(now);
                Ok(())
            }
            Event::In(seen) => self.input(now, seen),
            Event::Wrote(_) => self.wrote(now, bounds),
            Event::Held => {
                self.wire.unflushed_since.get_or_insert(now.at);
                Ok(())
            }
            Event::Flushed => {
                self.wire.unflushed_since = None;
                self.wire.unblock(now, bounds);
                Ok(())
            }
            Event::Out(seen) => self.output(now, seen, bounds),
            Event::Blocked => {
                self.blocked(now);
                Ok(())
            }
            Event::WriteFailed => {
                self.wire.has_failed = true;
                self.ended(now);
                Ok(())
            }
            Event::Gone { is_unread } => self.gone(now, *is_unread, bounds, drain_at),
            Event::Init => self.init(now),
            Event::InitDone(sources) => self.init_done(now, sources.as_deref()),
            Event::Begun(given) => self.begun(now, given, bounds, drain_at),
            Event::Done(returned) => self.done(now, returned),
            Event::Dropped { by_panic } => self.dropped(now, *by_panic, bounds, drain_at),
            Event::OnClose { end, version } => self.on_close(now, end, *version, bounds, drain_at),
            Event::OnCloseDone => self.on_close_done(now),
            Event::Send { id, print, waits } => self.send(now, *id, *print, *waits),
            Event::Sent { id, fate, buffered } => self.sent(now, *id, *fate, *buffered, bounds),
            Event::Called { call, polls } => self.called(now, *call, *polls),
            Event::ClosedSeen => {
                self.life.closed_seen.get_or_insert(now);
                // L9: of a peer that is called dead what it sent before still waits.
                let silence = now.at.saturating_sub(self.wire.last_read);
                let is_dead = bounds
                    .heartbeat
                    .is_some_and(|interval| silence >= 3 * interval);
                let may_be = |why| matches!(why, ends::Why::Lagged | ends::Why::DrainedSometime);
                if is_dead && self.closers.iter().all(|closer| may_be(closer.why)) {
                    self.ended(now);
                    self.wire.is_given_up = true;
                }
                // Nobody but the session knows when it gives up a peer that does not read, or a channel that lags.
                if self.own_closer().is_none() && self.may_lag(now.at, bounds) {
                    self.close_for(now, ends::Why::Lagged);
                }
                Ok(())
            }
            Event::Source { id, key, kind } => {
                self.selection.make(*id, key.clone(), *kind);
                Ok(())
            }
            Event::Fed { source, number } => {
                self.selection.feed(now, *source, *number);
                Ok(())
            }
            Event::SourcePanics => {
                self.life.last = handlers::Last::Panicked;
                self.selection.die();
                self.close_for(now, ends::Why::Panicked);
                Ok(())
            }
            Event::Forward {
                id,
                topic,
                ends,
                mark,
            } => {
                let forwarded = Forwarded::new(*id, *topic, *ends, *mark, last_number);
                self.forwards.push(forwarded);
                Ok(())
            }
            Event::Unforward { id } => {
                self.unforward(*id);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn decode(decoder: &mut Decoder, bytes: &[u8]) -> Vec<Seen> {
    decoder.push(bytes);
    let items = std::iter::from_fn(|| decoder.next());
    items
        .map(|item| match item {
            Item::Head(line) => Seen::Head(line),
            Item::Message(payload) => Seen::Message(Print::of(&payload), head(&payload)),
            Item::Ping(payload) => Seen::Ping(Print::of(&payload)),
            Item::Pong(payload) => Seen::Pong(Print::of(&payload)),
            Item::Close(code) => Seen::Close(code),
            Item::Broken => Seen::Broken,
        })
        .collect()
}

//! [`Record`]: where everything that happens is told. It keeps the transcript, asks the oracle about each event, and sums
//! all up in one number, by which two runs of a seed are compared.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::{Event, Kind, Role};
use crate::handlers::panic_on_purpose;
use crate::oracle::{Bounds, Oracle, Violation, checks};

/// Which endpoint an event is of; topics and the world have none.
pub(crate) type EndpointId = u32;

/// What is not of one endpoint.
pub(crate) const WORLD: EndpointId = EndpointId::MAX;

/// How often sessions may look at their transports in a tick: far more than they have ever had to.
const LOOKS: u32 = 100_000;

/// How many lines of a transcript are shown.
const LINES: usize = 160;

#[derive(Debug, Clone)]
pub(crate) struct Record(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    oracle: Oracle,
    log: Vec<Line>,
    hash: Fnv,
    /// When something happened last.
    at: u64,
    next_id: u32,
    /// How often sessions have looked at their transports in this tick.
    looks: u32,
    /// The world is being taken down: what happens now means nothing.
    is_over: bool,
}

#[derive(Debug)]
struct Line {
    at: u64,
    endpoint: EndpointId,
    event: Event,
}

/// What came of a schedule.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Summary {
    /// How many events the oracle has looked at.
    pub events: u64,
    /// How often it has compared what is with what has to be.
    pub checks: u64,
    /// Sessions whose `on_close` has run.
    pub sessions: u64,
    /// The same for two runs of one seed.
    pub hash: u64,
    /// What was broken first, if anything was.
    pub violation: Option<Violation>,
}

impl Record {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            oracle: Oracle::new(bounds),
            log: Vec::new(),
            hash: Fnv::default(),
            at: 0,
            next_id: 0,
            looks: 0,
            is_over: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new endpoint, whose transport was just opened.
    pub(crate) fn open(&self, role: Role, client: u32) -> EndpointId {
        let endpoint = self.lock().oracle.open(role);
        self.note(endpoint, Event::Opened { role, client });
        endpoint
    }

    /// Something has happened.
    pub(crate) fn note(&self, endpoint: EndpointId, event: Event) {
        self.lock().note(endpoint, event);
    }

    /// The session has read these bytes.
    pub(crate) fn read(&self, endpoint: EndpointId, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.note(endpoint, Event::Read(bytes.len()));
        for seen in inner.oracle.decode_input(endpoint, bytes) {
            inner.note(endpoint, Event::In(seen));
        }
    }

    /// The session has written these bytes.
    pub(crate) fn wrote(&self, endpoint: EndpointId, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.note(endpoint, Event::Wrote(bytes.len()));
        for seen in inner.oracle.decode_output(endpoint, bytes) {
            inner.note(endpoint, Event::Out(seen));
        }
    }

    /// A number for a send, a source or a forwarded channel.
    pub(crate) fn next_id(&self) -> u32 {
        let mut inner = self.lock();
        inner.next_id += 1;
        inner.next_id
    }

    /// A new source for a selector of that endpoint.
    pub(crate) fn source(&self, endpoint: EndpointId, key: Option<&str>, kind: Kind) -> u32 {
        let id = self.next_id();
        let key = key.map(str::to_owned);
        self.note(endpoint, Event::Source { id, key, kind });
        id
    }

    /// The state of an endpoint was changed by its handler; `on_close` has to get it so.
    pub(crate) fn touch(&self, endpoint: EndpointId, version: u64) {
        self.lock().oracle.touch(endpoint, version);
    }

    /// The number of a topic's next message.
    pub(crate) fn next_number(&self, topic: u32) -> u64 {
        self.lock().oracle.next_number(topic)
    }

    /// Where a large frame lay in memory when it was written: the same for all connections (S3).
    pub(crate) fn wrote_shared(&self, endpoint: EndpointId, frame: &[u8]) {
        self.lock().judge(endpoint, |oracle| oracle.shared(frame));
    }

    /// The socket can be read or written again, of which the session was told.
    pub(crate) fn woken(&self, endpoint: EndpointId, to_write: bool) {
        let mut inner = self.lock();
        let at = now().unwrap_or(inner.at);
        inner.oracle.woken(endpoint, to_write, at);
    }

    /// The session looks whether there is something to read. One that does so without end leaves nobody else a turn (L4), nor
    /// this simulation: then it is ended by a panic.
    pub(crate) fn asked(&self, endpoint: EndpointId) {
        let mut inner = self.lock();
        inner.oracle.asked(endpoint);
        inner.looks += 1;
        if inner.looks > LOOKS {
            inner.judge(endpoint, |_| {
                Err(Violation::new(
                    "L4",
                    "a session works without end, and without letting go",
                ))
            });
            drop(inner);
            panic_on_purpose();
        }
    }

    /// All hosts have run for a tick, until nothing was left to do.
    pub(crate) fn end_tick(&self, now: u64, connections: Option<usize>) {
        let mut inner = self.lock();
        inner.at = now;
        inner.looks = 0;
        inner.judge(WORLD, |oracle| oracle.end_tick(now, connections));
    }

    /// The world has come to its end.
    pub(crate) fn finish(&self) {
        let mut inner = self.lock();
        inner.judge(WORLD, Oracle::finish);
        inner.is_over = true;
    }

    /// Something is broken that the oracle could not see.
    pub(crate) fn fail(&self, violation: Violation) {
        self.lock().oracle.violation.get_or_insert(violation);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.lock().oracle.violation.is_some()
    }

    /// Whether all sessions have ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.lock().oracle.is_quiet()
    }

    pub(crate) fn summary(&self) -> Summary {
        let inner = self.lock();
        Summary {
            events: inner.log.len() as u64,
            checks: checks(),
            sessions: inner.oracle.sessions(),
            hash: inner.hash.finish(),
            violation: inner.oracle.violation.clone(),
        }
    }

    /// What happened, of one endpoint and the world, or of all.
    pub(crate) fn transcript(&self, of: Option<EndpointId>) -> String {
        let inner = self.lock();
        let lines: Vec<_> = inner
            .log
            .iter()
            .filter(|line| of.is_none_or(|of| line.endpoint == of || line.endpoint == WORLD))
            .collect();
        let hidden = match of {
            Some(_) => lines.len().saturating_sub(LINES),
            None => 0,
        };
        let mut text = String::new();
        if hidden > 0 {
            let _ = writeln!(text, "  … {hidden} earlier lines");
        }
        for Line {
            at,
            endpoint,
            event,
        } in lines.iter().skip(hidden)
        {
            let millis = *at as f64 / 1_000.0;
            let _ = match *endpoint {
                WORLD => writeln!(text, "  {millis:>9.3} ms        {event}"),
                of => writeln!(text, "  {millis:>9.3} ms  #{of:<4} {event}"),
            };
        }
        text
    }
}

impl Inner {
    fn note(&mut self, endpoint: EndpointId, event: Event) {
        if self.is_over || self.oracle.is_crashed(endpoint) {
            return;
        }
        if let Some(now) = now() {
            self.at = now;
        }
        (self.at, endpoint, &event).hash(&mut self.hash);
        let at = self.at;
        self.judge(endpoint, |oracle| oracle.handle(at, endpoint, &event));
        self.log.push(Line {
            at,
            endpoint,
            event,
        });
    }

    fn judge(
        &mut self,
        endpoint: EndpointId,
        question: impl FnOnce(&mut Oracle) -> Result<(), Violation>,
    ) {
        if let Err(mut violation) = question(&mut self.oracle) {
            if violation.endpoint == WORLD {
                violation.endpoint = endpoint;
            }
            violation.at = self.at;
            self.oracle.violation.get_or_insert(violation);
        }
    }
}

/// Simulated time in microseconds, that of the host whose turn it is: each runs through a tick after the other. Between
/// their turns there is none.
fn now() -> Option<u64> {
    let elapsed = turmoil::sim_elapsed()?;
    u64::try_from(elapsed.as_micros()).ok()
}

/// A hash that is the same everywhere and always (FNV-1a).
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

//! What a hub and its server have seen so far, in numbers: opened, refused, closed and why. Each bound that is passed shows
//! up in one of them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use crate::message::Cause;

/// The causes, in the order of their counters.
const CAUSES: [Cause; 10] = [
    Cause::Peer,
    Cause::Stopped,
    Cause::Failed,
    Cause::Panicked,
    Cause::Lost,
    Cause::Protocol,
    Cause::Limit,
    Cause::Lagged,
    Cause::Drained,
    Cause::TimedOut,
];

/// The statuses of refusals, in the order of their counters.
const STATUSES: [u16; 8] = [400, 403, 405, 426, 429, 500, 501, 503];

/// Why a TCP connection of a [`Server`](crate::Server) was ended by the server without a WebSocket coming of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// No request came within [`Config::head_timeout`](crate::Config::head_timeout), or not the whole of its head; or nothing
    /// of an answer was taken for [`Config::stall_timeout`](crate::Config::stall_timeout).
    Slow,
    /// The TLS handshake failed or took too long.
    Tls,
    /// What came was no HTTP, or broke its rules or bounds.
    Http,
    /// Its address had as many connections as it may.
    Crowded,
}

const FAULTS: [Fault; 4] = [Fault::Slow, Fault::Tls, Fault::Http, Fault::Crowded];

/// What a hub has counted since it was made; [`Hub::counts`](crate::Hub::counts) gives it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct HubCounts {
    opened: u64,
    closed: [u64; CAUSES.len()],
    refused: [u64; STATUSES.len()],
    faults: [u64; FAULTS.len()],
    read_pauses: u64,
    accept_pauses: u64,
}

impl HubCounts {
    /// WebSockets that were opened: what ended before it was one, such as a client's attempt that failed, is not among them.
    #[must_use]
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// WebSockets that have ended for this cause.
    #[must_use]
    pub fn closed(&self, cause: Cause) -> u64 {
        count(&CAUSES, &self.closed, cause)
    }

    /// Upgrades that were refused with this status.
    #[must_use]
    pub fn refused(&self, status: StatusCode) -> u64 {
        count(&STATUSES, &self.refused, status.as_u16())
    }

    /// How often reading from a WebSocket has paused, for a tenth of a second or more, because its peer had sent as much as it
    /// may: control frames, or messages or bytes past a rate.
    #[must_use]
    pub const fn read_pauses(&self) -> u64 {
        self.read_pauses
    }

    /// How often a server has waited with accepting, because it had as many TCP connections as it may.
    #[must_use]
    pub const fn accept_pauses(&self) -> u64 {
        self.accept_pauses
    }

    /// TCP connections that a server ended for this fault.
    #[must_use]
    pub fn faults(&self, fault: Fault) -> u64 {
        count(&FAULTS, &self.faults, fault)
    }
}

#[cfg(feature = "inspector")]
impl HubCounts {
    /// How many have ended, by cause; what is not zero.
    pub(crate) fn by_cause(&self) -> impl Iterator<Item = (Cause, u64)> {
        let closed = CAUSES.into_iter().zip(self.closed);
        closed.filter(|(_, count)| *count > 0)
    }

    /// How many were refused, by status; what is not zero.
    pub(crate) fn by_status(&self) -> impl Iterator<Item = (u16, u64)> {
        let refused = STATUSES.into_iter().zip(self.refused);
        refused.filter(|(_, count)| *count > 0)
    }

    /// How many TCP connections were ended, by fault; what is not zero.
    pub(crate) fn by_fault(&self) -> impl Iterator<Item = (Fault, u64)> {
        let faults = FAULTS.into_iter().zip(self.faults);
        faults.filter(|(_, count)| *count > 0)
    }
}

/// What is not zero.
impl fmt::Debug for HubCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        map.entry(&"opened", &self.opened);
        for (name, count) in [
            ("read pauses", self.read_pauses),
            ("accept pauses", self.accept_pauses),
        ] {
            if count > 0 {
                map.entry(&name, &count);
            }
        }
        let closed = CAUSES.iter().zip(self.closed);
        for (cause, count) in closed.filter(|(_, count)| *count > 0) {
            map.entry(&format_args!("closed: {cause}"), &count);
        }
        let refused = STATUSES.iter().zip(self.refused);
        for (status, count) in refused.filter(|(_, count)| *count > 0) {
            map.entry(&format_args!("refused: {status}"), &count);
        }
        let faults = FAULTS.iter().zip(self.faults);
        for (fault, count) in faults.filter(|(_, count)| *count > 0) {
            map.entry(&format_args!("fault: {fault:?}"), &count);
        }
        map.finish()
    }
}

fn count<K: PartialEq + Copy>(kinds: &[K], counts: &[u64], kind: K) -> u64 {
    let place = kinds.iter().position(|known| *known == kind);
    place
        .and_then(|place| counts.get(place))
        .copied()
        .unwrap_or_default()
}

/// The counters themselves. Each is by itself: a snapshot need not be of one moment.
#[derive(Debug, Default)]
pub(super) struct Counters {
    opened: AtomicU64,
    closed: [AtomicU64; CAUSES.len()],
    refused: [AtomicU64; STATUSES.len()],
    faults: [AtomicU64; FAULTS.len()],
    /// Of WebSockets that have ended; those that are open keep their own.
    read_pauses: AtomicU64,
    accept_pauses: AtomicU64,
}

impl Counters {
    pub(super) fn note_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_closed(&self, cause: Cause) {
        add(&CAUSES, &self.closed, cause);
    }

    pub(super) fn note_refused(&self, status: StatusCode) {
        add(&STATUSES, &self.refused, status.as_u16());
    }

    pub(super) fn note_fault(&self, fault: Fault) {
        add(&FAULTS, &self.faults, fault);
    }

    pub(super) fn add_read_pauses(&self, count: u64) {
        self.read_pauses.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn note_accept_pause(&self) {
        self.accept_pauses.fetch_add(1, Ordering::Relaxed);
    }

    /// `open_pauses` are those of WebSockets that are open.
    pub(super) fn snapshot(&self, open_pauses: u64) -> HubCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HubCounts {
            opened: load(&self.opened),
            closed: self.closed.each_ref().map(load),
            refused: self.refused.each_ref().map(load),
            faults: self.faults.each_ref().map(load),
            read_pauses: load(&self.read_pauses) + open_pauses,
            accept_pauses: load(&self.accept_pauses),
        }
    }
}

fn add<K: PartialEq + Copy>(kinds: &[K], counters: &[AtomicU64], kind: K) {
    let place = kinds.iter().position(|known| *known == kind);
    if let Some(counter) = place.and_then(|place| counters.get(place)) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_counter() {
        let counters = Counters::default();
        for cause in CAUSES {
            counters.note_closed(cause);
        }
        for fault in FAULTS {
            counters.note_fault(fault);
        }
        for status in STATUSES {
            counters.note_refused(StatusCode::from_u16(status).unwrap());
        }
        counters.note_opened();
        let counts = counters.snapshot(0);
        assert!(CAUSES.into_iter().all(|cause| counts.closed(cause) == 1));
        assert!(FAULTS.into_iter().all(|fault| counts.faults(fault) == 1));
        for status in STATUSES {
            assert_eq!(counts.refused(StatusCode::from_u16(status).unwrap()), 1);
        }
        assert_eq!((counts.opened(), counts.refused(StatusCode::OK)), (1, 0));
        assert!(
            format!("{counts:?}").contains("\"refused: 403\": 1")
                || format!("{counts:?}").contains("refused: 403: 1")
        );
    }
}

//! Measured and handed to the recorder of the process.
//!
//! The handles of all metrics whose labels are known beforehand are made once, when the first of them is needed: a message
//! costs no look-up. What happens once a connection looks its handle up.

use std::sync::OnceLock;
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use dreamsocket_protocol::{CloseCode, Role};
use http::StatusCode;
use tokio::time::Instant;

use super::{Measured, Reason};
use crate::connection::counts::{ConnectionCounters, ConnectionCounts};
use crate::hub::Fault;
use crate::message::{Cause, Closed};
use crate::metrics::names;

/// The handles.
struct Meters {
    /// By role: server, client.
    connections: [Gauge; 2],
    opened: [Counter; 2],
    lasted: [Histogram; 2],
    messages_in: Counter,
    messages_out: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    /// By handler: `on_init`, `on_message`, `on_close`.
    handlers: [Histogram; 3],
    outbox: Gauge,
    gaps: Counter,
    missed: Counter,
    round_trips: Histogram,
    read_pauses: Counter,
    accept_pauses: Counter,
}

impl Meters {
    /// Made by whatever is measured first: a recorder that is installed later gets nothing.
    fn installed() -> &'static Self {
        static METERS: OnceLock<Meters> = OnceLock::new();
        METERS.get_or_init(|| {
            names::describe();
            let roles = [Role::Server, Role::Client].map(role_label);
            Self {
                connections: roles.map(|role| gauge!(names::CONNECTIONS, "role" => role)),
                opened: roles.map(|role| counter!(names::OPENED, "role" => role)),
                lasted: roles.map(|role| histogram!(names::LASTED, "role" => role)),
                messages_in: counter!(names::MESSAGES, "direction" => "in"),
                messages_out: counter!(names::MESSAGES, "direction" => "out"),
                bytes_in: counter!(names::BYTES, "direction" => "in"),
                bytes_out: counter!(names::BYTES, "direction" => "out"),
                handlers: ["on_init", "on_message", "on_close"]
                    .map(|handler| histogram!(names::HANDLERS, "handler" => handler)),
                outbox: gauge!(names::OUTBOX),
                gaps: counter!(names::GAPS),
                missed: counter!(names::MISSED),
                round_trips: histogram!(names::ROUND_TRIPS),
                read_pauses: counter!(names::READ_PAUSES),
                accept_pauses: counter!(names::ACCEPT_PAUSES),
            }
        })
    }
}

/// What a connection has told so far.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Unknown where nothing is measured.
    role: Option<Role>,
    told: ConnectionCounts,
    told_outbox: u32,
    /// Since when a handler runs, and which one. Apart, since together they take more room.
    since: Option<Instant>,
    handler: Measured,
}

impl Meter {
    pub(crate) fn open(role: Role, is_measured: bool) -> Self {
        if is_measured {
            let meters = Meters::installed();
            of(&meters.connections, role).increment(1.0);
            of(&meters.opened, role).increment(1);
        }
        Self {
            role: is_measured.then_some(role),
            told: ConnectionCounts::default(),
            told_outbox: 0,
            since: None,
            handler: Measured::Init,
        }
    }

    /// Tells what was counted since the last time. For once a batch; `buffered` are the bytes in the outbox.
    pub(crate) fn flush(&mut self, counters: &ConnectionCounters, buffered: impl Fn() -> usize) {
        let counts = counters.read();
        let told = std::mem::replace(&mut self.told, counts);
        // Never more than the bound, which is as wide.
        let outbox = u32::try_from(buffered()).unwrap_or(u32::MAX);
        if (counts == told && outbox == self.told_outbox) || self.role.is_none() {
            return;
        }
        let meters = Meters::installed();
        for (counter, now, before) in [
            (&meters.messages_in, counts.messages_in, told.messages_in),
            (&meters.bytes_in, counts.bytes_in, told.bytes_in),
            (&meters.messages_out, counts.messages_out, told.messages_out),
            (&meters.bytes_out, counts.bytes_out, told.bytes_out),
        ] {
            if now != before {
                counter.increment(now.wrapping_sub(before));
            }
        }
        self.tell_outbox(outbox);
    }

    fn tell_outbox(&mut self, bytes: u32) {
        let told = std::mem::replace(&mut self.told_outbox, bytes);
        let gauge = &Meters::installed().outbox;
        if bytes > told {
            gauge.increment(bytes - told);
        } else if bytes < told {
            gauge.decrement(told - bytes);
        }
    }

    #[inline]
    pub(crate) fn handler_begins(&mut self, handler: Measured) {
        self.handler = handler;
        self.since = Some(Instant::now());
    }

    #[inline]
    pub(crate) fn handler_ended(&mut self) {
        if let Some(since) = self.since.take()
            && self.role.is_some()
        {
            let [init, message, close] = &Meters::installed().handlers;
            let histogram = match self.handler {
                Measured::Init => init,
                Measured::Message => message,
                Measured::Close => close,
            };
            histogram.record(since.elapsed());
        }
    }

    pub(crate) fn note_read_pause(&self) {
        if self.role.is_some() {
            Meters::installed().read_pauses.increment(1);
        }
    }

    pub(crate) fn note_round_trip(&self, time: Duration) {
        if self.role.is_some() {
            Meters::installed().round_trips.record(time);
        }
    }

    /// The connection is over, `on_close` included.
    pub(crate) fn end(&mut self, counters: &ConnectionCounters, closed: &Closed, lasted: Duration) {
        let Some(role) = self.role else { return };
        self.flush(counters, || 0);
        of(&Meters::installed().lasted, role).record(lasted);
        counter!(
            names::CLOSES,
            "role" => role_label(role),
            "code" => code_label(closed.code),
            "cause" => cause_label(closed.cause),
        )
        .increment(1);
    }
}

/// Also where a session is dropped before its end.
impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(role) = self.role {
            self.tell_outbox(0);
            of(&Meters::installed().connections, role).decrement(1.0);
        }
    }
}

pub(crate) fn note_refused(status: StatusCode, reason: Reason) {
    Meters::installed();
    counter!(
        names::REFUSALS,
        "status" => status.as_u16().to_string(),
        "reason" => match reason {
            Reason::Handshake => "handshake",
            Reason::Origin => "origin",
            Reason::Host => "host",
            Reason::Subprotocol => "subprotocol",
            Reason::Transport => "transport",
            Reason::Full => "full",
            Reason::Draining => "draining",
            Reason::Address => "address",
        },
    )
    .increment(1);
}

pub(crate) fn note_fault(fault: Fault) {
    Meters::installed();
    let fault = match fault {
        Fault::Slow => "slow",
        Fault::Tls => "tls",
        Fault::Http => "http",
        Fault::Crowded => "crowded",
    };
    counter!(names::FAULTS, "fault" => fault).increment(1);
}

pub(crate) fn note_accept_pause() {
    Meters::installed().accept_pauses.increment(1);
}

/// A gap was told, of so many messages if that is known.
pub(crate) fn note_missed(count: Option<u64>) {
    let meters = Meters::installed();
    meters.gaps.increment(1);
    meters.missed.increment(count.unwrap_or_default());
}

const fn of<T>([server, client]: &[T; 2], role: Role) -> &T {
    match role {
        Role::Server => server,
        Role::Client => client,
    }
}

const fn role_label(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Client => "client",
    }
}

const fn cause_label(cause: Cause) -> &'static str {
    match cause {
        Cause::Peer => "peer",
        Cause::Stopped => "stopped",
        Cause::Failed => "failed",
        Cause::Panicked => "panicked",
        Cause::Lost => "lost",
        Cause::Protocol => "protocol",
        Cause::Limit => "limit",
        Cause::Lagged => "lagged",
        Cause::Drained => "drained",
        Cause::TimedOut => "timed_out",
    }
}

/// A peer chooses its code, so those that have no meaning of their own share a label.
fn code_label(code: CloseCode) -> &'static str {
    match u16::from(code) {
        1000 => "1000",
        1001 => "1001",
        1002 => "1002",
        1003 => "1003",
        1005 => "1005",
        1006 => "1006",
        1007 => "1007",
        1008 => "1008",
        1009 => "1009",
        1010 => "1010",
        1011 => "1011",
        1012 => "1012",
        1013 => "1013",
        1014 => "1014",
        3000..=3999 => "3xxx",
        4000..=4999 => "4xxx",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_code_has_a_label_of_few() {
        let labels: std::collections::BTreeSet<_> = (0..=u16::MAX)
            .map(|code| code_label(CloseCode::from(code)))
            .collect();
        assert_eq!(labels.len(), 17, "{labels:?}");
        assert_eq!(code_label(CloseCode::from(4001)), "4xxx");
        assert_eq!(code_label(CloseCode::GOING_AWAY), "1001");
    }
}

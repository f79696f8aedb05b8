//! What must be so when a tick has ended, after which no host has anything left to do, and at the end of the world.

use super::ends::Why;
use super::handlers::{Last, Stage};
use super::{Bounds, Checked, Endpoint, Oracle, READ_AHEAD, SLACK, Violation, ensure};
use crate::event::Role;

impl Oracle {
    /// `now` is the end of the tick; `connections` what the hub says it has.
    pub(crate) fn end_tick(&mut self, now: u64, connections: Option<usize>) -> Checked {
        let (bounds, drain_at) = (self.bounds, self.drain_at);
        for endpoint in &mut self.endpoints {
            let drain_at = drain_at.filter(|_| endpoint.role == Role::Server);
            if endpoint.is_crashed || endpoint.life.is_done() {
                continue;
            }
            let id = endpoint.id;
            let checked = endpoint.end_tick(now, &bounds, drain_at);
            checked.map_err(|violation| violation.of(id))?;
        }
        let run_until = drain_at.map(|at| at + bounds.drain_time + bounds.close_time);
        let is_late = run_until.is_some_and(|end| now > end + bounds.tick + SLACK);
        ensure(
            !is_late || self.server_ended_at.is_some(),
            "L10",
            || "the server runs on after the end of its drain",
        )?;
        // A handshake may be under way, and a session that has just ended may not be counted out yet.
        let open = self.endpoints.iter().filter(|endpoint| {
            let is_over = match endpoint.life.stage {
                Stage::Over => true,
                Stage::Fresh | Stage::Stateless => endpoint.wire.gone.is_some(),
                _ => false,
            };
            let is_recent = now <= endpoint.life.since + bounds.tick
                || endpoint.wire.gone.is_some_and(|at| now <= at + bounds.tick);
            endpoint.role == Role::Server && !endpoint.is_crashed && (!is_over || is_recent)
        });
        let open = open.count();
        ensure(connections.is_none_or(|count| count <= open), "L2", || {
            format!("the hub counts {connections:?} connections, and there are {open}")
        })
    }

    /// Whether all sessions have come to their end.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut live = self.endpoints.iter().filter(|endpoint| {
            !endpoint.is_crashed && endpoint.life.has_begun() && !endpoint.life.is_done()
        });
        live.next().is_none()
    }

    /// Nothing follows.
    pub(crate) fn finish(&mut self) -> Checked {
        for endpoint in self.endpoints.iter().filter(|it| !it.is_crashed) {
            let (id, stage) = (endpoint.id, endpoint.life.stage);
            let is_done = stage == Stage::Fresh || endpoint.life.is_done();
            ensure(is_done, "L2", || {
                format!("a session has not come to `on_close`: {stage:?}")
            })
            .map_err(|violation: Violation| violation.of(id))?;
        }
        Ok(())
    }
}

impl Endpoint {
    fn end_tick(&mut self, now: u64, bounds: &Bounds, drain_at: Option<u64>) -> Checked {
        if self.life.stage == Stage::Fresh {
            return self.check_started(now, bounds, drain_at);
        }
        self.check_running(now, bounds, drain_at)?;
        self.check_sends(now, bounds)?;
        self.check_ending(now, bounds)?;
        self.check_closed(now, bounds)?;
        if self.wire.gone.is_some() {
            return Ok(());
        }
        self.check_forwards(now, bounds)?;
        self.check_wakes(now, bounds)?;
        self.check_pongs(now, bounds)?;
        if self.life.stage == Stage::Open && self.closers.is_empty() {
            self.check_selector(now, bounds)?;
            self.check_heartbeat(now, bounds)?;
        }
        self.check_inbox(now, bounds)
    }

    /// L1: whoever was answered with 101 has a session.
    fn check_started(&self, now: u64, bounds: &Bounds, drain_at: Option<u64>) -> Checked {
        let is_owed = self.wire.upgraded_at.is_some_and(|at| {
            now > at + 2 * bounds.tick && drain_at.is_none_or(|drain| at < drain)
        });
        let is_lost = self.wire.gone.is_some() || !self.closers.is_empty();
        ensure(
            !is_owed || is_lost,
            "L1",
            || "the handshake succeeded, and `on_init` did not run",
        )
    }

    /// L2: a close that is queued is over when `close_time` is up.
    fn check_ending(&self, now: u64, bounds: &Bounds) -> Checked {
        if let Some(gone) = self.wire.gone {
            // What runs then has a bound of its own; after it comes the next at once.
            let since = gone.max(self.life.since);
            let is_stuck = self.life.stage == Stage::Open && now > since + bounds.tick;
            return ensure(
                !is_stuck,
                "L2",
                || "the connection is over, and `on_close` does not run",
            );
        }
        let overdue = self.own_closer().filter(|closer| {
            let end = closer.at + bounds.close_time;
            now > end + SLACK
        });
        ensure(overdue.is_none(), "L2", || {
            format!("the connection is still there when `close_time` is up: {overdue:?}")
        })?;
        let is_old = |at: u64| now > at + bounds.tick;
        let is_free = self.wire.is_writable() && self.wire.unflushed_since.is_none();
        // A client leaves the end of the stream to the server (C5).
        let both = self.wire.our_close.zip(self.wire.peer_close);
        let is_over = both.is_some_and(|(ours, peers)| is_old(ours.max(peers)));
        ensure(
            !(is_over && is_free && self.role == Role::Server),
            "L2",
            || "both close frames are there, and the connection does not end",
        )?;
        let is_queued = self.closers.iter().any(|closer| {
            let is_known = match closer.why {
                Why::Peer(_) | Why::Broke => self.is_all_handled(),
                why => why.is_ours(),
            };
            is_known && is_old(closer.at.max(self.life.since))
        });
        let is_held_up = !self.sends.accepted.is_empty() || self.sends.waiting().is_some();
        let is_unsent = is_queued && self.wire.our_close.is_none() && !is_held_up;
        ensure(
            !(is_unsent && is_free),
            "S2",
            || "a close is queued, and its frame is not written",
        )
    }

    /// L3: `closed()` resolves as soon as sends fail, and not before there is a reason.
    fn check_closed(&self, now: u64, bounds: &Bounds) -> Checked {
        let is_old = |at: u64| now > at + bounds.tick;
        match self.life.closed_seen {
            None => {
                let is_refused = self.sends.refused_at.is_some_and(is_old);
                ensure(
                    !is_refused,
                    "L3",
                    || "sends fail, and `closed()` does not resolve",
                )?;
                let is_over = self.wire.gone.is_some_and(is_old);
                ensure(
                    !is_over,
                    "L3",
                    || "the connection is over, and `closed()` does not resolve",
                )?;
                let is_known = self.closers.iter().any(|closer| {
                    let is_seen = match closer.why {
                        Why::Peer(_) | Why::Broke => self.is_all_handled(),
                        // A write may fail while messages wait.
                        Why::End => !self.wire.has_failed,
                        Why::DrainedSometime | Why::Lagged => false,
                        _ => true,
                    };
                    is_seen && is_old(closer.at.max(self.life.since))
                });
                ensure(!is_known, "L3", || {
                    format!(
                        "the end is known, and `closed()` does not resolve: {:?}",
                        self.closers
                    )
                })
            }
            Some(seen) => {
                let is_reasonless = self.closers.is_empty()
                    && self.wire.our_close.is_none()
                    && self.wire.gone.is_none()
                    && is_old(seen.at);
                ensure(
                    !is_reasonless,
                    "L3",
                    || "`closed()` has resolved, and the connection does not end",
                )
            }
        }
    }

    /// Whether no message waits behind the one that is being handled.
    fn is_all_handled(&self) -> bool {
        self.wire.inbox.len() == self.wire.handled
    }

    /// Whoever was told that the socket is ready looks at it.
    fn check_wakes(&self, now: u64, bounds: &Bounds) -> Checked {
        let is_old = |at: u64| now > at + bounds.tick;
        let is_blocked = self.wire.blocked_since.is_some();
        let is_blocked = is_blocked && !self.wire.has_failed && !self.wire.is_given_up;
        let is_lost = is_blocked && self.wire.writable_at.is_some_and(is_old);
        ensure(
            !is_lost,
            "S2",
            || "the socket takes what waits, and nobody writes it",
        )?;
        let is_idle = self.life.stage == Stage::Open && self.closers.is_empty();
        let readable = self.wire.readable_at.map(|at| at.max(self.life.since));
        ensure(
            !is_idle || readable.is_none_or(|at| !is_old(at)),
            "L4",
            || "something can be read, and nobody reads it",
        )
    }

    /// L3: a ping that was read is answered, also while a handler runs.
    fn check_pongs(&self, now: u64, bounds: &Bounds) -> Checked {
        let is_free = self.wire.is_writable() && self.closers.is_empty();
        if !is_free || self.wire.bytes_waiting() >= READ_AHEAD {
            return Ok(());
        }
        let oldest = self.wire.pings.front();
        let is_owed = oldest.is_some_and(|(_, at)| now > at + bounds.tick);
        ensure(!is_owed, "L3", || "a ping that was read has no answer")
    }

    /// L4, L5: messages that were read are handled when no handler runs.
    fn check_inbox(&self, now: u64, bounds: &Bounds) -> Checked {
        let is_free = self.life.stage == Stage::Open
            && self.life.last == Last::Normal
            && self.own_closer().is_none()
            && !self.wire.has_failed
            && !self
                .closers
                .iter()
                .any(|closer| matches!(closer.why, Why::DrainedSometime | Why::Lagged));
        let next = self.wire.inbox.get(self.wire.handled);
        let since = next.map(|message| message.at.max(self.life.since));
        let is_stuck = is_free && since.is_some_and(|at| now > at + bounds.tick);
        let law = match next {
            Some(message) if message.is_early => "L1",
            _ if self.closers.is_empty() => "L4",
            _ => "L5",
        };
        ensure(
            !is_stuck,
            law,
            || "a message was read, and nobody handles it",
        )
    }

    /// L9: a silent peer is pinged, and then lost.
    fn check_heartbeat(&self, now: u64, bounds: &Bounds) -> Checked {
        let Some(interval) = bounds.heartbeat else {
            return Ok(());
        };
        let upgraded = self.wire.upgraded_at.unwrap_or_default();
        let since = self.wire.last_read.max(self.life.since).max(upgraded);
        let silence = now.saturating_sub(since);
        let is_pinged = self.wire.last_ping >= since || !self.wire.is_writable();
        ensure(
            silence <= interval + bounds.tick + SLACK || is_pinged,
            "L9",
            || format!("a peer was not pinged in a silence of {silence} µs"),
        )?;
        ensure(
            silence <= 3 * interval + 2 * bounds.tick + SLACK,
            "L9",
            || format!("a peer was not given up in a silence of {silence} µs"),
        )
    }
}

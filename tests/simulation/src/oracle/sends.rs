//! Sends: what was accepted, what came out of it, and how long it took (S1, L6).

use std::collections::VecDeque;

use super::{Bounds, Checked, ENTRY_CHARGE, Endpoint, Moment, SLACK, ensure};
use crate::event::Fate;
use crate::frames::Print;

/// After how many handled messages there is a flush at the latest, and one more that was being handled.
const FLUSH_MESSAGES: u64 = 65;

/// A message that was accepted and has not come out.
#[derive(Debug)]
pub(super) struct Accepted {
    id: u32,
    print: Print,
    pub(super) at: u64,
    /// How many messages had been handled then.
    done: u64,
}

/// A send that has not returned.
#[derive(Debug)]
pub(super) struct Pending {
    id: u32,
    print: Print,
    pub(super) at: u64,
    waits: bool,
    /// `closed()` had resolved, or the connection was over.
    was_closed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Sends {
    pub(super) accepted: VecDeque<Accepted>,
    pub(super) pending: Vec<Pending>,
    /// Those that were not accepted, and those that have come out.
    refused: Vec<(Print, Fate)>,
    written: Vec<Print>,
    /// When room was taken or became free.
    pub(super) room_changed: u64,
    /// When a send was first refused since the connection is closing.
    pub(super) refused_at: Option<u64>,
}

impl Sends {
    fn charge(print: Print, bounds: &Bounds) -> usize {
        (print.length + ENTRY_CHARGE).min(bounds.outbox)
    }

    /// What the outbox must hold at least.
    pub(super) fn taken(&self, bounds: &Bounds) -> usize {
        let accepted = self.accepted.iter();
        accepted.map(|it| Self::charge(it.print, bounds)).sum()
    }

    /// The first send that waits for room.
    pub(super) fn waiting(&self) -> Option<&Pending> {
        self.pending.iter().find(|it| it.waits)
    }

    /// Whether there is room for the first that waits.
    pub(super) fn has_room_for(&self, pending: &Pending, bounds: &Bounds) -> bool {
        self.taken(bounds) + Self::charge(pending.print, bounds) <= bounds.outbox
    }
}

impl Endpoint {
    pub(super) fn send(&mut self, now: Moment, id: u32, print: Print, waits: bool) -> Checked {
        let was_closed = self.life.closed_seen.is_some() || self.wire.gone.is_some();
        self.sends.pending.push(Pending {
            id,
            print,
            at: now.at,
            waits,
            was_closed,
        });
        Ok(())
    }

    pub(super) fn sent(
        &mut self,
        now: Moment,
        id: u32,
        fate: Fate,
        buffered: usize,
        bounds: &Bounds,
    ) -> Checked {
        let place = self.sends.pending.iter().position(|it| it.id == id);
        let Some(pending) = place.map(|place| self.sends.pending.remove(place)) else {
            return Ok(());
        };
        let waited = now.at - pending.at;
        ensure(buffered <= bounds.outbox, "S1", || {
            format!("{buffered} bytes are in an outbox of {}", bounds.outbox)
        })?;
        ensure(pending.waits || waited == 0, "S1", || "a `try_send` waited")?;
        match fate {
            Fate::Accepted => {
                ensure(
                    !pending.was_closed,
                    "S1",
                    || "a send was accepted after `closed()` had resolved",
                )?;
                self.sends.accepted.push_back(Accepted {
                    id,
                    print: pending.print,
                    at: now.at,
                    done: self.life.done,
                });
                self.sends.room_changed = now.at;
                let taken = self.sends.taken(bounds);
                ensure(taken <= bounds.outbox, "S1", || {
                    format!("{taken} bytes were accepted into {}", bounds.outbox)
                })?;
                return Ok(());
            }
            Fate::Closed => {
                self.sends.refused_at.get_or_insert(now.at);
            }
            Fate::Timeout => {
                ensure(waited >= bounds.send_timeout, "S1", || {
                    format!("a send timed out after {waited} µs")
                })?;
            }
            Fate::Full => {
                let is_empty = self.sends.accepted.is_empty() && self.forwards.is_empty();
                let is_quiet = now.at > self.sends.room_changed + bounds.tick;
                let is_first = self.sends.waiting().is_none();
                ensure(
                    !(is_empty && is_quiet && is_first),
                    "S1",
                    || "an outbox without a message is full",
                )?;
            }
            Fate::GivenUp => {}
        }
        self.sends.refused.push((pending.print, fate));
        Ok(())
    }

    /// A message has gone out: it must be the next of those that were accepted, or a forwarded one.
    pub(super) fn written(&mut self, now: Moment, print: Print, head: &str) -> Checked {
        if head.starts_with("f ") || head.starts_with("m ") {
            return self.forwarded(now, head);
        }
        if self
            .sends
            .accepted
            .front()
            .is_some_and(|it| it.print == print)
        {
            self.sends.accepted.pop_front();
            self.sends.written.push(print);
            self.sends.room_changed = now.at;
            return ensure(true, "L6", || "");
        }
        let refused = self.sends.refused.iter().find(|(it, _)| *it == print);
        let later = self.sends.accepted.iter().find(|it| it.print == print);
        let (law, what) = match (refused, later) {
            (Some((_, fate)), _) => (
                "S1",
                format!("is of a send that was not accepted: {fate:?}"),
            ),
            (None, Some(later)) => {
                let first = self.sends.accepted.front().map(|it| it.id);
                (
                    "L6",
                    format!("is send {}, and {first:?} comes before it", later.id),
                )
            }
            (None, None) if self.sends.written.contains(&print) => {
                ("L6", "has come out before".to_owned())
            }
            (None, None) => ("L6", "was never sent".to_owned()),
        };
        ensure(false, law, || {
            format!("a message {head:?} came out that {what}")
        })
    }

    /// S2: before one message more is handled, what was sent 64 messages ago is written.
    pub(super) fn check_flushed(&self) -> Checked {
        let Some(oldest) = self.sends.accepted.front() else {
            return Ok(());
        };
        let handled = self.life.done - oldest.done;
        ensure(
            handled <= FLUSH_MESSAGES || !self.wire.is_writable(),
            "S2",
            || format!("{handled} messages were handled and what was sent before is not written"),
        )
    }

    /// What must have happened by now with what was sent.
    pub(super) fn check_sends(&self, now: u64, bounds: &Bounds) -> Checked {
        let is_old = |at: u64| now > at + bounds.tick;
        if let Some(pending) = self.sends.waiting() {
            ensure(
                now <= pending.at + bounds.send_timeout + SLACK,
                "S1",
                || "a send waits for longer than its timeout",
            )?;
            let is_stuck = self.forwards.is_empty()
                && self.wire.is_writable()
                && is_old(pending.at.max(self.sends.room_changed))
                && self.sends.has_room_for(pending, bounds);
            ensure(
                !is_stuck,
                "S1",
                || "a send waits although there is room for it",
            )?;
            ensure(
                self.wire.gone.is_none_or(|at| !is_old(at)),
                "S1",
                || "a send waits although the connection is over",
            )?;
        }
        if !self.wire.is_writable() {
            return Ok(());
        }
        let oldest = self.sends.accepted.front();
        ensure(
            oldest.is_none_or(|it| !is_old(it.at)),
            "S2",
            || "what was accepted is not written, although the socket takes it and nothing runs",
        )?;
        let unflushed = self.wire.unflushed_since;
        ensure(
            unflushed.is_none_or(|at| !is_old(at)),
            "S2",
            || "what was written is not flushed",
        )
    }
}

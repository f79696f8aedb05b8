//! Why a connection ends, with which code, and how long that may take (L2, L5, L8).

use dreamsocket::Cause;

use super::handlers::{Last, Stage};
use super::{Bounds, Checked, Endpoint, Moment, Oracle, SLACK, ensure};
use crate::event::{Call, End, Role};

/// A reason for the end, and when it was there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closer {
    pub(super) why: Why,
    pub(super) at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Stopped(u16),
    Failed(u16),
    Panicked,
    TimedOut,
    /// A handler was dropped at the end of the drain time.
    Cut,
    /// Another task's `close()`, or the handler's own.
    Asked(u16),
    Drained,
    /// It is spread over time: nobody knows when this one's turn is.
    DrainedSometime,
    /// A channel has ended because it lagged.
    Lagged,
    /// The peer's close frame was read.
    Peer(Option<u16>),
    /// The peer broke the protocol.
    Broke,
    /// The end of the stream was read, or a write failed.
    End,
}

impl Why {
    /// Whether it is queued as soon as it is there.
    pub(super) const fn is_ours(self) -> bool {
        !matches!(
            self,
            Self::Peer(_) | Self::Broke | Self::End | Self::DrainedSometime | Self::Lagged
        )
    }

    /// Whether a close frame of ours may carry this code for it.
    fn allows(self, code: Option<u16>) -> bool {
        match self {
            Self::Stopped(own) | Self::Failed(own) | Self::Asked(own) => code == Some(own),
            Self::Panicked | Self::TimedOut => code == Some(1011),
            Self::Cut | Self::Drained | Self::DrainedSometime => code == Some(1001),
            Self::Lagged => code == Some(1013),
            Self::Peer(own) => code == own,
            Self::Broke => matches!(code, Some(1002 | 1007 | 1009)),
            Self::End => false,
        }
    }

    /// What the library has to call it, if it came first.
    const fn cause(self) -> Cause {
        match self {
            Self::Stopped(_) | Self::Asked(_) => Cause::Stopped,
            Self::Failed(1013) | Self::Lagged => Cause::Lagged,
            Self::Failed(_) => Cause::Failed,
            Self::Panicked => Cause::Panicked,
            Self::TimedOut => Cause::TimedOut,
            Self::Cut | Self::Drained | Self::DrainedSometime => Cause::Drained,
            Self::Peer(_) => Cause::Peer,
            Self::Broke => Cause::Protocol,
            Self::End => Cause::Lost,
        }
    }

    /// The law that says what is sent for it.
    const fn law(self) -> &'static str {
        match self {
            Self::Panicked => "L8",
            Self::TimedOut => "L3",
            Self::Lagged => "B3",
            _ => "L5",
        }
    }
}

impl Endpoint {
    pub(super) fn close_for(&mut self, now: Moment, why: Why) {
        // When the stream has ended nothing is asked for any more: what was read before is still handled.
        let is_over = self.closers.iter().any(|closer| closer.why == Why::End);
        if is_over && matches!(why, Why::Asked(_) | Why::Drained | Why::DrainedSometime) {
            return;
        }
        self.closers.push(Closer { why, at: now.at });
    }

    /// The stream has ended, on either side.
    pub(super) fn ended(&mut self, now: Moment) {
        if !self.closers.iter().any(|closer| closer.why == Why::End) {
            self.close_for(now, Why::End);
        }
    }

    /// The first reason of ours, which is queued when it is there.
    pub(super) fn own_closer(&self) -> Option<Closer> {
        self.closers.iter().find(|it| it.why.is_ours()).copied()
    }

    /// The very first reason, if it is ours. What the peer did at the same moment may have been seen before.
    fn first_is_ours(&self) -> Option<Closer> {
        let first = *self.closers.first().filter(|it| it.why.is_ours())?;
        let mut others = self.closers.iter().filter(|it| !it.why.is_ours());
        let is_alone = !others.any(|other| other.at == first.at);
        is_alone.then_some(first)
    }

    /// Whether it may end for a peer that does not read, or for a forwarded channel.
    pub(super) fn may_lag(&self, now: u64, bounds: &Bounds) -> bool {
        self.wire.is_stalled(now, bounds) || self.forwards.iter().any(|it| it.ends)
    }

    /// A close frame of ours has gone out.
    pub(super) fn closed_with(
        &mut self,
        now: Moment,
        code: Option<u16>,
        bounds: &Bounds,
    ) -> Checked {
        ensure(
            self.wire.our_close.is_none(),
            "L5",
            || "a second close frame was sent",
        )?;
        self.wire.our_close = Some(now.at);
        ensure(self.sends.accepted.is_empty(), "L6", || {
            let count = self.sends.accepted.len();
            format!("a close frame overtook {count} messages that were accepted before it")
        })?;
        let waiting = self.sends.waiting();
        ensure(
            waiting.is_none(),
            "L6",
            || "a close frame overtook a send that waited for room",
        )?;
        let was_stalled = self.may_lag(now.at, bounds) && code == Some(1013);
        match self.first_is_ours() {
            Some(first) => {
                let allowed = first.why.allows(code) || was_stalled;
                let why = first.why;
                ensure(allowed, why.law(), || {
                    format!("closed with {code:?}, although the first reason was {why:?}")
                })
            }
            None => {
                let is_any = self.closers.iter().any(|it| it.why.allows(code));
                ensure(is_any || was_stalled, "L5", || {
                    format!("closed with {code:?} for no reason: {:?}", self.closers)
                })
            }
        }
    }

    /// The session has let go of the transport.
    pub(super) fn gone(
        &mut self,
        now: Moment,
        is_unread: bool,
        bounds: &Bounds,
        drain_at: Option<u64>,
    ) -> Checked {
        self.wire.gone = Some(now.at);
        self.wire.is_unread = is_unread;
        if !self.life.is_running() {
            self.selection.die();
        }
        if !self.life.has_begun() {
            return Ok(());
        }
        // L2: until both close frames are there, or `close_time` is up.
        let first = self.closers.first().filter(|it| it.why.is_ours());
        let is_early = first.is_some_and(|closer| now.at < closer.at + bounds.close_time);
        let both = self.wire.our_close.is_some() && self.wire.peer_close.is_some();
        let is_over = self.closers.iter().any(|it| it.why == Why::End);
        let is_cut = drain_at.is_some_and(|at| now.at >= at + bounds.drain_time);
        ensure(
            !is_early || both || is_over || is_cut,
            "L2",
            || "the closing handshake was cut before its time was up",
        )
    }

    /// What the library says of the end.
    pub(super) fn check_end(&mut self, now: u64, end: &End, bounds: &Bounds) -> Checked {
        let is_lost_to_silence = end.cause == Cause::Lost && end.reason == "timed out";
        if is_lost_to_silence {
            let gone = self.wire.gone.unwrap_or_default();
            let silence = gone.saturating_sub(self.wire.last_read);
            let least = bounds.heartbeat.map(|interval| 3 * interval);
            ensure(least.is_some_and(|least| silence >= least), "L9", || {
                format!("a peer was called dead after a silence of {silence} µs")
            })?;
            ensure(
                !self.wire.is_unread || self.wire.is_given_up,
                "L9",
                || "a peer was called dead although there was something to read",
            )?;
        }
        if let Some(first) = self.first_is_ours() {
            let expected = first.why.cause();
            let is_stall = self.may_lag(now, bounds) && end.cause == Cause::Lagged;
            let is_so = end.cause == expected || is_stall || is_lost_to_silence;
            ensure(is_so, first.why.law(), || {
                let (why, cause) = (first.why, end.cause);
                format!("the first reason was {why:?}, but the cause is said to be {cause:?}")
            })?;
        }
        let both = self.wire.our_close.is_some() && self.wire.peer_close.is_some();
        ensure(
            !end.is_clean || both,
            "L5",
            || "an end is called clean without two close frames",
        )?;
        ensure(
            !end.is_clean || self.sends.accepted.is_empty(),
            "L6",
            || "an end is called clean, and accepted messages were not written",
        )
    }

    /// L5: before the end that the peer made comes all that it sent before.
    pub(super) fn check_all_handled(&self, now: u64, end: &End, bounds: &Bounds) -> Checked {
        let is_peers = match end.cause {
            Cause::Peer => true,
            Cause::Lost => {
                !self.wire.has_failed && self.closers.iter().any(|it| it.why == Why::End)
            }
            _ => false,
        };
        // A close of ours drops them, also one that the peer's has come before.
        let may_be_ours =
            |it: &Closer| it.why.is_ours() || matches!(it.why, Why::DrainedSometime | Why::Lagged);
        let is_closed = self.closers.iter().any(may_be_ours) || self.may_lag(now, bounds);
        if !is_peers || is_closed || self.life.last != Last::Normal {
            return Ok(());
        }
        let left = self.wire.inbox.get(self.wire.handled..).unwrap_or_default();
        let is_early = left.first().is_some_and(|message| message.is_early);
        let law = if is_early { "L1" } else { "L5" };
        let left = left.len();
        ensure(left == 0, law, || {
            format!("{left} messages that came before the peer's end were not handled")
        })
    }

    /// L10: it must not have waited.
    pub(super) fn called(&mut self, now: Moment, call: Call, polls: u32) -> Checked {
        match call {
            Call::Close(code) if self.wire.gone.is_none() => {
                self.close_for(now, Why::Asked(code));
            }
            Call::Ping => {
                self.wire.pings_asked += 1;
                self.wire.note_control();
            }
            _ => {}
        }
        ensure(polls == 1, "L10", || format!("{call:?} waited"))
    }
}

impl Oracle {
    /// The hub drains.
    pub(super) fn drain(&mut self, now: Moment) -> Checked {
        self.drain_at = Some(now.at);
        let why = match self.bounds.is_drain_spread {
            true => Why::DrainedSometime,
            false => Why::Drained,
        };
        let of_server = |endpoint: &&mut Endpoint| {
            endpoint.role == Role::Server && !endpoint.is_crashed && endpoint.wire.gone.is_none()
        };
        for endpoint in self.endpoints.iter_mut().filter(of_server) {
            endpoint.close_for(now, why);
        }
        Ok(())
    }

    /// A handler's `hub.drained()` has returned.
    pub(super) fn drain_awaited(&mut self, now: Moment) -> Checked {
        let latest = self.drain_at.map(|at| {
            let time = self.bounds.drain_time + self.bounds.close_time;
            at + time + SLACK
        });
        ensure(
            latest.is_some_and(|latest| now.at <= latest),
            "L10",
            || "`drained()` took longer than the drain may",
        )
    }

    /// The server's `run` has returned, with what it says of the sessions that the drain has found.
    pub(super) fn server_ended(&mut self, now: Moment, clean: usize, cut: usize) -> Checked {
        self.server_ended_at = Some(now.at);
        self.drain_awaited(now)?;
        let since = self.drain_at.unwrap_or_default();
        let of_server = self
            .endpoints
            .iter()
            .filter(|it| it.role == Role::Server && !it.is_crashed && it.life.has_begun());
        // Whoever has ended at the moment of the drain may have been before or after it.
        let (mut least, mut most) = ([0, 0], [0, 0]);
        for endpoint in of_server {
            let is_cut = usize::from(endpoint.life.was_cut || !endpoint.has_ended());
            let end = endpoint
                .wire
                .gone
                .unwrap_or(u64::MAX)
                .max(endpoint.life.since);
            least[is_cut] += usize::from(end > since);
            most[is_cut] += usize::from(end >= since);
        }
        for (counted, is_cut) in [(clean, 0), (cut, 1)] {
            let is_so = (least[is_cut]..=most[is_cut]).contains(&counted);
            ensure(is_so, "L2", || {
                let (least, most) = (least[is_cut], most[is_cut]);
                format!(
                    "a drain counts {clean} clean and {cut} cut; {least} to {most} it should be"
                )
            })?;
        }
        Ok(())
    }
}

impl Endpoint {
    /// Whether the session has come to its end, with `on_close` or without.
    fn has_ended(&self) -> bool {
        match self.life.stage {
            Stage::Over => true,
            Stage::Stateless => self.wire.gone.is_some(),
            _ => false,
        }
    }
}

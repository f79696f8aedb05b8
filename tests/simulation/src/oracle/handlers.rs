//! The handlers of a session: which runs when, with what, and how it ends (L1, L2, L3, L5, L8).

use super::ends::Why;
use super::{Bounds, Checked, Endpoint, Moment, SLACK, ensure};
use crate::event::{End, Given, Returned};

/// Where the life of a session's handlers stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// `on_init` has not begun.
    #[default]
    Fresh,
    Initialising,
    /// No handler runs.
    Open,
    Handling,
    Closing,
    Over,
    /// `on_init` gave no state: nothing follows.
    Stateless,
}

/// How the last handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Last {
    #[default]
    Normal,
    Stopped,
    Failed,
    Panicked,
    /// Its time was up, or the drain's.
    Cut,
}

#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) stage: Stage,
    /// When the handler that runs began, or the last one ended.
    pub(super) since: u64,
    pub(super) last: Last,
    /// How many messages were handled to their end.
    pub(super) done: u64,
    /// What the state says of itself when nobody has harmed it.
    pub(super) version: u64,
    /// Whether a handler was dropped because its time was up.
    pub(super) was_cut: bool,
    /// Whether `ConnectionClosed` was delivered.
    is_told: bool,
    /// Whether that is the message that is being handled.
    is_telling: bool,
    /// When `closed()` resolved.
    pub(super) closed_seen: Option<Moment>,
    pub(super) end: Option<End>,
}

impl Life {
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether there is nothing left to come.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Over | Stage::Stateless)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.stage != Stage::Fresh
    }

    /// Whether a handler runs.
    pub(super) const fn is_running(&self) -> bool {
        matches!(
            self.stage,
            Stage::Initialising | Stage::Handling | Stage::Closing
        )
    }

    fn go(&mut self, now: Moment, stage: Stage) {
        self.stage = stage;
        self.since = now.at;
    }
}

impl Endpoint {
    pub(super) fn init(&mut self, now: Moment) -> Checked {
        let stage = self.life.stage;
        ensure(stage == Stage::Fresh, "L1", || {
            format!("`on_init` ran a second time: {stage:?}")
        })?;
        self.life.go(now, Stage::Initialising);
        self.wire.begin_handler();
        Ok(())
    }

    pub(super) fn init_done(&mut self, now: Moment, sources: Option<&[u32]>) -> Checked {
        match sources {
            Some(sources) => {
                self.life.go(now, Stage::Open);
                self.selection.replace(sources);
            }
            None => {
                self.life.go(now, Stage::Stateless);
                self.life.last = Last::Failed;
                self.selection.die();
                // With which code is the application's.
                self.close_for(now, Why::Failed(1011));
            }
        }
        self.end_of_selector();
        Ok(())
    }

    pub(super) fn begun(
        &mut self,
        now: Moment,
        given: &Given,
        bounds: &Bounds,
        drain_at: Option<u64>,
    ) -> Checked {
        let stage = self.life.stage;
        ensure(
            !matches!(stage, Stage::Fresh | Stage::Initialising | Stage::Stateless),
            "L1",
            || format!("a message was handled before `on_init` was done: {stage:?}"),
        )?;
        ensure(
            stage != Stage::Handling,
            "L3",
            || "a message was handled while another handler ran",
        )?;
        ensure(stage == Stage::Open, "L2", || {
            format!("a message was handled after `on_close`: {stage:?}")
        })?;
        ensure(
            !self.life.is_told,
            "L5",
            || "a message was handled after `ConnectionClosed`",
        )?;
        if let Given::Closed(end) = given {
            self.told(now, end, bounds, drain_at)?;
        } else {
            let last = self.life.last;
            ensure(last == Last::Normal, "L5", || {
                format!("a message was handled after the last handler: {last:?}")
            })?;
            let own = self.own_closer();
            ensure(own.is_none(), "L5", || {
                format!("a message was handled after a close of ours was queued: {own:?}")
            })?;
            ensure(
                self.wire.gone.is_none(),
                "L5",
                || "a message was handled when the connection was over",
            )?;
            self.check_flushed()?;
            match given {
                Given::Message(print, head) => self.message(now, *print, head)?,
                Given::Fed { source, number } => self.fed(now, *source, *number)?,
                Given::Said { topic, number } => self.said(now, *topic, *number)?,
                Given::Missed { source, count } => self.missed(now, source, *count)?,
                Given::Closed(_) => {}
            }
        }
        self.life.go(now, Stage::Handling);
        self.wire.begin_handler();
        Ok(())
    }

    /// `ConnectionClosed` is delivered.
    fn told(&mut self, now: Moment, end: &End, bounds: &Bounds, drain_at: Option<u64>) -> Checked {
        let last = self.life.last;
        ensure(last == Last::Normal, "L5", || {
            format!("`ConnectionClosed` was delivered, but the last handler: {last:?}")
        })?;
        ensure(
            self.wire.gone.is_some(),
            "L5",
            || "`ConnectionClosed` was delivered while the connection was open",
        )?;
        let is_cut = drain_at.is_some_and(|at| now.at >= at + bounds.drain_time + SLACK);
        ensure(
            !is_cut,
            "L5",
            || "`ConnectionClosed` was delivered after the end of the drain time",
        )?;
        self.life.is_told = true;
        self.life.is_telling = true;
        self.check_end(now.at, end, bounds)?;
        self.check_all_handled(now.at, end, bounds)
    }

    pub(super) fn done(&mut self, now: Moment, returned: &Returned) -> Checked {
        self.life.go(now, Stage::Open);
        self.life.done += 1;
        self.wire.done_since_write += 1;
        if std::mem::take(&mut self.life.is_telling) {
            return Ok(());
        }
        match returned {
            Returned::Continue => {}
            Returned::Replace(sources) => self.selection.replace(sources),
            Returned::Add(sources) => self.selection.add(sources),
            Returned::Remove(key) => self.selection.remove(key),
            Returned::Stop(code) => {
                self.life.last = Last::Stopped;
                self.close_for(now, Why::Stopped(*code));
            }
            Returned::Error(code) => {
                self.life.last = Last::Failed;
                self.close_for(now, Why::Failed(*code));
            }
        }
        self.end_of_selector();
        Ok(())
    }

    /// The loop has ended when it finds, between two handlers, that the connection is over or that the last handler was the
    /// last; the selector goes with it.
    fn end_of_selector(&mut self) {
        if self.wire.gone.is_some() || self.life.last != Last::Normal {
            self.selection.die();
        }
    }

    /// A handler's future is gone before its end.
    pub(super) fn dropped(
        &mut self,
        now: Moment,
        by_panic: bool,
        bounds: &Bounds,
        drain_at: Option<u64>,
    ) -> Checked {
        let ran = now.at - self.life.since;
        let (stage, is_telling) = (self.life.stage, self.life.is_telling);
        let is_cut = drain_at.is_some_and(|at| now.at >= at + bounds.drain_time);
        let limit = match stage {
            Stage::Closing => bounds.close_time,
            Stage::Initialising => bounds.init_timeout,
            _ => bounds.handler_timeout,
        };
        if !by_panic {
            let law = if stage == Stage::Closing { "L2" } else { "L3" };
            let may_be_cut = is_cut && stage != Stage::Closing;
            ensure(ran >= limit || may_be_cut, law, || {
                format!("a handler was dropped after {ran} µs: {stage:?}")
            })?;
        }
        self.life.was_cut |= !by_panic;
        if stage == Stage::Closing {
            self.life.go(now, Stage::Over);
            return Ok(());
        }
        let next = match stage {
            Stage::Initialising => Stage::Stateless,
            _ => Stage::Open,
        };
        self.life.go(now, next);
        self.life.is_telling = false;
        self.selection.die();
        if is_telling {
            return Ok(());
        }
        let (last, why) = match (by_panic, ran >= limit) {
            (true, _) => (Last::Panicked, Why::Panicked),
            (false, true) => (Last::Cut, Why::TimedOut),
            (false, false) => (Last::Cut, Why::Cut),
        };
        self.life.last = last;
        // Both times may be up at once.
        if !(why == Why::TimedOut && is_cut) {
            self.close_for(now, why);
        }
        Ok(())
    }

    pub(super) fn on_close(
        &mut self,
        now: Moment,
        end: &End,
        version: u64,
        bounds: &Bounds,
        drain_at: Option<u64>,
    ) -> Checked {
        let stage = self.life.stage;
        ensure(
            !matches!(stage, Stage::Closing | Stage::Over),
            "L2",
            || "`on_close` ran a second time",
        )?;
        ensure(
            stage != Stage::Handling,
            "L3",
            || "`on_close` ran while another handler did",
        )?;
        ensure(stage == Stage::Open, "L2", || {
            format!("`on_close` ran without a state: {stage:?}")
        })?;
        ensure(
            self.wire.gone.is_some(),
            "L2",
            || "`on_close` ran while the connection was open",
        )?;
        let expected = self.life.version;
        let law = match self.life.last {
            Last::Panicked => "L8",
            _ => "L2",
        };
        ensure(version == expected, law, || {
            format!("`on_close` got state {version}, the handlers left {expected}")
        })?;
        self.check_end(now.at, end, bounds)?;
        // L5: whoever returned normally is told of the end, unless the drain's was there first.
        let is_cut = drain_at.is_some_and(|at| now.at >= at + bounds.drain_time);
        let is_due = self.life.last == Last::Normal && !is_cut;
        ensure(
            !is_due || self.life.is_told,
            "L5",
            || "`ConnectionClosed` was not delivered, although the last handler returned normally",
        )?;
        self.life.end = Some(end.clone());
        self.life.go(now, Stage::Closing);
        Ok(())
    }

    pub(super) fn on_close_done(&mut self, now: Moment) -> Checked {
        self.life.go(now, Stage::Over);
        Ok(())
    }

    /// How long the handler that runs may run.
    pub(super) fn check_running(
        &self,
        now: u64,
        bounds: &Bounds,
        drain_at: Option<u64>,
    ) -> Checked {
        if !self.life.is_running() {
            return Ok(());
        }
        let (stage, ran) = (self.life.stage, now.saturating_sub(self.life.since));
        let (limit, law) = match stage {
            Stage::Closing => (bounds.close_time, "L2"),
            Stage::Initialising => (bounds.init_timeout, "L3"),
            _ => (bounds.handler_timeout, "L3"),
        };
        ensure(ran <= limit + SLACK, law, || {
            format!("a handler still runs after {ran} µs: {stage:?}")
        })?;
        let cut_at = drain_at.filter(|_| stage != Stage::Closing);
        let is_overdue = cut_at.is_some_and(|at| now > at + bounds.drain_time + SLACK);
        ensure(
            !is_overdue,
            "L10",
            || "a handler still runs after the end of the drain time",
        )
    }
}

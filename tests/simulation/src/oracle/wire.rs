//! What goes over the wire below a session: read ahead, pings and their answers, and what is written against what was sent
//! (L3, L4, L6, L9, S1).

use std::collections::VecDeque;

use super::ends::Why;
use super::handlers::Stage;
use super::{Bounds, CONTROL_RESERVE, Checked, Endpoint, Moment, READ_AHEAD, ensure};
use crate::event::{Role, Seen};
use crate::frames::{Decoder, Print};

/// After how many messages of the selector the peer has its turn (L4).
const SELECTOR_TURNS: u32 = 3;

/// How many writes in a row may be early, and after how many handlers a write is not (S2).
const EARLY_WRITES: u32 = 4;
const FEW: u32 = 16;

/// A message that the session has read.
#[derive(Debug)]
pub(super) struct Inbound {
    print: Print,
    pub(super) at: u64,
    /// It came before there was a session.
    pub(super) is_early: bool,
}

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) input: Decoder,
    pub(super) output: Decoder,
    /// When the handshake was answered with 101.
    pub(super) upgraded_at: Option<u64>,

    /// All messages that were read.
    pub(super) inbox: Vec<Inbound>,
    /// How many of them were handed to a handler.
    pub(super) handled: usize,
    /// How many messages of the selector were handled while one of these waited.
    turns: u32,
    /// Pings without an answer.
    pub(super) pings: VecDeque<(Print, u64)>,
    /// Whether more control frames waited than are kept.
    is_crowded: bool,
    pub(super) peer_close: Option<u64>,
    pub(super) last_read: u64,
    /// Bytes read since the handler that runs began.
    read_ahead: usize,
    /// Since when the session could read and has not looked.
    pub(super) readable_at: Option<u64>,

    pub(super) our_close: Option<u64>,
    pub(super) pings_asked: u32,
    pub(super) last_ping: u64,
    /// Since when the socket takes nothing.
    pub(super) blocked_since: Option<u64>,
    /// Until when it last took nothing, if it ever has.
    held_up_until: Option<u64>,
    /// Whether it took nothing for as long as the session bears it.
    has_stalled: bool,
    /// Since when the socket takes something again and the session has not tried.
    pub(super) writable_at: Option<u64>,
    pub(super) unflushed_since: Option<u64>,
    pub(super) has_failed: bool,
    /// The peer is called dead: nothing is written any more.
    pub(super) is_given_up: bool,
    /// Handlers that have returned since the last write.
    pub(super) done_since_write: u32,
    /// Writes in a row that could have waited for more.
    early_writes: u32,

    pub(super) gone: Option<u64>,
    /// Whether there was something to read then.
    pub(super) is_unread: bool,
}

impl Wire {
    pub(super) fn new(role: Role, limit: usize) -> Self {
        let is_server = role == Role::Server;
        Self {
            input: Decoder::new(is_server, limit),
            output: Decoder::new(!is_server, usize::MAX),
            upgraded_at: None,
            inbox: Vec::new(),
            handled: 0,
            turns: 0,
            pings: VecDeque::new(),
            is_crowded: false,
            peer_close: None,
            last_read: 0,
            read_ahead: 0,
            readable_at: None,
            our_close: None,
            pings_asked: 0,
            last_ping: 0,
            blocked_since: None,
            held_up_until: None,
            has_stalled: false,
            writable_at: None,
            unflushed_since: None,
            has_failed: false,
            is_given_up: false,
            done_since_write: 0,
            early_writes: 0,
            gone: None,
            is_unread: false,
        }
    }

    pub(super) const fn begin_handler(&mut self) {
        self.read_ahead = 0;
    }

    /// Whether it is a socket that takes what is written.
    pub(super) const fn is_writable(&self) -> bool {
        let is_over = self.has_failed || self.is_given_up || self.gone.is_some();
        self.blocked_since.is_none() && !is_over
    }

    /// The socket has taken something.
    pub(super) fn unblock(&mut self, now: Moment, bounds: &Bounds) {
        self.has_stalled |= self.is_stalled(now.at, bounds);
        if self.blocked_since.take().is_some() {
            self.held_up_until = Some(now.at);
        }
        self.writable_at = None;
    }

    /// Pings of ours and answers to the peer's share the reserve; the heartbeat's may wait as well, two at most.
    pub(super) fn note_control(&mut self) {
        let waiting = self.pings.len() + self.pings_asked as usize + 2;
        self.is_crowded |= waiting > CONTROL_RESERVE;
    }

    /// Whether the session may have given up a peer that reads nothing.
    pub(super) fn is_stalled(&self, now: u64, bounds: &Bounds) -> bool {
        let blocked = self.blocked_since;
        self.has_stalled || blocked.is_some_and(|at| now >= at + bounds.stall_timeout)
    }

    /// Bytes of messages that wait for their handlers.
    pub(super) fn bytes_waiting(&self) -> usize {
        let waiting = self.inbox.get(self.handled..).unwrap_or_default();
        waiting.iter().map(|message| message.print.length).sum()
    }
}

impl Endpoint {
    pub(super) fn read(&mut self, now: Moment, count: usize, bounds: &Bounds) -> Checked {
        self.wire.last_read = now.at;
        // What comes when a close is under way is read and forgotten.
        if !self.life.is_running() || !self.closers.is_empty() || self.may_lag(now.at, bounds) {
            return Ok(());
        }
        self.wire.read_ahead += count;
        let ahead = self.wire.read_ahead;
        ensure(ahead <= READ_AHEAD, "L3", || {
            format!("{ahead} bytes were read while one handler ran")
        })
    }

    /// The session has read a frame to its end.
    pub(super) fn input(&mut self, now: Moment, seen: &Seen) -> Checked {
        match seen {
            Seen::Head(line) => {
                if self.role == Role::Client && line.contains(" 101 ") {
                    self.wire.upgraded_at = Some(now.at);
                }
            }
            Seen::Message(print, _) => self.wire.inbox.push(Inbound {
                print: *print,
                at: now.at,
                is_early: self.life.stage == Stage::Fresh,
            }),
            Seen::Ping(print) => {
                self.wire.pings.push_back((*print, now.at));
                self.wire.note_control();
            }
            Seen::Pong(_) => {}
            Seen::Close(code) => {
                self.wire.peer_close = Some(now.at);
                self.close_for(now, Why::Peer(*code));
            }
            Seen::Broken => self.close_for(now, Why::Broke),
        }
        Ok(())
    }

    /// The peer's next message is handed to its handler.
    pub(super) fn message(&mut self, now: Moment, print: Print, head: &str) -> Checked {
        let expected = self.wire.inbox.get(self.wire.handled);
        let is_next = expected.is_some_and(|message| message.print == print);
        let law = match expected {
            Some(skipped) if skipped.is_early => "L1",
            _ => "L4",
        };
        ensure(is_next, law, || {
            let place = self.wire.inbox.iter().position(|it| it.print == print);
            let next = self.wire.handled;
            format!(
                "message {head:?} was handled: it is the peer's {place:?}, and the next one is {next}"
            )
        })?;
        self.wire.handled += 1;
        self.wire.turns = 0;
        self.selection.note_peers_turn(now)
    }

    /// A message of the selector is handled.
    pub(super) fn selectors_turn(&mut self) -> Checked {
        if self.wire.inbox.len() == self.wire.handled {
            return Ok(());
        }
        self.wire.turns += 1;
        let turns = self.wire.turns;
        ensure(turns <= SELECTOR_TURNS, "L4", || {
            format!("{turns} messages of the selector in a row while the peer's wait")
        })
    }

    pub(super) fn wrote(&mut self, now: Moment, bounds: &Bounds) -> Checked {
        self.wire.unblock(now, bounds);
        // S2: with a message at hand that nobody handles yet, a flush can wait; but not for ever, nor for tokio's budget.
        let is_more = self.wire.inbox.len() > self.wire.handled;
        let is_between = self.life.stage == Stage::Open && self.closers.is_empty();
        let done = std::mem::take(&mut self.wire.done_since_write);
        if !(is_more && is_between) || done >= FEW {
            self.wire.early_writes = 0;
        } else if done > 0 {
            self.wire.early_writes += 1;
        }
        let early = self.wire.early_writes;
        ensure(early < EARLY_WRITES, "S2", || {
            format!(
                "{early} writes in a row, each after {FEW} handlers at most, while messages wait"
            )
        })
    }

    pub(super) const fn blocked(&mut self, now: Moment) {
        if self.wire.blocked_since.is_none() {
            self.wire.blocked_since = Some(now.at);
        }
        self.wire.writable_at = None;
    }

    /// The session has written a frame to its end.
    pub(super) fn output(&mut self, now: Moment, seen: &Seen, bounds: &Bounds) -> Checked {
        if !matches!(seen, Seen::Head(_)) {
            ensure(self.wire.our_close.is_none(), "L6", || {
                format!("behind the close frame came {seen}")
            })?;
        }
        match seen {
            Seen::Head(line) => {
                if self.role == Role::Server && line.contains(" 101 ") {
                    self.wire.upgraded_at = Some(now.at);
                }
                Ok(())
            }
            Seen::Message(print, head) => self.written(now, *print, head),
            Seen::Ping(_) => self.pinged(now),
            Seen::Pong(print) => self.ponged(*print),
            Seen::Close(code) => self.closed_with(now, *code, bounds),
            Seen::Broken => ensure(false, "L6", || "a frame came out broken"),
        }
    }

    /// A pong has gone out (S1): in the order of the pings, and none is left out while there is room.
    fn ponged(&mut self, print: Print) -> Checked {
        let pings = &mut self.wire.pings;
        let place = pings.iter().position(|(ping, _)| *ping == print);
        let waiting = pings.len();
        let Some(place) = place else {
            return ensure(
                false,
                "S1",
                || "a pong came out of order, twice, or without a ping",
            );
        };
        pings.drain(..=place);
        let was_crowded = self.wire.is_crowded;
        self.wire.is_crowded &= !self.wire.pings.is_empty();
        ensure(place == 0 || was_crowded, "S1", || {
            format!("{place} pings got no pong, although only {waiting} waited")
        })
    }

    /// A ping has gone out. The heartbeat sends none while nothing can be read (L9).
    fn pinged(&mut self, now: Moment) -> Checked {
        self.wire.last_ping = now.at;
        if let Some(asked) = self.wire.pings_asked.checked_sub(1) {
            self.wire.pings_asked = asked;
            return Ok(());
        }
        let since = self.life.since;
        let is_full = self.life.is_running() && self.wire.read_ahead >= READ_AHEAD;
        let was_held_up = self.wire.held_up_until.is_some_and(|at| at >= since);
        ensure(
            !is_full || was_held_up,
            "L9",
            || "a heartbeat although the read-ahead is full",
        )
    }
}

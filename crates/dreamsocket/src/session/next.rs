//! What the loop does next: the peer's messages and the selector's in turn, so that neither starves the other (L4).
//!
//! Apart from the loop, which knows handlers; this knows none.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop;

use super::guard;
use super::wire::{Inbound, Wire};
use crate::message::Message;
use crate::selector::{Selected, Selector};

/// After how many messages of the peer a quiet selector is looked at again.
const SELECTOR_EVERY: u32 = 16;

/// What the loop does next.
pub(super) enum Next<C> {
    Message(Message<C>),
    Closed,
    Panicked(Box<dyn Any + Send>),
}

/// The next message, of the peer or of the selector in turn (L4), or the end.
#[inline(always)]
pub(super) fn poll_next<T, C>(
    wire: &mut Wire<T>,
    selector: &mut Selector<C>,
    turn: &mut Turn,
    context: &mut Context<'_>,
) -> Poll<Next<C>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        wire.heed();
        if wire.is_flush_due() {
            wire.poll_work(context);
            wire.settle();
        }
        if !wire.is_closing() {
            // Messages that are there already cost tokio's budget, too, or a busy peer would starve its neighbours.
            let Poll::Ready(budget) = wire.poll_budget(context) else {
                work_without_budget(wire, context);
                wire.settle();
                wire.doze();
                return if wire.is_finished() {
                    Poll::Ready(Next::Closed)
                } else {
                    Poll::Pending
                };
            };
            if let Poll::Ready(next) = poll_in_turn(wire, selector, turn, context) {
                budget.made_progress();
                if let Some(next) = next {
                    return Poll::Ready(next);
                }
                continue;
            }
        }
        let was_ending = wire.is_ending();
        wire.poll_work(context);
        if wire.is_finished() {
            return Poll::Ready(Next::Closed);
        }
        if was_ending == wire.is_ending() && wire.park(context) {
            return Poll::Pending;
        }
    }
}

/// The next message of the peer or the selector; `Ready(None)`: look again.
///
/// A selector that was ready takes turns with the peer. A quiet one is looked at after some messages of the peer, and
/// whenever the peer is quiet.
#[inline(always)]
fn poll_in_turn<T, C>(
    wire: &mut Wire<T>,
    selector: &mut Selector<C>,
    turn: &mut Turn,
    context: &mut Context<'_>,
) -> Poll<Option<Next<C>>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let selector_first = turn.until_selector == 0 && !selector.is_empty();
    if selector_first {
        let polled = poll_selector(wire, selector, context);
        turn.until_selector = if polled.is_ready() { 1 } else { SELECTOR_EVERY };
        if polled.is_ready() {
            return polled;
        }
    }
    let polled = poll_socket(wire, context);
    if polled.is_ready() {
        turn.until_selector = turn.until_selector.saturating_sub(1);
        return polled;
    }
    if selector_first || selector.is_empty() {
        return Poll::Pending;
    }
    let polled = poll_selector(wire, selector, context);
    if polled.is_ready() {
        turn.until_selector = 1;
    }
    polled
}

/// `Ready(None)`: a close is under way.
#[inline(always)]
fn poll_socket<T, C>(wire: &mut Wire<T>, context: &mut Context<'_>) -> Poll<Option<Next<C>>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    wire.poll_message(context).map(|message| {
        message.map(|message| {
            wire.note_handed(&message);
            Next::Message(match message {
                Inbound::Text(text) => Message::Text(text),
                Inbound::Binary(bytes) => Message::Binary(bytes),
            })
        })
    })
}

fn poll_selector<T, C>(
    wire: &mut Wire<T>,
    selector: &mut Selector<C>,
    context: &mut Context<'_>,
) -> Poll<Option<Next<C>>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    match guard(|| selector.poll_selected(context)) {
        Ok(polled) => polled.map(|selected| {
            let message = match selected {
                Selected::Message(message) => Message::Custom(message),
                Selected::Missed(missed) => {
                    wire.note_missed(&missed);
                    Message::Missed(missed)
                }
                Selected::Lagged => {
                    wire.lag();
                    return None;
                }
            };
            Some(Next::Message(message))
        }),
        Err(payload) => Poll::Ready(Some(Next::Panicked(payload))),
    }
}

/// How many messages of the peer are handled before the selector is looked at.
#[derive(Debug, Default)]
pub(super) struct Turn {
    until_selector: u32,
}

/// The budget is used up: what was sent is still flushed before the task goes to the back of the queue.
fn work_without_budget<T: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<T>,
    context: &mut Context<'_>,
) {
    let mut work = pin!(coop::unconstrained(poll_fn(|context| {
        wire.poll_work(context);
        Poll::Ready(())
    })));
    let _ = work.as_mut().poll(context);
}

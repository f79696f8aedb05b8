//! The line of sends that wait for room in an outbox: first come, first served, and anybody may leave.
//!
//! Plain data under the outbox's lock. It must not know messages: who is granted room puts its message into the queue itself,
//! so that a send that is dropped has sent nothing.

use std::collections::VecDeque;
use std::task::Waker;

/// A place in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// How it stands with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    /// The room is taken and belongs to whoever has this place.
    Granted,
}

#[derive(Debug, Default)]
pub(super) struct Line {
    /// In the order in which they came. Those in front are granted, the rest wait.
    standing: VecDeque<Standing>,
    next: u64,
}

#[derive(Debug)]
struct Standing {
    ticket: Ticket,
    charge: u32,
    place: Place,
    waker: Waker,
}

impl Line {
    /// Joins at the end.
    pub(super) fn join(&mut self, charge: u32, waker: &Waker) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.standing.push_back(Standing {
            ticket,
            charge,
            place: Place::Waiting,
            waker: waker.clone(),
        });
        ticket
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        // In order, so that a long line is not looked through.
        self.standing
            .binary_search_by_key(&ticket.0, |standing| standing.ticket.0)
            .ok()
    }

    /// How it stands with a place, whose waker is this from here on; `None` if it is not in the line.
    pub(super) fn look(&mut self, ticket: Ticket, waker: &Waker) -> Option<Place> {
        let position = self.position(ticket)?;
        let standing = self.standing.get_mut(position)?;
        standing.waker.clone_from(waker);
        Some(standing.place)
    }

    /// Gives up a place; what it was granted.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<u32> {
        let left = self.standing.remove(self.position(ticket)?)?;
        (left.place == Place::Granted).then_some(left.charge)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }

    /// Whether anybody has not been granted room.
    pub(super) fn is_waiting(&self) -> bool {
        self.standing
            .back()
            .is_some_and(|last| last.place == Place::Waiting)
    }

    /// Grants room in order, as long as there is enough for the next; whom to wake.
    pub(super) fn grant(&mut self, mut try_take: impl FnMut(u32) -> bool) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let granted = self
            .standing
            .partition_point(|standing| standing.place == Place::Granted);
        for standing in self.standing.iter_mut().skip(granted) {
            if !try_take(standing.charge) {
                break;
            }
            standing.place = Place::Granted;
            wakers.push(standing.waker.clone());
        }
        wakers
    }

    /// Nobody gets anything any more.
    pub(super) fn wake_all(self) {
        for standing in self.standing {
            standing.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grants out of so much room.
    fn grant(line: &mut Line, mut room: u32) -> usize {
        let wakers = line.grant(|charge| {
            let is_enough = charge <= room;
            room -= if is_enough { charge } else { 0 };
            is_enough
        });
        wakers.len()
    }

    #[test]
    fn the_first_is_served_first_and_nobody_is_passed_over() {
        let mut line = Line::default();
        let large = line.join(10, Waker::noop());
        let small = line.join(1, Waker::noop());
        assert_eq!(grant(&mut line, 9), 0);
        assert_eq!(grant(&mut line, 10), 1);
        assert_eq!(line.look(large, Waker::noop()), Some(Place::Granted));
        assert_eq!(line.look(small, Waker::noop()), Some(Place::Waiting));
        assert_eq!(grant(&mut line, 5), 1);
        assert_eq!(line.look(small, Waker::noop()), Some(Place::Granted));
    }

    #[test]
    fn who_leaves_gives_back_only_what_was_granted() {
        let mut line = Line::default();
        let first = line.join(4, Waker::noop());
        let second = line.join(5, Waker::noop());
        assert_eq!(grant(&mut line, 4), 1);
        assert_eq!(line.leave(second), None);
        assert_eq!(line.leave(first), Some(4));
        assert_eq!(line.leave(first), None);
        assert_eq!(line.look(second, Waker::noop()), None);
        assert!(line.is_empty());
    }
}

//! How the subscribers of a topic that keeps history get over a lost connection: by what the broker has kept meanwhile.
//!
//! After each connecting the link brings what is kept, then what is published. What is known already is passed over; if the
//! message that came last is among it, nothing is missing between it and what follows. Plain data.

use crate::position::Position;

#[derive(Default)]
pub(crate) struct Bridging {
    /// The last message that came.
    last: Option<Position>,
    /// The first replay is over: what comes is for those who are subscribed.
    has_begun: bool,
    /// This session's replay is over.
    is_live: bool,
    /// A first replay was cut off, and what came last has not been found again.
    is_torn: bool,
}

/// What a kept message is to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It was here.
    Known {
        /// It was the last one, and what follows it has no gap before it.
        is_bridge: bool,
    },
    /// It was published before anybody here was subscribed.
    Past {
        /// Something may be missing between it and what came before the connection was lost.
        is_torn: bool,
    },
    /// It is for those who are subscribed.
    New,
}

impl Bridging {
    /// A session begins: the topic will be replayed.
    pub(crate) const fn interrupt(&mut self) {
        self.is_live = false;
        self.is_torn = !self.has_begun && self.last.is_some();
    }

    /// Whether this session's replay is over.
    pub(crate) const fn is_live(&self) -> bool {
        self.is_live
    }

    pub(crate) fn place(&mut self, position: Position) -> Place {
        if let Some(last) = self.last
            && last.life() == position.life()
            && position.number() <= last.number()
        {
            let is_bridge = last == position && !self.is_live;
            self.is_torn &= !is_bridge;
            return Place::Known { is_bridge };
        }
        self.last = Some(position);
        if self.has_begun {
            Place::New
        } else {
            let is_torn = std::mem::take(&mut self.is_torn);
            Place::Past { is_torn }
        }
    }

    /// The replay is over. Tells whether it was the first one.
    pub(crate) const fn replayed(&mut self) -> bool {
        self.is_live = true;
        let is_first = !self.has_begun;
        self.has_begun = true;
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Place = Place::Known { is_bridge: false };
    const BRIDGE: Place = Place::Known { is_bridge: true };
    const PAST: Place = Place::Past { is_torn: false };
    const TORN: Place = Place::Past { is_torn: true };

    fn position(number: u64) -> Position {
        Position::new(1, u128::from(number))
    }

    #[test]
    fn b5_the_first_replay_is_the_past_and_later_ones_go_on_behind_the_last_message() {
        let mut bridging = Bridging::default();
        assert_eq!(bridging.place(position(3)), PAST);
        assert_eq!(bridging.place(position(5)), PAST);
        assert!(bridging.replayed());
        assert_eq!(bridging.place(position(6)), Place::New);
        assert_eq!(bridging.place(position(6)), KNOWN);
        bridging.interrupt();
        assert_eq!(bridging.place(position(5)), KNOWN);
        assert_eq!(bridging.place(position(6)), BRIDGE);
        assert_eq!(bridging.place(position(9)), Place::New);
        assert!(!bridging.replayed());
    }

    #[test]
    fn b5_a_first_replay_that_was_cut_off_goes_on_as_the_past() {
        let mut bridging = Bridging::default();
        assert_eq!(bridging.place(position(3)), PAST);
        bridging.interrupt();
        assert_eq!(bridging.place(position(3)), BRIDGE);
        assert_eq!(bridging.place(position(4)), PAST);
        bridging.interrupt();
        // What came last is not found again.
        assert_eq!(bridging.place(position(7)), TORN);
        assert_eq!(bridging.place(position(8)), PAST);
        assert!(bridging.replayed());
        bridging.interrupt();
        assert_eq!(bridging.place(position(10)), Place::New);
    }

    #[test]
    fn b5_a_replay_that_was_cut_off_before_anything_came_is_not_torn() {
        let mut bridging = Bridging::default();
        bridging.interrupt();
        assert_eq!(bridging.place(position(7)), PAST);
    }

    #[test]
    fn b5_another_life_is_new_whatever_its_numbers() {
        let mut bridging = Bridging::default();
        assert_eq!(bridging.place(position(9)), PAST);
        assert!(bridging.replayed());
        bridging.interrupt();
        assert_eq!(bridging.place(Position::new(2, 9)), Place::New);
        assert_eq!(bridging.place(Position::new(2, 10)), Place::New);
    }
}

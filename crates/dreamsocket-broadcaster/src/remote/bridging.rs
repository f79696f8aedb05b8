//! How the subscribers of a topic that keeps history get over a lost connection: by what the broker has kept meanwhile.
//!
//! After each connecting the link brings what is kept, then what is published. What is known already is passed over; if the
//! message that came last is among it, nothing is missing between it and what follows. A broker that has lost the end of
//! what it kept gives the same positions again: so who published a message, and with which number, tells it from another
//! one at its position. Plain data.

use crate::position::Position;
use crate::remote::frame::Stamp;

#[derive(Default)]
pub(crate) struct Bridging {
    /// The last message that came.
    last: Option<Message>,
    /// The last one of this session's replay.
    replayed: Option<Message>,
    /// The first replay is over: what comes is for those who are subscribed.
    has_begun: bool,
    /// This session's replay is over.
    is_live: bool,
    /// A first replay was cut off, and what came last has not been found again.
    is_torn: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Message {
    position: Position,
    /// Of publisher and number; 0 if it cannot be read.
    mark: u64,
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

/// What a replay was, when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) is_first: bool,
    /// Something may be missing between what came before a connection was lost and what is published now.
    pub(crate) is_torn: bool,
}

impl Bridging {
    /// A session begins: the topic will be replayed.
    pub(crate) const fn interrupt(&mut self) {
        self.is_live = false;
        self.replayed = None;
        self.is_torn = !self.has_begun && self.last.is_some();
    }

    /// Whether the first replay is over.
    pub(crate) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether this session's replay is over.
    pub(crate) const fn is_live(&self) -> bool {
        self.is_live
    }

    /// With the message's stamp, if it can be read.
    pub(crate) fn place(&mut self, position: Position, stamp: Option<Stamp>) -> Place {
        // Publishers are drawn by chance.
        let mark = stamp.map_or(0, |stamp| stamp.publisher.wrapping_add(stamp.number));
        let message = Message { position, mark };
        if !self.is_live {
            self.replayed = Some(message);
        }
        if let Some(last) = self.last
            && (message == last || !self.is_live && message.is_before(last))
        {
            let is_bridge = message == last && !self.is_live;
            self.is_torn &= !is_bridge;
            return Place::Known { is_bridge };
        }
        self.last = Some(message);
        if self.has_begun {
            Place::New
        } else {
            let is_torn = std::mem::take(&mut self.is_torn);
            Place::Past { is_torn }
        }
    }

    /// The replay is over.
    pub(crate) const fn replayed(&mut self) -> Replayed {
        self.is_live = true;
        // If the broker has lost the end of what it kept, this is before the last message that came.
        self.last = self.replayed;
        let replayed = Replayed {
            is_first: !self.has_begun,
            is_torn: self.is_torn,
        };
        self.has_begun = true;
        self.is_torn = false;
        replayed
    }
}

impl Message {
    /// Whether it is kept before that one. Of two that are published now this is the later one all the same: the broker has lost
    /// what it kept, and does not know it.
    fn is_before(self, other: Self) -> bool {
        let (position, other) = (self.position, other.position);
        position.life() == other.life() && position.number() < other.number()
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

    fn stamp(number: u64) -> Option<Stamp> {
        Some(Stamp {
            publisher: 7,
            start: 1,
            number,
            since_ms: 0,
        })
    }

    /// Of a message that has the position's number.
    fn place(bridging: &mut Bridging, position: Position) -> Place {
        let number = u64::try_from(position.number()).unwrap();
        bridging.place(position, stamp(number))
    }

    #[test]
    fn b5_the_first_replay_is_the_past_and_later_ones_go_on_behind_the_last_message() {
        let mut bridging = Bridging::default();
        assert_eq!(place(&mut bridging, position(3)), PAST);
        assert_eq!(place(&mut bridging, position(5)), PAST);
        assert!(bridging.replayed().is_first);
        assert_eq!(place(&mut bridging, position(6)), Place::New);
        assert_eq!(place(&mut bridging, position(6)), KNOWN);
        bridging.interrupt();
        assert_eq!(place(&mut bridging, position(5)), KNOWN);
        assert_eq!(place(&mut bridging, position(6)), BRIDGE);
        assert_eq!(place(&mut bridging, position(9)), Place::New);
        assert!(!bridging.replayed().is_first);
    }

    #[test]
    fn b5_a_first_replay_that_was_cut_off_goes_on_as_the_past() {
        let mut bridging = Bridging::default();
        assert_eq!(place(&mut bridging, position(3)), PAST);
        bridging.interrupt();
        assert_eq!(place(&mut bridging, position(3)), BRIDGE);
        assert_eq!(place(&mut bridging, position(4)), PAST);
        bridging.interrupt();
        // What came last is not found again.
        assert_eq!(place(&mut bridging, position(7)), TORN);
        assert_eq!(place(&mut bridging, position(8)), PAST);
        assert_eq!(
            bridging.replayed(),
            Replayed {
                is_first: true,
                is_torn: false
            }
        );
        bridging.interrupt();
        assert_eq!(place(&mut bridging, position(10)), Place::New);
        assert_eq!(
            bridging.replayed(),
            Replayed {
                is_first: false,
                is_torn: false
            }
        );
    }

    #[test]
    fn b5_a_first_replay_that_ends_before_what_was_here_is_torn() {
        let mut bridging = Bridging::default();
        assert_eq!(place(&mut bridging, position(3)), PAST);
        assert_eq!(place(&mut bridging, position(4)), PAST);
        bridging.interrupt();
        assert_eq!(place(&mut bridging, position(3)), KNOWN);
        assert_eq!(
            bridging.replayed(),
            Replayed {
                is_first: true,
                is_torn: true
            }
        );
        assert_eq!(place(&mut bridging, position(5)), Place::New);
        bridging.interrupt();
        assert_eq!(
            bridging.replayed(),
            Replayed {
                is_first: false,
                is_torn: false
            }
        );
    }

    #[test]
    fn b5_a_replay_that_was_cut_off_before_anything_came_is_not_torn() {
        let mut bridging = Bridging::default();
        bridging.interrupt();
        assert_eq!(place(&mut bridging, position(7)), PAST);
    }

    #[test]
    fn b5_another_life_is_new_whatever_its_numbers() {
        let mut bridging = Bridging::default();
        assert_eq!(place(&mut bridging, position(9)), PAST);
        assert!(bridging.replayed().is_first);
        bridging.interrupt();
        assert_eq!(place(&mut bridging, Position::new(2, 9)), Place::New);
        assert_eq!(place(&mut bridging, Position::new(2, 10)), Place::New);
    }

    #[test]
    fn b5_a_broker_that_lost_the_end_of_what_it_kept_gives_its_positions_again() {
        let reached = |last| {
            let mut bridging = Bridging::default();
            assert!(bridging.replayed().is_first);
            for number in 1..=last {
                assert_eq!(place(&mut bridging, position(number)), Place::New);
            }
            bridging.interrupt();
            bridging
        };
        let mut bridging = reached(9);
        assert_eq!(place(&mut bridging, position(6)), KNOWN);
        assert_eq!(place(&mut bridging, position(7)), KNOWN);
        assert!(!bridging.replayed().is_first);
        assert_eq!(place(&mut bridging, position(7)), KNOWN);
        assert_eq!(bridging.place(position(8), stamp(10)), Place::New);
        bridging.interrupt();
        assert_eq!(bridging.place(position(8), stamp(10)), BRIDGE);

        // It has lost all.
        let mut bridging = reached(9);
        assert!(!bridging.replayed().is_first);
        assert_eq!(bridging.place(position(2), stamp(10)), Place::New);

        // And again while it was published: a stream of Redis's is gone, and its clock was set back.
        let mut bridging = reached(9);
        assert!(!bridging.replayed().is_first);
        assert_eq!(bridging.place(position(9), stamp(10)), Place::New);
        assert_eq!(bridging.place(position(4), stamp(11)), Place::New);
        assert_eq!(bridging.place(position(4), stamp(11)), KNOWN);
        assert_eq!(bridging.place(position(5), stamp(12)), Place::New);
        bridging.interrupt();
        assert_eq!(bridging.place(position(4), stamp(11)), KNOWN);
        assert_eq!(bridging.place(position(5), stamp(12)), BRIDGE);
        assert_eq!(bridging.place(position(6), stamp(13)), Place::New);

        // It was at the same position again when this node came back.
        let mut bridging = reached(9);
        assert_eq!(bridging.place(position(8), stamp(10)), KNOWN);
        assert_eq!(bridging.place(position(9), stamp(11)), Place::New);
        assert_eq!(bridging.place(position(10), stamp(12)), Place::New);
    }
}

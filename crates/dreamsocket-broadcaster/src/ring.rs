//! What is kept of one topic: its last messages, and the gaps between them.
//!
//! Plain data: time is an argument. What runs foreign code when it is dropped goes into a [`Deferred`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deferred::Deferred;
use crate::gap::Gap;
use crate::history::Begin;
use crate::parcel::Parcel;
use crate::position::Position;

pub(crate) struct Ring<M> {
    /// In the order of their positions, all of which are of one life.
    kept: VecDeque<Kept<M>>,
    /// What is missing behind the last one.
    behind: Gap,
    /// Of the message before the first one that is kept.
    floor: Option<Position>,
}

struct Kept<M> {
    at: Instant,
    /// What is missing before it.
    gap: Gap,
    parcel: Arc<Parcel<M>>,
}

/// What a subscriber is given before what is published next.
pub(crate) struct Replay<M> {
    /// Each with what is missing before it.
    pub(crate) messages: VecDeque<(Gap, Arc<Parcel<M>>)>,
    /// What is missing behind the last one.
    pub(crate) behind: Gap,
}

impl<M> Ring<M> {
    pub(crate) const fn new() -> Self {
        Self {
            kept: VecDeque::new(),
            behind: Gap::NONE,
            floor: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The last position that is known.
    fn last(&self) -> Option<Position> {
        let last = self.kept.back().and_then(|kept| kept.parcel.position());
        last.or(self.floor)
    }

    /// Whether a message at that position comes behind all others, and not after the loss of what a broker kept.
    pub(crate) fn goes_on_with(&self, position: Position) -> bool {
        self.last()
            .is_none_or(|last| last.life() == position.life() && last.number() < position.number())
    }

    /// Whether that is a place that the ring has not come to yet: another node was faster.
    pub(crate) fn is_before(&self, begin: Begin) -> bool {
        match (begin, self.last()) {
            (Begin::Behind(position), Some(last)) => {
                last.life() == position.life() && last.number() < position.number()
            }
            _ => false,
        }
    }

    /// Keeps a message, whose position is behind all others', and lets go of what is too much.
    pub(crate) fn push(
        &mut self,
        parcel: Arc<Parcel<M>>,
        at: Instant,
        count: usize,
        deferred: &mut Deferred<M>,
    ) {
        while self.kept.len() >= count {
            self.drop_first(deferred);
        }
        self.kept.push_back(Kept {
            at,
            gap: std::mem::take(&mut self.behind),
            parcel,
        });
    }

    /// Notes that something is missing behind the last message.
    #[cfg(feature = "remote")]
    pub(crate) const fn miss(&mut self, gap: Gap) {
        self.behind.add(gap);
    }

    /// Lets go of what is too old. The position of the last message stays known.
    pub(crate) fn expire(&mut self, now: Instant, max_age: Duration, deferred: &mut Deferred<M>) {
        while let Some(first) = self.kept.front()
            && now.saturating_duration_since(first.at) >= max_age
        {
            self.drop_first(deferred);
        }
        if self.kept.is_empty() {
            self.kept.shrink_to_fit();
        }
    }

    /// Lets go of everything, the last position included.
    pub(crate) fn clear(&mut self, deferred: &mut Deferred<M>) {
        while !self.kept.is_empty() {
            self.drop_first(deferred);
        }
        *self = Self::new();
    }

    fn drop_first(&mut self, deferred: &mut Deferred<M>) {
        if let Some(first) = self.kept.pop_front() {
            self.floor = first.parcel.position();
            deferred.discard(first.parcel);
        }
    }

    /// Whether this is the position of a message that is kept or of the one before them; with the index of what follows.
    fn find(&self, position: Position) -> Option<usize> {
        if self.floor == Some(position) {
            return Some(0);
        }
        let number = position.number();
        let index = self.kept.partition_point(|kept| {
            let kept = kept.parcel.position();
            kept.is_some_and(|kept| kept.number() < number)
        });
        let found = self.kept.get(index)?.parcel.position();
        (found == Some(position)).then_some(index + 1)
    }

    pub(crate) fn replay(&self, begin: Begin) -> Replay<M> {
        let found = match begin {
            Begin::Behind(position) => self.find(position),
            Begin::Last(count) => Some(self.kept.len().saturating_sub(count)),
        };
        let from = found.unwrap_or(0);
        let messages = self.kept.range(from..);
        let mut messages: VecDeque<_> = messages
            .map(|kept| (kept.gap, Arc::clone(&kept.parcel)))
            .collect();
        let mut behind = self.behind;
        // Of what came before the last ones nothing is missing to whoever asked for these.
        if let Begin::Last(_) = begin {
            match messages.front_mut() {
                Some((gap, _)) => *gap = Gap::NONE,
                None => behind = Gap::NONE,
            }
        }
        let mut replay = Replay { messages, behind };
        if found.is_none() {
            replay.miss_before(Gap::UNKNOWN);
        }
        replay
    }
}

impl<M> Replay<M> {
    /// Of a topic of which nothing is kept.
    pub(crate) fn of_nothing(begin: Begin) -> Self {
        Ring::new().replay(begin)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.behind.is_none()
    }

    /// What is missing where it begins.
    pub(crate) fn gap_before(&mut self) -> &mut Gap {
        match self.messages.front_mut() {
            Some((gap, _)) => gap,
            None => &mut self.behind,
        }
    }

    pub(crate) fn miss_before(&mut self, gap: Gap) {
        self.gap_before().add(gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(60);

    struct Fixture {
        ring: Ring<u32>,
        start: Instant,
    }

    impl Fixture {
        /// Keeps three.
        fn new() -> Self {
            Self {
                ring: Ring::new(),
                start: Instant::now(),
            }
        }

        fn with(messages: impl IntoIterator<Item = u32>) -> Self {
            let mut fixture = Self::new();
            for message in messages {
                fixture.push(message, 0);
            }
            fixture
        }

        /// Each message's position is ten times as much.
        fn push(&mut self, message: u32, at: u64) {
            let parcel = Parcel::new(message, Some(position(message)));
            let at = self.start + Duration::from_secs(at);
            self.ring
                .push(Arc::new(parcel), at, 3, &mut Deferred::new());
        }

        fn expire(&mut self, at: u64) {
            let at = self.start + Duration::from_secs(at);
            self.ring.expire(at, AGE, &mut Deferred::new());
        }

        /// With a gap of n as `Err(Some(n))`.
        fn replay(&self, begin: Begin) -> Vec<Result<u32, Option<u64>>> {
            let replay = self.ring.replay(begin);
            let mut items = Vec::new();
            let gap = |items: &mut Vec<_>, gap: Gap| {
                if !gap.is_none() {
                    items.push(Err(gap.count()));
                }
            };
            for (before, parcel) in &replay.messages {
                gap(&mut items, *before);
                items.push(Ok(***parcel));
            }
            gap(&mut items, replay.behind);
            items
        }

        fn behind(&self, message: u32) -> Vec<Result<u32, Option<u64>>> {
            self.replay(Begin::Behind(position(message)))
        }
    }

    fn position(message: u32) -> Position {
        Position::new(1, u128::from(message) * 10)
    }

    #[test]
    fn b5_a_position_is_there_if_it_is_kept_or_was_dropped_last() {
        let fixture = Fixture::with(1..=5);
        assert_eq!(fixture.behind(5), []);
        assert_eq!(fixture.behind(4), [Ok(5)]);
        assert_eq!(fixture.behind(2), [Ok(3), Ok(4), Ok(5)]);
        for gone in [0, 1, 6] {
            assert_eq!(fixture.behind(gone), [Err(None), Ok(3), Ok(4), Ok(5)]);
        }
        for foreign in [
            Position::new(1, 45),
            Position::new(2, 40),
            Position::new(2, 20),
        ] {
            let replay = fixture.replay(Begin::Behind(foreign));
            assert_eq!(replay, [Err(None), Ok(3), Ok(4), Ok(5)]);
        }
        assert_eq!(Fixture::new().behind(1), [Err(None)]);
    }

    #[test]
    fn b5_the_last_ones_begin_without_a_gap() {
        let fixture = Fixture::with(1..=5);
        assert_eq!(fixture.replay(Begin::Last(2)), [Ok(4), Ok(5)]);
        assert_eq!(fixture.replay(Begin::Last(9)), [Ok(3), Ok(4), Ok(5)]);
        assert_eq!(fixture.replay(Begin::Last(0)), []);
        assert_eq!(Fixture::new().replay(Begin::Last(9)), []);
    }

    #[test]
    fn b5_what_is_too_old_is_given_to_nobody_and_the_last_position_stays_known() {
        let mut fixture = Fixture::new();
        fixture.push(1, 0);
        fixture.push(2, 30);
        fixture.expire(59);
        assert_eq!(fixture.replay(Begin::Last(9)), [Ok(1), Ok(2)]);
        fixture.expire(60);
        assert_eq!(fixture.behind(1), [Ok(2)]);
        fixture.expire(1_000);
        assert_eq!(fixture.behind(2), []);
        assert_eq!(fixture.behind(1), [Err(None)]);
        fixture.push(3, 1_000);
        assert_eq!(fixture.behind(2), [Ok(3)]);
        assert_eq!(fixture.behind(1), [Err(None), Ok(3)]);
    }

    #[cfg(feature = "remote")]
    #[test]
    fn b5_gaps_are_replayed_in_their_places() {
        let mut fixture = Fixture::with(1..=2);
        fixture.ring.miss(Gap::of(4));
        fixture.push(3, 0);
        fixture.ring.miss(Gap::UNKNOWN);
        assert_eq!(fixture.behind(1), [Ok(2), Err(Some(4)), Ok(3), Err(None)]);
        assert_eq!(fixture.behind(2), [Err(Some(4)), Ok(3), Err(None)]);
        assert_eq!(fixture.behind(3), [Err(None)]);
        assert_eq!(fixture.replay(Begin::Last(1)), [Ok(3), Err(None)]);
        fixture.push(4, 0);
        fixture.push(5, 0);
        // The gap that the floor stood before.
        assert_eq!(
            fixture.behind(2),
            [Err(Some(4)), Ok(3), Err(None), Ok(4), Ok(5)]
        );
        fixture.push(6, 0);
        assert_eq!(fixture.behind(3), [Err(None), Ok(4), Ok(5), Ok(6)]);
    }

    #[test]
    fn b5_a_ring_gives_its_memory_back() {
        let mut ring = Ring::new();
        let start = Instant::now();
        for number in 0..10_000_u32 {
            let parcel = Arc::new(Parcel::new(number, Some(position(number))));
            ring.push(parcel, start, 10_000, &mut Deferred::new());
        }
        assert!(ring.kept.capacity() >= 10_000);
        ring.expire(start + AGE, AGE, &mut Deferred::new());
        assert_eq!(ring.kept.capacity(), 0);
        assert_eq!(ring.last(), Some(position(9_999)));
    }
}

//! The subscribers of one topic, in the order in which they came.

use std::mem;
use std::sync::Arc;

use crate::counts::Counts;
use crate::deferred::Deferred;
use crate::engine::Sink;
#[cfg(feature = "remote")]
use crate::gap::Gap;
use crate::keyer::{Keyer, Keys};
use crate::parcel::Parcel;

/// A message is handed to this many at a time. Between two such batches others may join and leave.
///
/// Measured (`examples/cost.rs`: a topic of 10,000, a publisher that never pauses, two busy cores): with one lock for the
/// whole walk, one in a hundred who join waited for 50 to 900 ms in five runs of six, as the publisher takes the lock again
/// before they wake; with batches of 16 for 0.03 to 4 ms in twelve runs, with 256 for up to 8 ms. What a publish costs did
/// not change beyond the noise.
pub(crate) const BATCH: usize = 16;

/// A list with cheap removal: a subscriber that leaves makes a hole, and the holes are closed when they are half of the
/// list. Whoever adds gives numbers that only grow, so that the list is sorted by them.
pub(crate) struct Subscribers<M> {
    slots: Vec<Slot<M>>,
    holes: usize,
    /// The key functions of the subscribers, each with the number of those who have it.
    keyers: Vec<(Keyer<M>, usize)>,
    counts: Counts,
    /// Set when the last one has left: the topic's entry is about to go, and nobody may join here any more.
    retired: bool,
}

struct Slot<M> {
    number: u64,
    sink: Option<Arc<dyn Sink<M>>>,
}

/// One message on its way through the list.
pub(crate) struct Walk<'a, M> {
    message: Option<Arc<Parcel<M>>>,
    keys: &'a Keys,
    except: Option<u64>,
    /// Where the next batch begins.
    next: u64,
    /// Who had subscribed when the walk began. Who comes later does not get the message.
    last: u64,
    pub(crate) counts: Counts,
}

impl<M> Subscribers<M> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            holes: 0,
            keyers: Vec::new(),
            counts: Counts::default(),
            retired: false,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.slots.len() - self.holes
    }

    pub(crate) const fn is_retired(&self) -> bool {
        self.retired
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Adds a subscriber. `number` is greater than all before it.
    pub(crate) fn add(&mut self, number: u64, sink: Arc<dyn Sink<M>>) {
        if let Some(keyer) = sink.keyer() {
            match self.position_of(&keyer) {
                Some(index) => self.keyers[index].1 += 1,
                None => self.keyers.push((keyer, 1)),
            }
        }
        if self.slots.is_empty() {
            // Most topics have one subscriber; `push` would make room for four.
            self.slots.reserve_exact(1);
        }
        self.slots.push(Slot {
            number,
            sink: Some(sink),
        });
    }

    /// Takes a subscriber out and retires the list if it was the last. The caller drops the sink when the lock is
    /// released.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Arc<dyn Sink<M>>> {
        let index = self
            .slots
            .binary_search_by_key(&number, |slot| slot.number)
            .ok()?;
        let sink = self.make_hole(index)?;
        self.close_holes();
        Some(sink)
    }

    #[cfg(feature = "remote")]
    pub(crate) fn contains(&self, number: u64) -> bool {
        let index = self.slots.binary_search_by_key(&number, |slot| slot.number);
        index.is_ok_and(|index| self.slots[index].sink.is_some())
    }

    /// The key functions whose keys are not known yet.
    pub(crate) fn keyers_missing_in(&self, keys: &Keys) -> Vec<Keyer<M>> {
        let keyers = self.keyers.iter().map(|(keyer, _)| keyer);
        keyers
            .filter(|keyer| !keys.contains(keyer.id()))
            .cloned()
            .collect()
    }

    /// Begins to hand a message to everyone but the excepted one. All keys must be known.
    pub(crate) fn walk<'a>(
        &self,
        message: Arc<Parcel<M>>,
        keys: &'a Keys,
        except: Option<u64>,
    ) -> Walk<'a, M> {
        Walk {
            message: Some(message),
            keys,
            except,
            next: 0,
            last: self.slots.last().map_or(0, |slot| slot.number),
            counts: Counts {
                published: 1,
                ..Counts::default()
            },
        }
    }

    /// Hands the message to the next batch, and tells whether there may be more.
    #[inline]
    pub(crate) fn deliver(&mut self, walk: &mut Walk<'_, M>, deferred: &mut Deferred<M>) -> bool {
        let Some(message) = walk.message.take() else {
            return false;
        };
        let start = self.slots.partition_point(|slot| slot.number < walk.next);
        let mut handed = 0;
        let mut previous = None;
        for index in start..self.slots.len() {
            let Slot { number, sink } = &self.slots[index];
            if *number > walk.last {
                break;
            }
            if sink.is_none() || walk.except == Some(*number) {
                continue;
            }
            let number = *number;
            if let Some(previous) = previous.replace(index) {
                self.hand(previous, Arc::clone(&message), walk, deferred);
                handed += 1;
                if handed == BATCH {
                    walk.next = number;
                    walk.message = Some(message);
                    self.close_holes();
                    return true;
                }
            }
        }
        // The last one gets the publisher's own reference: a single subscriber can then take the message out uncloned.
        match previous {
            Some(index) => self.hand(index, message, walk, deferred),
            None => deferred.discard(message),
        }
        self.close_holes();
        self.counts.add(walk.counts);
        false
    }

    fn hand(
        &mut self,
        index: usize,
        message: Arc<Parcel<M>>,
        walk: &mut Walk<'_, M>,
        deferred: &mut Deferred<M>,
    ) {
        let Some(sink) = &self.slots[index].sink else {
            return;
        };
        let outcome = sink.deliver(message, walk.keys, deferred);
        walk.counts.delivered += 1;
        walk.counts.missed += outcome.missed;
        if outcome.is_done {
            // Not its last reference: its channel unsubscribes, under this lock, before it lets go of its own.
            drop(self.make_hole(index));
        }
    }

    /// Tells a batch of those who had subscribed before `end` of a gap, the next one after `from` first. Gives where the
    /// next batch begins, or `None` if this was the last.
    #[cfg(feature = "remote")]
    pub(crate) fn miss(
        &self,
        from: u64,
        end: u64,
        gap: Gap,
        deferred: &mut Deferred<M>,
    ) -> Option<u64> {
        let start = self.slots.partition_point(|slot| slot.number < from);
        let present = self.slots[start..]
            .iter()
            .take_while(|slot| slot.number < end)
            .filter_map(|slot| Some((slot.number, slot.sink.as_ref()?)));
        for (count, (number, sink)) in present.enumerate() {
            if count == BATCH {
                return Some(number);
            }
            sink.miss(gap, deferred);
        }
        None
    }

    /// The number after all that have been given.
    #[cfg(feature = "remote")]
    pub(crate) fn end_number(&self) -> u64 {
        self.slots.last().map_or(0, |slot| slot.number + 1)
    }

    /// Ends every sink and retires the list. The caller drops the slots when the lock is released.
    pub(crate) fn end(&mut self, deferred: &mut Deferred<M>) -> impl Drop + use<M> {
        for sink in self.slots.iter().filter_map(|slot| slot.sink.as_ref()) {
            sink.end(deferred);
        }
        self.retired = true;
        self.holes = 0;
        self.keyers.clear();
        mem::take(&mut self.slots)
    }

    fn make_hole(&mut self, index: usize) -> Option<Arc<dyn Sink<M>>> {
        let sink = self.slots.get_mut(index)?.sink.take()?;
        self.holes += 1;
        if let Some(index) = sink.keyer().and_then(|keyer| self.position_of(&keyer)) {
            self.keyers[index].1 -= 1;
            if self.keyers[index].1 == 0 {
                self.keyers.swap_remove(index);
            }
        }
        Some(sink)
    }

    fn close_holes(&mut self) {
        if self.len() == 0 {
            self.retired = true;
        } else if self.holes > self.slots.len() / 2 {
            self.slots.retain(|slot| slot.sink.is_some());
            self.slots.shrink_to(self.slots.len() * 2);
            self.holes = 0;
        }
    }

    fn position_of(&self, keyer: &Keyer<M>) -> Option<usize> {
        self.keyers
            .iter()
            .position(|(known, _)| known.id() == keyer.id())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::engine::Outcome;
    use crate::ring::Replay;

    fn parcel() -> Arc<Parcel<()>> {
        Arc::new(Parcel::new((), None))
    }

    /// Notes its name whenever it is called.
    struct Named(usize, Arc<Mutex<Vec<usize>>>);

    impl Sink<()> for Named {
        fn deliver(&self, _: Arc<Parcel<()>>, _: &Keys, _: &mut Deferred<()>) -> Outcome {
            self.1.lock().unwrap().push(self.0);
            Outcome {
                missed: 0,
                is_done: false,
            }
        }

        fn replay(&self, _: Replay<()>, _: &mut Deferred<()>) {}

        #[cfg(feature = "remote")]
        fn miss(&self, _: Gap, _: &mut Deferred<()>) {
            self.1.lock().unwrap().push(self.0);
        }

        fn end(&self, _: &mut Deferred<()>) {
            self.1.lock().unwrap().push(self.0);
        }

        fn keyer(&self) -> Option<Keyer<()>> {
            None
        }
    }

    struct Fixture {
        subscribers: Subscribers<()>,
        called: Arc<Mutex<Vec<usize>>>,
    }

    impl Fixture {
        fn new(count: usize) -> Self {
            let mut fixture = Self {
                subscribers: Subscribers::new(),
                called: Arc::default(),
            };
            for name in 0..count {
                let sink = Arc::new(Named(name, Arc::clone(&fixture.called)));
                fixture.subscribers.add(name as u64, sink);
            }
            fixture
        }

        fn delivered_to(&mut self) -> Vec<usize> {
            let keys = Keys::new();
            let mut walk = self.subscribers.walk(parcel(), &keys, None);
            while self.subscribers.deliver(&mut walk, &mut Deferred::new()) {}
            let called = mem::take(&mut *self.called.lock().unwrap());
            assert_eq!(called.len(), self.subscribers.len());
            assert_eq!(called.len() as u64, walk.counts.delivered);
            called
        }
    }

    #[test]
    fn those_who_stay_are_called_once_each_in_the_order_in_which_they_came() {
        for step in [2, 3, 7] {
            let mut fixture = Fixture::new(100);
            let mut expected: Vec<usize> = (0..100).collect();
            // Leaves in a jumping order, so that holes are made everywhere and closed several times.
            for leaving in (0..step).flat_map(|start| (start..100).step_by(step)) {
                let number = leaving as u64;
                #[cfg(feature = "remote")]
                assert!(fixture.subscribers.contains(number));
                assert!(fixture.subscribers.remove(number).is_some());
                assert!(fixture.subscribers.remove(number).is_none(), "once");
                #[cfg(feature = "remote")]
                assert!(!fixture.subscribers.contains(number));
                expected.retain(|&name| name != leaving);
                assert_eq!(fixture.delivered_to(), expected);
                assert_eq!(fixture.subscribers.is_retired(), expected.is_empty());
            }
        }
    }

    /// Between two batches others have the lock: who leaves before its turn gets nothing, who joins gets the next message,
    /// and nobody gets one twice, however the list moves under the walk.
    #[test]
    fn b2_leaving_and_joining_in_the_middle_of_a_walk() {
        let count = BATCH * 4;
        let mut fixture = Fixture::new(count);
        let keys = Keys::new();
        let mut deferred = Deferred::new();
        let except = BATCH as u64 * 3;
        let mut walk = fixture.subscribers.walk(parcel(), &keys, Some(except));
        assert!(fixture.subscribers.deliver(&mut walk, &mut deferred));
        // So many leave that the holes are closed: some who have it, some who have not, and who would be next.
        for number in (0..BATCH as u64 / 2).chain(BATCH as u64..BATCH as u64 * 3 - 4) {
            fixture.subscribers.remove(number);
        }
        let sink = Arc::new(Named(count, Arc::clone(&fixture.called)));
        fixture.subscribers.add(count as u64, sink);
        while fixture.subscribers.deliver(&mut walk, &mut deferred) {}

        let expected: Vec<usize> = (0..BATCH)
            .chain(BATCH * 3 - 4..BATCH * 3)
            .chain(BATCH * 3 + 1..count)
            .collect();
        let called = mem::take(&mut *fixture.called.lock().unwrap());
        assert_eq!(called, expected);
        assert_eq!(walk.counts.delivered, expected.len() as u64);

        let next: Vec<usize> = (BATCH / 2..BATCH).chain(BATCH * 3 - 4..=count).collect();
        assert_eq!(fixture.delivered_to(), next);
    }

    #[test]
    fn a_walk_of_whole_batches_gives_the_last_one_the_publishers_reference() {
        struct Keep(Mutex<Option<Arc<Parcel<()>>>>);

        impl Sink<()> for Keep {
            fn deliver(&self, message: Arc<Parcel<()>>, _: &Keys, _: &mut Deferred<()>) -> Outcome {
                *self.0.lock().unwrap() = Some(message);
                Outcome {
                    missed: 0,
                    is_done: false,
                }
            }

            fn replay(&self, _: Replay<()>, _: &mut Deferred<()>) {}

            #[cfg(feature = "remote")]
            fn miss(&self, _: Gap, _: &mut Deferred<()>) {}

            fn end(&self, _: &mut Deferred<()>) {}

            fn keyer(&self) -> Option<Keyer<()>> {
                None
            }
        }

        for count in [1, BATCH - 1, BATCH, BATCH + 1, BATCH * 2] {
            let mut subscribers = Subscribers::new();
            let sinks: Vec<_> = (0..count)
                .map(|_| Arc::new(Keep(Mutex::default())))
                .collect();
            for (number, sink) in (0..).zip(&sinks) {
                subscribers.add(number, Arc::clone(sink) as Arc<dyn Sink<()>>);
            }
            let keys = Keys::new();
            let mut walk = subscribers.walk(parcel(), &keys, None);
            while subscribers.deliver(&mut walk, &mut Deferred::new()) {}
            let messages: Vec<_> = sinks
                .iter()
                .filter_map(|sink| sink.0.lock().unwrap().take())
                .collect();
            assert_eq!(messages.len(), count);
            assert_eq!(
                Arc::strong_count(&messages[0]),
                count,
                "none is the publisher's"
            );
        }
    }

    #[cfg(feature = "remote")]
    #[test]
    fn b2_a_gap_is_told_once_to_each_who_was_there() {
        let mut fixture = Fixture::new(BATCH * 2 + 3);
        fixture.subscribers.remove(5);
        let end = fixture.subscribers.end_number();
        let mut next = fixture
            .subscribers
            .miss(0, end, Gap::ONE, &mut Deferred::new());
        // Who comes in the middle of it was not there.
        let late = Arc::new(Named(1_000, Arc::clone(&fixture.called)));
        fixture.subscribers.add(end, late);
        while let Some(from) = next {
            next = fixture
                .subscribers
                .miss(from, end, Gap::ONE, &mut Deferred::new());
        }
        let expected: Vec<usize> = (0..BATCH * 2 + 3).filter(|&name| name != 5).collect();
        assert_eq!(*fixture.called.lock().unwrap(), expected);
    }

    #[test]
    fn memory_is_given_back_as_subscribers_leave() {
        let mut fixture = Fixture::new(10_000);
        for number in 10..10_000 {
            fixture.subscribers.remove(number);
        }
        assert!(fixture.subscribers.slots.capacity() < 100);
    }

    #[test]
    fn one_subscriber_takes_room_for_one() {
        assert_eq!(Fixture::new(1).subscribers.slots.capacity(), 1);
    }

    #[test]
    fn after_the_end_nobody_is_called() {
        let mut fixture = Fixture::new(3);
        drop(fixture.subscribers.end(&mut Deferred::new()));
        assert_eq!(mem::take(&mut *fixture.called.lock().unwrap()), [0, 1, 2]);
        assert!(fixture.delivered_to().is_empty());
        assert!(fixture.subscribers.is_retired());
    }
}

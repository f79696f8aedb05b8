//! The subscribers of one topic, in the order in which they came.

use std::mem;
use std::sync::Arc;

use crate::deferred::Deferred;
use crate::engine::{Sink, SubscriberKey};

/// A list with cheap removal: a subscriber that leaves makes a hole, and the holes are closed when they are half of the
/// list. Keys only grow, so that the list is sorted by them.
pub(crate) struct Subscribers<M> {
    slots: Vec<Slot<M>>,
    holes: usize,
    next_key: u64,
    /// Set when the last one has left: the topic's entry is about to go, and nobody may join here any more.
    retired: bool,
}

struct Slot<M> {
    key: SubscriberKey,
    sink: Option<Arc<dyn Sink<M>>>,
}

impl<M> Subscribers<M> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            holes: 0,
            next_key: 0,
            retired: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.holes
    }

    pub(crate) const fn is_retired(&self) -> bool {
        self.retired
    }

    pub(crate) fn add(&mut self, sink: Arc<dyn Sink<M>>) -> SubscriberKey {
        let key = SubscriberKey(self.next_key);
        self.next_key += 1;
        if self.slots.is_empty() {
            // Most topics have one subscriber; `push` would make room for four.
            self.slots.reserve_exact(1);
        }
        self.slots.push(Slot {
            key,
            sink: Some(sink),
        });
        key
    }

    /// Takes a subscriber out and retires the list if it was the last. The caller drops the sink when the lock is
    /// released.
    pub(crate) fn remove(&mut self, key: SubscriberKey) -> Option<Arc<dyn Sink<M>>> {
        let index = self
            .slots
            .binary_search_by_key(&key, |slot| slot.key)
            .ok()?;
        let sink = self.slots.get_mut(index)?.sink.take()?;
        self.holes += 1;
        if self.len() == 0 {
            self.retired = true;
        } else if self.holes > self.slots.len() / 2 {
            self.slots.retain(|slot| slot.sink.is_some());
            self.slots.shrink_to(self.slots.len() * 2);
            self.holes = 0;
        }
        Some(sink)
    }

    /// Hands the message to everyone and tells how many they are.
    pub(crate) fn deliver(&self, message: Arc<M>, deferred: &mut Deferred<M>) -> usize {
        let mut sinks = self.sinks();
        let Some(mut sink) = sinks.next() else {
            deferred.discard(message);
            return 0;
        };
        for next in sinks {
            sink.deliver(Arc::clone(&message), deferred);
            sink = next;
        }
        // The last one gets the publisher's own reference: a single subscriber can then take the message out uncloned.
        sink.deliver(message, deferred);
        self.len()
    }

    /// Ends every sink and retires the list. The caller drops the slots when the lock is released.
    pub(crate) fn end(&mut self, deferred: &mut Deferred<M>) -> impl Drop + use<M> {
        for sink in self.sinks() {
            sink.end(deferred);
        }
        self.retired = true;
        self.holes = 0;
        mem::take(&mut self.slots)
    }

    fn sinks(&self) -> impl Iterator<Item = &Arc<dyn Sink<M>>> {
        self.slots.iter().filter_map(|slot| slot.sink.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Notes its name whenever it is called.
    struct Named(usize, Arc<Mutex<Vec<usize>>>);

    impl Sink<()> for Named {
        fn deliver(&self, _: Arc<()>, _: &mut Deferred<()>) {
            self.1.lock().unwrap().push(self.0);
        }

        fn end(&self, _: &mut Deferred<()>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    struct Fixture {
        subscribers: Subscribers<()>,
        keys: Vec<SubscriberKey>,
        called: Arc<Mutex<Vec<usize>>>,
    }

    impl Fixture {
        fn new(count: usize) -> Self {
            let mut fixture = Self {
                subscribers: Subscribers::new(),
                keys: Vec::new(),
                called: Arc::default(),
            };
            for name in 0..count {
                let sink = Arc::new(Named(name, Arc::clone(&fixture.called)));
                fixture.keys.push(fixture.subscribers.add(sink));
            }
            fixture
        }

        fn delivered_to(&self) -> Vec<usize> {
            let count = self.subscribers.deliver(Arc::new(()), &mut Deferred::new());
            let called = mem::take(&mut *self.called.lock().unwrap());
            assert_eq!((called.len(), self.subscribers.len()), (count, count));
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
                assert!(fixture.subscribers.remove(fixture.keys[leaving]).is_some());
                assert!(
                    fixture.subscribers.remove(fixture.keys[leaving]).is_none(),
                    "once"
                );
                expected.retain(|&name| name != leaving);
                assert_eq!(fixture.delivered_to(), expected);
                assert_eq!(fixture.subscribers.is_retired(), expected.is_empty());
            }
        }
    }

    #[test]
    fn memory_is_given_back_as_subscribers_leave() {
        let mut fixture = Fixture::new(10_000);
        for key in fixture.keys.drain(10..) {
            fixture.subscribers.remove(key);
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
        assert_eq!(fixture.delivered_to(), []);
        assert!(fixture.subscribers.is_retired());
    }
}

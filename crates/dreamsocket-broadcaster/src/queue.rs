//! The sink behind a channel: a bounded queue that keeps account of what it could not keep.
//!
//! It knows no engine and no topic. Messages are shared with the other subscribers until they are received.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::channel::End;
use crate::counts::ChannelCounts;
use crate::deferred::Deferred;
use crate::engine::{Outcome, Sink};
use crate::fingerprint::{Fingerprint, Prehashed};
use crate::keyer::{Keyer, Keys};
use crate::lock::Lock;
use crate::options::{ChannelOptions, Policy};

/// Room for this many messages (8 bytes each) is kept when the queue is empty, so that a steady flow allocates nothing.
const KEPT: usize = 16;

pub(crate) struct Queue<M> {
    capacity: usize,
    /// The policy's, if it is the latest per key.
    keyer: Option<Keyer<M>>,
    state: Lock<State<M>>,
}

pub(crate) struct State<M> {
    /// Never more than the capacity.
    waiting: VecDeque<Arc<M>>,
    /// The number of the message at the front of `waiting`, or of the next one if nothing waits: counted by what was let
    /// in.
    front: u64,
    /// Dropped and not yet told. All of them came before the front of `waiting`.
    missed: u64,
    when_full: WhenFull,
    /// The parked reader's. Only set while nothing waits.
    waker: Option<Waker>,
    /// That of a reader who has no use for messages now, but wants to know of the end.
    end_waker: Option<Waker>,
    ended: Option<End>,
    /// Without those that wait.
    counts: ChannelCounts,
}

/// What happens to a message too many, with what that takes to remember.
enum WhenFull {
    DropOldest,
    /// Gaps behind the front of `waiting`, with the number of the message that follows. At most one before each message,
    /// and one behind the last.
    DropNewest(VecDeque<(u64, u64)>),
    /// As `DropOldest`, once every message that waits has a key of its own.
    LatestPerKey(Box<Latest>),
    End,
}

/// Which message stands for which key.
#[derive(Default)]
struct Latest {
    /// The keys of what waits, in the same order. None has no key if its function panicked.
    keys: VecDeque<Option<Fingerprint>>,
    numbers: HashMap<Fingerprint, u64, BuildHasherDefault<Prehashed>>,
}

/// What was taken out of the queue.
pub(crate) enum Taken<M> {
    Message(Arc<M>),
    Missed(u64),
}

pub(crate) enum Take<M> {
    Some(Taken<M>),
    Empty,
    Ended,
}

impl<M> Queue<M> {
    pub(crate) fn new(options: ChannelOptions<M>) -> Self {
        let (when_full, keyer) = match options.policy {
            Policy::DropOldest => (WhenFull::DropOldest, None),
            Policy::DropNewest => (WhenFull::DropNewest(VecDeque::new()), None),
            Policy::LatestPerKey(keyer) => (WhenFull::LatestPerKey(Box::default()), Some(keyer)),
            Policy::End => (WhenFull::End, None),
        };
        let state = State {
            waiting: VecDeque::new(),
            front: 0,
            missed: 0,
            when_full,
            waker: None,
            end_waker: None,
            ended: None,
            counts: ChannelCounts::default(),
        };
        Self {
            capacity: options.capacity,
            keyer,
            state: Lock::new(state),
        }
    }

    pub(crate) fn counts(&self) -> ChannelCounts {
        let state = self.state.lock();
        ChannelCounts {
            waiting: state.waiting.len(),
            ..state.counts
        }
    }

    /// Why the reader gets nothing any more, if so.
    pub(crate) fn end(&self) -> Option<End> {
        self.state.lock().end()
    }

    pub(crate) fn take(&self) -> Take<M> {
        self.state.lock().take()
    }

    /// As [`take`](Self::take), but parks the reader if the queue is empty.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Option<Taken<M>>> {
        self.poll(
            cx,
            |state| match state.take() {
                Take::Some(taken) => Some(Some(taken)),
                Take::Ended => Some(None),
                Take::Empty => None,
            },
            |state| &mut state.waker,
        )
    }

    /// Hands up to `limit` messages and gaps to `each` under one lock, and tells how many they were: 0 is the end. Parks
    /// the reader if the queue is empty. Nothing foreign may run in `each`.
    pub(crate) fn poll_take_many(
        &self,
        cx: &Context<'_>,
        limit: usize,
        mut each: impl FnMut(Taken<M>),
    ) -> Poll<usize> {
        self.poll(
            cx,
            |state| {
                for count in 0..limit {
                    match state.take() {
                        Take::Some(taken) => each(taken),
                        Take::Empty if count == 0 => return None,
                        Take::Empty | Take::Ended => return Some(count),
                    }
                }
                Some(limit)
            },
            |state| &mut state.waker,
        )
    }

    /// Parks a reader that waits for the end alone.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<End> {
        self.poll(cx, |state| state.end(), |state| &mut state.end_waker)
    }

    /// Looks at the state until there is something in it, and parks in `slot` meanwhile.
    fn poll<R>(
        &self,
        cx: &Context<'_>,
        mut look: impl FnMut(&mut State<M>) -> Option<R>,
        slot: impl Fn(&mut State<M>) -> &mut Option<Waker>,
    ) -> Poll<R> {
        // `Waker::clone` is foreign code: it runs between two looks at the queue, not under the lock. These two are
        // declared before the guard, so that they drop after it.
        let mut clone: Option<Waker> = None;
        let _old: Option<Waker>;
        loop {
            let mut state: MutexGuard<'_, State<M>> = self.state.lock();
            if let Some(found) = look(&mut state) {
                return Poll::Ready(found);
            }
            let waker = slot(&mut state);
            if waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                return Poll::Pending;
            }
            if let Some(clone) = clone.take() {
                _old = waker.replace(clone);
                return Poll::Pending;
            }
            drop(state);
            clone = Some(cx.waker().clone());
        }
    }

    /// The message for the reader: moved if no other subscriber holds it, else cloned. If its `Clone` panics, the
    /// message counts as missed.
    pub(crate) fn clone_out(&self, message: Arc<M>) -> M
    where
        M: Clone,
    {
        struct Unreceived<'a, M>(&'a Queue<M>);

        impl<M> Drop for Unreceived<'_, M> {
            fn drop(&mut self) {
                let mut state = self.0.state.lock();
                state.missed += 1;
                state.counts.missed += 1;
                state.counts.received -= 1;
            }
        }

        let unreceived = Unreceived(self);
        let message = Arc::unwrap_or_clone(message);
        mem::forget(unreceived);
        message
    }
}

impl<M> State<M> {
    fn end(&self) -> Option<End> {
        self.ended
            .filter(|_| self.missed == 0 && self.waiting.is_empty())
    }

    fn take(&mut self) -> Take<M> {
        if self.missed > 0 {
            return Take::Some(Taken::Missed(mem::take(&mut self.missed)));
        }
        let Some(message) = self.pop() else {
            return if self.ended.is_some() {
                Take::Ended
            } else {
                Take::Empty
            };
        };
        self.counts.received += 1;
        if self.waiting.is_empty() {
            self.shrink();
        }
        Take::Some(Taken::Message(message))
    }

    /// Takes the front out, and what is remembered of it. A gap behind it comes to the front.
    fn pop(&mut self) -> Option<Arc<M>> {
        let message = self.waiting.pop_front()?;
        let number = self.front;
        self.front += 1;
        match &mut self.when_full {
            WhenFull::DropOldest | WhenFull::End => {}
            WhenFull::DropNewest(gaps) => {
                if let Some((_, count)) = gaps.pop_front_if(|(next, _)| *next == self.front) {
                    self.missed += count;
                }
            }
            WhenFull::LatestPerKey(latest) => {
                if let Some(Some(key)) = latest.keys.pop_front()
                    && latest.numbers.get(&key) == Some(&number)
                {
                    latest.numbers.remove(&key);
                }
            }
        }
        Some(message)
    }

    /// Gives back what a burst has taken.
    fn shrink(&mut self) {
        self.waiting.shrink_to(KEPT);
        match &mut self.when_full {
            WhenFull::DropOldest | WhenFull::End => {}
            WhenFull::DropNewest(gaps) => gaps.shrink_to(KEPT),
            WhenFull::LatestPerKey(latest) => {
                latest.keys.shrink_to(KEPT);
                latest.numbers.shrink_to(KEPT);
            }
        }
    }

    /// Lets a message in as the policy says, and tells how many it cost.
    fn push(
        &mut self,
        message: Arc<M>,
        key: Option<Fingerprint>,
        capacity: usize,
        deferred: &mut Deferred<M>,
    ) -> u64 {
        if let (WhenFull::LatestPerKey(latest), Some(key)) = (&self.when_full, key)
            && let Some(number) = latest.numbers.get(&key)
            && let Ok(index) = usize::try_from(number - self.front)
            && let Some(place) = self.waiting.get_mut(index)
        {
            self.counts.coalesced += 1;
            deferred.discard(mem::replace(place, message));
            return 0;
        }

        let mut missed = 0;
        if self.waiting.len() >= capacity {
            match &mut self.when_full {
                WhenFull::DropOldest | WhenFull::LatestPerKey(_) => {
                    if let Some(oldest) = self.pop() {
                        deferred.discard(oldest);
                    }
                    self.missed += 1;
                    missed = 1;
                }
                WhenFull::DropNewest(gaps) => {
                    deferred.discard(message);
                    let next = self.front + self.waiting.len() as u64;
                    match gaps.back_mut().filter(|(before, _)| *before == next) {
                        Some((_, count)) => *count += 1,
                        None => gaps.push_back((next, 1)),
                    }
                    return 1;
                }
                WhenFull::End => {
                    deferred.discard(message);
                    return 1 + self.lag(deferred);
                }
            }
        }
        if let WhenFull::LatestPerKey(latest) = &mut self.when_full {
            latest.keys.push_back(key);
            if let Some(key) = key {
                let number = self.front + self.waiting.len() as u64;
                latest.numbers.insert(key, number);
            }
        }
        self.waiting.push_back(message);
        missed
    }

    /// Ends for a message too many, and tells how many waited.
    fn lag(&mut self, deferred: &mut Deferred<M>) -> u64 {
        self.ended = Some(End::Lagged);
        self.missed = 0;
        let waiting = mem::take(&mut self.waiting);
        let missed = waiting.len() as u64;
        for message in waiting {
            deferred.discard(message);
        }
        missed
    }

    /// Wakes whoever waits for what has just come.
    fn wake(&mut self, deferred: &mut Deferred<M>) {
        if let Some(waker) = self.waker.take() {
            deferred.wake(waker);
        }
        if self.ended.is_some()
            && let Some(waker) = self.end_waker.take()
        {
            deferred.wake(waker);
        }
    }
}

impl<M: Send + Sync> Sink<M> for Queue<M> {
    fn deliver(&self, message: Arc<M>, keys: &Keys, deferred: &mut Deferred<M>) -> Outcome {
        let key = self.keyer.as_ref().and_then(|keyer| keys.of(keyer.id()));
        let mut state = self.state.lock();
        let missed = state.push(message, key, self.capacity, deferred);
        state.counts.missed += missed;
        state.wake(deferred);
        Outcome {
            missed,
            is_done: state.ended.is_some(),
        }
    }

    fn end(&self, deferred: &mut Deferred<M>) {
        let mut state = self.state.lock();
        state.ended.get_or_insert(End::Closed);
        state.wake(deferred);
    }

    fn keyer(&self) -> Option<&Keyer<M>> {
        self.keyer.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(capacity: usize) -> Queue<u32> {
        Queue::new(ChannelOptions::new().capacity(capacity))
    }

    fn deliver(queue: &Queue<u32>, messages: impl IntoIterator<Item = u32>) {
        let mut deferred = Deferred::new();
        for message in messages {
            queue.deliver(Arc::new(message), &Keys::new(), &mut deferred);
        }
    }

    fn allocated(queue: &Queue<u32>) -> usize {
        queue.state.lock().waiting.capacity()
    }

    #[test]
    fn b3_a_bound_takes_no_memory() {
        let queue = queue(usize::MAX);
        assert_eq!(allocated(&queue), 0);
        deliver(&queue, [1]);
        assert!(allocated(&queue) <= KEPT);
    }

    #[test]
    fn memory_is_given_back_when_the_queue_is_empty() {
        let queue = queue(100_000);
        deliver(&queue, 0..100_000);
        assert!(allocated(&queue) >= 100_000);
        while let Take::Some(_) = queue.take() {}
        assert!(allocated(&queue) <= KEPT);
    }

    #[test]
    fn a_steady_flow_allocates_nothing() {
        let queue = queue(256);
        let kept = u32::try_from(KEPT).unwrap();
        deliver(&queue, 0..kept);
        let before = allocated(&queue);
        for _ in 0..10 {
            while let Take::Some(_) = queue.take() {}
            deliver(&queue, 0..kept);
            assert_eq!(allocated(&queue), before);
        }
    }

    #[test]
    fn b3_a_full_queue_does_not_grow() {
        let queue = queue(100);
        deliver(&queue, 0..100);
        let full = allocated(&queue);
        deliver(&queue, 0..1_000);
        assert_eq!((queue.counts().waiting, allocated(&queue)), (100, full));
    }

    /// The worst case for the marks: each message that is taken makes room for one, and then one too many comes.
    #[test]
    fn b3_gaps_take_no_more_room_than_messages() {
        let queue = Queue::new(ChannelOptions::new().capacity(8).drop_newest());
        deliver(&queue, 0..9);
        for _ in 0..100 {
            while !matches!(queue.take(), Take::Some(Taken::Message(_))) {}
            deliver(&queue, 0..2);
            let state = queue.state.lock();
            let WhenFull::DropNewest(gaps) = &state.when_full else {
                unreachable!()
            };
            assert!(gaps.len() <= 8);
        }
    }
}

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
use crate::gap::Gap;
use crate::keyer::{Keyer, Keys};
use crate::lock::Lock;
use crate::options::{ChannelOptions, Policy};
use crate::parcel::Parcel;
use crate::position::Position;
use crate::ring::Replay;

/// Room for this many messages (8 bytes each) is kept when the queue is empty, so that a steady flow allocates nothing.
const KEPT: usize = 16;

/// There is one for each subscriber, and a publish touches them all: what only some policies need is boxed.
pub(crate) struct Queue<M> {
    capacity: usize,
    state: Lock<State<M>>,
}

pub(crate) struct State<M> {
    /// Never more than the capacity.
    waiting: VecDeque<Arc<Parcel<M>>>,
    /// Lost and not yet told. All of it came before the front of `waiting`.
    missed: Gap,
    when_full: WhenFull<M>,
    /// The parked reader's. Only set while nothing waits.
    waker: Option<Waker>,
    /// That of a reader who has no use for messages now, but wants to know of the end. Few have one.
    end_waker: Option<Box<Waker>>,
    ended: Option<End>,
    /// What comes before everything else. Few have it for long.
    beginning: Option<Box<Beginning<M>>>,
    received_ever: u64,
    missed_ever: u64,
}

/// What happens to a message too many, with what that takes to remember.
enum WhenFull<M> {
    /// Its own gaps are at the front, always: only an engine that loses messages leaves some behind it.
    DropOldest(Option<Box<Gaps>>),
    DropNewest(Box<Gaps>),
    /// As `DropOldest`, once every message that waits has a key of its own.
    LatestPerKey(Box<Latest<M>>),
    End(Option<Box<Gaps>>),
}

/// Gaps behind the front of what waits.
#[derive(Default)]
struct Gaps {
    /// The number of the message at the front, or of the next one if nothing waits: counted by what was let in.
    front: u64,
    /// Each with the number of the message that follows it. At most one before each message, and one behind the last.
    marks: VecDeque<(u64, Gap)>,
}

/// Which message stands for which key.
struct Latest<M> {
    keyer: Keyer<M>,
    gaps: Gaps,
    /// The keys of what waits, in the same order. None has no key if its function panicked.
    keys: VecDeque<Option<Fingerprint>>,
    numbers: HashMap<Fingerprint, u64, BuildHasherDefault<Prehashed>>,
    coalesced_ever: u64,
}

/// What a queue begins with that was not delivered to it.
enum Beginning<M> {
    /// It is still to come, and what is delivered meanwhile will be in it.
    Awaited,
    Here(Replay<M>),
}

/// What was taken out of the queue.
pub(crate) enum Taken<M> {
    Message(Arc<Parcel<M>>),
    Missed(Gap),
}

impl<M> Taken<M> {
    /// Of a message.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Message(parcel) => parcel.position(),
            Self::Missed(_) => None,
        }
    }
}

pub(crate) enum Take<M> {
    Some(Taken<M>),
    Empty,
    Ended,
}

impl<M> Queue<M> {
    pub(crate) fn new(options: ChannelOptions<M>) -> Self {
        let when_full = match options.policy {
            Policy::DropOldest => WhenFull::DropOldest(None),
            Policy::DropNewest => WhenFull::DropNewest(Box::default()),
            Policy::LatestPerKey(keyer) => WhenFull::LatestPerKey(Box::new(Latest {
                keyer,
                gaps: Gaps::default(),
                keys: VecDeque::new(),
                numbers: HashMap::default(),
                coalesced_ever: 0,
            })),
            Policy::End => WhenFull::End(None),
        };
        let state = State {
            waiting: VecDeque::new(),
            missed: Gap::NONE,
            when_full,
            waker: None,
            end_waker: None,
            ended: None,
            beginning: options.begin.map(|_| Box::new(Beginning::Awaited)),
            received_ever: 0,
            missed_ever: 0,
        };
        Self {
            capacity: options.capacity,
            state: Lock::new(state),
        }
    }

    pub(crate) fn counts(&self) -> ChannelCounts {
        let state = self.state.lock();
        ChannelCounts {
            received: state.received_ever,
            missed: state.missed_ever,
            coalesced: match &state.when_full {
                WhenFull::LatestPerKey(latest) => latest.coalesced_ever,
                WhenFull::DropOldest(_) | WhenFull::DropNewest(_) | WhenFull::End(_) => 0,
            },
            waiting: state.replayed() + state.waiting.len(),
        }
    }

    /// Whether messages come in the order in which they were published.
    pub(crate) fn is_in_order(&self) -> bool {
        let state = self.state.lock();
        !matches!(state.when_full, WhenFull::LatestPerKey(_))
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
        self.poll(cx, |state| match state.take() {
            Take::Some(taken) => Some(Some(taken)),
            Take::Ended => Some(None),
            Take::Empty => None,
        })
    }

    /// Hands up to `limit` messages and gaps to `each` under one lock, and tells how many they were: 0 is the end. Parks
    /// the reader if the queue is empty. Nothing foreign may run in `each`.
    pub(crate) fn poll_take_many(
        &self,
        cx: &Context<'_>,
        limit: usize,
        mut each: impl FnMut(Taken<M>),
    ) -> Poll<usize> {
        self.poll(cx, |state| {
            for count in 0..limit {
                match state.take() {
                    Take::Some(taken) => each(taken),
                    Take::Empty if count == 0 => return None,
                    Take::Empty | Take::Ended => return Some(count),
                }
            }
            Some(limit)
        })
    }

    /// Parks a reader that waits for the end alone.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<End> {
        // As in `poll`.
        let mut clone: Option<Box<Waker>> = None;
        let _old: Option<Box<Waker>>;
        loop {
            let mut state = self.state.lock();
            if let Some(end) = state.end() {
                return Poll::Ready(end);
            }
            if let Some(clone) = clone.take() {
                _old = state.end_waker.replace(clone);
                return Poll::Pending;
            }
            let parked = state.end_waker.as_ref();
            if parked.is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            drop(state);
            clone = Some(Box::new(cx.waker().clone()));
        }
    }

    /// Looks at the state until there is something in it, and parks the reader meanwhile.
    fn poll<R>(
        &self,
        cx: &Context<'_>,
        mut look: impl FnMut(&mut State<M>) -> Option<R>,
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
            let parked = state.waker.as_ref();
            if parked.is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if let Some(clone) = clone.take() {
                _old = state.waker.replace(clone);
                return Poll::Pending;
            }
            drop(state);
            clone = Some(cx.waker().clone());
        }
    }

    /// The message for the reader: moved if no other subscriber holds it, else cloned. If its `Clone` panics, the
    /// message counts as missed.
    #[inline]
    pub(crate) fn clone_out(&self, message: Arc<Parcel<M>>) -> M
    where
        M: Clone,
    {
        struct Unreceived<'a, M>(&'a Queue<M>);

        impl<M> Drop for Unreceived<'_, M> {
            fn drop(&mut self) {
                let mut state = self.0.state.lock();
                // One that has lagged meanwhile tells its end, and no gap.
                if state.ended != Some(End::Lagged) {
                    state.next_gap().add(Gap::ONE);
                }
                state.missed_ever += 1;
                state.received_ever -= 1;
            }
        }

        let unreceived = Unreceived(self);
        let message = Parcel::unwrap_or_clone(message);
        mem::forget(unreceived);
        message
    }
}

impl<M> State<M> {
    fn end(&self) -> Option<End> {
        let is_empty = self.missed.is_none() && self.waiting.is_empty();
        let is_empty = is_empty && !matches!(self.beginning.as_deref(), Some(Beginning::Here(_)));
        self.ended.filter(|_| is_empty)
    }

    /// How many messages of the beginning wait.
    fn replayed(&self) -> usize {
        match self.beginning.as_deref() {
            Some(Beginning::Here(replay)) => replay.messages.len(),
            Some(Beginning::Awaited) | None => 0,
        }
    }

    /// What is missing before all that waits.
    fn next_gap(&mut self) -> &mut Gap {
        match self.beginning.as_deref_mut() {
            Some(Beginning::Here(replay)) => replay.gap_before(),
            Some(Beginning::Awaited) | None => &mut self.missed,
        }
    }

    const fn is_awaiting(&self) -> bool {
        matches!(&self.beginning, Some(beginning) if matches!(**beginning, Beginning::Awaited))
    }

    /// The next one of the beginning. When that is over, nothing is remembered of it.
    fn take_replayed(&mut self) -> Option<Taken<M>> {
        let Some(Beginning::Here(replay)) = self.beginning.as_deref_mut() else {
            return None;
        };
        let gap = replay.gap_before();
        let taken = if gap.is_none() {
            let message = replay.messages.pop_front();
            self.received_ever += u64::from(message.is_some());
            message.map(|(_, message)| Taken::Message(message))
        } else {
            Some(Taken::Missed(mem::take(gap)))
        };
        if replay.is_empty() {
            self.beginning = None;
        }
        taken
    }

    fn take(&mut self) -> Take<M> {
        if let Some(taken) = self.take_replayed() {
            return Take::Some(taken);
        }
        if !self.missed.is_none() {
            return Take::Some(Taken::Missed(mem::take(&mut self.missed)));
        }
        let Some(message) = self.pop() else {
            return if self.ended.is_some() {
                Take::Ended
            } else {
                Take::Empty
            };
        };
        self.received_ever += 1;
        if self.waiting.is_empty() {
            self.shrink();
        }
        Take::Some(Taken::Message(message))
    }

    /// Takes the front out, and what is remembered of it. A gap behind it comes to the front.
    fn pop(&mut self) -> Option<Arc<Parcel<M>>> {
        let message = self.waiting.pop_front()?;
        match &mut self.when_full {
            WhenFull::DropOldest(None) | WhenFull::End(None) => {}
            WhenFull::DropOldest(rare @ Some(_)) | WhenFull::End(rare @ Some(_)) => {
                if let Some(gaps) = rare {
                    self.missed.add(gaps.advance());
                }
                rare.take_if(|gaps| gaps.marks.is_empty());
            }
            WhenFull::DropNewest(gaps) => self.missed.add(gaps.advance()),
            WhenFull::LatestPerKey(latest) => {
                self.missed.add(latest.gaps.advance());
                if let Some(Some(key)) = latest.keys.pop_front() {
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
            WhenFull::DropOldest(_) | WhenFull::End(_) => {}
            WhenFull::DropNewest(gaps) => gaps.marks.shrink_to(KEPT),
            WhenFull::LatestPerKey(latest) => {
                latest.gaps.marks.shrink_to(KEPT);
                latest.keys.shrink_to(KEPT);
                latest.numbers.shrink_to(KEPT);
            }
        }
    }

    /// Lets a message in as the policy says, and tells how many it cost.
    fn push(
        &mut self,
        message: Arc<Parcel<M>>,
        keys: &Keys,
        capacity: usize,
        deferred: &mut Deferred<M>,
    ) -> u64 {
        let key = match &self.when_full {
            WhenFull::LatestPerKey(latest) => keys.of(latest.keyer.id()),
            WhenFull::DropOldest(_) | WhenFull::DropNewest(_) | WhenFull::End(_) => None,
        };
        if let (WhenFull::LatestPerKey(latest), Some(key)) = (&mut self.when_full, key)
            && let Some(number) = latest.numbers.get(&key)
            && let Ok(index) = usize::try_from(number - latest.gaps.front)
            && let Some(place) = self.waiting.get_mut(index)
        {
            latest.coalesced_ever += 1;
            deferred.discard(mem::replace(place, message));
            return 0;
        }

        let mut missed = 0;
        if self.waiting.len() >= capacity {
            match &mut self.when_full {
                WhenFull::DropOldest(_) | WhenFull::LatestPerKey(_) => {
                    if let Some(oldest) = self.pop() {
                        deferred.discard(oldest);
                    }
                    self.missed.add(Gap::ONE);
                    missed = 1;
                }
                WhenFull::DropNewest(gaps) => {
                    deferred.discard(message);
                    gaps.mark(self.waiting.len(), Gap::ONE);
                    return 1;
                }
                WhenFull::End(_) => {
                    deferred.discard(message);
                    return 1 + self.lag(deferred);
                }
            }
        }
        if let WhenFull::LatestPerKey(latest) = &mut self.when_full {
            latest.keys.push_back(key);
            if let Some(key) = key {
                let number = latest.gaps.front + self.waiting.len() as u64;
                latest.numbers.insert(key, number);
            }
        }
        self.waiting.push_back(message);
        missed
    }

    /// Ends for a message too many, and tells how many waited of those that were delivered.
    fn lag(&mut self, deferred: &mut Deferred<M>) -> u64 {
        self.ended = Some(End::Lagged);
        self.missed = Gap::NONE;
        self.when_full = WhenFull::End(None);
        let waiting = mem::take(&mut self.waiting);
        let missed = waiting.len() as u64;
        for message in waiting {
            deferred.discard(message);
        }
        if let Some(Beginning::Here(replay)) = self.beginning.take().map(|beginning| *beginning) {
            self.missed_ever += replay.messages.len() as u64;
            for (_, message) in replay.messages {
                deferred.discard(message);
            }
        }
        missed
    }

    /// Notes a gap behind everything that waits.
    #[cfg(feature = "remote")]
    fn miss(&mut self, gap: Gap) {
        if self.waiting.is_empty() {
            self.missed.add(gap);
            return;
        }
        let gaps = match &mut self.when_full {
            WhenFull::DropOldest(rare) | WhenFull::End(rare) => rare.get_or_insert_default(),
            WhenFull::DropNewest(gaps) => gaps,
            WhenFull::LatestPerKey(latest) => &mut latest.gaps,
        };
        gaps.mark(self.waiting.len(), gap);
    }

    /// Wakes whoever waits for what has just come.
    fn wake(&mut self, deferred: &mut Deferred<M>) {
        if let Some(waker) = self.waker.take() {
            deferred.wake(waker);
        }
        if self.ended.is_some()
            && let Some(waker) = self.end_waker.take()
        {
            deferred.wake(*waker);
        }
    }
}

impl Gaps {
    /// The front was taken out: the gap that comes to the front by that.
    fn advance(&mut self) -> Gap {
        self.front += 1;
        let front = self.front;
        let mark = self.marks.pop_front_if(|(next, _)| *next == front);
        mark.map_or(Gap::NONE, |(_, gap)| gap)
    }

    /// Notes a gap behind the messages that wait.
    fn mark(&mut self, waiting: usize, gap: Gap) {
        let next = self.front + waiting as u64;
        match self.marks.back_mut().filter(|(before, _)| *before == next) {
            Some((_, noted)) => noted.add(gap),
            None => self.marks.push_back((next, gap)),
        }
    }
}

impl<M: Send + Sync> Sink<M> for Queue<M> {
    fn deliver(&self, message: Arc<Parcel<M>>, keys: &Keys, deferred: &mut Deferred<M>) -> Outcome {
        let mut state = self.state.lock();
        if state.is_awaiting() {
            deferred.discard(message);
            return Outcome {
                missed: 0,
                is_done: state.ended.is_some(),
            };
        }
        let missed = state.push(message, keys, self.capacity, deferred);
        state.missed_ever += missed;
        state.wake(deferred);
        Outcome {
            missed,
            is_done: state.ended.is_some(),
        }
    }

    fn replay(&self, replay: Replay<M>, deferred: &mut Deferred<M>) {
        let mut state = self.state.lock();
        if !state.is_awaiting() {
            for (_, message) in replay.messages {
                deferred.discard(message);
            }
            return;
        }
        state.beginning = if replay.is_empty() {
            None
        } else {
            Some(Box::new(Beginning::Here(replay)))
        };
        if state.beginning.is_some() {
            state.wake(deferred);
        }
    }

    #[cfg(feature = "remote")]
    fn miss(&self, gap: Gap, deferred: &mut Deferred<M>) {
        let mut state = self.state.lock();
        if state.ended.is_none() && !state.is_awaiting() {
            state.miss(gap);
            state.wake(deferred);
        }
    }

    fn end(&self, deferred: &mut Deferred<M>) {
        let mut state = self.state.lock();
        state.ended.get_or_insert(End::Closed);
        state.wake(deferred);
    }

    fn keyer(&self) -> Option<Keyer<M>> {
        match &self.state.lock().when_full {
            WhenFull::LatestPerKey(latest) => Some(latest.keyer.clone()),
            WhenFull::DropOldest(_) | WhenFull::DropNewest(_) | WhenFull::End(_) => None,
        }
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
            queue.deliver(
                Arc::new(Parcel::new(message, None)),
                &Keys::new(),
                &mut deferred,
            );
        }
    }

    /// All that waits, with a gap of n as `Err(Some(n))`.
    #[cfg(feature = "remote")]
    fn drain(queue: &Queue<u32>) -> Vec<Result<u32, Option<u64>>> {
        std::iter::from_fn(|| match queue.take() {
            Take::Some(Taken::Message(message)) => Some(Ok(**message)),
            Take::Some(Taken::Missed(gap)) => Some(Err(gap.count())),
            Take::Empty | Take::Ended => None,
        })
        .collect()
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
            assert!(gaps.marks.len() <= 8);
        }
    }

    /// A gap of the engine's stands where it came, whatever the policy does with the messages around it.
    #[cfg(feature = "remote")]
    #[test]
    fn b2_a_gap_of_the_engine_keeps_its_place_under_every_policy() {
        type Seen = Result<u32, Option<u64>>;
        fn check(options: ChannelOptions<u32>, expected: &[Seen]) {
            let queue = Queue::new(options.capacity(3));
            let miss = |gap| queue.miss(gap, &mut Deferred::new());
            miss(Gap::of(1));
            deliver(&queue, 0..2);
            miss(Gap::of(2));
            miss(Gap::UNKNOWN);
            deliver(&queue, 2..3);
            miss(Gap::of(4));
            assert_eq!(drain(&queue), expected);
            // Nothing of it is kept.
            deliver(&queue, 5..6);
            assert_eq!(drain(&queue), [Ok(5)]);
        }
        let all = [Err(Some(1)), Ok(0), Ok(1), Err(None), Ok(2), Err(Some(4))];
        check(ChannelOptions::new(), &all);
        check(ChannelOptions::new().drop_newest(), &all);
        check(ChannelOptions::new().end_when_full(), &all);
        check(ChannelOptions::new().latest_per_key(|number| *number), &all);
    }

    #[cfg(feature = "remote")]
    #[test]
    fn b2_a_gap_of_the_engine_merges_with_what_the_policy_drops_around_it() {
        let queue = Queue::new(ChannelOptions::new().capacity(2));
        deliver(&queue, 0..1);
        queue.miss(Gap::of(5), &mut Deferred::new());
        deliver(&queue, 1..3);
        assert_eq!(drain(&queue), [Err(Some(6)), Ok(1), Ok(2)]);

        let queue = Queue::new(ChannelOptions::new().capacity(1).drop_newest());
        deliver(&queue, 0..2);
        queue.miss(Gap::of(5), &mut Deferred::new());
        assert_eq!(drain(&queue), [Ok(0), Err(Some(6))]);

        let queue = Queue::new(ChannelOptions::new().capacity(1).end_when_full());
        deliver(&queue, 0..1);
        queue.miss(Gap::of(5), &mut Deferred::new());
        deliver(&queue, 1..2);
        assert_eq!(drain(&queue), []);
        assert_eq!(queue.end(), Some(End::Lagged));
    }
}

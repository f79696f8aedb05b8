//! The sink behind a channel: a bounded queue that drops its oldest messages and counts them.
//!
//! It knows no engine and no topic. Messages are shared with the other subscribers until they are received.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::channel::ChannelOptions;
use crate::deferred::Deferred;
use crate::engine::Sink;
use crate::lock::Lock;

/// Room for this many messages (8 bytes each) is kept when the queue is empty, so that a steady flow allocates nothing.
const KEPT: usize = 16;

pub(crate) struct Queue<M> {
    capacity: usize,
    state: Lock<State<M>>,
}

struct State<M> {
    /// Never more than `capacity`.
    waiting: VecDeque<Arc<M>>,
    /// Dropped and not yet told. All of them came before the front of `waiting`.
    missed: u64,
    /// The parked reader's. Only set while nothing waits.
    waker: Option<Waker>,
    ended: bool,
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
    #[expect(
        clippy::needless_pass_by_value,
        reason = "policies will move out of it"
    )]
    pub(crate) fn new(options: ChannelOptions) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            missed: 0,
            waker: None,
            ended: false,
        };
        Self {
            capacity: options.capacity,
            state: Lock::new(state),
        }
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    pub(crate) fn take(&self) -> Take<M> {
        self.state.lock().take()
    }

    /// As [`take`](Self::take), but parks the reader if the queue is empty.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Option<Taken<M>>> {
        // `Waker::clone` is foreign code: it runs between two looks at the queue, not under the lock. These two are
        // declared before the guard, so that they drop after it.
        let mut clone: Option<Waker> = None;
        let _old: Option<Waker>;
        loop {
            let mut state = self.state.lock();
            match state.take() {
                Take::Some(taken) => return Poll::Ready(Some(taken)),
                Take::Ended => return Poll::Ready(None),
                Take::Empty => {}
            }
            if state
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                return Poll::Pending;
            }
            if let Some(waker) = clone.take() {
                _old = state.waker.replace(waker);
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
                self.0.state.lock().missed += 1;
            }
        }

        let unreceived = Unreceived(self);
        let message = Arc::unwrap_or_clone(message);
        mem::forget(unreceived);
        message
    }
}

impl<M> State<M> {
    fn take(&mut self) -> Take<M> {
        if self.missed > 0 {
            return Take::Some(Taken::Missed(mem::take(&mut self.missed)));
        }
        let Some(message) = self.waiting.pop_front() else {
            return if self.ended { Take::Ended } else { Take::Empty };
        };
        if self.waiting.is_empty() {
            self.waiting.shrink_to(KEPT);
        }
        Take::Some(Taken::Message(message))
    }
}

impl<M: Send + Sync> Sink<M> for Queue<M> {
    fn deliver(&self, message: Arc<M>, deferred: &mut Deferred<M>) {
        let mut state = self.state.lock();
        if state.waiting.len() >= self.capacity
            && let Some(oldest) = state.waiting.pop_front()
        {
            state.missed += 1;
            deferred.discard(oldest);
        }
        state.waiting.push_back(message);
        if let Some(waker) = state.waker.take() {
            deferred.wake(waker);
        }
    }

    fn end(&self, deferred: &mut Deferred<M>) {
        let mut state = self.state.lock();
        state.ended = true;
        if let Some(waker) = state.waker.take() {
            deferred.wake(waker);
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
            queue.deliver(Arc::new(message), &mut deferred);
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
        assert_eq!((queue.waiting(), allocated(&queue)), (100, full));
    }
}

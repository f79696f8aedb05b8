//! [`Queue`]: messages on their way out, in order. Its memory is a pool's of the thread while it is empty, so that an idle
//! connection holds none and a busy one does not allocate for each batch.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use super::Outgoing;
use crate::config::FLUSH_MESSAGES;

/// How many a thread keeps.
const KEPT: usize = 8;

/// For how many messages a kept one may have room: twice what is flushed at the latest.
const KEPT_MESSAGES: usize = 2 * FLUSH_MESSAGES as usize;

thread_local! {
    static POOL: RefCell<Vec<VecDeque<Outgoing>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub(crate) struct Queue(VecDeque<Outgoing>);

impl Queue {
    /// Appends a message.
    #[inline]
    pub(crate) fn push(&mut self, message: Outgoing) {
        if self.0.capacity() == 0 {
            self.refit();
        }
        self.0.push_back(message);
    }

    #[cold]
    fn refit(&mut self) {
        self.0 = POOL.with_borrow_mut(Vec::pop).unwrap_or_default();
    }

    /// Its memory is used again, if it is empty.
    pub(crate) fn give_back(self) {
        if self.0.is_empty() && (1..=KEPT_MESSAGES).contains(&self.0.capacity()) {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < KEPT {
                    pool.push(self.0);
                }
            });
        }
    }

    /// Lets go of more memory than is kept.
    #[inline]
    pub(crate) fn trim(&mut self) {
        if self.0.capacity() > KEPT_MESSAGES {
            self.0 = VecDeque::new();
        }
    }
}

impl Deref for Queue {
    type Target = VecDeque<Outgoing>;

    fn deref(&self) -> &VecDeque<Outgoing> {
        &self.0
    }
}

impl DerefMut for Queue {
    fn deref_mut(&mut self) -> &mut VecDeque<Outgoing> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn with_room(messages: usize) -> Queue {
        Queue(VecDeque::with_capacity(messages))
    }

    fn kept() -> usize {
        POOL.with_borrow(Vec::len)
    }

    #[test]
    fn memory_is_used_again_if_it_is_empty_and_not_much() {
        POOL.take();
        let message = || Outgoing::Binary(Bytes::new());
        let mut in_use = with_room(4);
        in_use.push(message());
        for not_kept in [in_use, with_room(0), with_room(KEPT_MESSAGES + 1)] {
            not_kept.give_back();
            assert_eq!(kept(), 0);
        }
        with_room(KEPT_MESSAGES).give_back();
        assert_eq!(kept(), 1);
        let mut queue = Queue::default();
        queue.push(message());
        assert_eq!((queue.capacity(), kept()), (KEPT_MESSAGES, 0));
    }

    #[test]
    fn a_thread_keeps_a_bounded_number() {
        POOL.take();
        for _ in 0..2 * KEPT {
            with_room(4).give_back();
        }
        assert_eq!(kept(), KEPT);
    }

    #[test]
    fn what_a_burst_took_is_let_go_of() {
        for (messages, left) in [(KEPT_MESSAGES, KEPT_MESSAGES), (KEPT_MESSAGES + 1, 0)] {
            let mut queue = with_room(messages);
            queue.trim();
            assert_eq!(queue.capacity(), left);
        }
    }
}

//! What is on its way out of one connection: messages that are not encoded yet, and a batch that is being written.
//!
//! Boxed, and the box is a pool's of the thread while nothing is on its way, so that an idle connection holds none of it and
//! a busy one does not allocate for it.

use std::cell::RefCell;

use super::writer::Writer;
use crate::outbox::Queue;

/// How many a thread keeps.
const KEPT: usize = 8;

thread_local! {
    static POOL: RefCell<Vec<Box<Pending>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Messages taken from the outbox and not encoded yet.
    pub(super) outgoing: Queue,
    pub(super) writer: Writer,
}

impl Pending {
    pub(super) fn take() -> Box<Self> {
        POOL.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.writer.is_empty()
    }

    /// Takes an empty one back.
    pub(super) fn give_back(mut self: Box<Self>) {
        std::mem::take(&mut self.outgoing).give_back();
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT {
                pool.push(self);
            }
        });
    }
}

//! What a publish owes to foreign code, kept until no lock is held: wakers to wake, messages to drop.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::task::Waker;
use std::{mem, thread, vec};

use crate::parcel::Parcel;

/// Wakers and messages, acted on when this is dropped. Drop it after the last lock is released.
///
/// Everything is done even if some of it panics; the first panic then goes on.
pub(crate) struct Deferred<M> {
    /// Apart, so that a topic with one subscriber allocates nothing here.
    first: Option<Waker>,
    wakers: Vec<Waker>,
    messages: Vec<Parcel<M>>,
    panicked: Option<Box<dyn Any + Send>>,
}

impl<M> Deferred<M> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            wakers: Vec::new(),
            messages: Vec::new(),
            panicked: None,
        }
    }

    /// Wakes a task, later.
    pub(crate) fn wake(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.wakers.push(waker);
        }
    }

    /// Gives up one reference to a message. Only the last one has to wait, for only that runs `M::drop`, and
    /// that of what was made of it.
    pub(crate) fn discard(&mut self, message: Arc<Parcel<M>>) {
        if let Some(message) = Arc::into_inner(message) {
            self.messages.push(message);
        }
    }

    /// Drops a message that nobody else has seen, later.
    pub(crate) fn discard_unshared(&mut self, message: M) {
        self.messages.push(Parcel::new(message, None));
    }

    /// Lets a panic go on, later.
    pub(crate) fn panic(&mut self, payload: Box<dyn Any + Send>) {
        self.panicked.get_or_insert(payload);
    }
}

impl<M> Drop for Deferred<M> {
    fn drop(&mut self) {
        let mut panicked = self.panicked.take();
        let wakers = self
            .first
            .take()
            .into_iter()
            .chain(mem::take(&mut self.wakers));
        for_each_despite_panics(wakers, Waker::wake, &mut panicked);
        let messages: vec::IntoIter<Parcel<M>> = mem::take(&mut self.messages).into_iter();
        for_each_despite_panics(messages, drop, &mut panicked);

        // A panic inside a panic would abort the process.
        if let Some(payload) = panicked
            && !thread::panicking()
        {
            panic::resume_unwind(payload);
        }
    }
}

/// Applies `f` to every item, panic or not, and keeps the first panic.
pub(crate) fn for_each_despite_panics<T>(
    mut items: impl Iterator<Item = T>,
    f: impl Fn(T),
    panicked: &mut Option<Box<dyn Any + Send>>,
) {
    // One guarded region for all items rather than one for each; it is entered again after a panic.
    while let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| items.by_ref().for_each(&f))) {
        panicked.get_or_insert(payload);
    }
}

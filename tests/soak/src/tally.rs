//! [`Tally`]: what became of the messages and of the clients, counted by all of them together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use fault_proxy::{Ledger, Wrong};

/// How many failures are kept in words; the others are counted.
const IN_WORDS: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Messages that came, and were looked at.
    pub(crate) received: AtomicU64,
    /// Messages that the server said somebody missed.
    pub(crate) declared: AtomicU64,
    /// Clients that died, flooded or were slow, as they were to.
    pub(crate) bad: AtomicU64,
    /// Connections that a client has made anew by itself.
    pub(crate) reconnected: AtomicU64,
    wrong: Mutex<Wrong>,
    /// What good clients did not get, in words.
    failures: Mutex<Vec<String>>,
    failed: AtomicU64,
}

impl Tally {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// What was wrong with all that one client has received.
    pub(crate) fn add_wrong(&self, ledger: &Ledger) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) += ledger.wrong();
    }

    pub(crate) fn wrong(&self) -> Wrong {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A good client did not get what it should have.
    pub(crate) fn fail(&self, failure: String) {
        Self::add(&self.failed, 1);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < IN_WORDS {
            failures.push(failure);
        }
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

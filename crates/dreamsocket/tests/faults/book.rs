//! [`Book`]: what the handlers at both ends have seen of each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use dreamsocket::Closed;

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Server,
    Client,
}

/// What one end has seen of one connection, from its `on_init` on.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// How many messages came, in order and whole.
    pub(crate) received: u64,
    /// What came that was not the next message, or came after `ConnectionClosed`.
    pub(crate) wrong: Vec<String>,
    /// How often `ConnectionClosed` was delivered.
    pub(crate) told: usize,
    /// What each call of `on_close` was given.
    pub(crate) closes: Vec<Closed>,
}

/// What an end of a client's has seen of its connections, one after another.
type Pages = HashMap<(Side, u64), Vec<Seen>>;

/// What all ends have seen. A clone is the same book.
#[derive(Debug, Default, Clone)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

impl Book {
    /// A connection of this client begins; which one it is at this end.
    pub(crate) fn begin(&self, side: Side, client: u64) -> usize {
        let mut pages = self.0.lock().unwrap();
        let page = pages.entry((side, client)).or_default();
        page.push(Seen::default());
        page.len() - 1
    }

    pub(crate) fn write(
        &self,
        side: Side,
        client: u64,
        connection: usize,
        change: impl FnOnce(&mut Seen),
    ) {
        let mut pages = self.0.lock().unwrap();
        change(&mut pages.get_mut(&(side, client)).unwrap()[connection]);
    }

    /// All connections of this client, as this end has seen them.
    pub(crate) fn read(&self, side: Side, client: u64) -> Vec<Seen> {
        let pages = self.0.lock().unwrap();
        pages.get(&(side, client)).cloned().unwrap_or_default()
    }
}

//! [`Store`]: keys that expire, which presence across nodes rests on.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// What a [`Store`] could not do, and why: the client crate's error, as a rule.
pub type StoreError = Box<dyn Error + Send + Sync>;

/// A place for small values that go by themselves when nobody writes them again.
///
/// [`Presence`](crate::Presence) keeps there who lives and who is where. A store may lose everything at any time, when its
/// broker is restarted, say: it is written again. What it must not do is to keep a key of [`Shelf::Lives`] much longer
/// than it was asked to: half a second more at most, or people of a node that was killed stay that much longer.
///
/// No call may wait for ever: a few seconds are enough. Calls may be made at the same time.
pub trait Store: Send + Sync + 'static {
    /// Writes a value, in the place of one that is there. It expires that long after it was written last.
    ///
    /// On one shelf all keys are written with the same expiry.
    fn put(
        &self,
        shelf: &Shelf,
        key: &str,
        value: Bytes,
        expiry: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes a key. It is no error if there is none.
    fn remove(
        &self,
        shelf: &Shelf,
        key: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// All keys of a shelf that have not expired, with their values; every one that was written before the call began.
    fn list(
        &self,
        shelf: &Shelf,
    ) -> impl Future<Output = Result<Vec<(String, Bytes)>, StoreError>> + Send;
}

/// Where in a [`Store`] a key is. Each shelf has keys of its own: 16 hexadecimal digits, which are a node's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a store has to have all of them; one more would not be optional"
)]
pub enum Shelf {
    /// The nodes that live. Few keys, written every second or so by each node, which expire within seconds.
    Lives,
    /// Who is in a topic: one value for each node that has somebody there. The name is any text of up to 500 bytes.
    Roster(Arc<str>),
}

//! Key functions, which say of two messages whether the later one replaces the earlier. They are code of the user's: a
//! publish runs each of them once, before it takes any lock, and brings the results along as [`Keys`].

use std::any::TypeId;
use std::fmt;
use std::hash::{Hash, RandomState};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use crate::deferred::Deferred;
use crate::fingerprint::Fingerprint;

/// A key function without the type of its keys.
pub(crate) struct Keyer<M>(Arc<dyn KeyFunction<M>>);

/// Two keyers with one identity give the same keys, so that ten thousand subscribers with one function cost one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyerId {
    address: usize,
    key: TypeId,
}

pub(crate) trait KeyFunction<M>: Send + Sync {
    fn id(&self) -> KeyerId;
    fn key(&self, message: &M, secret: &RandomState) -> Fingerprint;
}

impl<M> Keyer<M> {
    pub(crate) fn new(function: impl KeyFunction<M> + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(crate) fn id(&self) -> KeyerId {
        self.0.id()
    }
}

impl<M: 'static, K: Hash + 'static> From<fn(&M) -> K> for Keyer<M> {
    fn from(function: fn(&M) -> K) -> Self {
        Self::new(function)
    }
}

impl<M: 'static, K: Hash + 'static> KeyFunction<M> for fn(&M) -> K {
    fn id(&self) -> KeyerId {
        // The compiler may merge functions that do the same, or keep one twice. Either is right here.
        KeyerId {
            address: *self as usize,
            key: TypeId::of::<K>(),
        }
    }

    fn key(&self, message: &M, secret: &RandomState) -> Fingerprint {
        Fingerprint::new(&self(message), secret)
    }
}

impl<M> Clone for Keyer<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Keyer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyer").field(&self.id()).finish()
    }
}

impl KeyerId {
    /// For a key function that is not a `fn`: no function is at address 0.
    pub(crate) fn of_type<T: 'static>() -> Self {
        Self {
            address: 0,
            key: TypeId::of::<T>(),
        }
    }
}

/// The keys of one message, by key function. Empty unless a subscriber asked for the latest per key.
#[derive(Default)]
pub(crate) struct Keys(Vec<(KeyerId, Option<Fingerprint>)>);

impl Keys {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn contains(&self, id: KeyerId) -> bool {
        self.0.iter().any(|(known, _)| *known == id)
    }

    /// The message's key, or `None` if the function panicked.
    pub(crate) fn of(&self, id: KeyerId) -> Option<Fingerprint> {
        self.0.iter().find(|(known, _)| *known == id)?.1
    }

    /// Runs the key function. A panic is the publisher's, after everyone has got the message.
    pub(crate) fn compute<M>(
        &mut self,
        keyer: &Keyer<M>,
        message: &M,
        secret: &RandomState,
        deferred: &mut Deferred<M>,
    ) {
        let computed = panic::catch_unwind(AssertUnwindSafe(|| keyer.0.key(message, secret)));
        let key = computed.map_err(|payload| deferred.panic(payload)).ok();
        self.0.push((keyer.id(), key));
    }
}

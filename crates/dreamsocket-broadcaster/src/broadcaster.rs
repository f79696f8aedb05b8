//! [`Broadcaster`]: where the engine is chosen. Nothing else in this crate's interface tells engines apart.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::engine::Engine;
use crate::local::Local;
use crate::topic::Topic;

/// A space of named topics which carry messages of type `M`.
///
/// Cheap to clone; all clones are the same space. Make one when the program starts, and hand out the [`Topic`]s that
/// each part needs.
///
/// ```
/// # use dreamsocket_broadcaster::Broadcaster;
/// let broadcaster = Broadcaster::<String>::new();
/// let mut channel = broadcaster.topic("lobby").subscribe();
/// assert_eq!(broadcaster.topic("lobby").subscribers(), 1);
/// ```
pub struct Broadcaster<M> {
    handle: Handle<M>,
}

impl<M: Clone + Send + Sync + 'static> Broadcaster<M> {
    /// A broadcaster within this process: nothing is encoded, nothing can fail.
    #[must_use]
    pub fn new() -> Self {
        Self::with_engine(Arc::new(Local::new()))
    }

    /// The topic of that name.
    ///
    /// This is only a handle: a topic exists as long as it has subscribers, and takes no memory before or after.
    pub fn topic(&self, name: impl Into<Arc<str>>) -> Topic<M> {
        let name = self.handle.name(name.into());
        Topic::new(name, self.handle.clone())
    }
}

impl<M> Broadcaster<M> {
    pub(crate) fn with_engine(engine: Arc<dyn Engine<M>>) -> Self {
        Self {
            handle: Handle(Arc::new(LastHandle { engine })),
        }
    }

    /// How many topics have subscribers in this process.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.handle.topics()
    }
}

impl<M: Clone + Send + Sync + 'static> Default for Broadcaster<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for Broadcaster<M> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
        }
    }
}

impl<M> fmt::Debug for Broadcaster<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcaster")
            .field("topics", &self.topics())
            .finish_non_exhaustive()
    }
}

/// The right to publish, shared by [`Broadcaster`]s and [`Topic`]s but not by channels: when the last one goes, the
/// engine is told.
pub(crate) struct Handle<M>(Arc<LastHandle<M>>);

struct LastHandle<M> {
    engine: Arc<dyn Engine<M>>,
}

impl<M> Handle<M> {
    /// The engine alone, without the right to publish.
    pub(crate) fn engine(&self) -> Arc<dyn Engine<M>> {
        Arc::clone(&self.0.engine)
    }
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Deref for Handle<M> {
    type Target = dyn Engine<M>;

    fn deref(&self) -> &Self::Target {
        &*self.0.engine
    }
}

impl<M> Drop for LastHandle<M> {
    fn drop(&mut self) {
        self.engine.abandon();
    }
}

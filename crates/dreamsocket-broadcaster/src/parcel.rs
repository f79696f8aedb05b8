//! A message on its way, once for all who get it: with its place in the history, and what somebody who passes it on has
//! made of it.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::position::Position;

/// There is one for each message, whatever the number of its subscribers.
pub(crate) struct Parcel<M> {
    message: M,
    position: Option<Position>,
    extensions: OnceLock<Box<Extension>>,
}

/// What somebody has made of a message, and what others have of other types.
struct Extension {
    made: Box<dyn Any + Send + Sync>,
    next: OnceLock<Box<Self>>,
}

impl<M> Parcel<M> {
    pub(crate) const fn new(message: M, position: Option<Position>) -> Self {
        Self {
            message,
            position,
            extensions: OnceLock::new(),
        }
    }

    pub(crate) const fn position(&self) -> Option<Position> {
        self.position
    }

    /// Moves the message out if nobody else holds it, else clones it.
    #[inline]
    pub(crate) fn unwrap_or_clone(parcel: Arc<Self>) -> M
    where
        M: Clone,
    {
        match Arc::try_unwrap(parcel) {
            Ok(parcel) => parcel.message,
            Err(parcel) => parcel.message.clone(),
        }
    }
}

impl<M> Deref for Parcel<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.message
    }
}

/// A message as it is shared with the other subscribers, and with the topic's history: not cloned.
///
/// From [`Channel::poll_recv_many`](crate::Channel::poll_recv_many) and
/// [`Channel::try_recv_shared`](crate::Channel::try_recv_shared). Cheap to clone. It is for who passes messages on, and can
/// keep for all others what one of them has made of it: see [`extension`](Self::extension).
pub struct Shared<M>(Arc<Parcel<M>>);

impl<M> Shared<M> {
    pub(crate) const fn new(parcel: Arc<Parcel<M>>) -> Self {
        Self(parcel)
    }

    /// Where in the topic's history it is, if the topic keeps one.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.position()
    }

    /// The message itself: moved out if nobody else holds it any more, else cloned.
    #[must_use]
    pub fn into_message(self) -> M
    where
        M: Clone,
    {
        Parcel::unwrap_or_clone(self.0)
    }

    /// What the message was made into for passing it on, made at the first call for all who share the message: its bytes,
    /// say.
    ///
    /// A message keeps one of each type, as long as anybody holds the message: use a type of your own. No lock is held while
    /// it is made, so that two threads that ask at once may both make it; then both get the one that was there first.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use dreamsocket_broadcaster::{Broadcaster, Delivery, Shared};
    /// let topic = Broadcaster::new().topic("lobby");
    /// let mut channels = [topic.subscribe(), topic.subscribe()];
    /// topic.publish(7).unwrap();
    /// let text = |number: &i32| Arc::<str>::from(number.to_string());
    /// let texts = channels.each_mut().map(|channel| match channel.try_recv_shared() {
    ///     Ok(Delivery::Message(message)) => message.extension(text),
    ///     other => panic!("{other:?}"),
    /// });
    /// assert_eq!(&*texts[0], "7");
    /// ```
    pub fn extension<T>(&self, make: impl FnOnce(&M) -> T) -> T
    where
        T: Clone + Send + Sync + 'static,
    {
        let mut slot = &self.0.extensions;
        let mut make = Some(make);
        let mut made = None;
        loop {
            if let Some(extension) = slot.get() {
                // Whoever was first keeps its own.
                if let Some(kept) = extension.made.downcast_ref::<T>() {
                    return kept.clone();
                }
                slot = &extension.next;
            } else if let Some(make) = make.take() {
                made = Some(make(self));
            } else if let Some(value) = made.take() {
                let extension = Extension {
                    made: Box::new(value.clone()),
                    next: OnceLock::new(),
                };
                if slot.set(Box::new(extension)).is_ok() {
                    return value;
                }
                made = Some(value);
            }
        }
    }
}

impl<M> Deref for Shared<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M> AsRef<M> for Shared<M> {
    fn as_ref(&self) -> &M {
        self
    }
}

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Of the messages; where they are and what was made of them does not count.
impl<M: PartialEq> PartialEq for Shared<M> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<M: Eq> Eq for Shared<M> {}

impl<M: fmt::Debug> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<M: fmt::Display> fmt::Display for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared<M>(message: M) -> Shared<M> {
        Shared::new(Arc::new(Parcel::new(message, None)))
    }

    #[test]
    fn s3_what_was_made_of_a_message_is_made_once_for_all_who_share_it() {
        let message = shared(7);
        let other = message.clone();
        assert_eq!(message.extension(ToString::to_string), "7");
        assert_eq!(other.extension::<String>(|_| panic!("made twice")), "7");
        // Another type has a place of its own.
        assert_eq!(other.extension(|number| number + 1), 8);
        assert_eq!(message.extension::<i32>(|_| panic!("made twice")), 8);
        assert_eq!(other.extension::<String>(|_| panic!("made twice")), "7");
    }

    #[test]
    fn a_shared_message_is_shown_and_compared_as_the_message() {
        assert_eq!(shared("a"), shared("a"));
        assert_ne!(shared("a"), shared("b"));
        assert_eq!(format!("{} {:?}", shared("a"), shared("a")), "a \"a\"");
    }

    #[test]
    fn making_may_ask_for_itself() {
        let message = shared(7);
        let inner = message.clone();
        let text = message.extension(|_| inner.extension(ToString::to_string) + "!");
        assert_eq!(text, "7", "who is first keeps its own");
    }

    #[test]
    fn the_last_one_moves_the_message_out() {
        struct NeverCloned;

        impl Clone for NeverCloned {
            fn clone(&self) -> Self {
                panic!("it was cloned");
            }
        }

        let message = shared(NeverCloned);
        drop(message.clone());
        let NeverCloned = message.into_message();
    }

    #[test]
    fn a_parcel_takes_a_few_words_more_than_its_message() {
        assert!(size_of::<Parcel<()>>() <= 48);
    }
}

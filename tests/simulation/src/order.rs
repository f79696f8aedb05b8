//! [`Order`]: a message that tells a handler what to do, as text: a number, a word and two arguments.
//!
//! So the peer decides what the application does, and a transcript reads as a story.

use std::fmt;

use crate::random::Rng;

macro_rules! deeds {
    ($($(#[$docs:meta])* $name:ident,)*) => {
        /// What a handler does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Deed {
            $($(#[$docs])* $name,)*
        }

        const DEEDS: &[(&str, Deed)] = &[$((stringify!($name), Deed::$name),)*];
    };
}

deeds! {
    Quiet,
    /// Answers.
    Echo,
    /// Answers with so many bytes.
    Large,
    /// Answers with a prepared message.
    Prepared,
    /// Sends so many without waiting.
    TrySend,
    /// Takes so many milliseconds.
    Slow,
    /// Lets others run so many times.
    Yield,
    /// Answers with so many messages.
    Burst,
    /// Sends so many of so many bytes, and passes the first error on.
    Flood,
    /// The same, and goes on after errors.
    Stubborn,
    /// Begins a send and drops it.
    GiveUp,
    Ping,
    /// Has another task send so many.
    Spawn,
    /// Adds a source that is fed with so many.
    Add,
    Remove,
    Replace,
    /// Adds a source in which so many are there at once.
    Torrent,
    Timer,
    Subscribe,
    Unsubscribe,
    Publish,
    Forward,
    Unforward,
    /// Publishes so many prepared messages.
    Feed,
    Stop,
    StopWith,
    Fail,
    FailWith,
    Panic,
    /// Adds a source that panics.
    PanicInSource,
    /// Closes by the handle and tries to send.
    Close,
    /// Has another task close.
    CloseElsewhere,
    /// Waits for the drain.
    AwaitDrain,
    /// Never returns.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) deed: Deed,
    pub(crate) count: u64,
    pub(crate) size: u64,
}

impl Order {
    /// One that the connection outlives, as a rule.
    pub(crate) fn lasting(rng: &mut Rng) -> Self {
        let deed = *rng.weighted(&[
            (4, Deed::Quiet),
            (20, Deed::Echo),
            (3, Deed::Large),
            (3, Deed::Prepared),
            (3, Deed::TrySend),
            (6, Deed::Slow),
            (4, Deed::Yield),
            (4, Deed::Burst),
            (2, Deed::Flood),
            (2, Deed::Stubborn),
            (2, Deed::GiveUp),
            (2, Deed::Ping),
            (3, Deed::Spawn),
            (5, Deed::Add),
            (3, Deed::Remove),
            (2, Deed::Replace),
            (2, Deed::Torrent),
            (1, Deed::Timer),
            (5, Deed::Subscribe),
            (2, Deed::Unsubscribe),
            (4, Deed::Publish),
            (4, Deed::Forward),
            (2, Deed::Unforward),
            (3, Deed::Feed),
        ]);
        Self::with(deed, rng)
    }

    /// One that ends the connection.
    pub(crate) fn last(rng: &mut Rng) -> Self {
        let deed = *rng.weighted(&[
            (4, Deed::Stop),
            (3, Deed::StopWith),
            (4, Deed::Fail),
            (3, Deed::FailWith),
            (6, Deed::Panic),
            (2, Deed::PanicInSource),
            (5, Deed::Close),
            (4, Deed::CloseElsewhere),
            (3, Deed::AwaitDrain),
            (4, Deed::Never),
        ]);
        Self::with(deed, rng)
    }

    pub(crate) fn with(deed: Deed, rng: &mut Rng) -> Self {
        let (count, size) = match deed {
            Deed::Large => (0, rng.within(100..=12_000)),
            Deed::Slow => (rng.within(1..=60), 0),
            Deed::Yield => (rng.within(1..=6), 0),
            Deed::Burst | Deed::TrySend => (rng.within(2..=12), 0),
            Deed::Flood | Deed::Stubborn => (rng.within(3..=16), rng.within(200..=3_000)),
            Deed::Spawn => (rng.within(1..=8), 0),
            Deed::Add => (rng.within(1..=20), 0),
            Deed::Torrent => (rng.within(3..=90), 0),
            Deed::Publish => (rng.within(1..=9), rng.within(0..=2)),
            Deed::Subscribe | Deed::Unsubscribe => (0, rng.within(0..=2)),
            // The last feed has the large messages, which connections have to share.
            Deed::Feed => (rng.within(1..=9), *rng.pick(&[0, 1, 2, 2])),
            Deed::Forward => (0, *rng.pick(&[0, 1, 2, 2])),
            Deed::StopWith | Deed::FailWith | Deed::Close | Deed::CloseElsewhere => {
                (rng.within(4_000..=4_009), 0)
            }
            Deed::Panic => (rng.within(0..=2), 0),
            _ => (0, 0),
        };
        Self { deed, count, size }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix('!')?.split(' ');
        let _number = words.next()?;
        let word = words.next()?;
        let (_, deed) = DEEDS.iter().find(|(name, _)| *name == word)?;
        Some(Self {
            deed: *deed,
            count: words.next()?.parse().ok()?,
            size: words.next()?.parse().ok()?,
        })
    }

    /// As a message, with a number of its sender's, so that no two are the same.
    pub(crate) fn text(&self, number: u64) -> String {
        format!("!{number} {self}")
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.deed, self.count, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut rng = Rng::new(1);
        for number in 0..500 {
            let order = match number % 2 {
                0 => Order::lasting(&mut rng),
                _ => Order::last(&mut rng),
            };
            assert_eq!(Order::parse(&order.text(number)), Some(order));
        }
        assert_eq!(Order::parse("=1 Echo 0 0"), None);
    }
}

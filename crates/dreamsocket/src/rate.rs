//! [`Rate`] and [`Excess`]: how much a peer may send in a time, and what comes of more. Pure data; the session keeps the
//! buckets.

use std::num::NonZeroU32;

/// How much a peer may send: so much a second in the long run, and a burst at once (a token bucket).
///
/// ```
/// use std::num::NonZeroU32;
/// use dreamsocket::{Config, Excess, Rate};
///
/// // 20 messages a second, 60 at once; whoever sends more is closed with 1008.
/// let rate = Rate::per_second(NonZeroU32::new(20).unwrap()).with_burst(NonZeroU32::new(60).unwrap());
/// let config = Config::default().with_message_rate(Some(rate)).with_rate_excess(Excess::Close);
/// # let _ = config;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    pub(crate) per_second: NonZeroU32,
    pub(crate) burst: NonZeroU32,
}

impl Rate {
    /// So much a second and at once; none counts as one.
    pub(crate) const fn of(amount: u32) -> Self {
        match NonZeroU32::new(amount) {
            Some(amount) => Self::per_second(amount),
            None => Self::per_second(NonZeroU32::MIN),
        }
    }

    /// So much a second, and at most a second's worth at once.
    #[must_use]
    pub const fn per_second(amount: NonZeroU32) -> Self {
        Self {
            per_second: amount,
            burst: amount,
        }
    }

    /// So much at once.
    #[must_use]
    pub const fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }
}

/// What comes of sending more than a [`Rate`] allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Excess {
    /// Nothing more is read until it is earned: the peer feels it as a slow connection.
    #[default]
    Wait,
    /// The connection is closed with 1008, cause [`Limit`](crate::Cause::Limit).
    Close,
}

//! [`Reconnect`]: whether and when a client connects again. Pure: randomness is an argument.

use std::time::Duration;

use crate::client::error::ConnectError;
use crate::message::{Cause, Closed};

/// What any delay is cut to, so that arithmetic on it cannot overflow.
const LONGEST: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// What delays double from at least, so that a first delay of nothing does not stay nothing.
const LEAST_BASE: Duration = Duration::from_millis(100);

/// What a client may reconnect after.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Ending<'a> {
    /// A connection ended.
    Closed(&'a Closed),
    /// An attempt to connect failed.
    Failed(&'a ConnectError),
}

impl Ending<'_> {
    /// The default rule: whether trying again later may help.
    ///
    /// - A connection: after 1001 (going away), 1006 (lost), 1011 (error), 1012 (restart) and 1013 (try again later),
    ///   whichever side said so; not after our own stop or drain, a normal close (1000, 1005), and a close for what one
    ///   side did wrong or for a reason of the application's (any other code).
    /// - An attempt: [`ConnectError::is_temporary`].
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Closed(closed) => {
                !matches!(closed.cause, Cause::Stopped | Cause::Drained)
                    && matches!(u16::from(closed.code), 1001 | 1006 | 1011 | 1012 | 1013)
            }
            Self::Failed(error) => error.is_temporary(),
        }
    }
}

/// How the time before an attempt is drawn, so that clients that were lost together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Between nothing and the whole delay: spreads most.
    Full,
    /// Between half the delay and the whole.
    Equal,
}

/// When a client connects again: after a delay that doubles with each attempt, with jitter.
///
/// ```
/// use std::time::Duration;
/// use dreamsocket::client::{Connect, Reconnect};
///
/// let connect = Connect::new("wss://example.com/feed").with_reconnect(
///     Reconnect::new().with_max_delay(Duration::from_secs(30)).with_max_attempts(Some(20)),
/// );
/// # let _ = connect;
/// ```
#[derive(Debug, Clone)]
#[must_use = "a policy does nothing until it is given to `Connect::with_reconnect`"]
pub struct Reconnect {
    first_delay: Duration,
    max_delay: Duration,
    jitter: Jitter,
    max_attempts: Option<u32>,
    stable_after: Duration,
    is_first_retried: bool,
    rule: fn(Ending<'_>) -> bool,
}

impl Reconnect {
    /// Delays of 1 s, 2 s, 4 s and so on up to 60 s, with full jitter, without end.
    pub fn new() -> Self {
        Self {
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            jitter: Jitter::Full,
            max_attempts: None,
            stable_after: Duration::from_secs(30),
            is_first_retried: false,
            rule: |ending| ending.is_temporary(),
        }
    }

    /// The delay before the first attempt, before jitter; nothing for an immediate one. Later attempts double it, or 100 ms
    /// if it is less, so that a server that is down is not hammered. Default: 1 s.
    pub const fn with_first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// What a delay grows to at most. It is also the most that is waited for what a server asks for with `Retry-After`; a
    /// delay of our own comes on top, drawn over a tenth of what was asked for at least, so that both together are at most
    /// twice this. Default: 60 s.
    pub const fn with_max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Default: [`Jitter::Full`].
    pub const fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// After how many attempts in a row to give up. Attempts count until a connection has been stable. `None`, the default:
    /// never.
    pub const fn with_max_attempts(mut self, attempts: Option<u32>) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How long a connection has to last, up to its end or the beginning of its close, until delays and attempts begin anew. A shorter one counts like an attempt that
    /// failed, so a server that accepts and closes at once is not hammered. Default: 30 s.
    pub const fn with_stable_after(mut self, time: Duration) -> Self {
        self.stable_after = time;
        self
    }

    /// Whether a first attempt that fails is retried under the same rules, while the caller waits. Default: no, so that
    /// a wrong address is known at once.
    pub const fn with_first_retried(mut self, is_first_retried: bool) -> Self {
        self.is_first_retried = is_first_retried;
        self
    }

    /// After which endings to connect again. A panic in it is logged and ends reconnecting. Default:
    /// [`Ending::is_temporary`].
    ///
    /// ```
    /// use dreamsocket::client::{Ending, Reconnect};
    ///
    /// // This server closes with 4000 when it wants to be asked again.
    /// let reconnect = Reconnect::new().with_rule(|ending| {
    ///     ending.is_temporary() || matches!(ending, Ending::Closed(closed) if u16::from(closed.code) == 4000)
    /// });
    /// # let _ = reconnect;
    /// ```
    pub const fn with_rule(mut self, rule: fn(Ending<'_>) -> bool) -> Self {
        self.rule = rule;
        self
    }

    pub(super) const fn is_first_retried(&self) -> bool {
        self.is_first_retried
    }

    pub(super) fn wants(&self, ending: Ending<'_>) -> bool {
        (self.rule)(ending)
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a client stands in a row of attempts.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Attempts since a connection was stable.
    attempts: u32,
}

impl Backoff {
    /// A connection has lasted that long.
    pub(super) fn note_connection(&mut self, policy: &Reconnect, lasted: Duration) {
        if lasted >= policy.stable_after {
            self.attempts = 0;
        }
    }

    /// How long to wait before the next attempt; `None` to give up. `random` is from 0 up to 1. What the server asked for
    /// comes before our own delay, each up to the maximum: clients that were told the same must not come back together.
    pub(super) fn next_delay(
        &mut self,
        policy: &Reconnect,
        asked: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        if policy.max_attempts.is_some_and(|max| self.attempts >= max) {
            return None;
        }
        let factor = 2_u32.checked_pow(self.attempts).unwrap_or(u32::MAX);
        let base = match self.attempts {
            0 => policy.first_delay,
            _ => policy.first_delay.max(LEAST_BASE),
        };
        self.attempts = self.attempts.saturating_add(1);
        let asked = asked.unwrap_or_default();
        let whole = base
            .saturating_mul(factor)
            .max(asked / 10)
            .min(policy.max_delay)
            .min(LONGEST);
        let random = random.clamp(0.0, 1.0);
        let drawn = match policy.jitter {
            Jitter::Full => whole.mul_f64(random),
            Jitter::Equal => whole / 2 + (whole / 2).mul_f64(random),
        };
        Some(asked.min(policy.max_delay).saturating_add(drawn))
    }
}

#[cfg(test)]
mod tests {
    use dreamsocket_protocol::CloseCode;
    use proptest::prelude::*;

    use super::*;

    fn check(cause: Cause, code: u16, expected: bool) {
        let closed = Closed::new(CloseCode::from(code), "", true, cause);
        let ending = Ending::Closed(&closed);
        assert_eq!(ending.is_temporary(), expected, "{cause} {code}");
    }

    #[test]
    fn the_default_rule() {
        for code in [1001, 1011, 1012, 1013] {
            check(Cause::Peer, code, true);
        }
        for code in [1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 3000, 4000] {
            check(Cause::Peer, code, false);
        }
        check(Cause::Lost, 1006, true);
        check(Cause::Failed, 1011, true);
        check(Cause::Failed, 4001, false);
        check(Cause::Lagged, 1013, true);
        check(Cause::Protocol, 1002, false);
        check(Cause::Stopped, 1000, false);
        check(Cause::Stopped, 1012, false);
        check(Cause::Drained, 1001, false);
    }

    #[test]
    fn delays_double_up_to_the_maximum_and_begin_anew_after_a_stable_connection() {
        let policy = Reconnect::new().with_max_delay(Duration::from_secs(5));
        let mut backoff = Backoff::default();
        let next =
            |backoff: &mut Backoff| backoff.next_delay(&policy, None, 1.0).unwrap().as_secs();
        assert_eq!([1, 2, 4, 5, 5].map(|_| next(&mut backoff)), [1, 2, 4, 5, 5]);
        backoff.note_connection(&policy, Duration::from_secs(29));
        assert_eq!(next(&mut backoff), 5);
        backoff.note_connection(&policy, Duration::from_secs(30));
        assert_eq!(next(&mut backoff), 1);
    }

    #[test]
    fn only_the_first_attempt_can_be_immediate() {
        let check = |first, max, expected: [u128; 4]| {
            let policy = Reconnect::new()
                .with_first_delay(Duration::from_millis(first))
                .with_max_delay(Duration::from_millis(max));
            let mut backoff = Backoff::default();
            let delays = [(); 4].map(|()| backoff.next_delay(&policy, None, 1.0).unwrap());
            assert_eq!(delays.map(|delay| delay.as_millis()), expected);
        };
        check(0, 60_000, [0, 200, 400, 800]);
        check(1, 500, [1, 200, 400, 500]);
        check(100, 60_000, [100, 200, 400, 800]);
        check(0, 0, [0, 0, 0, 0]);
    }

    #[test]
    fn clients_that_were_asked_to_wait_come_back_at_different_times() {
        let check = |asked, jitter, random, expected| {
            let policy = Reconnect::new().with_jitter(jitter);
            let asked = Some(Duration::from_secs(asked));
            let delay = Backoff::default().next_delay(&policy, asked, random);
            assert_eq!(delay.unwrap().as_secs(), expected, "{asked:?} {random}");
        };
        // The usual delay, a second here, is the least; a tenth of what is asked for is more, and the maximum is the most.
        check(5, Jitter::Full, 1.0, 6);
        check(50, Jitter::Full, 0.0, 50);
        check(50, Jitter::Full, 1.0, 55);
        check(300, Jitter::Full, 0.0, 60);
        check(300, Jitter::Full, 1.0, 90);
        check(86_400, Jitter::Equal, 0.0, 90);
        check(86_400, Jitter::Equal, 1.0, 120);
    }

    #[test]
    fn delays_without_sense_are_cut() {
        let policy = Reconnect::new()
            .with_first_delay(Duration::MAX)
            .with_max_delay(Duration::MAX);
        let mut backoff = Backoff::default();
        let delay = backoff.next_delay(&policy, Some(Duration::MAX), 0.999_999_999_999_999_9);
        assert_eq!(delay, Some(Duration::MAX));
        assert_eq!(backoff.next_delay(&policy, None, 1.0), Some(LONGEST));
    }

    #[test]
    fn attempts_end() {
        let policy = Reconnect::new().with_max_attempts(Some(2));
        let mut backoff = Backoff::default();
        assert!(backoff.next_delay(&policy, None, 0.0).is_some());
        assert!(backoff.next_delay(&policy, None, 0.0).is_some());
        assert_eq!(backoff.next_delay(&policy, None, 0.0), None);
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_bounds(
            first in 0_u64..100_000,
            max in 0_u64..100_000,
            attempts in 0_u32..100,
            asked in proptest::option::of(0_u64..200_000),
            random in 0.0_f64..1.0,
            is_equal: bool,
        ) {
            let (first, max) = (Duration::from_millis(first), Duration::from_millis(max));
            let asked = asked.map(Duration::from_millis);
            let jitter = if is_equal { Jitter::Equal } else { Jitter::Full };
            let policy = Reconnect::new().with_first_delay(first).with_max_delay(max).with_jitter(jitter);
            let delay = Backoff { attempts }.next_delay(&policy, asked, random).unwrap();
            let asked = asked.unwrap_or_default();
            prop_assert!(delay >= asked.min(max));
            let base = if attempts == 0 { first } else { first.max(LEAST_BASE) };
            let whole = base.saturating_mul(2_u32.saturating_pow(attempts)).min(max);
            let whole = whole.max(asked / 10).min(max);
            prop_assert!(delay <= asked.min(max) + whole);
            if is_equal {
                prop_assert!(delay >= asked.min(max) + whole / 2);
            }
        }
    }
}

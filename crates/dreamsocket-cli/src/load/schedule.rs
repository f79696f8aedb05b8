//! [`Schedule`]: when a message is due, and from when its latency counts. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How late a timer may wake us: that is our doing and not the server's, and is not counted as latency.
pub(super) const TIMER_SLACK: Duration = Duration::from_millis(2);

/// Messages at a fixed rate on each connection. The connections take turns, so that the sum of them is even, too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Messages a second on each connection.
    pub(super) rate: f64,
    pub(super) duration: Duration,
    pub(super) connections: usize,
}

impl Schedule {
    /// How long after the start the message of this number is due on this connection.
    pub(super) fn due(&self, connection: usize, number: u64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            reason = "numbers below 2^53 are exact, and there are no more"
        )]
        let periods = number as f64 + connection as f64 / self.connections as f64;
        // Within ten days, the longest time that can be asked for, by a rate of 0.001 at least.
        Duration::try_from_secs_f64(periods / self.rate).unwrap_or(Duration::MAX)
    }

    /// How many messages are due on this connection in so long a time.
    pub(super) fn due_within(&self, connection: usize, time: Duration) -> u64 {
        // Not one by one: there may be millions.
        let due = (time.as_secs_f64() * self.rate).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast to an integer is cut to what it holds"
        )]
        let mut due = due as u64;
        while due > 0 && self.due(connection, due - 1) >= time {
            due -= 1;
        }
        due
    }
}

/// From when the latency of a message counts that is sent now: when it was due. A message that was not held up by an earlier
/// one counts from up to [`TIMER_SLACK`] later.
pub(super) fn counts_from(due: Instant, now: Instant, was_held_up: bool) -> Instant {
    if was_held_up {
        due
    } else {
        now.min(due + TIMER_SLACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_at_the_rate() {
        let schedule = Schedule {
            rate: 10.0,
            duration: Duration::from_secs(1),
            connections: 4,
        };
        let due = |connection, number| schedule.due(connection, number).as_millis();
        assert_eq!((due(0, 0), due(1, 0), due(3, 0)), (0, 25, 75));
        assert_eq!((due(0, 1), due(0, 9), due(2, 9)), (100, 900, 950));
        assert!(schedule.due(3, 9) < schedule.duration);
        assert_eq!(schedule.due(0, 10), schedule.duration);
        let within = |connection, milliseconds| {
            schedule.due_within(connection, Duration::from_millis(milliseconds))
        };
        assert_eq!((within(0, 0), within(0, 1), within(0, 100)), (0, 1, 1));
        assert_eq!((within(0, 101), within(3, 175), within(3, 176)), (2, 1, 2));
        assert_eq!((within(0, 1000), within(3, 1000)), (10, 10));
    }

    #[test]
    fn a_message_that_was_held_up_counts_from_when_it_was_due() {
        let due = Instant::now();
        let after = |milliseconds| due + Duration::from_millis(milliseconds);
        assert_eq!(counts_from(due, after(500), true), due);
        assert_eq!(counts_from(due, after(1), false), after(1));
        assert_eq!(counts_from(due, after(500), false), after(2));
    }
}

//! What is told once a second, to the standard error.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::tally::{Tally, lock};

const EVERY: Duration = Duration::from_secs(1);

/// Tells until it is dropped. On a terminal a line takes the place of the one before.
pub(super) async fn tell(tally: Arc<Tally>, connections: usize) {
    let is_terminal = std::io::stderr().is_terminal();
    let begun = Instant::now();
    let mut timer = interval_at(begun + EVERY, EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut answered) = (0, 0);
    let _line = EndOfLine(is_terminal);
    loop {
        timer.tick().await;
        let (sent_now, answered_now) = (
            tally.sent.load(Ordering::Relaxed),
            tally.answered.load(Ordering::Relaxed),
        );
        let recent = tally.recent();
        let failed: u64 = lock(&tally.failures).values().sum();
        let closed: u64 = lock(&tally.closes).values().sum();
        let line = format!(
            "{:4} s  open {} of {connections}  sent {}/s  answered {}/s  p50 {:.3} ms  p99 {:.3} ms  failed {failed}  closed {closed}",
            begun.elapsed().as_secs(),
            tally.open.load(Ordering::Relaxed),
            sent_now - sent,
            answered_now - answered,
            recent.percentile(50.0),
            recent.percentile(99.0),
        );
        (sent, answered) = (sent_now, answered_now);
        if is_terminal {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r\u{1b}[K{line}").and_then(|()| stderr.flush());
        } else {
            say(&line);
        }
    }
}

/// A line to the standard error; without one it is not missed.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Clears the line that progress has left.
struct EndOfLine(bool);

impl Drop for EndOfLine {
    fn drop(&mut self) {
        if self.0 {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}

//! What a person sees while it runs: one line that is written over on a terminal, a line for each measurement elsewhere.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Instant;

use super::results::Outcome;

#[derive(Debug)]
pub struct Progress {
    start: Instant,
    /// Seconds that all takes, and that what is done was to take.
    planned: f64,
    done: f64,
    current: f64,
    count: usize,
    number: usize,
    what: String,
    last: String,
    terminal: bool,
}

impl Progress {
    #[must_use]
    pub fn new(planned: f64, count: usize) -> Self {
        Self {
            start: Instant::now(),
            planned,
            done: 0.0,
            current: 0.0,
            count,
            number: 0,
            what: String::new(),
            last: String::new(),
            terminal: stderr().is_terminal(),
        }
    }

    pub fn begin(&mut self, row: &str, server: &str, round: usize, estimate: f64) {
        self.number += 1;
        self.current = estimate;
        self.what = format!("round {} {row} {server}", round + 1);
        if self.terminal {
            self.show(false, &format!("{} …  (last: {})", self.what, self.last));
        }
    }

    pub fn end(&mut self, outcome: &Outcome) {
        self.done += self.current;
        self.last = describe(outcome);
        let line = format!("{}: {}", self.what, self.last);
        // A failure stays on the screen.
        let stays = !self.terminal || matches!(outcome, Outcome::Failed(_));
        self.show(stays, &line);
    }

    pub fn finish(&self) {
        if self.terminal {
            eprintln!();
        }
    }

    fn show(&self, stays: bool, line: &str) {
        let left = time(self.seconds_left());
        let mut err = stderr().lock();
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let text = format!(
            "{clear}[{}/{}, {left} left] {line}",
            self.number, self.count
        );
        let end = if stays { "\n" } else { "" };
        // Without a stderr there is nobody to show it to.
        let _ = write!(err, "{text}{end}").and_then(|()| err.flush());
    }

    fn seconds_left(&self) -> f64 {
        let left = self.planned - self.done;
        if self.done < 1.0 {
            return left;
        }
        left * self.start.elapsed().as_secs_f64() / self.done
    }
}

fn time(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unsupported => "not supported".to_owned(),
        Outcome::Failed(reason) => format!("FAILED: {reason}"),
        Outcome::Measured(report) => {
            match (report.cpu_per_message(), report.bytes_per_connection()) {
                (Some(cpu), _) => format!("{cpu:.2} µs, {:.0}/s", report.rate()),
                (None, Some(bytes)) => format!("{bytes:.0} bytes a connection"),
                (None, None) => format!("{:.0}/s", report.rate()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Cpu, Memory, Report};

    #[test]
    fn figures_are_said_in_a_word() {
        assert_eq!(time(605.9), "10:05");
        let mut report = Report {
            messages: 1000,
            seconds: 2.0,
            cpu: Some(Cpu {
                total: 2500.0,
                user: 1500.0,
                system: 1000.0,
            }),
            ..Report::default()
        };
        assert_eq!(
            describe(&Outcome::Measured(report.clone())),
            "2.50 µs, 500/s"
        );
        report.messages = 0;
        report.connections = 10;
        report.memory = Some(Memory {
            before: 1000,
            end: 19_000,
            peak: 20_000,
        });
        assert_eq!(
            describe(&Outcome::Measured(report)),
            "1800 bytes a connection"
        );
    }
}

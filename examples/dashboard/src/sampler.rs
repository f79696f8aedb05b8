//! Reads what this machine and this program do, from Linux's /proc. Elsewhere there is less to see.

use std::collections::VecDeque;
use std::fs;
use std::time::{Duration, Instant, SystemTime};

use dreamsocket::Hub;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::sample::Sample;

/// Over how long use of processors is averaged: the kernel counts it in hundredths of a second.
const WINDOW: Duration = Duration::from_secs(1);
/// Of a page of memory and of a tick, on every Linux that this is likely to run on.
const PAGE: f64 = 4096.0;
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Sampler {
    hub: Hub,
    /// The last second: at most 100 samples and one before.
    used: VecDeque<Used>,
}

/// What was used since the start, in ticks.
#[derive(Clone, Copy)]
struct Used {
    at: Instant,
    busy: f64,
    all: f64,
    program: f64,
}

impl Sampler {
    pub(crate) fn new(hub: Hub) -> Self {
        let used = VecDeque::new();
        Self { hub, used }
    }

    /// Samples for ever, and replaces what nobody has looked at.
    pub(crate) async fn keep_sampling(mut self, every: Duration, latest: &watch::Sender<Sample>) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0_u32;
        loop {
            ticks.tick().await;
            number = number.wrapping_add(1);
            latest.send_replace(self.sample(number));
        }
    }

    fn sample(&mut self, number: u32) -> Sample {
        let now = Used::read(Instant::now());
        // Until the oldest is the youngest that is a second old.
        while self
            .used
            .get(1)
            .is_some_and(|used| now.at - used.at >= WINDOW)
        {
            self.used.pop_front();
        }
        let before = self.used.front().copied().unwrap_or(now);
        self.used.push_back(now);
        let (busy, all) = (now.busy - before.busy, now.all - before.all);
        let time = (now.at - before.at).as_secs_f64() * TICKS_PER_SECOND;
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Sample {
            number,
            sockets: u32::try_from(self.hub.connections()).unwrap_or(u32::MAX),
            at: (since.as_secs_f64() * 1_000.0).round(),
            machine: percent(busy, all),
            program: percent(now.program - before.program, time),
            load: number_at("/proc/loadavg", 0) as f32,
            resident: number_at("/proc/self/statm", 1) * PAGE,
        }
    }
}

impl Used {
    fn read(at: Instant) -> Self {
        // The line of all processors: user, nice, system, idle, waiting for input and output, …
        let line = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = line.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = line.split_whitespace().skip(1).map(number).collect();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        // Guests are among the users already.
        let all: f64 = ticks.iter().take(8).sum();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self {
            at,
            busy: all - idle,
            all,
            program: program_ticks(&stat),
        }
    }
}

/// Behind the name, which may have blanks, the 12th and 13th are the time in the program and in the kernel for it.
fn program_ticks(stat: &str) -> f64 {
    let (_, stat) = stat.rsplit_once(')').unwrap_or_default();
    let mut ticks = stat.split_whitespace().skip(11).map(number);
    match (ticks.next(), ticks.next()) {
        (Some(program), Some(kernel)) => program + kernel,
        _ => f64::NAN,
    }
}

/// Of nothing there is no percent.
fn percent(part: f64, whole: f64) -> f32 {
    (part / whole * 100.0) as f32
}

fn number(word: &str) -> f64 {
    word.parse().unwrap_or(f64::NAN)
}

/// A number in a file, by its place.
fn number_at(path: &str, place: usize) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().nth(place).map_or(f64::NAN, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_does_not_give_is_not_a_number() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 110 22 9 9";
        assert_eq!(program_ticks(stat), 132.0);
        for stat in [
            "",
            "7 (b) S",
            "7 (b) S 1 2 3 4 5 6 7 8 9 10 110",
            "7 (b) S 1 2 3 4 5 6 7 8 9 10 110 x",
        ] {
            assert!(program_ticks(stat).is_nan(), "{stat}");
        }
        assert!(percent(0.0, 0.0).is_nan());
        assert!(number_at("/proc/no such file", 0).is_nan());
    }
}

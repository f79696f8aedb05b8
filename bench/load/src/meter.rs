//! What a process has used: CPU time and resident memory, from `/proc`. Read around a window, so that the difference is
//! what the window cost.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::spec::Cpu;

/// A look at one process.
#[derive(Debug, Clone)]
pub struct Meter {
    root: PathBuf,
    ticks_per_second: f64,
}

/// CPU time since the process began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Nanoseconds on a CPU, of all threads: the scheduler's account, exact to a tick.
    on_cpu: u64,
    /// The same in clock ticks, told apart; only their proportion is used.
    user: u64,
    system: u64,
}

impl Meter {
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self {
            root: PathBuf::from(format!("/proc/{pid}")),
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
        }
    }

    pub fn read(&self) -> Result<Reading> {
        let tasks = self.root.join("task");
        let mut on_cpu = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("no {}", tasks.display()))? {
            // A thread may end in between.
            if let Ok(line) = fs::read_to_string(task?.path().join("schedstat")) {
                on_cpu += parse_schedstat(&line).context("schedstat")?;
            }
        }
        let stat = fs::read_to_string(self.root.join("stat"))?;
        let (user, system) = parse_stat(&stat).context("stat")?;
        Ok(Reading {
            on_cpu,
            user,
            system,
        })
    }

    /// What was used since an earlier reading.
    pub fn since(&self, earlier: &Reading) -> Result<Cpu> {
        let now = self.read()?;
        let total = now.on_cpu.saturating_sub(earlier.on_cpu) as f64 / 1e3;
        let user = now.user.saturating_sub(earlier.user) as f64;
        let system = now.system.saturating_sub(earlier.system) as f64;
        let share = if user + system > 0.0 {
            user / (user + system)
        } else {
            0.5
        };
        // The kernel without the scheduler's account has only the ticks.
        let total = if total > 0.0 {
            total
        } else {
            (user + system) / self.ticks_per_second * 1e6
        };
        Ok(Cpu {
            total,
            user: total * share,
            system: total * (1.0 - share),
        })
    }

    /// Resident bytes, counted page by page; the cheap counters are off by some hundred KiB.
    pub fn resident(&self) -> Result<u64> {
        let text = fs::read_to_string(self.root.join("smaps_rollup"))?;
        parse_kilobytes(&text, "Rss:").context("smaps_rollup without Rss")
    }

    /// The most that was ever resident.
    pub fn resident_peak(&self) -> Result<u64> {
        let text = fs::read_to_string(self.root.join("status"))?;
        parse_kilobytes(&text, "VmHWM:").context("status without VmHWM")
    }

    /// Forgets the peak. Not every kernel lets us; then the peak is that of the whole life.
    pub fn forget_peak(&self) {
        let _ = fs::write(self.root.join("clear_refs"), "5");
    }

    /// Waits until the process does next to nothing, at most that long; says whether it came to rest.
    pub fn settle(&self, at_most: Duration) -> Result<bool> {
        const LOOK: Duration = Duration::from_millis(40);
        let end = Instant::now() + at_most;
        while Instant::now() < end {
            let before = self.read()?;
            std::thread::sleep(LOOK);
            if self.since(&before)?.total < 2_000.0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn parse_schedstat(line: &str) -> Option<u64> {
    line.split_whitespace().next()?.parse().ok()
}

/// User and system ticks: fields 14 and 15, after a name that may hold anything.
fn parse_stat(line: &str) -> Option<(u64, u64)> {
    let (_, fields) = line.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn parse_kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_parsed() {
        assert_eq!(parse_schedstat("13604552 2706137 48\n"), Some(13_604_552));
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 25 17 0 0 20 0 1 0 5";
        assert_eq!(parse_stat(stat), Some((25, 17)));
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(parse_kilobytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(parse_kilobytes(status, "Rss:"), None);
    }

    #[test]
    fn work_is_seen() {
        let meter = Meter::new(std::process::id());
        let before = meter.read().unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        let cpu = meter.since(&before).unwrap();
        assert!(cpu.total > 5_000.0, "{cpu:?}");
        assert!((cpu.user + cpu.system - cpu.total).abs() < 1.0, "{cpu:?}");
        assert!(meter.resident().unwrap() > 100_000);
        assert!(meter.resident_peak().unwrap() > 100_000);
    }
}

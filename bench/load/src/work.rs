//! The kinds of work, one file each, and what they share: the window in which is measured.

mod chat;
mod echo;
mod fan_out;
mod handshakes;
mod idle;
mod messages;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::client::{PATIENCE, Target};
use crate::latency::Latencies;
use crate::meter::{Meter, Reading};
use crate::spec::{Memory, Report, Spec, Until, Work};

/// How long a poll waits: not at all. Waking a load generator that sleeps would be charged to the server's `send`.
const POLL: Duration = Duration::ZERO;

/// Makes one measurement.
pub fn run(spec: &Spec) -> Result<Report> {
    let target = Target::new(spec)?;
    match spec.work {
        Work::Echo { .. } => echo::run(&target),
        Work::FanOut { .. } => fan_out::run(&target),
        Work::Idle { .. } => idle::run(&target),
        Work::Handshakes { .. } => handshakes::run(&target),
        Work::Chat { .. } => chat::run(&target),
    }
}

/// The server seen from outside, if we know which process it is.
#[derive(Debug)]
struct Server {
    meter: Option<Meter>,
    resident: u64,
}

impl Server {
    /// To be made before the first connection.
    fn new(spec: &Spec) -> Result<Self> {
        let meter = spec.pid.map(Meter::new);
        let resident = match &meter {
            Some(meter) => {
                meter.forget_peak();
                meter.resident().context("no such server")?
            }
            None => 0,
        };
        Ok(Self { meter, resident })
    }

    /// Waits until the server has done what the openings asked of it.
    fn settle(&self) -> Result<()> {
        match &self.meter {
            Some(meter) => meter.settle(Duration::from_secs(3)).map(drop),
            None => {
                std::thread::sleep(Duration::from_millis(300));
                Ok(())
            }
        }
    }

    fn memory(&self) -> Result<Option<Memory>> {
        let Some(meter) = &self.meter else {
            return Ok(None);
        };
        Ok(Some(Memory {
            before: self.resident,
            end: meter.resident()?,
            peak: meter.resident_peak()?,
        }))
    }
}

/// Warm-up, then the window; counts and times what falls into the latter.
#[derive(Debug)]
struct Window<'a> {
    server: &'a Server,
    phase: Phase,
    until: Until,
    begun: Instant,
    /// Of the server.
    cpu: Option<Reading>,
    /// When [`Window::is_over`] was asked last.
    looked: Instant,
    /// How long we ourselves had nothing to do.
    idle: Duration,
    messages: u64,
    latencies: Latencies,
    /// When something last came.
    last: Instant,
    report: Report,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measured,
    Over,
}

impl<'a> Window<'a> {
    fn new(server: &'a Server, until: Until) -> Result<Self> {
        let mut window = Self {
            server,
            phase: Phase::WarmUp,
            until,
            begun: Instant::now(),
            cpu: None,
            looked: Instant::now(),
            idle: Duration::ZERO,
            messages: 0,
            latencies: Latencies::new()?,
            last: Instant::now(),
            report: Report::default(),
        };
        if matches!(until, Until::Messages(_)) {
            window.measure()?;
        }
        Ok(window)
    }

    /// The window begins.
    fn measure(&mut self) -> Result<()> {
        self.phase = Phase::Measured;
        self.messages = 0;
        self.latencies.clear();
        self.idle = Duration::ZERO;
        let meter = self.server.meter.as_ref();
        self.cpu = meter.map(Meter::read).transpose()?;
        self.begun = Instant::now();
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.report.seconds = self.begun.elapsed().as_secs_f64();
        if let (Some(meter), Some(cpu)) = (&self.server.meter, &self.cpu) {
            self.report.cpu = Some(meter.since(cpu)?);
        }
        let busy = 1.0 - self.idle.as_secs_f64() / self.report.seconds;
        self.report.load = busy.max(0.0);
        self.report.messages = self.messages;
        self.report.latency = self.latencies.summary();
        self.report.memory = self.server.memory()?;
        self.phase = Phase::Over;
        Ok(())
    }

    /// A message came that had been sent then.
    fn came(&mut self, sent: Option<Instant>, now: Instant) {
        self.messages += 1;
        if let Some(sent) = sent {
            self.latencies.record(now.saturating_duration_since(sent));
        }
        self.last = now;
    }

    /// A poll since [`Window::is_over`] found nothing.
    fn nothing_came(&mut self) {
        self.idle += self.looked.elapsed();
    }

    /// Moves on with the time; says whether the window is over.
    fn is_over(&mut self, now: Instant) -> Result<bool> {
        self.looked = now;
        ensure!(
            now.saturating_duration_since(self.last) < PATIENCE,
            "nothing came for {PATIENCE:?}, after {} messages",
            self.messages
        );
        let elapsed = now.saturating_duration_since(self.begun).as_secs_f64();
        match (self.phase, self.until) {
            (Phase::WarmUp, Until::Seconds { warm_up, .. }) if elapsed >= warm_up => {
                self.measure()?;
            }
            (Phase::Measured, Until::Seconds { window, .. }) if elapsed >= window => {
                self.finish()?;
            }
            (Phase::Measured, Until::Messages(count)) if self.messages >= count => {
                self.finish()?;
            }
            _ => {}
        }
        Ok(self.phase == Phase::Over)
    }
}

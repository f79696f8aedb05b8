//! [`Report`]: what came of it, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Times;
use super::histogram::Latencies;
use super::tally::{Shard, Tally, lock};
use crate::args::LoadArgs;

/// Columns of the longest bar.
const BAR: u64 = 40;

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 4] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// From how many milliseconds at the 99th percentile our own lateness is worth a warning.
const LATE: f64 = 10.0;

pub(super) struct Report<'a> {
    args: &'a LoadArgs,
    opened: usize,
    sent: u64,
    answered: u64,
    unsent: u64,
    unexpected: u64,
    failures: BTreeMap<String, u64>,
    closes: BTreeMap<u16, u64>,
    figures: Shard,
    times: Times,
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a LoadArgs, tally: &Tally, times: Times) -> Self {
        Self {
            args,
            opened: tally.opened.load(Ordering::Relaxed),
            sent: tally.sent.load(Ordering::Relaxed),
            answered: tally.answered.load(Ordering::Relaxed),
            unsent: tally.unsent.load(Ordering::Relaxed),
            unexpected: tally.unexpected.load(Ordering::Relaxed),
            failures: lock(&tally.failures).clone(),
            closes: lock(&tally.closes).clone(),
            figures: tally.sum(),
            times,
        }
    }

    /// Whether every connection was opened and stayed, and every message was sent and answered.
    pub(super) fn is_well(&self) -> bool {
        self.opened == self.args.connections.get()
            && self.failures.is_empty()
            && self.closes.is_empty()
            && self.unsent == 0
            && self.answered == self.sent
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let args = self.args;
        let wanted = args.connections.get();
        writeln!(
            out,
            "{}: {wanted} connections, {} messages a second on each, {} bytes, {} s",
            args.target.url(),
            args.rate,
            args.size,
            args.duration.as_secs_f64(),
        )?;
        if self.times.is_interrupted {
            writeln!(out, "interrupted: the figures are of what was done by then")?;
        }
        let opening = self.times.opening.as_secs_f64();
        writeln!(
            out,
            "\nopened      {} of {wanted} in {opening:.1} s",
            self.opened
        )?;
        for (kind, count) in &self.failures {
            writeln!(out, "  failed    {count}  {kind}")?;
        }
        for (code, count) in &self.closes {
            writeln!(out, "  closed    {count}  early, with {code}")?;
        }
        let rate = self.sent_rate();
        writeln!(out, "sent        {}, {rate:.1} a second", self.sent)?;
        if self.unsent > 0 {
            let line = "were due and could not be sent";
            writeln!(out, "  not sent  {}  {line}", self.unsent)?;
        }
        writeln!(out, "answered    {}", self.answered)?;
        if self.unanswered() > 0 {
            writeln!(out, "  lost      {}  were not answered", self.unanswered())?;
        }
        if self.unexpected > 0 {
            let line = "came that answer nothing: is this an echo?";
            writeln!(out, "  other     {}  {line}", self.unexpected)?;
        }
        if self.figures.connecting.len() == 0 {
            return Ok(());
        }
        writeln!(
            out,
            "\n            {:>10} {:>10} {:>10} {:>10} {:>10}",
            "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (name, latencies) in [
            ("connecting", &self.figures.connecting),
            ("latency", &self.figures.latencies),
        ] {
            if latencies.len() == 0 {
                continue;
            }
            write!(out, "{name:<11} ")?;
            for (_, percentile) in PERCENTILES {
                write!(out, "{:>10.3} ", latencies.percentile(percentile))?;
            }
            writeln!(out, "{:>10.3} ms", latencies.max())?;
        }
        let bars = self.figures.latencies.bars();
        let most = bars.iter().map(|bar| bar.1).max().unwrap_or_default();
        if most > 0 {
            writeln!(out, "\n   up to ms")?;
        }
        for (bound, count) in bars {
            let length = usize::try_from((count * BAR).div_ceil(most)).unwrap_or_default();
            let bar = "#".repeat(length);
            writeln!(out, "{bound:>11} {count:>9} {bar}")?;
        }
        let late = self.figures.lateness.percentile(99.0);
        if late > LATE {
            writeln!(
                out,
                "\nThis machine sent a message in a hundred {late:.0} ms late or later: it is busy itself, so do not blame the server alone."
            )?;
        }
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let args = self.args;
        let closes: BTreeMap<String, u64> = self
            .closes
            .iter()
            .map(|(code, count)| (code.to_string(), *count))
            .collect();
        let bars = self.figures.latencies.bars();
        let bars: Vec<Value> = bars
            .into_iter()
            .map(|(bound, count)| json!({ "up_to_ms": bound, "count": count }))
            .collect();
        json!({
            "url": args.target.url(),
            "connections": args.connections.get(),
            "rate": args.rate,
            "size": args.size,
            "duration": args.duration.as_secs_f64(),
            "interrupted": self.times.is_interrupted,
            "opened": self.opened,
            "opening_seconds": self.times.opening.as_secs_f64(),
            "failures": self.failures,
            "closes": closes,
            "sent": self.sent,
            "sent_per_second": self.sent_rate(),
            "unsent": self.unsent,
            "answered": self.answered,
            "unanswered": self.unanswered(),
            "unexpected": self.unexpected,
            "connecting_ms": figures(&self.figures.connecting),
            "latency_ms": figures(&self.figures.latencies),
            "lateness_ms": figures(&self.figures.lateness),
            "histogram": bars,
        })
    }

    const fn unanswered(&self) -> u64 {
        self.sent - self.answered
    }

    fn sent_rate(&self) -> f64 {
        let seconds = self.times.sending.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let sent = self.sent as f64;
        if seconds > 0.0 { sent / seconds } else { 0.0 }
    }
}

fn figures(latencies: &Latencies) -> Value {
    let mut figures = json!({ "max": latencies.max() });
    for (name, percentile) in PERCENTILES {
        figures[name] = latencies.percentile(percentile).into();
    }
    figures
}

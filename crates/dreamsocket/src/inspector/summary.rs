//! What the hub as a whole has done: counts, a drain's progress, closes by code over time.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::time::Instant;

use crate::hub::{BAR, Hub};

/// As JSON. What was never counted is left out of the maps.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Since the inspector was made.
    uptime_seconds: f64,
    connections: usize,
    max_connections: usize,
    drain: Option<Drain>,
    opened: u64,
    closed: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    faults: BTreeMap<String, u64>,
    read_pauses: u64,
    accept_pauses: u64,
    closes: Closes,
}

#[derive(Debug, Serialize)]
struct Drain {
    /// How long ago it started.
    started_seconds: f64,
    /// When what is left is cut off.
    cut_in_seconds: f64,
    clean: usize,
    cut: usize,
    left: usize,
}

/// Closes by code: bars of equal time, the oldest first.
#[derive(Debug, Serialize)]
struct Closes {
    seconds_each: u64,
    bars: Vec<BTreeMap<String, u32>>,
}

impl Summary {
    pub(super) fn of(hub: &Hub, started: Instant) -> Self {
        let counts = hub.counts();
        let causes = counts.by_cause();
        let statuses = counts.by_status();
        let faults = counts.by_fault();
        let bars = hub.closes().into_iter();
        Self {
            uptime_seconds: started.elapsed().as_secs_f64(),
            connections: hub.connections(),
            max_connections: hub.config().max_connections,
            drain: hub.drain_progress().map(|progress| Drain {
                started_seconds: progress.since.elapsed().as_secs_f64(),
                cut_in_seconds: hub
                    .cut_at(progress.since)
                    .saturating_duration_since(Instant::now())
                    .as_secs_f64(),
                clean: progress.ended.clean,
                cut: progress.ended.cut,
                left: hub.connections(),
            }),
            opened: counts.opened(),
            closed: causes
                .map(|(cause, count)| (cause.to_string(), count))
                .collect(),
            refused: statuses
                .map(|(status, count)| (status.to_string(), count))
                .collect(),
            faults: faults
                .map(|(fault, count)| (format!("{fault:?}").to_lowercase(), count))
                .collect(),
            read_pauses: counts.read_pauses(),
            accept_pauses: counts.accept_pauses(),
            closes: Closes {
                seconds_each: BAR.as_secs(),
                bars: bars.map(BTreeMap::from_iter).collect(),
            },
        }
    }
}

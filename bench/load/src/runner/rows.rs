//! The rows: what is measured, under which name, for how long, and what is left out.

use serde::{Deserialize, Serialize};

use super::servers::{OURS, Server};
use crate::spec::{Until, Work};

/// What may be under way at once; rows beyond it are left out, since sockets and servers would have to hold all of it.
pub const MOST_UNDER_WAY: usize = 1 << 30;
/// The row that is long enough for heartbeats.
pub const HEARTBEATS: &str = "idle-18000-heartbeats";

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Published messages under way in a fan-out.
const WINDOW: usize = 16;

/// How a server is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    pub deflate: bool,
    pub tls: bool,
}

/// One measurement that every server gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// What `--rows` looks at.
    pub id: String,
    pub title: String,
    pub work: Work,
    pub configuration: Configuration,
    /// The server is started for this row alone: what it holds in memory is part of what is measured.
    pub fresh: bool,
    pub rounds_at_most: usize,
    /// The row of the raw server that this one is compared with, when it is not its own.
    pub against: Option<String>,
    /// Only our server has what this needs.
    pub ours_only: bool,
}

impl Row {
    fn new(id: String, title: String, work: Work) -> Self {
        Self {
            id,
            title,
            work,
            configuration: Configuration::default(),
            fresh: false,
            rounds_at_most: usize::MAX,
            against: None,
            ours_only: false,
        }
    }

    /// The row whose raw figure is 1.
    #[must_use]
    pub fn against(&self) -> &str {
        self.against.as_deref().unwrap_or(&self.id)
    }

    /// Says whether that server takes part.
    #[must_use]
    pub fn suits(&self, server: &Server) -> bool {
        let Configuration { deflate, tls } = self.configuration;
        (!self.ours_only || server.name == OURS)
            // For raw TCP, compressed messages are bytes like any others.
            && (!deflate || server.deflate || (server.raw && !self.is_idle()))
            && (!tls || server.tls)
    }

    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.work, Work::Idle { .. })
    }

    /// Seconds that it takes, about.
    #[must_use]
    pub fn estimate(&self) -> f64 {
        let total = |until: &Until| match *until {
            Until::Seconds { warm_up, window } => warm_up + window,
            Until::Messages(_) => 1.0,
        };
        let open = |connections: usize| connections as f64 * 100e-6;
        let start = if self.fresh { 0.4 } else { 0.25 };
        start
            + match &self.work {
                Work::Echo {
                    connections, until, ..
                } => total(until) + open(*connections),
                Work::FanOut {
                    subscribers, until, ..
                } => total(until) + open(*subscribers),
                Work::Idle {
                    connections,
                    seconds,
                    ..
                } => {
                    let slower = if self.configuration.tls { 4.0 } else { 1.0 };
                    1.0 + seconds + open(*connections) * slower
                }
                Work::Handshakes { until, .. } => total(until),
                Work::Chat {
                    rooms,
                    members,
                    until,
                    ..
                } => total(until) + open(rooms * members),
            }
    }
}

fn until(warm_up: f64, window: f64) -> Until {
    Until::Seconds { warm_up, window }
}

fn bytes(size: usize) -> String {
    match size {
        size if size % MIB == 0 => format!("{} MiB", size / MIB),
        size if size % KIB == 0 => format!("{} KiB", size / KIB),
        size => format!("{size} B"),
    }
}

fn id_bytes(size: usize) -> String {
    bytes(size).replace(' ', "")
}

fn count(number: usize) -> String {
    let digits = number.to_string();
    match digits.len() {
        0..4 => digits,
        length => format!("{},{}", &digits[..length - 3], &digits[length - 3..]),
    }
}

fn connections_title(connections: usize) -> String {
    let plural = if connections == 1 { "" } else { "s" };
    format!("{} connection{plural}", count(connections))
}

/// `None` if too much would be under way.
fn echo(connections: usize, size: usize, in_flight: usize, seconds: f64) -> Option<Row> {
    let under_way = connections * size * in_flight;
    if under_way > MOST_UNDER_WAY {
        return None;
    }
    // What is large comes seldom, so that it takes longer to see as much of it.
    let longer = match under_way {
        0..0x400_0000 if size < MIB => 1.0,
        0..0x1000_0000 => 2.0,
        _ => 3.0,
    };
    let mut row = Row::new(
        format!("echo-{connections}x{}-{in_flight}", id_bytes(size)),
        format!(
            "Echo, {}, {}, {in_flight} in flight",
            connections_title(connections),
            bytes(size)
        ),
        Work::Echo {
            connections,
            size,
            in_flight,
            json: false,
            until: until(0.3 * longer, seconds * longer),
        },
    );
    if connections == 1 {
        // Shown and not counted.
        row.rounds_at_most = 3;
    }
    Some(row)
}

fn deflate(seconds: f64) -> Row {
    let work = Work::Echo {
        connections: 50,
        size: KIB,
        in_flight: 1,
        json: true,
        until: until(0.3, seconds),
    };
    let title = "Echo, 50 connections, 1 KiB of JSON, compressed, 1 in flight";
    let mut row = Row::new("deflate-50x1KiB-1".to_owned(), title.to_owned(), work);
    row.configuration.deflate = true;
    row
}

fn handshakes(seconds: f64) -> Row {
    let work = Work::Handshakes {
        concurrent: 32,
        until: until(0.3, seconds),
    };
    let title = "Opening handshakes, 32 at once (raw: bare accepts)";
    Row::new("handshakes-32".to_owned(), title.to_owned(), work)
}

fn fan_out(subscribers: usize, size: usize, stalled: bool, handled: bool, seconds: f64) -> Row {
    let mut id = format!("fanout-{subscribers}x{}", id_bytes(size));
    let mut title = format!(
        "Fan-out, {} subscribers, {}",
        count(subscribers),
        bytes(size)
    );
    let against = id.clone();
    if stalled {
        id.push_str("-stalled");
        title.push_str(", and 1 % more that read nothing");
    }
    if handled {
        id.push_str("-handled");
        title.push_str(", through each connection's handler");
    }
    // A message to many takes longer, and what waits for those that stall has to find its bounds before.
    let longer = if subscribers > 1_000 { 1.5 } else { 1.0 };
    let warm_up = if stalled { 0.8 } else { 0.3 };
    let work = Work::FanOut {
        subscribers,
        stalled: if stalled { subscribers / 100 } else { 0 },
        size,
        window: WINDOW,
        handled,
        until: until(warm_up * longer, seconds * longer),
    };
    let mut row = Row::new(id, title, work);
    row.fresh = true;
    row.ours_only = handled;
    // A raw server knows no handlers.
    row.against = handled.then_some(against);
    row
}

fn idle(connections: usize, configuration: Configuration, topic: bool, seconds: f64) -> Row {
    let kind = match configuration {
        _ if topic => "topic",
        Configuration { tls: true, .. } => "tls",
        Configuration { deflate: true, .. } => "deflate",
        Configuration { .. } => "plain",
    };
    let how = match kind {
        "topic" => ", each subscribed to a topic",
        "tls" => ", TLS",
        "deflate" => ", permessage-deflate",
        _ => "",
    };
    let work = Work::Idle {
        connections,
        topic,
        seconds,
    };
    let mut row = Row::new(
        format!("idle-{connections}-{kind}"),
        format!("Idle, {}{how}", connections_title(connections)),
        work,
    );
    row.configuration = configuration;
    row.fresh = true;
    row.ours_only = topic;
    // Memory hardly differs from round to round, and opening that many takes long.
    row.rounds_at_most = 3;
    row
}

/// Idle for two heartbeats, which the other idle rows are too short for.
fn heartbeats() -> Row {
    let mut row = idle(18_000, Configuration::default(), false, 60.0);
    row.id = HEARTBEATS.to_owned();
    row.title = "Idle, 18,000 connections, for two heartbeats".to_owned();
    row.ours_only = true;
    row
}

fn chat() -> Row {
    let work = Work::Chat {
        rooms: 20,
        members: 50,
        size: 100,
        until: until(1.0, 2.0),
    };
    let title = "Chat, 20 rooms of 50, each says 100 bytes once a second";
    Row::new("chat-20x50".to_owned(), title.to_owned(), work)
}

/// All rows, with windows of about so many seconds.
#[must_use]
pub fn full(seconds: f64) -> Vec<Row> {
    let mut rows = Vec::new();
    for size in [32, KIB, 64 * KIB, MIB] {
        for in_flight in [1, 16] {
            for connections in [1, 50, 500, 5_000] {
                rows.extend(echo(connections, size, in_flight, seconds));
            }
        }
    }
    rows.push(handshakes(seconds));
    rows.push(chat());
    rows.push(deflate(seconds));
    for size in [64, KIB] {
        for subscribers in [1_000, 10_000] {
            for stalled in [false, true] {
                rows.push(fan_out(subscribers, size, stalled, false, seconds));
            }
            rows.push(fan_out(subscribers, size, false, true, seconds));
        }
    }
    let tls = Configuration {
        tls: true,
        deflate: false,
    };
    let deflate = Configuration {
        tls: false,
        deflate: true,
    };
    for connections in [10_000, 18_000] {
        for configuration in [Configuration::default(), tls, deflate] {
            rows.push(idle(connections, configuration, false, 2.0));
        }
        rows.push(idle(connections, Configuration::default(), true, 2.0));
    }
    rows.push(heartbeats());
    rows
}

/// Enough to see where things stand within minutes.
#[must_use]
pub fn quick(seconds: f64) -> Vec<Row> {
    let mut rows = Vec::new();
    for size in [32, KIB, 64 * KIB] {
        for in_flight in [1, 16] {
            rows.extend(echo(50, size, in_flight, seconds));
        }
    }
    rows.push(handshakes(seconds));
    rows.push(deflate(seconds));
    rows.push(fan_out(1_000, 64, false, false, seconds));
    rows.push(idle(2_000, Configuration::default(), false, 1.0));
    rows
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_stay_in_bounds() {
        let rows = full(0.8);
        let ids: BTreeSet<_> = rows.iter().map(|row| &row.id).collect();
        assert_eq!(ids.len(), rows.len());
        for id in ["echo-50x64KiB-16", "echo-500x1MiB-1", "idle-18000-topic"] {
            assert!(rows.iter().any(|row| row.id == id), "{id}");
        }
        // 8 GiB, 5 GiB, 5 GiB and 80 GiB.
        for id in [
            "echo-500x1MiB-16",
            "echo-5000x64KiB-16",
            "echo-5000x1MiB-1",
            "echo-5000x1MiB-16",
        ] {
            assert!(!rows.iter().any(|row| row.id == id), "{id}");
        }
        for row in &rows {
            assert!(rows.iter().any(|other| other.id == row.against()));
        }
        for row in quick(0.8) {
            let known = rows.iter().any(|other| other.id == row.id);
            assert!(known || row.is_idle(), "{}", row.id);
        }
    }

    #[test]
    fn raw_takes_compressed_messages_as_bytes() {
        let raw = "[[server]]\nname='raw'\ncommand='x'\nraw=true";
        let raw = &super::super::servers::parse(raw).unwrap()[0];
        let suits = |id: &str| {
            let rows = full(0.8);
            let row = rows.iter().find(|row| row.id == id);
            row.unwrap().suits(raw)
        };
        assert!(suits("deflate-50x1KiB-1"));
        assert!(suits("idle-10000-plain"));
        assert!(!suits("idle-10000-deflate"));
        assert!(!suits("idle-10000-tls"));
        assert!(!suits("idle-10000-topic"));
        assert!(!suits("fanout-1000x64B-handled"));
    }
}

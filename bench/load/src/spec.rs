//! What one run of `load` does, and what it says: the JSON between `bench` and `load`. Plain data, nothing else.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One measurement of one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    pub address: SocketAddr,
    /// The server's process: its CPU time and memory are read when it is known.
    pub pid: Option<u32>,
    /// No WebSocket: no handshake, the first byte is the role, frames come back as they went.
    pub raw: bool,
    pub tls: bool,
    /// permessage-deflate is offered, without context takeover.
    pub deflate: bool,
    pub work: Work,
}

/// What the connections do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Work {
    /// Closed loop: `in_flight` messages under way on each connection, each sent back.
    Echo {
        connections: usize,
        size: usize,
        in_flight: usize,
        /// The messages are JSON text; with `deflate` they are compressed.
        json: bool,
        until: Until,
    },
    /// One publisher, `window` messages under way until the slowest subscriber that reads has them.
    FanOut {
        subscribers: usize,
        /// More subscribers, that read nothing.
        stalled: usize,
        size: usize,
        window: usize,
        /// Through each connection's handler.
        handled: bool,
        until: Until,
    },
    /// Connections that say nothing.
    Idle {
        connections: usize,
        topic: bool,
        seconds: f64,
    },
    /// Openings one after the other on each of `concurrent` connections, ended by a reset.
    Handshakes { concurrent: usize, until: Until },
    /// Open loop: every member says something once a second.
    Chat {
        rooms: usize,
        members: usize,
        size: usize,
        until: Until,
    },
}

/// How long.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// A warm-up, then a measured window.
    Seconds { warm_up: f64, window: f64 },
    /// As many messages, all of them measured; for counting instructions.
    Messages(u64),
}

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Messages echoed or delivered, or connections opened, in the window.
    pub messages: u64,
    pub seconds: f64,
    pub latency: Option<Latency>,
    /// What the server spent in the window.
    pub cpu: Option<Cpu>,
    pub memory: Option<Memory>,
    /// Connections held while it was measured.
    pub connections: u64,
    /// Stalled subscribers that the server gave up.
    pub closed: u64,
    /// How much of the time the load generator had something to do; near 1 it was what bounds the rate.
    pub load: f64,
}

/// From sending to receiving, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// CPU time in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    pub total: f64,
    /// The part that the kernel says was spent in user mode.
    pub user: f64,
    pub system: f64,
}

/// Resident bytes of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Before the first connection.
    pub before: u64,
    /// At the end of the window, with all connections open.
    pub end: u64,
    pub peak: u64,
}

impl Report {
    /// The server's CPU time for each message, in microseconds.
    #[must_use]
    pub fn cpu_per_message(&self) -> Option<f64> {
        let cpu = self.cpu?;
        (self.messages > 0).then(|| cpu.total / self.messages as f64)
    }

    /// Resident bytes for each connection.
    #[must_use]
    pub fn bytes_per_connection(&self) -> Option<f64> {
        let memory = self.memory?;
        (self.connections > 0)
            .then(|| (memory.end as f64 - memory.before as f64) / self.connections as f64)
    }

    /// The server's CPU time as a part of one core.
    #[must_use]
    pub fn cores(&self) -> Option<f64> {
        let cpu = self.cpu?;
        (self.seconds > 0.0).then(|| cpu.total / 1e6 / self.seconds)
    }

    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds.max(1e-9)
    }
}

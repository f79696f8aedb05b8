//! Talks to the real program over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows then what it has printed"
)]

mod faults;
mod flags;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(any(feature = "nats", feature = "redis"))]
mod nodes;
mod program;
#[cfg(feature = "schema")]
mod protocol;
mod talking;

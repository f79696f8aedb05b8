//! The server and the hub's drain, over real sockets: what clients see, and what the operator gets.
//!
//! Nothing here asserts a time; timeouts only turn a hang into a failure.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what fails in a test's helper fails the test; the servers in processes of their own print like a `main`"
)]

mod app;
mod client;
mod drain;
#[cfg(unix)]
mod drain_under_load;
mod hosts;
#[cfg(feature = "http2")]
mod http2;
mod limits;
mod listeners;
mod neighbours;
#[cfg(unix)]
mod process;
mod refusals;
mod services;
#[cfg(unix)]
mod signals;
#[cfg(feature = "http2")]
mod streams;
#[cfg(feature = "tls")]
mod tls;

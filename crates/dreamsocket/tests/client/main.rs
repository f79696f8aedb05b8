//! The client over real sockets: against our own server, and against servers that do just what a test says.
//!
//! Nothing here asserts a time; timeouts only turn a hang into a failure.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test's helper fails the test"
)]

mod closing;
mod docs;
mod failures;
mod peer;
mod reconnecting;
mod recorder;
mod refusals;
mod server;
mod socket;
#[cfg(feature = "tls")]
mod tls;

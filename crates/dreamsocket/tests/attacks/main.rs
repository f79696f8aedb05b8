//! Hostile peers over real sockets: what ends each of them, what the operator sees of it, what it costs, and that a
//! bystander on the same server notices nothing.
//!
//! Each test starts itself again as the server, so that the memory measured is the server's alone. Nothing here asserts
//! how fast something is; timeouts only turn a hang into a failure.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what fails in a test's helper fails the test; the servers in processes of their own print like a `main`"
)]

mod budget;
mod frames;
mod handlers;
mod http1;
mod http2;
mod payloads;
mod peer;
mod rates;
mod served;
mod slow;
mod storms;
mod target;
mod tls;

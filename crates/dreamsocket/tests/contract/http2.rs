//! The contract once more, over a stream of an HTTP/2 connection (RFC 8441): all tests of `main.rs` but those of `large_writes.rs`
//! and `lost_peers.rs`, which say why.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails in a test's helper fails the test"
)]

mod any_order;
mod any_sends;
mod beside_a_handler;
mod closing;
mod errors;
mod forwarding;
mod heartbeat;
mod kit;
mod limits;
mod logs;
mod own_connection;
mod panics;
mod selectors;
mod sending;
mod stage;
mod the_loop;

/// What [`stage::Stage`] connects over.
fn builder() -> dreamsocket::testing::Builder {
    dreamsocket::testing::Builder::new().with_http2()
}

//! The contract of the loop (docs: the contract, L1–L10, S1, S2, closing, defaults), a file an area. Each test is named
//! by the number that it holds the loop to. No sockets and no real clock: `dreamsocket::testing` throughout.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails in a test's helper fails the test"
)]

mod addresses;
mod any_order;
mod any_sends;
mod beside_a_handler;
mod closing;
mod errors;
mod forwarding;
mod heartbeat;
mod kit;
mod large_writes;
mod limits;
mod logs;
mod lost_peers;
mod own_connection;
mod panics;
mod rates;
mod selectors;
mod sending;
mod stage;
mod subprotocols;
mod the_loop;

/// What [`stage::Stage`] connects over.
fn builder() -> dreamsocket::testing::Builder {
    dreamsocket::testing::Builder::new()
}

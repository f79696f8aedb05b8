//! `dreamsocket::testing`: a whole router in memory, and what a failing test says. The kit's clients beside bare handlers are
//! tried in the contract's tests (`../contract/kit.rs`).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails in a test's helper fails the test"
)]

mod app;
mod failing;
mod failures;
mod many;
mod router;
mod several;
mod splits;
mod time;

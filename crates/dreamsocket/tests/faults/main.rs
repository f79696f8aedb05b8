//! Both ends of connections through a network with faults: what arrives on those that live, and how those end that die.
//!
//! Everything that is left to chance is drawn from a seed, which a failure shows: `FAULTS_SEED=… cargo test -p dreamsocket
//! --all-features --test faults` draws the same. Nothing here asserts a time; timeouts only turn a hang into a failure.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test's helper fails the test"
)]

mod book;
mod dying;
mod ends;
mod network;

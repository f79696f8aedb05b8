//! A TCP proxy with the faults of networks, for tests. It stands between a client and a server and delays, splits, coalesces
//! and throttles what goes through, and it cuts, resets and swallows connections, planned or told to.
//!
//! It knows bytes and not what they mean, and nothing of this library: [`Proxy`] does to each connection what its [`Plan`]
//! says. What came through is for the tests to judge; [`Ledger`] does so for messages that have numbers.

mod dice;
mod ledger;
mod plan;
mod proxy;
mod pump;
mod shaper;

pub use self::dice::{Dice, seed};
pub use self::ledger::{Ledger, Wrong};
pub use self::plan::{End, Flow, Plan, Way};
pub use self::proxy::Proxy;

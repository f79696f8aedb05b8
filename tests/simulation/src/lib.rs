//! The whole stack in simulation: server, clients and faults on one thread, on a simulated network and clock, from a seed.
//!
//! A seed becomes a `plan`, the plan a `world` of hosts, in which the library's server and client run as they
//! are; only the network, the randomness and the clock are others. Whatever happens is told to a `record`, and an
//! `oracle` looks at each event and knows the contract, and nothing else of the library. The same seed is the same
//! story, event by event.

mod app;
mod client;
mod deeds;
mod deflate;
mod event;
mod frames;
mod handlers;
mod oracle;
mod order;
mod peer;
mod plan;
mod random;
mod record;
mod script;
mod server;
mod sources;
mod tap;
mod world;

pub use crate::oracle::Violation;
pub use crate::record::Summary;
pub use crate::world::{Outcome, run};

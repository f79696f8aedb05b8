//! The load generator, and the runner that puts servers side by side.
//!
//! Two programs share this: `load` makes one measurement as a [`spec::Spec`] says and prints a [`spec::Report`]; `bench`
//! starts servers and `load`s by turns, keeps what they say and writes the report.

pub mod client;
pub mod frame;
pub mod instructions;
pub mod latency;
pub mod meter;
pub mod report;
pub mod runner;
pub mod spec;
pub mod work;

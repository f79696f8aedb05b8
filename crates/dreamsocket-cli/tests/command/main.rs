//! The command as others run it: a process with pipes, against servers in this one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

mod connect;
mod help;
mod load;
mod process;
mod server;

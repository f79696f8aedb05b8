//! What a connection may cost: memory while it is idle, allocations for a message, system calls for a batch.
//!
//! Counts and no clocks, so a budget holds on any machine and under any load. It is a constant next to its test, a little
//! above what was measured when it was set: raise it only with a reason, and lower it when something got cheaper. How
//! large the task of a session is, a unit test of `upgrade.rs` tells; how many instructions a message costs,
//! `scripts/instructions`.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what fails in a test's helper fails the test; the servers in processes of their own print like a `main`"
)]

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

mod calls;
mod idle;
mod peer;
mod process;
mod served;
mod steady;

/// What the servers count with.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

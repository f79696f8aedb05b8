//! Run with `scripts/soak MINUTES`: a server in a process of its own, and clients of every kind: good, slow, flooding and
//! dying ones. Every ten seconds a line says what the server holds and what became of the messages; at the end stands a
//! verdict, which is the exit status, too.

mod clients;
mod judge;
mod load;
mod process;
mod run;
mod sample;
mod served;
mod tally;

use std::alloc::System;
use std::process::ExitCode;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// What the server counts its memory with.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["serve"] => served::serve().map(|()| true),
        [minutes] => match minutes.parse::<f64>() {
            Ok(minutes) if (0.5..=100_000.0).contains(&minutes) => {
                run::run(Duration::from_secs_f64(minutes * 60.0))
            }
            _ => return usage(),
        },
        _ => return usage(),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: soak MINUTES     half a minute at least");
    ExitCode::from(2)
}

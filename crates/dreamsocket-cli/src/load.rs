//! `dreamsocket load`: many connections that send at a fixed rate, and how long the answers take.
//!
//! `sender.rs` is one connection, `schedule.rs` when its messages are due, `tally.rs` what all of them count, `progress.rs` and
//! `report.rs` what is told of it. Memory is bounded: a message holds its own number and time, so nothing is kept of those
//! under way, and histograms have a fixed size.

mod histogram;
mod payload;
mod progress;
mod report;
mod schedule;
mod sender;
mod tally;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;
use std::time::Duration;

use dreamsocket::client::Connect;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::payload::SMALLEST_MESSAGE;
use self::report::Report;
use self::schedule::Schedule;
use self::tally::Tally;
use crate::args::LoadArgs;
use crate::failure::{Failure, print};
use crate::interrupt::Interrupt;

/// Open files beside the connections.
#[cfg(unix)]
const OTHER_FILES: u64 = 64;

/// What is to be done, for all connections.
struct Plan {
    connect: Connect,
    connections: usize,
    schedule: Schedule,
    size: usize,
    is_binary: bool,
    ramp: Duration,
    wait: Duration,
}

pub(crate) fn run(args: &LoadArgs) -> Result<ExitCode, Failure> {
    let threads = args.threads.or_else(|| available_parallelism().ok());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        runtime.worker_threads(threads.get());
    }
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| Failure::Usage(format!("no runtime: {error}")))?;
    let connect = args.target.connect()?;
    if let Some(warning) = warn_of_files(args.connections.get()) {
        progress::say(&warning);
    }
    let plan = Plan {
        connect,
        connections: args.connections.get(),
        schedule: Schedule {
            rate: args.rate,
            duration: args.duration,
            connections: args.connections.get(),
        },
        size: args.size,
        is_binary: args.binary,
        ramp: args.ramp,
        wait: args.wait,
    };
    let shards = threads.map_or(1, |threads| threads.get() * 2);
    let (tally, times) = runtime.block_on(load(plan, Tally::new(shards), args.quiet));
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    let report = Report::new(args, &tally, times);
    let text = if args.json {
        format!("{:#}\n", report.json())
    } else {
        report.text()
    };
    print(text.as_bytes())?;
    if let Some(failure) = tally
        .first_failure
        .lock()
        .ok()
        .and_then(|mut first| first.take())
        && tally.opened.load(Ordering::Relaxed) == 0
    {
        return Err(failure.into());
    }
    if report.is_well() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::Ended(
            "not every connection was opened and stayed, or not every message answered".to_owned(),
        ))
    }
}

/// How long the parts took.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    /// Opening the connections.
    opening: Duration,
    /// From the first message that was due to the end of sending.
    sending: Duration,
}

async fn load(plan: Plan, tally: Tally, is_quiet: bool) -> (Arc<Tally>, Times) {
    let interrupt = Interrupt::listen();
    let plan = Arc::new(plan);
    let tally = Arc::new(tally);
    let (start, started) = watch::channel(None);
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for index in 0..plan.connections {
        let sender = sender::run(
            index,
            Arc::clone(&plan),
            Arc::clone(&tally),
            started.clone(),
            interrupt.clone(),
        );
        senders.spawn(sender);
    }
    drop(started);
    let mut telling = JoinSet::new();
    if !is_quiet {
        telling.spawn(progress::tell(Arc::clone(&tally), plan.connections));
    }
    tally.all_tried(plan.connections).await;
    let mut times = Times {
        opening: begun.elapsed(),
        sending: Duration::ZERO,
    };
    let sending = Instant::now();
    start.send_replace(Some(sending));
    while senders.join_next().await.is_some() {}
    // Waiting for the last answers is no part of it.
    times.sending = sending.elapsed().min(plan.schedule.duration);
    telling.shutdown().await;
    (tally, times)
}

/// Raises the limit of open files as far as it goes.
#[cfg(unix)]
fn warn_of_files(connections: usize) -> Option<String> {
    let wanted = u64::try_from(connections).ok()?.saturating_add(OTHER_FILES);
    let limit = rlimit::increase_nofile_limit(wanted.max(1024)).ok()?;
    (limit < wanted).then(|| {
        format!(
            "{connections} connections need {wanted} open files, and the limit is {limit}: raise it (ulimit -n), or some will fail"
        )
    })
}

#[cfg(not(unix))]
const fn warn_of_files(_: usize) -> Option<String> {
    None
}

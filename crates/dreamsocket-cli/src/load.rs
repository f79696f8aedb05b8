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
use crate::escape::{escape, escape_json};
use crate::failure::{Failure, print};
use crate::interrupt::{INTERRUPTED, Interrupt};

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
    if args.size > args.target.max_message {
        let (size, most) = (args.size, args.target.max_message);
        let line = format!("--size {size} is more than an answer may have (--max-message {most})");
        return Err(Failure::Usage(line));
    }
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
        let json = format!("{:#}\n", report.json());
        escape_json(&json).into_owned()
    } else {
        escape(&report.text()).into_owned()
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
    if times.is_interrupted && tally.opened.load(Ordering::Relaxed) == 0 {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if report.is_well() {
        Ok(ExitCode::SUCCESS)
    } else {
        let lack = "not every connection was opened and stayed, or not every message was answered";
        Err(Failure::Ended(lack.to_owned()))
    }
}

/// How long the parts took.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    /// Opening the connections.
    opening: Duration,
    /// From the first message that was due to the end of sending.
    sending: Duration,
    /// Whether the user has ended it before its time.
    is_interrupted: bool,
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
        is_interrupted: false,
    };
    let sending = Instant::now();
    start.send_replace(Some(sending));
    let mut sent = Vec::with_capacity(plan.connections);
    while let Some(ended) = senders.join_next().await {
        sent.extend(ended);
    }
    // Waiting for the last answers is no part of it, and a connection that ended early has to answer for the rest.
    times.sending = plan.schedule.duration;
    if let Some(asked) = interrupt.asked_at() {
        times.is_interrupted = true;
        let sends_for = asked.saturating_duration_since(sending);
        times.sending = times.sending.min(sends_for);
    }
    let unsent = sent
        .into_iter()
        .map(|(index, number)| {
            plan.schedule
                .due_within(index, times.sending)
                .saturating_sub(number)
        })
        .sum();
    tally.unsent.store(unsent, Ordering::Relaxed);
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

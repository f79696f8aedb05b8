//! Run with `cargo run --release -p simulation -- --seeds 0..1000`, or `-- --seed 7 --verbose` for the whole story of one.
//!
//! Ends with 1 if a promise was broken: the first such seeds are printed with the number of the contract and the
//! connection's transcript.

#![expect(clippy::print_stdout, reason = "it is a program for the terminal")]

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use simulation::{Outcome, run};

/// How many seeds that fail are printed with their transcripts.
const SHOWN: usize = 3;

#[derive(Debug, Clone)]
struct Arguments {
    seeds: Range<u64>,
    jobs: usize,
    is_verbose: bool,
    /// Whether the first seed that fails ends it.
    stops: bool,
    /// Whether only a line is printed for each seed that fails.
    is_short: bool,
    /// Whether each seed is run twice and has to be the same.
    twice: bool,
}

/// What was counted.
#[derive(Debug, Default)]
struct Totals {
    schedules: u64,
    fast: u64,
    sessions: u64,
    events: u64,
    checks: u64,
    failed: Vec<(u64, &'static str)>,
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            println!(
                "{error}\nusage: simulation [--seeds A..B | --seed N] [--jobs N] [--verbose] [--lines] [--first] [--twice]"
            );
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let next = AtomicU64::new(arguments.seeds.start);
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| work(&arguments, &next, &totals, begun));
        }
    });
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}", summary(&totals, begun));
    for (seed, law) in &totals.failed {
        println!("failed: seed {seed}, {law}");
    }
    match totals.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn work(arguments: &Arguments, next: &AtomicU64, totals: &Mutex<Totals>, begun: Instant) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= arguments.seeds.end {
            return;
        }
        let outcome = run(seed, arguments.is_verbose);
        let is_one_story =
            !arguments.twice || run(seed, false).summary.hash == outcome.summary.hash;
        let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut totals, &outcome, arguments, begun);
        if !is_one_story {
            totals.failed.push((seed, "two stories"));
        }
        if arguments.stops && !totals.failed.is_empty() {
            next.store(arguments.seeds.end, Ordering::Relaxed);
        }
    }
}

fn note(totals: &mut Totals, outcome: &Outcome, arguments: &Arguments, begun: Instant) {
    let summary_of_one = &outcome.summary;
    totals.schedules += 1;
    totals.fast += u64::from(outcome.is_fast);
    totals.sessions += summary_of_one.sessions;
    totals.events += summary_of_one.events;
    totals.checks += summary_of_one.checks;
    if let Some(violation) = &summary_of_one.violation {
        totals.failed.push((outcome.seed, violation.law));
        if arguments.is_short {
            println!("broken {}: {violation}", outcome.seed);
            return;
        }
        if totals.failed.len() <= SHOWN {
            println!("seed {}: {violation}", outcome.seed);
            println!("{}", outcome.transcript);
        }
    } else if arguments.is_verbose {
        println!("{}", outcome.transcript);
        println!("hash {:016x}", summary_of_one.hash);
    }
    if totals.schedules.is_multiple_of(1_000) {
        println!("{}", summary(totals, begun));
    }
}

fn summary(totals: &Totals, begun: Instant) -> String {
    let seconds = begun.elapsed().as_secs_f64();
    let Totals {
        schedules,
        fast,
        sessions,
        events,
        checks,
        failed,
    } = totals;
    format!(
        "{schedules} schedules ({fast} on the fast path), {sessions} sessions, {events} events, {checks} checks, \
         {} failed, {seconds:.1} s, {:.2} ms each",
        failed.len(),
        seconds * 1_000.0 / (*schedules).max(1) as f64
    )
}

fn parse() -> Result<Arguments, lexopt::Error> {
    use lexopt::prelude::*;
    let mut arguments = Arguments {
        seeds: 0..500,
        jobs: 1,
        is_verbose: false,
        stops: false,
        is_short: false,
        twice: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => {
                let value = parser.value()?.string()?;
                let (start, end) = value.split_once("..").ok_or("seeds are A..B")?;
                let number = |text: &str| text.parse().map_err(|_| "seeds are numbers");
                arguments.seeds = number(start)?..number(end)?;
            }
            Long("seed") => {
                let seed: u64 = parser.value()?.parse()?;
                arguments.seeds = seed..seed + 1;
            }
            Long("jobs") => arguments.jobs = parser.value()?.parse()?,
            Long("verbose") => arguments.is_verbose = true,
            Long("lines") => arguments.is_short = true,
            Long("first") => arguments.stops = true,
            Long("twice") => arguments.twice = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(arguments)
}

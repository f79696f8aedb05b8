//! `bench`: puts servers side by side and writes the report. `scripts/bench` builds everything and calls it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use lexopt::prelude::*;
use load::report::machine::Machine;
use load::runner::results::{Instructions, Line, Results, Settings};
use load::runner::rows::Row;
use load::runner::servers::Server;
use load::runner::{self, Places, rows, servers};
use load::{instructions, report};

const USAGE: &str = "\
usage: bench [--quick] [--rows A,B] [--servers A,B] [--rounds N] [--seconds S] [--resume]
       bench instructions | report    [--quick] [--servers A,B]
  --quick        a few rows, 3 rounds, about ten minutes; into target/bench/quick instead of here
  --rows A,B     only rows whose name contains one of these; into target/bench/part
  --servers A,B  only these servers; raw TCP is always there; into target/bench/part
  --rounds N     how often all is measured (5, quick 3)
  --seconds S    how long a window is, before it is made longer for large messages (0.8, quick 0.7)
  --resume       go on with what broke off, as it was begun; what failed is tried again
  instructions   count instructions under callgrind, and put them into the report
  report         write the report anew from what was measured
  --table FILE   the servers (servers/servers.toml)
";

#[derive(Debug, Default)]
struct Args {
    command: Option<String>,
    quick: bool,
    resume: bool,
    rows: Vec<String>,
    servers: Vec<String>,
    rounds: Option<usize>,
    seconds: Option<f64>,
    table: Option<PathBuf>,
}

impl Args {
    fn parse() -> Result<Self> {
        let mut args = Self::default();
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("quick") => args.quick = true,
                Long("resume") => args.resume = true,
                Long("rows") => args.rows = list(&parser.value()?.string()?),
                Long("servers") => args.servers = list(&parser.value()?.string()?),
                Long("rounds") => args.rounds = Some(parser.value()?.parse()?),
                Long("seconds") => args.seconds = Some(parser.value()?.parse()?),
                Long("table") => args.table = Some(parser.value()?.into()),
                Short('h') | Long("help") => {
                    eprint!("{USAGE}");
                    std::process::exit(0);
                }
                Value(command) if args.command.is_none() => args.command = Some(command.string()?),
                _ => return Err(arg.unexpected().into()),
            }
        }
        Ok(args)
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args = Args::parse()?;
    rlimit::increase_nofile_limit(u64::MAX)?;
    let places = Places::find()?;
    // A quick look, or one at a part, does not replace what took an hour.
    let is_part = !(args.rows.is_empty() && args.servers.is_empty());
    let folder = match (args.quick, is_part) {
        (true, _) => places.scratch.join("quick"),
        (false, true) => places.scratch.join("part"),
        (false, false) => places.bench.clone(),
    };
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("results.jsonl");
    let results = match args.command.as_deref() {
        None => {
            let mut results = if args.resume {
                Results::open(&file)?
            } else {
                Results::create(&file, settings(&args, &places)?)?
            };
            runner::run(&places, &mut results)?;
            if !results.settings.quick && !is_part {
                let servers = results.settings.servers.clone();
                count_instructions(&places, &mut results, &servers)?;
            }
            results
        }
        Some("instructions") => {
            let mut results = match Results::open(&file) {
                Ok(results) => results,
                Err(_) => Results::create(&file, settings(&args, &places)?)?,
            };
            let servers = choose_servers(&args, &places)?;
            count_instructions(&places, &mut results, &servers)?;
            results
        }
        Some("report") => Results::open(&file)?,
        Some(other) => anyhow::bail!("there is no {other:?}\n{USAGE}"),
    };
    show(&results, &folder)
}

fn show(results: &Results, folder: &Path) -> Result<()> {
    for goal in report::write(results, folder)? {
        eprintln!("{goal}");
    }
    eprintln!(
        "bench: the report is {}",
        folder.join("RESULTS.md").display()
    );
    Ok(())
}

fn count_instructions(places: &Places, results: &mut Results, servers: &[Server]) -> Result<()> {
    for server in servers.iter().filter(|server| server.rust) {
        match instructions::per_message(places, server) {
            Ok(per_message) => {
                eprintln!(
                    "{}: {per_message:.0} instructions for a message",
                    server.name
                );
                results.add(Line::Instructions(Instructions {
                    server: server.name.clone(),
                    per_message,
                }))?;
            }
            Err(error) => eprintln!("{}: instructions not counted: {error:#}", server.name),
        }
    }
    Ok(())
}

fn settings(args: &Args, places: &Places) -> Result<Settings> {
    let seconds = args.seconds.unwrap_or(if args.quick { 0.7 } else { 0.8 });
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 5 });
    ensure!(seconds > 0.0 && rounds > 0, "nothing would be measured");
    let all = if args.quick {
        rows::quick(seconds)
    } else {
        rows::full(seconds)
    };
    let chosen = |row: &Row| {
        args.rows.is_empty() || args.rows.iter().any(|part| row.id.contains(part.as_str()))
    };
    let rows: Vec<_> = all.into_iter().filter(chosen).collect();
    ensure!(!rows.is_empty(), "no row has such a name");
    Ok(Settings {
        quick: args.quick,
        rounds,
        seconds,
        rows,
        servers: choose_servers(args, places)?,
        machine: Machine::look(),
    })
}

fn choose_servers(args: &Args, places: &Places) -> Result<Vec<Server>> {
    let table = args.table.clone();
    let table = table.unwrap_or_else(|| places.bench.join("servers/servers.toml"));
    let mut servers = servers::read(&table, &places.bench).context("the table of servers")?;
    for name in &args.servers {
        let known = servers.iter().any(|server| server.name == *name);
        ensure!(known, "there is no server {name:?}");
    }
    if !args.servers.is_empty() {
        servers.retain(|server| server.raw || args.servers.contains(&server.name));
    }
    Ok(servers)
}

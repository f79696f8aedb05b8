//! Puts servers side by side: every row with every server by turns, round after round, and all that is said kept.

pub mod process;
pub mod progress;
pub mod results;
pub mod rows;
pub mod servers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::process::{Certificate, Running, Started};
use self::progress::Progress;
use self::results::{Line, Measured, Outcome, Results, Settings};
use self::rows::{Configuration, Row};
use self::servers::Server;
use crate::spec::Spec;

/// One thing to measure.
#[derive(Debug, Clone, Copy)]
struct Job<'a> {
    round: usize,
    row: &'a Row,
    server: &'a Server,
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder `bench`, from which the servers are started.
    pub bench: PathBuf,
    /// The program `load`.
    pub load: PathBuf,
    /// For certificates and what servers say.
    pub scratch: PathBuf,
}

impl Places {
    /// As `cargo` lays them out.
    pub fn find() -> Result<Self> {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let bench = bench.context("the crate has a folder above it")?.to_owned();
        let load = std::env::current_exe()?.with_file_name("load");
        if !load.exists() {
            bail!(
                "{} is missing: cargo build --release -p load",
                load.display()
            );
        }
        let scratch = bench.join("target/bench");
        std::fs::create_dir_all(&scratch)?;
        Ok(Self {
            bench,
            load,
            scratch,
        })
    }
}

/// Measures what the results do not hold yet.
pub fn run(places: &Places, results: &mut Results) -> Result<()> {
    let settings = results.settings.clone();
    let jobs = plan(&settings);
    let jobs: Vec<_> = jobs
        .into_iter()
        .filter(|job| !results.has(&job.row.id, &job.server.name, job.round))
        .collect();
    let mut progress = Progress::new(jobs.iter().map(|job| job.row.estimate()).sum(), jobs.len());
    let certificate = Certificate::make(&places.scratch)?;
    let mut hosts = Hosts {
        places,
        certificate,
        running: BTreeMap::new(),
    };
    for job in jobs {
        progress.begin(&job.row.id, &job.server.name, job.round, job.row.estimate());
        let outcome = hosts.measure(&job);
        progress.end(&outcome);
        results.add(Line::Measured(Box::new(Measured {
            row: job.row.id.clone(),
            server: job.server.name.clone(),
            round: job.round,
            outcome,
        })))?;
    }
    progress.finish();
    Ok(())
}

/// Rounds outermost, so that a drift of the machine reaches all rows; servers innermost, so that it reaches all servers.
fn plan(settings: &Settings) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    for round in 0..settings.rounds {
        for row in settings
            .rows
            .iter()
            .filter(|row| round < row.rounds_at_most)
        {
            let can = settings.servers.iter().filter(|server| row.suits(server));
            jobs.extend(can.map(|server| Job { round, row, server }));
        }
    }
    jobs
}

/// The servers that run.
struct Hosts<'a> {
    places: &'a Places,
    certificate: Certificate,
    running: BTreeMap<String, (Configuration, Running)>,
}

impl Hosts<'_> {
    fn measure(&mut self, job: &Job<'_>) -> Outcome {
        let name = &job.server.name;
        let configuration = job.row.configuration;
        self.running.retain(|_, (of, _)| *of == configuration);
        if job.row.fresh {
            self.running.remove(name);
        }
        let running = match self.running.remove(name) {
            Some((_, running)) => running,
            None => {
                let started =
                    Running::start(self.places, job.server, configuration, &self.certificate);
                match started {
                    Ok(Started::Ready(running)) => running,
                    Ok(Started::Unsupported) => return Outcome::Unsupported,
                    Err(error) => return Outcome::Failed(format!("{error:#}")),
                }
            }
        };
        let spec = Spec {
            address: running.address(),
            pid: Some(running.pid()),
            raw: job.server.raw,
            tls: configuration.tls,
            deflate: configuration.deflate,
            work: job.row.work.clone(),
        };
        match process::load(self.places, &spec, job.row.estimate()) {
            Ok(report) => {
                if !job.row.fresh && running.settle(Duration::from_secs(2)) {
                    self.running.insert(name.clone(), (configuration, running));
                }
                Outcome::Measured(report)
            }
            // What the server said last may tell why; it does not get another connection.
            Err(error) => Outcome::Failed(format!("{error:#}{}", running.last_words())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_take_turns() {
        let servers = servers::parse(
            "[[server]]\nname='a'\ncommand='a'\n[[server]]\nname='b'\ncommand='b'\ndeflate=true",
        )
        .unwrap();
        let rows = rows::quick(0.5);
        let settings = Settings {
            rounds: 2,
            rows: rows
                .into_iter()
                .filter(|row| row.id == "echo-50x32B-1" || row.configuration.deflate)
                .collect(),
            servers,
            ..Settings::default()
        };
        let jobs = plan(&settings);
        let order: Vec<_> = jobs
            .iter()
            .map(|job| (job.round, &job.row.id[..6], job.server.name.as_str()))
            .collect();
        let round = |n| [(n, "echo-5", "a"), (n, "echo-5", "b"), (n, "deflat", "b")];
        assert_eq!(order, [round(0), round(1)].concat());
    }
}

//! A schedule from its seed to the oracle's verdict: the simulated hosts, what befalls them, and the ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use turmoil::Sim;

use crate::event::Event;
use crate::oracle::Violation;
use crate::plan::{ClientKind, Fault, PathKind, Plan};
use crate::record::{Record, Summary, WORLD};
use crate::server::{Fast, Generic, HOST, Site, serve};
use crate::{client, peer};

/// A schedule that was run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The seed that it came from.
    pub seed: u64,
    /// Whether the server's sessions took the fast path.
    pub is_fast: bool,
    /// What came of it.
    pub summary: Summary,
    /// The story of the endpoint that broke a promise, or all of it if it was asked for.
    pub transcript: String,
}

/// Runs the schedule of a seed, on a thread of its own, so that nothing of another is left on it.
#[must_use]
pub fn run(seed: u64, is_verbose: bool) -> Outcome {
    let running = std::thread::Builder::new().spawn(move || run_here(seed, is_verbose));
    let joined = running.map(std::thread::JoinHandle::join);
    match joined {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(payload)) => broken(seed, &format!("the world panicked: {}", text_of(&*payload))),
        Err(error) => broken(seed, &format!("there is no thread: {error}")),
    }
}

/// A schedule that did not come to its end.
fn broken(seed: u64, what: &str) -> Outcome {
    Outcome {
        seed,
        is_fast: false,
        summary: Summary {
            events: 0,
            checks: 0,
            sessions: 0,
            hash: 0,
            violation: Some(Violation::new("L8", what)),
        },
        transcript: String::new(),
    }
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
    });
    text.unwrap_or_default()
}

fn run_here(seed: u64, is_verbose: bool) -> Outcome {
    dreamsocket::simulation::seed(seed);
    let plan = Arc::new(Plan::of(seed));
    let record = Record::new(plan.bounds());
    let site = Site::new(&plan, &record);
    let mut sim = build(&plan, &site);
    let mut faults = Faults::of(&plan);
    while !record.is_broken() {
        faults.strike(&mut sim, &record, &site);
        let step = sim.step();
        let now = u64::try_from(sim.elapsed().as_micros()).unwrap_or(u64::MAX);
        record.end_tick(now, site.connections());
        match step {
            Err(error) => record.fail(Violation::new("L8", format!("a host failed: {error}"))),
            Ok(true) if faults.are_over() && !sim.is_host_running(HOST) && record.is_quiet() => {
                break;
            }
            Ok(_) if sim.elapsed() > plan.end => break,
            Ok(_) => {}
        }
    }
    record.finish();
    let summary = record.summary();
    let transcript = match (&summary.violation, is_verbose) {
        (_, true) => format!("{plan:#?}\n{}", record.transcript(None)),
        (Some(violation), false) => record.transcript(Some(violation.endpoint)),
        (None, false) => String::new(),
    };
    Outcome {
        seed,
        is_fast: plan.path == PathKind::Fast,
        summary,
        transcript,
    }
}

/// All hosts, with what runs on them.
fn build(plan: &Arc<Plan>, site: &Arc<Site>) -> Sim<'static> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(plan.seed)
        .epoch(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .tick_duration(plan.tick)
        .min_message_latency(plan.latency.0)
        .max_message_latency(plan.latency.1)
        .tcp_capacity(plan.segments)
        .simulation_duration(plan.end * 4)
        .enable_random_order()
        .build();
    let generation = AtomicU32::new(0);
    let here = Arc::clone(site);
    sim.host(HOST, move || {
        let (site, generation) = (
            Arc::clone(&here),
            generation.fetch_add(1, Ordering::Relaxed),
        );
        async move {
            match site.plan.path {
                PathKind::Fast => serve::<Fast>(site, generation).await,
                PathKind::Generic => serve::<Generic>(site, generation).await,
            }
        }
    });
    for host in 0..plan.hosts {
        let (plan, record) = (Arc::clone(plan), site.record.clone());
        sim.client(name(host), async move {
            let mut running = tokio::task::JoinSet::new();
            for (number, client) in plan.clients.iter().enumerate() {
                if client.host != host {
                    continue;
                }
                let (client, record) = (client.clone(), record.clone());
                match client.kind {
                    ClientKind::Raw => {
                        running.spawn(peer::run(number, client, record, plan.end));
                    }
                    ClientKind::Library { .. } => {
                        running.spawn(client::run(number, client, Arc::clone(&plan), record));
                    }
                }
            }
            while let Some(ended) = running.join_next().await {
                ended?;
            }
            Ok(())
        });
    }
    sim
}

/// The name of a host of clients.
fn name(host: usize) -> String {
    format!("clients-{host}")
}

/// What goes wrong, and when it is mended.
struct Faults {
    /// In the order in which they come, the next one last.
    coming: Vec<(Duration, Change)>,
}

#[derive(Clone, Copy)]
enum Change {
    Begin(Fault),
    End(Fault),
}

impl Faults {
    fn of(plan: &Plan) -> Self {
        let mut coming = Vec::new();
        for (at, fault) in &plan.faults {
            let time = match fault {
                Fault::Hold(_, time)
                | Fault::Partition(_, time)
                | Fault::PartitionToServer(_, time)
                | Fault::PartitionFromServer(_, time)
                | Fault::Crash(time) => *time,
            };
            coming.push((*at, Change::Begin(*fault)));
            coming.push((*at + time, Change::End(*fault)));
        }
        coming.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Self { coming }
    }

    const fn are_over(&self) -> bool {
        self.coming.is_empty()
    }

    fn strike(&mut self, sim: &mut Sim<'_>, record: &Record, site: &Site) {
        while let Some((_, change)) = self.coming.pop_if(|(at, _)| *at <= sim.elapsed()) {
            match change {
                Change::Begin(fault) => begin(fault, sim, record, site),
                Change::End(fault) => end(fault, sim, record),
            }
        }
    }
}

fn begin(fault: Fault, sim: &mut Sim<'_>, record: &Record, site: &Site) {
    record.note(WORLD, Event::Note(format!("begins: {fault:?}")));
    match fault {
        Fault::Hold(host, _) => sim.hold(HOST, name(host)),
        Fault::Partition(host, _) => sim.partition(HOST, name(host)),
        Fault::PartitionToServer(host, _) => sim.partition_oneway(name(host), HOST),
        Fault::PartitionFromServer(host, _) => sim.partition_oneway(HOST, name(host)),
        Fault::Crash(_) => {
            if sim.is_host_running(HOST) {
                record.note(WORLD, Event::Crashed);
                site.forget_hub();
                // As when its power is cut: what it holds is dropped in an order that only the runtime knows, and nobody hears
                // of it.
                let hosts = (0..site.plan.hosts).map(name);
                hosts.clone().for_each(|host| sim.partition(HOST, host));
                sim.crash(HOST);
                hosts.for_each(|host| sim.repair(HOST, host));
            }
        }
    }
}

fn end(fault: Fault, sim: &mut Sim<'_>, record: &Record) {
    record.note(WORLD, Event::Note(format!("ends: {fault:?}")));
    match fault {
        Fault::Hold(host, _) => sim.release(HOST, name(host)),
        Fault::Partition(host, _) => sim.repair(HOST, name(host)),
        Fault::PartitionToServer(host, _) => sim.repair_oneway(name(host), HOST),
        Fault::PartitionFromServer(host, _) => sim.repair_oneway(HOST, name(host)),
        Fault::Crash(_) => {
            if !sim.is_host_running(HOST) {
                sim.bounce(HOST);
            }
        }
    }
}

//! What a broker between nodes costs, against one process: `scripts/bench nodes` prints the tables of bench/NODES.md.
//!
//! It starts the brokers itself. Nodes are broadcasters of this process, which share its threads; what topics and subscribers
//! cost is measured in a process of their own, so that memory which was given back does not count. All engines take
//! turns within a round, and ratios are taken within rounds.

mod engine;
mod measure;

use std::process::Command;

use anyhow::{Context, Result, bail};
use brokers::{Nats, Redis};

use crate::engine::{Engine, Urls};
use crate::measure::{Weight, deliveries, latency, median, weigh};

const ROUNDS: usize = 5;

/// Subscribers of the one topic on each node, when deliveries are counted.
const SUBSCRIBERS: usize = 100;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["weigh", engine, what, count, nats, redis] => {
            let urls = Urls {
                nats: nats.to_owned(),
                redis: redis.to_owned(),
            };
            let (micros, bytes, publish) =
                weigh(Engine::parse(engine)?, what, count.parse()?, &urls).await?;
            println!("{micros} {bytes} {publish}");
            Ok(())
        }
        [] => run().await,
        _ => bail!("usage: nodes"),
    }
}

async fn run() -> Result<()> {
    let (nats, redis) = (Nats::start().await, Redis::start().await);
    let urls = Urls {
        nats: nats.url(),
        redis: redis.url(),
    };
    tell_latency(&urls).await?;
    tell_deliveries(&urls).await?;
    tell_weights(&urls)?;
    Ok(())
}

async fn tell_latency(urls: &Urls) -> Result<()> {
    println!(
        "| from publish to receive, one at a time | median | 99 % | ÷ memory |\n|---|---:|---:|---:|"
    );
    let mut rounds: [Vec<(f64, f64)>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (engine, round) in Engine::ALL.into_iter().zip(&mut rounds) {
            round.push(latency(engine, urls).await?);
        }
    }
    for (engine, round) in Engine::ALL.iter().zip(&rounds) {
        let ratios = round
            .iter()
            .zip(&rounds[0])
            .map(|(ours, memory)| ours.0 / memory.0);
        println!(
            "| {} | {:.1} µs | {:.1} µs | {:.0} |",
            engine.name(),
            median(round.iter().map(|round| round.0)),
            median(round.iter().map(|round| round.1)),
            median(ratios),
        );
    }
    println!();
    Ok(())
}

async fn tell_deliveries(urls: &Urls) -> Result<()> {
    println!(
        "| deliveries a second, {SUBSCRIBERS} subscribers on each node, 100 bytes | 1 node | 2 nodes | 3 nodes |\n|---|---:|---:|---:|"
    );
    for engine in Engine::ALL {
        let mut cells = Vec::new();
        for nodes in 1..=3 {
            if engine == Engine::Memory && nodes > 1 {
                cells.push("–".to_owned());
                continue;
            }
            let mut rates = Vec::new();
            for _ in 0..ROUNDS {
                rates.push(deliveries(engine, urls, nodes, SUBSCRIBERS).await?);
            }
            cells.push(format!("{:.2} million", median(rates.into_iter()) / 1e6));
        }
        println!("| {} | {} |", engine.name(), cells.join(" | "));
    }
    println!();
    Ok(())
}

fn tell_weights(urls: &Urls) -> Result<()> {
    println!(
        "| | engine | until all are subscribed | bytes each, in the node | a publish then, from node to node |\n|---|---|---:|---:|---:|"
    );
    for (what, counts) in [
        ("topics", &[1, 1_000, 100_000][..]),
        ("subscribers of one topic", &[1, 1_000, 10_000]),
    ] {
        for engine in Engine::ALL {
            for count in counts {
                let Weight {
                    micros,
                    bytes,
                    publish,
                } = weigh_apart(engine, what, *count, urls)?;
                // One of them drowns in what the process takes anyway.
                let bytes = if *count == 1 {
                    "–".to_owned()
                } else {
                    bytes.to_string()
                };
                println!(
                    "| {count} {what} | {} | {:.1} ms | {bytes} | {publish:.1} µs |",
                    engine.name(),
                    micros / 1e3,
                );
            }
        }
    }
    Ok(())
}

fn weigh_apart(engine: Engine, what: &str, count: usize, urls: &Urls) -> Result<Weight> {
    let output = Command::new(std::env::current_exe()?)
        .args([
            "weigh",
            engine.name(),
            what,
            &count.to_string(),
            &urls.nats,
            &urls.redis,
        ])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace();
    let mut next = || {
        words
            .next()
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    Ok(Weight {
        micros: next()?.parse()?,
        bytes: next()?.parse()?,
        publish: next()?.parse()?,
    })
}

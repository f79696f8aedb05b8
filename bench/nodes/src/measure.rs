//! Single measurements.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dreamsocket_broadcaster::{Broadcaster, Channel, ChannelOptions, Delivery};
use tokio::task::JoinSet;

use crate::engine::{Engine, Urls};

const LATENCIES: usize = 5_000;

/// Deliveries to each subscriber.
const MESSAGES: usize = 20_000;

/// What a node has to carry.
pub(crate) struct Weight {
    /// Until all is subscribed, at the broker, too.
    pub(crate) micros: f64,
    /// Resident, for each.
    pub(crate) bytes: u64,
    /// From publish to receive, in microseconds.
    pub(crate) publish: f64,
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// From publishing on one node to receiving on another, in microseconds: at the median and at 99 %.
pub(crate) async fn latency(engine: Engine, urls: &Urls) -> Result<(f64, f64)> {
    let nodes = engine.nodes(urls, 2).await?;
    let mut channel = nodes[1].topic("latency").subscribe();
    when_heard(&nodes[0], "latency", &mut channel).await?;
    one_by_one(&nodes[0], "latency", &mut channel, LATENCIES).await
}

async fn one_by_one(
    node: &Broadcaster<String>,
    topic: &str,
    channel: &mut Channel<String>,
    count: usize,
) -> Result<(f64, f64)> {
    let topic = node.topic(topic);
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        topic.publish("hello".to_owned())?;
        channel.recv().await.context("the channel has ended")?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    Ok((took[count / 2], took[count * 99 / 100]))
}

/// Publishes on one node until the other hears it, and lets what came pass.
async fn when_heard(
    from: &Broadcaster<String>,
    topic: &str,
    channel: &mut Channel<String>,
) -> Result<()> {
    let topic = from.topic(topic);
    loop {
        topic.publish("anybody there?".to_owned())?;
        let heard = tokio::time::timeout(Duration::from_millis(50), channel.recv()).await;
        if heard.is_ok() {
            break;
        }
    }
    while tokio::time::timeout(Duration::from_millis(50), channel.recv())
        .await
        .is_ok()
    {}
    Ok(())
}

/// One node publishes as fast as the slowest subscriber takes, with 1,000 messages under way.
pub(crate) async fn deliveries(
    engine: Engine,
    urls: &Urls,
    nodes: usize,
    subscribers: usize,
) -> Result<f64> {
    const UNDER_WAY: usize = 1_000;
    let nodes = engine.nodes(urls, nodes).await?;
    let mut pace = nodes[0]
        .topic("deliveries")
        .subscribe_with(ChannelOptions::new().capacity(2 * UNDER_WAY));
    let mut others = Vec::new();
    for node in &nodes {
        for _ in 0..subscribers {
            let options = ChannelOptions::new().capacity(MESSAGES);
            others.push(node.topic("deliveries").subscribe_with(options));
        }
    }
    for other in others.iter_mut().step_by(subscribers) {
        when_heard(&nodes[0], "deliveries", other).await?;
    }
    for channel in others.iter_mut().chain([&mut pace]) {
        while channel.try_recv().is_ok() {}
    }
    let count = others.len();
    let start = Instant::now();
    let mut reading = JoinSet::new();
    for mut channel in others {
        reading.spawn(async move {
            let mut seen = 0;
            while seen < MESSAGES {
                match channel.recv().await {
                    Some(Delivery::Message(_)) => seen += 1,
                    Some(Delivery::Missed(missed)) => {
                        seen += missed
                            .count
                            .map_or(MESSAGES, |count| usize::try_from(count).unwrap_or(MESSAGES));
                    }
                    None => break,
                }
            }
        });
    }
    let topic = nodes[0].topic("deliveries");
    let text = "x".repeat(100);
    let mut back = 0;
    for published in 0..MESSAGES {
        while published - back >= UNDER_WAY {
            pace.recv().await.context("the channel has ended")?;
            back += 1;
        }
        topic.publish(text.clone())?;
    }
    while reading.join_next().await.is_some() {}
    let delivered = (count * MESSAGES) as f64;
    Ok(delivered / start.elapsed().as_secs_f64())
}

/// So many topics with a subscriber each, or subscribers of one topic, on one node: to be called in a process of its own.
pub(crate) async fn weigh(
    engine: Engine,
    what: &str,
    count: usize,
    urls: &Urls,
) -> Result<(f64, u64, f64)> {
    let nodes = engine.nodes(urls, 2).await?;
    let topic_of = |number: usize| {
        let number = if what == "topics" { number } else { 0 };
        format!("topic {number}")
    };
    let before = resident_bytes()?;
    let start = Instant::now();
    let mut channels: Vec<_> = (0..count)
        .map(|number| nodes[1].topic(topic_of(number)).subscribe())
        .collect();
    while !nodes[1].health().is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The broker has carried out all of it when what is published to the last is heard.
    let last = topic_of(count - 1);
    let channel = channels.last_mut().context("none")?;
    let topic = nodes[0].topic(last.as_str());
    loop {
        topic.publish("anybody there?".to_owned())?;
        let heard = tokio::time::timeout(Duration::from_millis(2), channel.recv()).await;
        if heard.is_ok() {
            break;
        }
    }
    let micros = start.elapsed().as_secs_f64() * 1e6;
    let grown = resident_bytes()?.saturating_sub(before);
    let bytes = grown / u64::try_from(count)?;
    let channel = channels.last_mut().context("none")?;
    while tokio::time::timeout(Duration::from_millis(50), channel.recv())
        .await
        .is_ok()
    {}
    let (publish, _) = one_by_one(&nodes[0], &last, channel, 500).await?;
    Ok((micros, bytes, publish))
}

/// What this process has in memory.
fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kilobytes.trim().parse::<u64>()? * 1024)
}

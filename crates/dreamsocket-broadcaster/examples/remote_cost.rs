//! Run with `cargo run --release -p dreamsocket-broadcaster --features nats,redis --example remote_cost -- URL`, with the
//! URL of a NATS or a Redis server that has nothing else to do: what another node costs. With a number behind it: what so
//! many topics cost; in a process of its own, so that memory that was given back does not count.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::time::{Duration, Instant};

use dreamsocket_broadcaster::{Broadcaster, ChannelOptions, Delivery, History, RemoteOptions};

const KEPT: usize = 50;

async fn node(url: &str) -> Result<Broadcaster<String>, Box<dyn Error>> {
    let options = RemoteOptions::new().prefix(format!("cost-{}", std::process::id()));
    connect(url, options).await
}

async fn keeping(url: &str) -> Result<Broadcaster<String>, Box<dyn Error>> {
    let options = RemoteOptions::new().prefix(format!("cost-{}-kept", std::process::id()));
    connect(url, options.history(History::last(KEPT))).await
}

async fn connect(url: &str, options: RemoteOptions) -> Result<Broadcaster<String>, Box<dyn Error>> {
    let options = options.max_queue(64 * 1024 * 1024);
    Ok(if url.starts_with("redis") {
        Broadcaster::connect_redis(url, options).await?
    } else {
        Broadcaster::connect_nats(url, options).await?
    })
}

async fn when_ready(node: &Broadcaster<String>) {
    while !node.health().is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("which server?")?;
    if let Some(topics) = std::env::args().nth(2) {
        return subscriptions(&url, topics.parse()?).await;
    }
    let (here, there) = (node(&url).await?, node(&url).await?);
    latency(&here, &there).await?;
    throughput(&here, &there).await?;
    println!("with history:");
    let (here, there) = (keeping(&url).await?, keeping(&url).await?);
    latency(&here, &there).await?;
    throughput(&here, &there).await?;
    replay(&here, &there).await?;
    Ok(())
}

/// What it takes to subscribe to a topic that nobody on the node is subscribed to, and to get the 50 messages of it.
async fn replay(
    here: &Broadcaster<String>,
    there: &Broadcaster<String>,
) -> Result<(), Box<dyn Error>> {
    const ROUNDS: usize = 500;
    let topic = here.topic("replay");
    for _ in 0..KEPT {
        topic.publish_confirmed("hello".to_owned()).await?;
    }
    let topic = there.topic("replay");
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut channel = topic.subscribe_last(KEPT);
        for _ in 0..KEPT {
            channel.recv().await;
        }
        took.push(start.elapsed());
        drop(channel);
        when_ready(there).await;
    }
    took.sort();
    let (median, most) = (took[ROUNDS / 2], took[ROUNDS * 99 / 100]);
    println!("a replay of {KEPT}: {median:?} at the median, {most:?} at 99 %");
    Ok(())
}

async fn latency(
    here: &Broadcaster<String>,
    there: &Broadcaster<String>,
) -> Result<(), Box<dyn Error>> {
    const ROUNDS: usize = 5_000;
    let topic = here.topic("latency");
    let mut channel = there.topic("latency").subscribe();
    when_ready(there).await;
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        topic.publish("hello".to_owned())?;
        channel.recv().await;
        took.push(start.elapsed());
    }
    took.sort();
    println!(
        "from node to node: {:?} at the median, {:?} at 99 %",
        took[ROUNDS / 2],
        took[ROUNDS * 99 / 100]
    );
    Ok(())
}

async fn throughput(
    here: &Broadcaster<String>,
    there: &Broadcaster<String>,
) -> Result<(), Box<dyn Error>> {
    const MESSAGES: u32 = 200_000;
    let topic = here.topic("throughput");
    let options = ChannelOptions::new().capacity(1_000_000);
    let mut channel = there.topic("throughput").subscribe_with(options);
    when_ready(there).await;
    let start = Instant::now();
    let text = "x".repeat(100);
    for _ in 0..MESSAGES {
        while topic.publish(text.clone()).is_err() {
            tokio::task::yield_now().await;
        }
    }
    let mut missed = 0;
    let mut received = 0;
    while received + missed < u64::from(MESSAGES) {
        match channel.recv().await {
            Some(Delivery::Message(_)) => received += 1,
            Some(Delivery::Missed(gap)) => missed += gap.count.unwrap_or(0),
            None => break,
        }
    }
    println!(
        "{:.0} messages of 100 bytes a second, {missed} missed",
        f64::from(MESSAGES) / start.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn subscriptions(url: &str, topics: u32) -> Result<(), Box<dyn Error>> {
    let node = node(url).await?;
    let before = resident_bytes()?;
    let start = Instant::now();
    let channels: Vec<_> = (0..topics)
        .map(|topic| node.topic(format!("topic {topic}")).subscribe())
        .collect();
    when_ready(&node).await;
    let took = start.elapsed();
    let each = (resident_bytes()?.saturating_sub(before)) / u64::from(topics);
    println!("{topics} topics: {took:?} to subscribe, {each} bytes each");
    drop(channels);
    Ok(())
}

/// What this process has in memory.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kilobytes.trim().parse::<u64>()? * 1024)
}

//! What presence across nodes costs. Run with
//! `cargo run --release -p dreamsocket-broadcaster --features nats,redis --example presence_cost -- URL`,
//! where the URL is of a NATS server with JetStream or of a Redis server. With Redis it also tells how many commands the
//! server was given a second.

#![expect(clippy::print_stdout, reason = "it is for people to read")]

use std::error::Error;
use std::time::{Duration, Instant};

use dreamsocket_broadcaster::{Delivery, Member, Presence, PresenceEvent, PresenceOptions};

type Failure = Box<dyn Error + Send + Sync>;

async fn connect(url: &str) -> Result<Presence<u64, String>, Failure> {
    let options = PresenceOptions::new();
    Ok(if url.starts_with("redis") {
        Presence::connect_redis(url, options).await?
    } else {
        Presence::connect_nats(url, options).await?
    })
}

/// How many commands a Redis server has been given.
async fn commands(url: &str) -> Result<u64, Failure> {
    if !url.starts_with("redis") {
        return Ok(0);
    }
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut info = redis::cmd("INFO");
    let info: String = info.arg("stats").query_async(&mut connection).await?;
    let count = info
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"));
    Ok(count.unwrap_or("0").trim().parse()?)
}

async fn rate(url: &str, what: &str, time: Duration) -> Result<(), Failure> {
    let before = commands(url).await?;
    tokio::time::sleep(time).await;
    let count = commands(url).await? - before;
    println!(
        "{what}: {:.1} commands a second",
        count as f64 / time.as_secs_f64()
    );
    Ok(())
}

async fn when(condition: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1);
    let url = url.as_deref().unwrap_or("redis://127.0.0.1");
    let (here, there) = (connect(url).await?, connect(url).await?);

    let (_, mut changes) = there.watch("lobby");
    when(|| there.health().is_ready()).await;
    let mut times = Vec::new();
    for round in 0..1_000 {
        let start = Instant::now();
        let member = here.enter("lobby", round, "Ada".to_owned());
        while !matches!(
            changes.recv().await,
            Some(Delivery::Message(PresenceEvent::Joined(_)))
        ) {}
        times.push(start.elapsed());
        drop(member);
    }
    times.sort();
    println!(
        "from entering to being seen: {:?} (median)",
        times[times.len() / 2]
    );

    rate(url, "two idle nodes", Duration::from_secs(10)).await?;

    let member = here.enter("lobby", 0, "Ada".to_owned());
    let typing = async {
        loop {
            member.update("Ada, typing".to_owned());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        done = rate(url, "and a hundred changes a second in one topic", Duration::from_secs(10)) => done?,
        () = typing => {}
    }

    const TOPICS: u64 = 1_000;
    const EACH: u64 = 10;
    let start = Instant::now();
    let watches: Vec<_> = (0..TOPICS)
        .map(|topic| there.watch(topic.to_string()))
        .collect();
    when(|| there.health().is_ready()).await;
    println!(
        "{TOPICS} topics watched and read after {:?}",
        start.elapsed()
    );
    let start = Instant::now();
    let members: Vec<Member<_, _>> = (0..TOPICS * EACH)
        .map(|key| here.enter((key % TOPICS).to_string(), key, format!("person {key}")))
        .collect();
    println!(
        "{} people entered after {:?}",
        members.len(),
        start.elapsed()
    );
    let seen = || {
        (0..TOPICS)
            .map(|topic| there.people(&topic.to_string()).len())
            .sum::<usize>()
    };
    when(|| seen() == members.len()).await;
    println!("and seen elsewhere after {:?}", start.elapsed());
    tokio::time::sleep(Duration::from_secs(5)).await;
    rate(url, "then, idle", Duration::from_secs(240)).await?;
    drop(watches);
    Ok(())
}

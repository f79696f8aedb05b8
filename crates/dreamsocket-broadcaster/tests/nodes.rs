//! Processes that publish numbered messages to each other over a real broker, while one is killed, one is stopped for a
//! while, one is cut off, and the broker is restarted with nothing that it knew; and a check of what each of them saw (B1,
//! B2, B7): in order, nothing twice, and nothing missing that it was not told of.
//!
//! A killed process may take with it what it had accepted and not handed over; what the broker had confirmed to it must
//! not be lost untold. `NODES_PAUSE=10` makes the pauses ten seconds long instead of two.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod proxy;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use brokers::{Nats, Redis};
use dreamsocket_broadcaster::{Broadcaster, ChannelOptions, Delivery, PublishError, RemoteOptions};
use proxy::Proxy;
use serde::{Deserialize, Serialize};
use tokio::time;

const TOPICS: usize = 3;

/// Who is the node that this process is to be, and where is its broker.
const NODE: &str = "DREAMSOCKET_TEST_NODE";

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Numbered {
    publisher: u32,
    number: u32,
}

/// What a node says of itself, a line each.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Event {
    Ready,
    Received { topic: usize, message: Numbered },
    Missed { topic: usize },
    Accepted { topic: usize, number: u32 },
    Confirmed { topic: usize, number: u32 },
    Refused,
}

fn name(topic: usize) -> String {
    format!("topic {topic}")
}

fn say(event: Event) {
    let line = serde_json::to_string(&event).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{line}").unwrap();
}

/// Not a test: what the processes that the tests start run, which are this program again.
#[test]
fn node_process() {
    let Ok(node) = std::env::var(NODE) else {
        return;
    };
    let (publisher, url) = node.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run_node(publisher.parse().unwrap(), url));
}

async fn run_node(publisher: u32, url: &str) {
    let options = RemoteOptions::new();
    let node = if url.starts_with("redis") {
        Broadcaster::connect_redis(url, options).await.unwrap()
    } else {
        Broadcaster::connect_nats(url, options).await.unwrap()
    };
    for topic in 0..TOPICS {
        let options = ChannelOptions::new().capacity(1_000_000);
        let mut channel = node.topic(name(topic)).subscribe_with(options);
        tokio::spawn(async move {
            while let Some(delivery) = channel.recv().await {
                say(match delivery {
                    Delivery::Message(message) => Event::Received { topic, message },
                    Delivery::Missed(_) => Event::Missed { topic },
                });
            }
        });
    }
    while !node.health().is_ready() {
        time::sleep(Duration::from_millis(1)).await;
    }
    say(Event::Ready);

    // The test says when it is enough, by a line; and by the end of its own life.
    let is_over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&is_over);
    thread::spawn(move || {
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line).unwrap_or(0) == 0 {
            std::process::exit(1);
        }
        stop.store(true, Ordering::Relaxed);
        // Only the test's end follows.
        let _ = std::io::stdin().read_line(&mut line);
        std::process::exit(1);
    });
    publish(publisher, &node, &is_over).await;
    time::sleep(Duration::from_secs(6)).await;
    std::process::exit(0);
}

async fn publish(publisher: u32, node: &Broadcaster<Numbered>, is_over: &AtomicBool) {
    let mut numbers = [0; TOPICS];
    for round in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let topic = round % TOPICS;
        let number = numbers[topic];
        let message = Numbered { publisher, number };
        let published = if round % 50 == 0 {
            let published = node.topic(name(topic)).publish_confirmed(message).await;
            numbers[topic] += match published {
                Ok(_) => {
                    say(Event::Confirmed { topic, number });
                    1
                }
                // Nobody knows whether it was published: the number is not used again.
                Err(PublishError::Unconfirmed) => 1,
                Err(_) => 0,
            };
            published
        } else {
            let published = node.topic(name(topic)).publish(message);
            if published.is_ok() {
                say(Event::Accepted { topic, number });
                numbers[topic] += 1;
            }
            published
        };
        if published.is_err() {
            say(Event::Refused);
        }
        time::sleep(Duration::from_millis(2)).await;
    }
}

/// A process and what it has said.
struct Node {
    publisher: u32,
    process: Child,
    input: Option<ChildStdin>,
    events: Arc<Mutex<Vec<Event>>>,
    reader: Option<JoinHandle<()>>,
}

impl Node {
    async fn start(publisher: u32, url: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["node_process", "--exact", "--nocapture"])
            .env(NODE, format!("{publisher} {url}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&events);
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // A killed process may leave half a line.
                let event = line.strip_prefix('@').map(serde_json::from_str);
                if let Some(Ok(event)) = event {
                    said.lock().unwrap().push(event);
                }
            }
        });
        let node = Self {
            publisher,
            input: process.stdin.take(),
            process,
            events,
            reader: Some(reader),
        };
        node.when(|event| matches!(event, Event::Ready)).await;
        node
    }

    async fn when(&self, is_it: impl Fn(&Event) -> bool) {
        let said = async {
            while !self.events.lock().unwrap().iter().any(&is_it) {
                time::sleep(Duration::from_millis(10)).await;
            }
        };
        time::timeout(Duration::from_secs(20), said).await.unwrap();
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    fn stop_publishing(&mut self) {
        self.input.as_mut().unwrap().write_all(b"enough\n").unwrap();
    }

    /// Everything that it said in its life.
    fn end(&mut self) -> Vec<Event> {
        self.process.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        self.events.lock().unwrap().clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What one node saw of one publisher on one topic.
#[derive(Clone, Copy)]
struct Seen {
    last: u32,
    is_gap_told: bool,
}

/// Checks the order, and gives the last that was seen, by topic and publisher, and whether a gap was told at all.
fn check_order(node: u32, events: &[Event]) -> (HashMap<(usize, u32), Seen>, usize) {
    let mut seen = HashMap::<(usize, u32), Seen>::new();
    let mut gaps = 0;
    for event in events {
        match *event {
            Event::Missed { topic } => {
                gaps += 1;
                for ((of, _), seen) in &mut seen {
                    seen.is_gap_told |= *of == topic;
                }
            }
            Event::Received { topic, message } => {
                let Numbered { publisher, number } = message;
                let now = Seen {
                    last: number,
                    is_gap_told: false,
                };
                let Some(before) = seen.insert((topic, publisher), now) else {
                    continue;
                };
                assert!(
                    number > before.last,
                    "node {node}: {message:?} came after {}",
                    before.last
                );
                assert!(
                    before.is_gap_told || number == before.last + 1,
                    "node {node}: {message:?} came after {} without a gap",
                    before.last
                );
            }
            Event::Ready | Event::Accepted { .. } | Event::Confirmed { .. } | Event::Refused => {}
        }
    }
    (seen, gaps)
}

/// The last number that each node is answerable for, by topic: accepted if it lived, else confirmed.
fn last_owed(events: &[Event], has_lived: bool) -> HashMap<usize, u32> {
    let mut owed = HashMap::new();
    for event in events {
        match *event {
            Event::Accepted { topic, number } if has_lived => owed.insert(topic, number),
            Event::Confirmed { topic, number } => owed.insert(topic, number),
            _ => None,
        };
    }
    owed
}

async fn faults(url: &str, restart: impl AsyncFn(Duration)) {
    let pause = std::env::var("NODES_PAUSE").map_or(2, |pause| pause.parse().unwrap());
    let pause = Duration::from_secs(pause);
    let moment = Duration::from_secs(1);
    let proxy = Proxy::start(url).await;
    let mut killed = Node::start(1, url).await;
    let mut stopped = Node::start(2, url).await;
    let mut cut_off = Node::start(3, &proxy.url()).await;
    time::sleep(moment).await;

    stopped.signal("-STOP");
    time::sleep(pause).await;
    stopped.signal("-CONT");
    time::sleep(moment).await;
    proxy.refuse();
    time::sleep(moment).await;
    proxy.accept();
    // Its pauses grow: it may not be back before the next fault, which would then be part of this one.
    let is_back = |event: &Event| matches!(event, Event::Missed { .. });
    cut_off.when(is_back).await;
    time::sleep(moment).await;
    restart(pause).await;
    time::sleep(moment * 2).await;
    killed.signal("-KILL");
    let mut late = Node::start(4, url).await;
    time::sleep(moment).await;

    let living = [&mut stopped, &mut cut_off, &mut late];
    let mut living: Vec<_> = living.into_iter().collect();
    for node in &mut living {
        node.stop_publishing();
    }
    let said: Vec<_> = living
        .iter_mut()
        .map(|node| (node.publisher, node.end()))
        .collect();
    let mut owed: Vec<_> = said
        .iter()
        .map(|(publisher, events)| (*publisher, last_owed(events, true)))
        .collect();
    let last_words = killed.end();
    check_order(1, &last_words);
    owed.push((1, last_owed(&last_words, false)));

    let mut received = 0;
    for (node, events) in &said {
        let (seen, gaps) = check_order(*node, events);
        received += events.len();
        for (publisher, topics) in &owed {
            for (topic, number) in topics {
                // Who came when the other one was gone has nothing of it.
                let Some(seen) = seen.get(&(*topic, *publisher)) else {
                    assert_eq!((*node, *publisher), (4, 1), "nothing was received");
                    continue;
                };
                assert!(
                    seen.last >= *number || seen.is_gap_told,
                    "node {node}: {} of {number} by {publisher} is the last, without a gap",
                    seen.last
                );
            }
        }
        // One gap for each topic and each lost connection, at least.
        let expected = match node {
            2 => TOPICS,
            3 => 2 * TOPICS,
            _ => 0,
        };
        assert!(gaps >= expected, "node {node}: {gaps} gaps");
    }
    assert!(received > 1_000, "{received} events");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_nothing_is_lost_untold_whatever_happens_to_processes_over_nats() {
    let server = Nats::start().await;
    faults(&server.url(), async |pause| {
        server.restart_after(pause).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_nothing_is_lost_untold_whatever_happens_to_processes_over_redis() {
    let server = Redis::start().await;
    faults(&server.url(), async |pause| {
        server.restart_after(pause).await
    })
    .await;
}

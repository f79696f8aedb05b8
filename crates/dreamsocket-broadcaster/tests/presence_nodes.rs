//! Processes that are killed and stopped, and what others see of their people (B8), over real brokers.
//!
//! `PRESENCE_KILLS=20` kills so many one after the other, and prints how long it took until they were gone from two other
//! nodes' views.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what was measured is reported")]

mod proxy;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use brokers::{Nats, Redis};
use dreamsocket_broadcaster::{Presence, PresenceOptions};
use proxy::Proxy;
use tokio::time::{self, Instant};

/// Who is the person that this process is to show, and where is its broker.
const NODE: &str = "DREAMSOCKET_TEST_PRESENCE";

const TOPIC: &str = "lobby";

async fn connect(url: &str) -> Presence<u32, String> {
    let options = PresenceOptions::new();
    if url.starts_with("redis") {
        Presence::connect_redis(url, options).await.unwrap()
    } else {
        Presence::connect_nats(url, options).await.unwrap()
    }
}

/// Who is there, with their values.
fn people(node: &Presence<u32, String>) -> Vec<(u32, String)> {
    let people = node.people(TOPIC);
    let mut people: Vec<_> = people
        .iter()
        .map(|person| (*person.key(), person.value().clone()))
        .collect();
    people.sort();
    people
}

/// Not a test: what the processes that the tests start run, which are this program again.
#[test]
fn presence_process() {
    let Ok(node) = std::env::var(NODE) else {
        return;
    };
    let (key, url) = node.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // The test says when it is enough, by the end of its own life or by closing the input.
    thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(1);
    });
    runtime.block_on(async {
        let node = connect(url).await;
        let (_, mut changes) = node.watch(TOPIC);
        let _member = node.enter(TOPIC, key.parse().unwrap(), "child".to_owned());
        while changes.recv().await.is_some() {
            let mut out = std::io::stdout().lock();
            writeln!(out, "@{:?}", people(&node)).unwrap();
        }
    });
}

/// A process and what it has said last of whom it sees.
struct Node {
    process: Child,
    _input: Option<ChildStdin>,
    view: Arc<Mutex<String>>,
}

impl Node {
    fn start(key: u32, url: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["presence_process", "--exact", "--nocapture"])
            .env(NODE, format!("{key} {url}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let view = Arc::new(Mutex::new(String::new()));
        let said = Arc::clone(&view);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(people) = line.strip_prefix('@') {
                    people.clone_into(&mut said.lock().unwrap());
                }
            }
        });
        Self {
            _input: process.stdin.take(),
            process,
            view,
        }
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn when(what: &str, condition: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "not yet: {what}");
        time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

fn shows(node: &Presence<u32, String>, key: u32) -> bool {
    people(node).iter().any(|(other, _)| *other == key)
}

async fn kills(url: &str) {
    let kills = std::env::var("PRESENCE_KILLS").map_or(2, |kills| kills.parse().unwrap());
    let views = [connect(url).await, connect(url).await];
    let _watches = views.each_ref().map(|node| node.watch(TOPIC));
    let _own = views[0].enter(TOPIC, 0, "stays".to_owned());
    let mut times = Vec::new();
    for key in 1..=kills {
        let node = Node::start(key, url);
        for view in &views {
            when("there", || shows(view, key)).await;
        }
        // At any moment between two signs of life.
        time::sleep(Duration::from_millis(u64::from(key) * 370 % 1_000)).await;
        node.signal("-KILL");
        let gone = || views.iter().all(|view| !shows(view, key));
        times.push(when("gone", gone).await);
    }
    times.sort();
    let (shortest, longest) = (times[0], times[times.len() - 1]);
    let median = times[times.len() / 2];
    println!("gone after {shortest:?}, {median:?}, {longest:?} (min, median, max of {kills})");
    assert!(
        views.iter().all(|view| shows(view, 0)),
        "nobody else has left"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_who_was_on_a_killed_node_is_gone_over_nats() {
    kills(&Nats::start_with_jetstream().await.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_who_was_on_a_killed_node_is_gone_over_redis() {
    kills(&Redis::start().await.url()).await;
}

async fn a_pause(url: &str) {
    let view = connect(url).await;
    let _watch = view.watch(TOPIC);
    let own = view.enter(TOPIC, 0, "before".to_owned());
    let node = Node::start(1, url);
    when("there", || shows(&view, 1)).await;
    let said = |text: &str| node.view.lock().unwrap().contains(text);
    when("seen by it", || said("(0, \"before\")")).await;

    let start = Instant::now();
    node.signal("-STOP");
    let gone = when("gone", || !shows(&view, 1)).await;
    own.update("meanwhile".to_owned());
    time::sleep_until(start + Duration::from_secs(7)).await;
    node.signal("-CONT");
    let back = when("back", || shows(&view, 1)).await;
    // It sees what happened meanwhile, and itself.
    when("seen by it", || said("(0, \"meanwhile\"), (1, \"child\")")).await;
    println!("gone after {gone:?}, back after {back:?}");

    // And goes on to be seen.
    time::sleep(Duration::from_secs(5)).await;
    assert!(shows(&view, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_who_was_on_a_paused_node_comes_back_over_nats() {
    a_pause(&Nats::start_with_jetstream().await.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_who_was_on_a_paused_node_comes_back_over_redis() {
    a_pause(&Redis::start().await.url()).await;
}

/// Connections that are swallowed, as by a firewall that forgets them: nobody is told, and an idle node has nothing to ask but
/// whether it lives.
async fn dead_connections(url: &str) {
    let proxy = Proxy::start(url).await;
    let node = connect(&proxy.url()).await;
    when("ready", || node.health().is_ready()).await;
    proxy.swallow();
    when("away", || !node.health().is_connected).await;
    when("connected again", || node.health().is_ready()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_dead_connections_are_replaced_over_nats() {
    dead_connections(&Nats::start_with_jetstream().await.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_dead_connections_are_replaced_over_redis() {
    dead_connections(&Redis::start().await.url()).await;
}

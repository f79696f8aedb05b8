//! Numbered messages from several nodes over a broker that loses, doubles, cuts off and restarts by chance, and a check of
//! what every subscriber saw: in order, nothing twice, and nothing missing that it was not told of (B1, B2, B7).
//!
//! Each run has a seed, which is printed when it fails. `CHECKER_SEEDS=7` runs that one, `CHECKER_SEEDS=0..1000` many.
//! Time is paused, so that a run of minutes takes a fraction of a second.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use broker::{Broker, Fate};
use dreamsocket_broadcaster::{Broadcaster, Channel, ChannelOptions, Delivery, RemoteOptions};
use serde::{Deserialize, Serialize};
use tokio::time::{self, Instant};

const NODES: usize = 3;
const TOPICS: usize = 3;

/// Who has been subscribed so long, with a connection, is told even of the loss of the first message of a publisher.
const ESTABLISHED: Duration = Duration::from_millis(1_500);

/// A life of a node, and the how-manieth of its messages to the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Numbered {
    publisher: u32,
    number: u32,
}

/// xorshift: chance that is the same every time.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        // Small seeds would be alike at first.
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        chance.below(2);
        chance.below(2);
        chance
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Node {
    broadcaster: Broadcaster<Numbered>,
    publisher: u32,
    /// How many messages were accepted, by topic.
    published: [u32; TOPICS],
}

/// What one publisher has published to one topic: when the first message was.
type Firsts = HashMap<(u32, usize), Instant>;

struct Subscriber {
    channel: Channel<Numbered>,
    topic: usize,
    since: Instant,
    /// The last number of each publisher, and whether a gap was told since.
    last: HashMap<u32, (u32, bool)>,
    is_gap_told: bool,
}

impl Subscriber {
    fn new(node: &Node, topic: usize) -> Self {
        let options = ChannelOptions::new().capacity(100_000);
        Self {
            channel: node.broadcaster.topic(name(topic)).subscribe_with(options),
            topic,
            since: Instant::now(),
            last: HashMap::new(),
            is_gap_told: false,
        }
    }

    /// Takes what has come and checks the order.
    fn read(&mut self) {
        while let Ok(delivery) = self.channel.try_recv() {
            let Delivery::Message(message) = delivery else {
                self.is_gap_told = true;
                for (_, is_gap_told) in self.last.values_mut() {
                    *is_gap_told = true;
                }
                continue;
            };
            let Numbered { publisher, number } = message;
            if let Some((last, is_gap_told)) = self.last.insert(publisher, (number, false)) {
                assert!(number > last, "{message:?} came after {last}");
                assert!(
                    is_gap_told || number == last + 1,
                    "{message:?} came after {last} without a gap"
                );
            }
        }
    }

    /// Whatever it missed of a publisher so far it was told of: what is published from now on is to come, or a gap.
    fn begin_anew(&mut self, node: &Node) {
        self.is_gap_told = false;
        if let Some(last) = node.published[self.topic].checked_sub(1) {
            self.last.insert(node.publisher, (last, false));
        }
    }

    /// Everything is quiet: the last message of each publisher is here, or a gap behind what is.
    fn check_end(&self, node: &Node, firsts: &Firsts) {
        let published = node.published[self.topic];
        let Some(last) = published.checked_sub(1) else {
            return;
        };
        let publisher = node.publisher;
        match self.last.get(&publisher) {
            Some(&(received, is_gap_told)) => assert!(
                received == last || is_gap_told,
                "{received} of {last} by {publisher} is the last, without a gap"
            ),
            None => {
                let first = firsts[&(publisher, self.topic)];
                let is_owed = first > self.since + ESTABLISHED;
                assert!(
                    self.is_gap_told || !is_owed,
                    "nothing of {publisher} came, and no gap"
                );
            }
        }
    }
}

fn name(topic: usize) -> String {
    format!("topic {topic}")
}

struct Run {
    broker: Broker,
    chance: Chance,
    nodes: Vec<Node>,
    subscribers: Vec<Subscriber>,
    firsts: Firsts,
    publishers: u32,
    is_away: bool,
    accepted: u32,
}

impl Run {
    async fn new(seed: u64) -> Self {
        let mut run = Self {
            broker: Broker::new(),
            chance: Chance::new(seed),
            nodes: Vec::new(),
            subscribers: Vec::new(),
            firsts: HashMap::new(),
            publishers: 0,
            is_away: false,
            accepted: 0,
        };
        run.broker.spare_announcements();
        for _ in 0..NODES {
            let node = run.node().await;
            run.nodes.push(node);
        }
        run
    }

    async fn node(&mut self) -> Node {
        let mut options = RemoteOptions::new().resubscribe_rate(20);
        if self.chance.is(50) {
            options = options.queue_while_away().max_queue(2_000);
        }
        let broadcaster = self.broker.connected(options).await;
        self.publishers += 1;
        Node {
            broadcaster,
            publisher: self.publishers,
            published: [0; TOPICS],
        }
    }

    /// Frames get lost and doubled, so many in a hundred.
    fn spoil(&mut self, lost: u64, doubled: u64) {
        let seed = self.chance.below(1 << 50);
        let mut counts = HashMap::<(usize, String), u64>::new();
        self.broker.filter(move |node, topic, _| {
            // By what it is, not by when it comes: so it is the same in a replay, though topics are subscribed again in
            // an order that is not.
            let count = counts.entry((node, topic.to_owned())).or_default();
            *count += 1;
            let mut chance = Chance::new(seed + (*count << 20) + (node as u64) * 7);
            if chance.is(lost) {
                Fate::IsLost
            } else if chance.is(doubled) {
                Fate::ComesTwice
            } else {
                Fate::Arrives
            }
        });
    }

    fn publish(&mut self) {
        let node = self.chance.index(self.nodes.len());
        let topic = self.chance.index(TOPICS);
        let node = &mut self.nodes[node];
        let number = node.published[topic];
        let message = Numbered {
            publisher: node.publisher,
            number,
        };
        // One that was refused has reached nobody.
        if node.broadcaster.topic(name(topic)).publish(message).is_ok() {
            node.published[topic] += 1;
            self.accepted += 1;
            let key = (node.publisher, topic);
            self.firsts.entry(key).or_insert_with(Instant::now);
        }
    }

    async fn step(&mut self) {
        match self.chance.below(100) {
            0..60 => {
                for _ in 0..=self.chance.below(8) {
                    self.publish();
                }
            }
            60..70 => {
                let node = self.chance.index(self.nodes.len());
                let topic = self.chance.index(TOPICS);
                let subscriber = Subscriber::new(&self.nodes[node], topic);
                self.subscribers.push(subscriber);
            }
            70..76 if self.subscribers.len() > 6 => {
                let leaves = self.chance.index(self.subscribers.len());
                self.subscribers.swap_remove(leaves).read();
            }
            76..80 => self.broker.cut(self.chance.index(NODES)),
            80..82 => {
                // Its connection is dead for a while before it is noticed.
                let node = self.chance.index(NODES);
                self.broker.ignore(node);
                self.pause(2_000).await;
                self.broker.cut(node);
            }
            82..84 => {
                self.broker.stop();
                self.is_away = true;
            }
            84..90 => {
                let (lost, doubled) = (self.chance.below(30), self.chance.below(20));
                self.spoil(lost, doubled);
            }
            90..94 => self.spoil(0, 0),
            94..96 => self.pause(90_000).await,
            _ => self.pause(5_000).await,
        }
        if self.is_away && self.chance.is(20) {
            self.broker.start();
            self.is_away = false;
        }
    }

    async fn pause(&mut self, longest_ms: u64) {
        let pause = self.chance.below(longest_ms);
        time::sleep(Duration::from_millis(pause)).await;
        self.read();
    }

    fn read(&mut self) {
        for subscriber in &mut self.subscribers {
            subscriber.read();
        }
    }

    /// Everything works again. One node loses its connection while all is quiet, and later once more frames get lost.
    async fn check_end(&mut self) {
        self.spoil(0, 0);
        if self.is_away {
            self.broker.start();
        }
        // Links notice, topics come back at their rate.
        time::sleep(Duration::from_secs(1)).await;
        self.check_quiet().await;
        self.broker.cut(self.chance.index(NODES));
        time::sleep(ESTABLISHED * 2).await;
        self.read();
        for subscriber in &mut self.subscribers {
            for node in &self.nodes {
                subscriber.begin_anew(node);
            }
        }
        self.spoil(50, 0);
        for _ in 0..4 * NODES * TOPICS {
            self.publish();
        }
        time::sleep(Duration::from_millis(100)).await;
        self.check_quiet().await;
    }

    /// Whatever was lost is told within five seconds, of the publishers that live.
    async fn check_quiet(&mut self) {
        self.spoil(0, 0);
        time::sleep(Duration::from_secs(5)).await;
        self.read();
        for subscriber in &self.subscribers {
            for node in &self.nodes {
                subscriber.check_end(node, &self.firsts);
            }
        }
    }
}

async fn run(seed: u64, steps: u32) -> u32 {
    let mut run = Run::new(seed).await;
    for _ in 0..steps {
        run.step().await;
        run.pause(60).await;
    }
    run.check_end().await;
    run.accepted
}

fn seeds() -> Range<u64> {
    let Ok(seeds) = std::env::var("CHECKER_SEEDS") else {
        return 0..40;
    };
    match seeds.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => {
            let seed = seeds.parse().unwrap();
            seed..seed + 1
        }
    }
}

/// Says which seed it was when a check fails.
struct Tell(u64);

impl Drop for Tell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("CHECKER_SEEDS={} fails", self.0);
        }
    }
}

#[test]
fn b2_nothing_is_lost_untold_doubled_or_out_of_order() {
    let mut accepted = 0;
    for seed in seeds() {
        let _tell = Tell(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        accepted += runtime.block_on(run(seed, 300));
    }
    assert!(accepted > 0);
}

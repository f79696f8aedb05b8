//! A broker in memory that can be broken on purpose, and the link to it.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod store;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dreamsocket_broadcaster::link::{Command, Link, Node};
use dreamsocket_broadcaster::{Broadcaster, Position, RemoteOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time;

/// What a frame is, as its second byte says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Message,
    Announcement,
    Echo,
}

/// What becomes of a frame on its way to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    IsLost,
    ComesTwice,
}

#[derive(Clone, Default)]
pub(crate) struct Broker {
    state: Arc<Mutex<State>>,
}

/// A topic and what came for it.
type Brought = (Arc<str>, What);

enum What {
    Frame(Bytes),
    Kept(Position, Bytes),
    Replayed,
}

type Filter = Box<dyn FnMut(usize, &str, Kind) -> Fate + Send>;

#[derive(Default)]
struct State {
    life: u32,
    is_away: bool,
    nodes: usize,
    barred: HashSet<usize>,
    /// In an order that is the same every time.
    clients: BTreeMap<usize, Client>,
    filter: Option<Filter>,
    /// By node, topic and publisher: whether the last announcement was lost. Unset: that is nobody's concern.
    lost_announcements: Option<HashSet<(usize, Arc<str>, Bytes)>>,
    /// What is kept, by topic; with its positions' number.
    kept: HashMap<Arc<str>, VecDeque<(u128, Bytes)>>,
    /// How many messages of a topic.
    retained: usize,
    kept_ever: u128,
    /// How often it has lost what it kept.
    losses: u64,
    /// Topics are not replayed.
    is_withholding: bool,
    /// How often a topic was replayed.
    replays: usize,
    /// Frames that were brought, by node and topic.
    brought: Vec<(usize, Arc<str>, Kind)>,
    /// And their bytes, by node.
    bytes: HashMap<usize, usize>,
    /// What nodes want the names at the broker to begin with.
    prefixes: HashSet<String>,
    /// How long a node's commands are on the way.
    delays: HashMap<usize, Duration>,
}

struct Client {
    topics: HashSet<Arc<str>>,
    frames: UnboundedSender<Brought>,
    is_cut: Arc<Notify>,
    /// What it sends goes nowhere.
    is_unheard: bool,
}

struct MemoryLink {
    broker: Broker,
    node: usize,
}

impl Broker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A new node, with its number: 0 for the first.
    pub(crate) fn node<M>(&self, options: RemoteOptions) -> Broadcaster<M>
    where
        M: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let mut state = self.state();
        let node = state.nodes;
        state.nodes += 1;
        drop(state);
        let broker = self.clone();
        Broadcaster::with_link(MemoryLink { broker, node }, options)
    }

    /// As [`node`](Self::node), once it is connected.
    pub(crate) async fn connected<M>(&self, options: RemoteOptions) -> Broadcaster<M>
    where
        M: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let node = self.node(options);
        while !node.health().is_ready() {
            time::sleep(Duration::from_millis(1)).await;
        }
        node
    }

    /// Decides the fate of every frame, by receiving node, topic and kind.
    pub(crate) fn filter(&self, filter: impl FnMut(usize, &str, Kind) -> Fate + Send + 'static) {
        self.state().filter = Some(Box::new(filter));
    }

    /// Whatever the filter says, of two announcements of one publisher to one node one arrives. That is what the account
    /// rests on: whoever gets neither the last message nor its announcements knows nothing.
    pub(crate) fn spare_announcements(&self) {
        self.state().lost_announcements = Some(HashSet::new());
    }

    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.is_away = true;
        for client in std::mem::take(&mut state.clients).into_values() {
            client.is_cut.notify_one();
        }
    }

    pub(crate) fn start(&self) {
        let mut state = self.state();
        state.is_away = false;
        state.life += 1;
    }

    /// Ends one node's connection.
    pub(crate) fn cut(&self, node: usize) {
        if let Some(client) = self.state().clients.remove(&node) {
            client.is_cut.notify_one();
        }
    }

    /// Ends one node's connection and takes no other of it.
    pub(crate) fn bar(&self, node: usize) {
        self.cut(node);
        self.state().barred.insert(node);
    }

    pub(crate) fn admit(&self, node: usize) {
        self.state().barred.remove(&node);
    }

    /// From now on, until the connection is cut, nothing of what a node sends reaches the broker.
    pub(crate) fn ignore(&self, node: usize) {
        if let Some(client) = self.state().clients.get_mut(&node) {
            client.is_unheard = true;
        }
    }

    /// Loses all that it keeps.
    pub(crate) fn lose_history(&self) {
        let mut state = self.state();
        state.kept.clear();
        state.losses += 1;
    }

    /// Loses the last ones of what it keeps of each topic, and does not know it: their numbers are given again.
    pub(crate) fn lose_tail(&self, count: usize) {
        let mut state = self.state();
        let mut lost = 0;
        for kept in state.kept.values_mut() {
            let left = kept.len().saturating_sub(count);
            lost += kept.len() - left;
            kept.truncate(left);
        }
        state.kept_ever -= lost as u128;
    }

    /// From now on who subscribes is brought nothing that is kept.
    pub(crate) fn withhold(&self) {
        self.state().is_withholding = true;
    }

    /// How often a topic was replayed.
    pub(crate) fn replays(&self) -> usize {
        self.state().replays
    }

    /// How many messages were brought to a node.
    pub(crate) fn brought(&self, node: usize, kind: Kind) -> usize {
        let state = self.state();
        let brought = state.brought.iter();
        brought
            .filter(|(to, _, what)| (*to, *what) == (node, kind))
            .count()
    }

    /// How many bytes were brought to a node.
    pub(crate) fn bytes(&self, node: usize) -> usize {
        self.state().bytes.get(&node).copied().unwrap_or_default()
    }

    /// From now on a node's commands take so long to arrive.
    pub(crate) fn delay(&self, node: usize, time: Duration) {
        self.state().delays.insert(node, time);
    }

    /// What nodes want the names at the broker to begin with.
    pub(crate) fn prefixes(&self) -> HashSet<String> {
        self.state().prefixes.clone()
    }

    /// Publishes bytes that no node has made.
    pub(crate) fn publish(&self, topic: &str, frame: &'static [u8]) {
        self.state()
            .publish(&topic.into(), &Bytes::from_static(frame));
    }

    /// The topics that the broker thinks a node wants, but for its own.
    pub(crate) fn topics(&self, node: usize) -> Vec<String> {
        let state = self.state();
        let topics = state.clients.get(&node).map(|client| &client.topics);
        let topics = topics.into_iter().flatten().map(ToString::to_string);
        let mut topics: Vec<_> = topics.filter(|topic| !topic.starts_with('$')).collect();
        topics.sort();
        topics
    }

    fn attach(&self, node: usize) -> Option<(u32, UnboundedReceiver<Brought>, Arc<Notify>)> {
        let mut state = self.state();
        if state.is_away || state.barred.contains(&node) {
            return None;
        }
        let (frames, received) = unbounded_channel();
        let is_cut = Arc::new(Notify::new());
        let client = Client {
            topics: HashSet::new(),
            frames,
            is_cut: Arc::clone(&is_cut),
            is_unheard: false,
        };
        state.clients.insert(node, client);
        Some((state.life, received, is_cut))
    }

    fn carry_out(&self, node: usize, commands: Vec<Command>) {
        let mut state = self.state();
        for command in commands {
            // After a cut the client does not know yet what the broker does not get any more.
            let client = state.clients.get_mut(&node);
            let Some(client) = client.filter(|client| !client.is_unheard) else {
                return;
            };
            match command {
                Command::Subscribe(topic) => {
                    assert!(client.topics.insert(topic), "subscribed twice");
                }
                Command::Unsubscribe(topic) => {
                    assert!(client.topics.remove(&topic), "was not subscribed");
                }
                Command::SubscribeKept(topic) => {
                    assert!(client.topics.insert(Arc::clone(&topic)), "subscribed twice");
                    state.replay(node, &topic);
                }
                Command::Publish { topic, frame } => state.publish(&topic, &frame),
                Command::PublishKept { topic, frame } => {
                    state.keep(&topic, &frame);
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn position(&self, number: u128) -> Position {
        Position::new(self.losses + 1, number)
    }

    fn replay(&mut self, node: usize, topic: &Arc<str>) {
        self.replays += 1;
        if self.is_withholding {
            return;
        }
        let Some(client) = self.clients.get(&node) else {
            return;
        };
        for (number, frame) in self.kept.get(topic).into_iter().flatten() {
            let kept = What::Kept(self.position(*number), frame.clone());
            let _ = client.frames.send((Arc::clone(topic), kept));
        }
        let _ = client.frames.send((Arc::clone(topic), What::Replayed));
    }

    fn keep(&mut self, topic: &Arc<str>, frame: &Bytes) {
        self.kept_ever += 1;
        let number = self.kept_ever;
        let kept = self.kept.entry(Arc::clone(topic)).or_default();
        kept.push_back((number, frame.clone()));
        while kept.len() > self.retained + 1 {
            kept.pop_front();
        }
        self.bring(topic, frame, Some(self.position(number)));
    }

    fn publish(&mut self, topic: &Arc<str>, frame: &Bytes) {
        self.bring(topic, frame, None);
    }

    fn bring(&mut self, topic: &Arc<str>, frame: &Bytes, position: Option<Position>) {
        let kind = match frame.get(1) {
            Some(3) => Kind::Announcement,
            Some(4) => Kind::Echo,
            _ => Kind::Message,
        };
        for (node, client) in &self.clients {
            if !client.topics.contains(topic) {
                continue;
            }
            let filter = self.filter.as_mut();
            let mut fate = filter.map_or(Fate::Arrives, |filter| filter(*node, topic, kind));
            if let (Kind::Announcement, Some(lost)) = (kind, &mut self.lost_announcements) {
                let key = (*node, Arc::clone(topic), frame.slice(3..11));
                if fate != Fate::IsLost {
                    lost.remove(&key);
                } else if lost.contains(&key) {
                    lost.remove(&key);
                    fate = Fate::Arrives;
                } else {
                    lost.insert(key);
                }
            }
            let copies = match fate {
                Fate::Arrives => 1,
                Fate::IsLost => 0,
                Fate::ComesTwice => 2,
            };
            for _ in 0..copies {
                self.brought.push((*node, Arc::clone(topic), kind));
                *self.bytes.entry(*node).or_default() += frame.len();
                let frame = frame.clone();
                let what = match position {
                    Some(position) => What::Kept(position, frame),
                    None => What::Frame(frame),
                };
                let _ = client.frames.send((Arc::clone(topic), what));
            }
        }
    }
}

/// A connection, as the broker sees it; goes with the link.
struct Attached<'a>(&'a MemoryLink);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let MemoryLink { broker, node } = self.0;
        broker.state().clients.remove(node);
    }
}

impl Link for MemoryLink {
    const KEEPS_HISTORY: bool = true;

    async fn run(self, node: Node) {
        loop {
            let Some((life, mut frames, is_cut)) = self.broker.attach(self.node) else {
                time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let _attached = Attached(&self);
            {
                let mut state = self.broker.state();
                if let Some(history) = node.history() {
                    state.retained = history.count;
                }
                state.prefixes.insert(node.prefix().to_owned());
            }
            let (mut session, mut inbox) = node.connected(format!("life {life}"), 1 << 20);
            loop {
                tokio::select! {
                    biased;
                    // What came before the cut is still there.
                    Some((topic, what)) = frames.recv() => match what {
                        What::Frame(frame) => inbox.receive(&topic, frame),
                        What::Kept(position, frame) => {
                            inbox.receive_kept(&topic, position, Duration::ZERO, frame);
                        }
                        What::Replayed => inbox.replayed(&topic),
                    },
                    () = is_cut.notified() => break,
                    commands = session.next() => match commands {
                        Some(commands) => {
                            let delay = self.broker.state().delays.get(&self.node).copied();
                            if let Some(delay) = delay {
                                time::sleep(delay).await;
                            }
                            self.broker.carry_out(self.node, commands);
                        }
                        None => return,
                    },
                }
            }
        }
    }
}

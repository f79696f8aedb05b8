//! The task of presence across nodes. Three loops in one task: one **talks**, tells others what has changed here and
//! takes what they tell; one is the **clerk**, who writes and reads rosters at the store, at a bounded rate; one shows
//! that this node **lives** and finds out who does not any more.
//!
//! **Locks**: the desk's is held alone, for a look; a room's as everywhere else.

mod clerk;
mod living;

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{self, Instant};

use super::super::room::{LATEST, Merged, Room, Who};
use super::super::wire::{Change, Entry, Step, Word};
use super::super::{Shared, rosters::News};
use super::Outer;
use super::agenda::{Agenda, Job};
use super::inbox::{Arrival, Ear, Inbox};
use super::nodes::Nodes;
use crate::deferred::{Deferred, for_each_despite_panics};
use crate::engine::{Engine, Name, Sink, SubscriberId, Unsubscribe};
use crate::fingerprint::Fingerprint;
use crate::lock::Lock;
use crate::store::{Store, StoreError};

/// How long the task may go on when the presence is gone.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long one call of the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many arrivals or rooms are dealt with before others get their turn.
const ROUND: usize = 64;

pub(super) struct Office<K, V, S> {
    shared: Weak<Shared<K, V>>,
    outer: Arc<Outer<K, V>>,
    store: S,
    inbox: Arc<Inbox>,
    desk: Lock<Desk>,
    /// The clerk may have something to do.
    jobs: Notify,
    /// Somebody was heard for the first time.
    strangers: Notify,
    /// The engine's topic where nodes speak of nodes, and this node's key.
    lives: Name,
    key: String,
}

struct Desk {
    sheets: HashMap<Name, Sheet>,
    agenda: Agenda,
    /// What is written again although nothing has changed.
    rewrites: Agenda,
    /// Whose turn it is, if there is something to do on both.
    is_rewriting: bool,
    nodes: Nodes,
    /// Counts looks into the store.
    turn: u64,
    /// Subscriptions of this turn and earlier ones are known to the broker.
    confirmed: u64,
}

/// A topic that is watched here, or of which others are to know.
#[derive(Default)]
struct Sheet {
    /// The subscription, and in which turn it was made.
    ear: Option<(SubscriberId, u64)>,
    /// Watched, and what others have is not known yet.
    is_unread: bool,
    /// This node's roster.
    version: u64,
    is_peopled: bool,
    /// What the store has of it, and since when.
    written: u64,
    written_at: Option<Instant>,
    /// Others may not know that they should know it.
    is_unseen: bool,
}

impl<K, V, S> Office<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Store,
{
    pub(super) fn new(shared: Weak<Shared<K, V>>, outer: Arc<Outer<K, V>>, store: S) -> Self {
        let inbox = Arc::new(Inbox::new(Arc::clone(&outer.news)));
        Self {
            shared,
            store,
            inbox,
            desk: Lock::new(Desk::new(Nodes::new(outer.node, outer.options.beat))),
            jobs: Notify::new(),
            strangers: Notify::new(),
            lives: outer.engine.name("lives".into()),
            key: format!("{:016x}", outer.node),
            outer,
        }
    }

    pub(super) async fn run(self) {
        let name = Name::clone(&self.lives);
        self.listen(&name, &name);
        tokio::select! {
            () = self.talk() => {}
            () = self.work() => {}
            () = self.live() => {}
            () = self.outer.when_closed() => {}
        }
        // What is not said by then expires.
        let _ = time::timeout(FAREWELL, self.say_farewell()).await;
    }

    /// Runs what may run code of the user's, and outlives its panic.
    fn guard<R>(&self, f: impl FnOnce(&Shared<K, V>) -> R) -> Option<R> {
        let shared = self.shared.upgrade()?;
        despite_panics(move || {
            let done = f(&shared);
            // It may be the last one, and then whoever is there is dropped.
            drop(shared);
            done
        })
    }

    /// Wakes who waits until topics are read. If a waker panics, others that wait now may have to look again by themselves.
    fn tell_readers(&self) {
        despite_panics(|| self.outer.read.notify_waiters());
    }

    fn listen(&self, subject: &Name, topic: &Name) -> SubscriberId {
        let ear = Ear {
            topic: topic.clone(),
            inbox: Arc::clone(&self.inbox),
        };
        let ear = Arc::new(ear) as Arc<dyn Sink<Bytes>>;
        self.outer
            .engine
            .subscribe(subject, ear, None, &mut Deferred::new())
    }

    /// The engine's name for a topic.
    fn subject(&self, topic: &Name) -> Name {
        let subject = format!("room/{}", topic.as_str());
        self.outer.engine.name(subject.into())
    }

    /// Without a connection nobody hears it: then the store tells them, later.
    fn say(&self, subject: &Name, bytes: Bytes) -> bool {
        self.outer.engine.publish(subject, bytes, None).is_ok()
    }

    fn say_word(&self, word: Word) -> bool {
        self.say(&self.lives, word.encode())
    }

    async fn talk(&self) {
        let mut round = 0;
        loop {
            let arrival = self.inbox.take();
            let queued = self.outer.queued.lock().pop_front();
            if arrival.is_none() && queued.is_none() {
                self.outer.news.notified().await;
                continue;
            }
            if let Some(arrival) = arrival {
                self.take(arrival);
            }
            if let Some(topic) = queued {
                self.attend(&topic);
            }
            round += 1;
            if round % ROUND == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn take(&self, arrival: Arrival) {
        match arrival {
            Arrival::Message(topic, message) if topic == self.lives => {
                if let Ok(word) = Word::decode(&message) {
                    self.take_word(word);
                }
            }
            Arrival::Message(topic, message) => match Change::decode(Bytes::clone(&message)) {
                Ok(change) => self.take_change(&topic, change),
                Err(_) => {
                    let what = "what another node tells of its people cannot be read";
                    self.outer.note_unreadable(what);
                    self.must_read(&topic, Instant::now());
                }
            },
            // Who is silent is looked for anyway.
            Arrival::Gap(topic) if topic == self.lives => {}
            Arrival::Gap(topic) => self.must_read(&topic, Instant::now()),
        }
    }

    fn take_word(&self, word: Word) {
        let now = Instant::now();
        let own = self.outer.node;
        match word {
            Word::Alive(node) | Word::Gone(node) if node == own => {}
            Word::Alive(node) => {
                let nodes = &mut self.desk.lock().nodes;
                if !nodes.hear(node, now) && nodes.meet(node, None, now) {
                    self.strangers.notify_one();
                }
            }
            Word::Gone(node) => {
                let is_known = self.desk.lock().nodes.bury(node);
                if is_known {
                    self.remove_nodes(&[node]);
                }
            }
            // Many may say so; it is done once for all who have.
            Word::Missed(node) if node == own => self.desk.lock().nodes.miss(),
            Word::Missed(node) => self.desk.lock().nodes.suspect(node, now),
        }
    }

    fn take_change(&self, topic: &Name, change: Change) {
        if change.node == self.outer.node {
            return;
        }
        let now = Instant::now();
        let mut desk = self.desk.lock();
        let turn = desk.turn;
        if !desk.nodes.hear(change.node, now) {
            // It is read when the store says that its node lives.
            if desk.nodes.meet(change.node, Some(topic), now) {
                self.strangers.notify_one();
            }
            return;
        }
        drop(desk);
        if self.apply(topic, change, turn) {
            self.must_read(topic, now);
        }
    }

    /// Merges a change into the topic's room. Gives whether something before it is missing.
    fn apply(&self, topic: &Name, change: Change, turn: u64) -> bool {
        let applied = self.guard(|shared| {
            let Some(lock) = shared.rooms.find(topic) else {
                return false;
            };
            let is_new: Vec<bool> = match &lock.lock().rosters {
                Some(rosters) if rosters.is_watched => {
                    let steps = change.steps.iter();
                    steps
                        .map(|step| rosters.is_new(change.node, step))
                        .collect()
                }
                _ => return false,
            };
            let stamps = change.steps.iter().filter_map(|step| match step {
                Step::Set { stamp, .. } => Some(*stamp),
                Step::Leave { .. } => None,
            });
            self.outer
                .pass(stamps.max().unwrap_or_default().min(LATEST));
            let steps = change.steps.into_iter().zip(is_new);
            let steps = steps
                .map(|(step, is_new)| self.decode(shared, step, is_new, change.encoding))
                .collect();
            let versions = (change.from, change.to);
            merge(shared, topic, &lock, |room| {
                vec![room.merge(change.node, versions, steps, turn)]
            })
        });
        applied.unwrap_or(false)
    }

    /// Runs the user's `Deserialize` and `Hash`.
    fn decode(
        &self,
        shared: &Shared<K, V>,
        step: Step<Entry>,
        is_new: bool,
        encoding: u8,
    ) -> Step<Option<Who<K, V>>> {
        match step {
            Step::Set {
                number,
                stamp,
                what,
            } => {
                let mut who = None;
                if is_new {
                    let decoding = AssertUnwindSafe(|| {
                        let key = self.outer.keys.decode(encoding, &what.key).ok()?;
                        let value = self.outer.values.decode(encoding, &what.value).ok()?;
                        Some(Who {
                            id: Fingerprint::new(&key, &shared.secret),
                            key: Arc::new(key),
                            value: Arc::new(value),
                        })
                    });
                    who = catch_unwind(decoding).ok().flatten();
                    if who.is_none() {
                        let what = "a connection on another node cannot be read and is not shown";
                        self.outer.note_unreadable(what);
                    }
                }
                Step::Set {
                    number,
                    stamp,
                    what: who,
                }
            }
            Step::Leave { number } => Step::Leave { number },
        }
    }

    /// Does what callers have left to do in a room: tells others what has changed, follows the topic if somebody watches
    /// it now, and lets go of it if nobody does any more.
    fn attend(&self, topic: &Name) {
        let looked = self.guard(|shared| {
            let lock = shared.rooms.find(topic)?;
            let mut room = lock.lock();
            // Under the lock under which watchers subscribe.
            let is_watched = shared.events.subscribers(topic) > 0;
            let rosters = room.rosters.get_or_insert_default();
            rosters.is_queued = false;
            let was_watched = std::mem::replace(&mut rosters.is_watched, is_watched);
            rosters.is_read &= is_watched;
            let news = rosters.take_news();
            let state = (rosters.version(), rosters.has_own());
            let garbage = if was_watched && !is_watched {
                room.remove_others()
            } else {
                Vec::new()
            };
            shared.let_go(topic, &lock, room);
            Some((is_watched, news, state, garbage))
        });
        let Some(Some((is_watched, news, (version, is_peopled), garbage))) = looked else {
            return;
        };
        throw_away(garbage);
        self.follow(topic, is_watched);
        if !is_watched {
            self.tell_readers();
        }
        if let Some(news) = news {
            self.tell(topic, news);
            let now = Instant::now();
            let mut desk = self.desk.lock();
            let sheet = desk.sheets.entry(topic.clone()).or_default();
            sheet.version = version;
            sheet.is_peopled = is_peopled;
            let interval = self.outer.options.write_interval;
            let due = sheet.written_at.map_or(now, |at| now.max(at + interval));
            desk.agenda.add(topic, Job::Write, due);
            drop(desk);
            self.jobs.notify_one();
        }
    }

    fn tell(&self, topic: &Name, news: News) {
        // Without steps the word comes when the roster is written.
        if let Some(steps) = news.steps {
            let change = Change {
                node: self.outer.node,
                from: news.from,
                to: news.to,
                encoding: self.outer.options.encoding.byte(),
                steps,
            };
            self.say(&self.subject(topic), change.encode());
        }
    }

    /// Subscribes to what others tell of a topic, or leaves it.
    fn follow(&self, topic: &Name, is_watched: bool) {
        let mut desk = self.desk.lock();
        let ear = desk.sheets.get(topic).and_then(|sheet| sheet.ear);
        if is_watched == ear.is_some() {
            return;
        }
        if let Some((id, _)) = ear {
            if let Some(sheet) = desk.sheets.get_mut(topic) {
                sheet.ear = None;
                self.set_unread(sheet, false);
            }
            desk.agenda.remove(topic, Job::Read);
            desk.let_go(topic);
            drop(desk);
            self.outer.engine.unsubscribe(&self.subject(topic), id);
            return;
        }
        drop(desk);
        let id = self.listen(&self.subject(topic), topic);
        let mut desk = self.desk.lock();
        let turn = desk.turn;
        let sheet = desk.sheets.entry(topic.clone()).or_default();
        sheet.ear = Some((id, turn));
        drop(desk);
        self.must_read(topic, Instant::now());
    }

    fn must_read(&self, topic: &Name, at: Instant) {
        let mut desk = self.desk.lock();
        let Some(sheet) = desk.sheets.get_mut(topic) else {
            return;
        };
        if sheet.ear.is_some() {
            self.set_unread(sheet, true);
            desk.agenda.add(topic, Job::Read, at);
            drop(desk);
            self.jobs.notify_one();
        }
    }

    fn set_unread(&self, sheet: &mut Sheet, is_unread: bool) {
        let unread = &self.outer.tally.unread;
        match (sheet.is_unread, is_unread) {
            (false, true) => unread.fetch_add(1, Ordering::Relaxed),
            (true, false) => unread.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        sheet.is_unread = is_unread;
    }
}

impl Desk {
    fn new(nodes: Nodes) -> Self {
        Self {
            sheets: HashMap::new(),
            agenda: Agenda::default(),
            rewrites: Agenda::default(),
            is_rewriting: false,
            nodes,
            turn: 1,
            confirmed: 0,
        }
    }

    /// Takes the next job that is due. What has changed does not wait for all that is written again, nor the other way round.
    fn take(&mut self, now: Instant) -> Option<(Name, Job)> {
        self.is_rewriting = !self.is_rewriting;
        if self.is_rewriting {
            self.rewrites.take(now).or_else(|| self.agenda.take(now))
        } else {
            self.agenda.take(now).or_else(|| self.rewrites.take(now))
        }
    }

    /// When the next job is due.
    fn next(&self) -> Option<Instant> {
        let next = [self.agenda.next(), self.rewrites.next()];
        next.into_iter().flatten().min()
    }

    /// Forgets a topic that nobody here watches or is in.
    fn let_go(&mut self, topic: &Name) {
        let is_done = |sheet: &Sheet| {
            sheet.ear.is_none() && !sheet.is_peopled && sheet.written >= sheet.version
        };
        if self.sheets.get(topic).is_some_and(is_done) {
            self.sheets.remove(topic);
        }
    }
}

/// Merges something into a room and tells its watchers. Gives whether something is missing.
fn merge<K, V>(
    shared: &Shared<K, V>,
    topic: &Name,
    lock: &Lock<Room<K, V>>,
    merge: impl FnOnce(&mut Room<K, V>) -> Vec<Merged<K, V>>,
) -> bool {
    let mut deferred = Deferred::new();
    let mut room = lock.lock();
    let mut merged = merge(&mut room);
    for event in merged.iter_mut().flat_map(|merged| merged.events.drain(..)) {
        shared.publish(topic, event, &mut deferred);
    }
    drop(room);
    let is_gap = merged.iter().any(|merged| merged.is_gap);
    despite_panics(|| drop(deferred));
    throw_away(merged);
    is_gap
}

/// Drops keys and values, whatever their `drop` does.
fn throw_away<K, V>(merged: Vec<Merged<K, V>>) {
    let mut panicked = None;
    let garbage = merged.into_iter().flat_map(Merged::into_garbage);
    for_each_despite_panics(garbage, drop, &mut panicked);
    if panicked.is_some() {
        note_panic();
    }
}

fn despite_panics<R>(f: impl FnOnce() -> R) -> Option<R> {
    let done = catch_unwind(AssertUnwindSafe(f));
    if done.is_err() {
        note_panic();
    }
    done.ok()
}

fn note_panic() {
    tracing::error!("code of the application panicked as presence was handed on");
}

async fn in_time<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    time::timeout(STORE_TIMEOUT, call).await?
}

fn node_of(key: &str) -> Option<u64> {
    u64::from_str_radix(key, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    #[test]
    fn b8_a_topic_is_forgotten_when_nobody_watches_it_and_its_empty_roster_is_written() {
        let topic = Name::new("lobby".into(), &RandomState::new());
        let ear = Some((
            SubscriberId {
                engine: 1,
                number: 1,
            },
            1,
        ));
        for (ear, is_peopled, written, is_forgotten) in [
            (None, false, 7, true),
            (None, false, 8, true),
            (None, false, 6, false),
            (None, true, 7, false),
            (ear, false, 7, false),
            (ear, true, 6, false),
        ] {
            let sheet = Sheet {
                ear,
                is_peopled,
                version: 7,
                written,
                ..Sheet::default()
            };
            let mut desk = Desk::new(Nodes::new(1, Duration::from_secs(1)));
            desk.sheets.insert(topic.clone(), sheet);
            desk.let_go(&topic);
            assert_eq!(desk.sheets.is_empty(), is_forgotten);
        }
    }

    #[test]
    fn b8_what_has_changed_and_what_is_written_again_take_turns() {
        let hasher = RandomState::new();
        let names = ["a", "b", "c", "d"].map(|name| Name::new(name.into(), &hasher));
        let mut desk = Desk::new(Nodes::new(1, Duration::from_secs(1)));
        let now = Instant::now();
        for name in &names {
            desk.agenda.add(name, Job::Read, now);
            desk.rewrites.add(name, Job::Write, now);
        }
        let jobs: Vec<_> = std::iter::from_fn(|| desk.take(now)).collect();
        assert_eq!(jobs.len(), 8);
        for jobs in jobs.chunks(2) {
            assert_ne!(jobs[0].1, jobs[1].1);
        }
    }
}

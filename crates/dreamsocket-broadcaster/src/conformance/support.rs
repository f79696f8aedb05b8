//! What the cases share: names of their own, waiting with an end, and comparing.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time;

use crate::broadcaster::Broadcaster;
use crate::channel::Channel;
use crate::conformance::{Failure, Note, Space};
use crate::delivery::Delivery;
use crate::topic::Topic;

/// How long anything may take that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One case's view of the space.
pub(crate) struct Stage<'a, S> {
    space: &'a S,
    /// What the case's topics begin with.
    prefix: String,
}

/// What a channel yields, short: a message's number, or a gap's count.
pub(crate) type Item = Result<u32, Option<u64>>;

/// Fails the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Failure::Broken(format!($($what)+)));
        }
    };
}

/// A case's entry in its file's list: its name and the call.
macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn cases<S: $crate::conformance::Space>() -> Vec<$crate::conformance::Case<S>> {
            vec![$($crate::conformance::Case {
                name: stringify!($name),
                run: |stage| Box::pin($name(stage)),
            }),+]
        }
    };
}

pub(crate) use {cases, ensure};

impl<'a, S: Space> Stage<'a, S> {
    pub(crate) fn new(space: &'a S, case: &str) -> Self {
        // Brokers outlive runs: what an earlier one left there must not be heard.
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        Self {
            space,
            prefix: format!("{case}-{}-{run}", std::process::id()),
        }
    }

    pub(crate) async fn node(&self) -> Broadcaster<Note> {
        self.space.node().await
    }

    /// A node that keeps history, if there can be one.
    pub(crate) async fn history_node(&self) -> Option<Broadcaster<Note>> {
        self.space.history_node().await
    }

    pub(crate) async fn lose_history(&self) -> bool {
        self.space.lose_history().await
    }

    /// A name that no other case uses.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A topic of a new node, by a name that no other case uses.
    pub(crate) async fn topic(&self, name: &str) -> Topic<Note> {
        self.node().await.topic(self.name(name))
    }

    /// The same topic on two nodes.
    pub(crate) async fn two_topics(&self, name: &str) -> (Topic<Note>, Topic<Note>) {
        (self.topic(name).await, self.topic(name).await)
    }

    /// Breaks all connections, or leaves the case out.
    pub(crate) async fn interrupt(&self) -> Result<(), Failure> {
        if self.space.interrupt().await {
            Ok(())
        } else {
            Err(Failure::LeftOut)
        }
    }
}

/// The first of the numbers that mark something, beyond those that cases count with.
const MARKS: u32 = 1_000_000;

pub(crate) fn note(number: u32) -> Note {
    Note {
        number,
        ..Note::default()
    }
}

pub(crate) fn publish(topic: &Topic<Note>, number: u32) -> Result<usize, Failure> {
    publish_note(topic, note(number))
}

pub(crate) fn publish_note(topic: &Topic<Note>, note: Note) -> Result<usize, Failure> {
    let published = topic.publish(note);
    let published = published.map_err(|error| broken("publish failed", error))?;
    Ok(published.local)
}

/// The next item, or a failure if none comes.
pub(crate) async fn next(channel: &mut Channel<Note>) -> Result<Delivery<Note>, Failure> {
    match time::timeout(PATIENCE, channel.recv()).await {
        Ok(Some(delivery)) => Ok(delivery),
        Ok(None) => Err(Failure::Broken("the channel has ended".to_owned())),
        Err(_) => Err(Failure::Broken("nothing came".to_owned())),
    }
}

pub(crate) fn item(delivery: &Delivery<Note>) -> Item {
    match delivery {
        Delivery::Message(note) => Ok(note.number),
        Delivery::Missed(missed) => Err(missed.count),
    }
}

/// As many items as are named are next, and they are these.
pub(crate) async fn expect(
    channel: &mut Channel<Note>,
    items: impl IntoIterator<Item = Item>,
) -> Result<(), Failure> {
    for (place, expected) in items.into_iter().enumerate() {
        let got = item(&next(channel).await?);
        ensure!(
            got == expected,
            "item {place}: {} came instead of {}",
            show(got),
            show(expected)
        );
    }
    Ok(())
}

/// Nothing waits: what is published now, by this topic's node, is what comes next.
pub(crate) async fn expect_no_more(
    channel: &mut Channel<Note>,
    topic: &Topic<Note>,
) -> Result<(), Failure> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mark = MARKS + (NEXT.fetch_add(1, Ordering::Relaxed) % 1_000_000) as u32;
    publish(topic, mark)?;
    expect(channel, [Ok(mark)]).await
}

/// Waits until the channel gets what the topic publishes, and takes what it was tried with.
pub(crate) async fn reach(topic: &Topic<Note>, channel: &mut Channel<Note>) -> Result<(), Failure> {
    const STEP: Duration = Duration::from_millis(20);
    for attempt in 0..(PATIENCE.as_millis() / STEP.as_millis()) as u32 {
        let mark = MARKS * 2 + attempt;
        // It may have no connection yet: then the next one is tried.
        if topic.publish(note(mark)).is_err() {
            time::sleep(STEP).await;
            continue;
        }
        let came = time::timeout(STEP, async {
            loop {
                match channel.recv().await {
                    Some(Delivery::Message(note)) if note.number == mark => break true,
                    Some(_) => {}
                    None => break false,
                }
            }
        });
        match came.await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Failure::Broken("the channel has ended".to_owned())),
            Err(_) => {}
        }
    }
    Err(Failure::Broken("nothing comes through".to_owned()))
}

/// A node is connected and all its topics are subscribed.
pub(crate) async fn when_ready(node: &Broadcaster<Note>) -> Result<(), Failure> {
    let ready = async {
        while !node.health().is_ready() {
            time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ready = time::timeout(PATIENCE, ready).await;
    ready.map_err(|_| Failure::Broken(format!("is not ready: {:?}", node.health())))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what is compared is made for it"
)]
pub(crate) fn equal<T: PartialEq + Debug>(what: &str, got: T, expected: T) -> Result<(), Failure> {
    ensure!(got == expected, "{what} is {got:?} instead of {expected:?}");
    Ok(())
}

pub(crate) fn broken(what: &str, error: impl Debug) -> Failure {
    Failure::Broken(format!("{what}: {error:?}"))
}

fn show(item: Item) -> String {
    match item {
        Ok(number) => format!("message {number}"),
        Err(Some(count)) => format!("a gap of {count}"),
        Err(None) => "a gap of nobody knows how many".to_owned(),
    }
}

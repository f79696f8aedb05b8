//! Everything of a remote engine but the message type: which topics this node wants, what is on the way out, whether there
//! is a connection.
//!
//! **Locks**, in the order in which they may be held together: a topic's interest, the queue of what goes out. The local
//! engine's come after a topic's interest.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{self, Instant};

use crate::deferred::for_each_despite_panics;
use crate::directory::Directory;
use crate::engine::Name;
use crate::error::PublishError;
use crate::health::Health;
use crate::link::Command;
use crate::lock::Lock;
use crate::remote::bridging::Bridging;
use crate::remote::frame::Draft;
use crate::remote::options::RemoteOptions;
use crate::remote::outgoing::{Confirm, Outgoing, TICKS_PER_SECOND, Taken};
use crate::remote::tracking::Tracking;

/// How long a topic's name may be: NATS takes 4 KiB in a line of its protocol, and a name may be written there with three
/// bytes for one.
const MAX_NAME: usize = 512;

/// How long a link may go on when the broadcaster is gone.
const FAREWELL: Duration = Duration::from_secs(1);

pub(crate) struct Exchange {
    options: RemoteOptions,
    topics: Directory<Lock<Interest>>,
    outgoing: Lock<Outgoing>,
    /// The session may have something to take.
    news: Notify,
    is_connected: watch::Sender<bool>,
    is_closed: watch::Sender<bool>,
    pub(crate) tally: Tally,
}

/// What has gone wrong so far. The numbers order nothing.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) disconnections: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) doubles: AtomicU64,
    pub(crate) undecodable: AtomicU64,
}

/// A topic that somebody in this process is subscribed to.
#[derive(Default)]
struct Interest {
    channels: usize,
    /// Set when the last one is gone: see [`Directory`].
    is_retired: bool,
    /// In which session the broker was asked for it.
    asked: Option<u64>,
    /// The link has not got that yet. What comes of a topic that keeps history is of an earlier subscription, and would be taken
    /// for a part of the replay.
    is_queued: bool,
    tracking: Tracking,
    bridging: Bridging,
}

impl Exchange {
    pub(crate) fn new(id: u64, echo_topic: Name, options: RemoteOptions) -> Self {
        Self {
            options,
            topics: Directory::new(),
            outgoing: Lock::new(Outgoing::new(id, echo_topic)),
            news: Notify::new(),
            is_connected: watch::Sender::new(false),
            is_closed: watch::Sender::new(false),
            tally: Tally::default(),
        }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.options.prefix
    }

    /// The topic that only this node is subscribed to, by its name.
    pub(crate) fn own_topic(&self) -> Arc<str> {
        self.outgoing.lock().own_topic()
    }

    pub(crate) const fn options(&self) -> &RemoteOptions {
        &self.options
    }

    /// Adds a subscriber, by `join`, and asks the broker for the topic if it is the first.
    pub(crate) fn subscribe<R>(&self, topic: &Name, join: impl FnOnce() -> R) -> R {
        loop {
            let entry = self.topics.find_or_insert(topic, Lock::default);
            let mut interest = entry.lock();
            if interest.is_retired {
                drop(interest);
                self.topics.remove(topic, &entry);
                continue;
            }
            let joined = join();
            interest.channels += 1;
            if interest.channels == 1 && check_name(topic).is_ok() {
                let mut outgoing = self.outgoing.lock();
                interest.asked = outgoing.session();
                if interest.asked.is_some() {
                    interest.is_queued = topic.is_kept();
                    outgoing.subscribe(topic.clone());
                } else {
                    interest.tracking.interrupt();
                }
                drop(outgoing);
                drop(interest);
                self.news.notify_one();
            }
            return joined;
        }
    }

    /// One subscriber less; if it was the last one, gives what `leave` does.
    pub(crate) fn unsubscribe<R>(&self, topic: &Name, leave: impl FnOnce() -> R) -> Option<R> {
        let entry = self.topics.find(topic)?;
        let mut interest = entry.lock();
        interest.channels = interest.channels.saturating_sub(1);
        if interest.channels > 0 {
            return None;
        }
        interest.is_retired = true;
        let left = leave();
        let mut outgoing = self.outgoing.lock();
        if interest.asked.is_some() && interest.asked == outgoing.session() {
            outgoing.unsubscribe(topic.clone());
        }
        drop(outgoing);
        drop(interest);
        self.topics.remove(topic, &entry);
        self.news.notify_one();
        Some(left)
    }

    pub(crate) fn publish(
        &self,
        topic: &Name,
        draft: Draft,
        confirm: Option<Confirm>,
    ) -> Result<(), PublishError> {
        check_name(topic)?;
        let got = draft.payload_len();
        if got > self.options.max_message {
            return Err(PublishError::TooLarge {
                limit: self.options.max_message,
                got,
            });
        }
        let now = Instant::now();
        let mut outgoing = self.outgoing.lock();
        let published = outgoing.publish(topic, draft, confirm, &self.options, now);
        drop(outgoing);
        if published.is_ok() {
            self.news.notify_one();
        }
        published
    }

    /// A link has a connection, on which nothing is subscribed yet.
    pub(crate) fn connected(&self, broker: Arc<str>, max_frame: usize) -> u64 {
        let previous = self.outgoing.lock().session();
        if let Some(previous) = previous {
            self.disconnected(previous);
        }
        let session = self.outgoing.lock().connect(broker, max_frame);
        // Whoever subscribes from here on asks for its topic itself.
        let mut first = Vec::new();
        let mut others = VecDeque::new();
        let at_once = self.options.resubscribe_rate / TICKS_PER_SECOND;
        for (topic, entry) in self.topics.entries() {
            let mut interest = entry.lock();
            if interest.is_retired || interest.asked == Some(session) || check_name(&topic).is_err()
            {
                continue;
            }
            interest.tracking.interrupt();
            interest.bridging.interrupt();
            if first.len() < at_once.max(1) {
                interest.asked = Some(session);
                interest.is_queued = topic.is_kept();
                first.push(topic);
            } else {
                others.push_back(topic);
            }
        }
        self.outgoing.lock().subscribe_again(first, others);
        self.note_connected(true);
        session
    }

    /// A session has ended; nothing happens if another one has begun.
    pub(crate) fn disconnected(&self, session: u64) {
        let unconfirmed = self.outgoing.lock().disconnect(session, Instant::now());
        if let Some(unconfirmed) = unconfirmed {
            self.tally.disconnections.fetch_add(1, Ordering::Relaxed);
            self.note_connected(false);
            // Who waits for a session that has ended is to be told.
            self.news.notify_one();
            let unconfirmed = unconfirmed.into_iter();
            settle(unconfirmed.flat_map(|waiting| waiting.confirms), drop);
        }
    }

    /// Wakes who waits for a connection.
    fn note_connected(&self, is: bool) {
        let noting = AssertUnwindSafe(|| self.is_connected.send_replace(is));
        if catch_unwind(noting).is_err() {
            note_panic();
        }
    }

    /// Ready when there is a connection.
    pub(crate) async fn when_connected(&self) {
        let mut is_connected = self.is_connected.subscribe();
        // The sender is this exchange's own, so that this cannot fail.
        let _ = is_connected.wait_for(|is| *is).await;
    }

    /// Ready when the engine is gone.
    pub(crate) async fn when_closed(&self) {
        let mut is_closed = self.is_closed.subscribe();
        let _ = is_closed.wait_for(|is| *is).await;
    }

    /// Ready when a link has had its time to end after that.
    pub(crate) async fn when_over(&self) {
        self.when_closed().await;
        time::sleep(FAREWELL).await;
    }

    /// The engine is gone: what waits is still sent.
    pub(crate) fn close(&self) {
        self.outgoing.lock().close(Instant::now());
        self.is_closed.send_replace(true);
        self.news.notify_one();
    }

    /// The next commands of a session.
    pub(crate) async fn next(&self, session: u64) -> Option<Vec<Command>> {
        loop {
            let taken = self.outgoing.lock().take(session, Instant::now());
            match taken {
                Taken::Batch(commands, kept) => {
                    for topic in kept {
                        self.hand_over(&topic, session);
                    }
                    return Some(commands);
                }
                Taken::End => return None,
                Taken::Nothing => self.news.notified().await,
            }
        }
    }

    /// The link is about to get the subscription of a topic that keeps history.
    fn hand_over(&self, topic: &Name, session: u64) {
        if let Some(entry) = self.topics.find(topic) {
            let mut interest = entry.lock();
            if interest.asked == Some(session) {
                interest.is_queued = false;
            }
        }
    }

    /// Nobody gets a confirmation of what the link was handed so far, unless it is there already.
    #[cfg(feature = "nats")]
    pub(crate) fn unconfirm(&self) {
        let confirms = self.outgoing.lock().take_confirms();
        settle(confirms.into_iter(), drop);
    }

    /// Does what is done bit by bit, ten times a second, as long as it is polled.
    pub(crate) async fn keep_time(&self) {
        let tick = Duration::from_secs(1) / u32::try_from(TICKS_PER_SECOND).unwrap_or(1);
        loop {
            time::sleep(tick).await;
            self.tick(Instant::now());
        }
    }

    fn tick(&self, now: Instant) {
        let mut outgoing = self.outgoing.lock();
        let Some(session) = outgoing.session() else {
            return;
        };
        let topics = outgoing.next_to_resubscribe(self.options.resubscribe_rate);
        outgoing.announce(self.options.max_queue, now);
        outgoing.echo_again(now);
        drop(outgoing);
        for topic in topics {
            self.subscribe_again(&topic, session);
        }
        if self.outgoing.lock().has_commands() {
            self.news.notify_one();
        }
    }

    fn subscribe_again(&self, topic: &Name, session: u64) {
        let Some(entry) = self.topics.find(topic) else {
            return;
        };
        let mut interest = entry.lock();
        let mut outgoing = self.outgoing.lock();
        let is_current = outgoing.session() == Some(session);
        if is_current && !interest.is_retired && interest.asked != Some(session) {
            interest.asked = Some(session);
            interest.is_queued = topic.is_kept();
            outgoing.subscribe(topic.clone());
        }
    }

    /// An echo has come back: gives the topics that are subscribed by now.
    pub(crate) fn echoed(&self, number: u64) -> Vec<Name> {
        let waiting = self.outgoing.lock().echoed(number);
        let (mut topics, mut confirms) = (Vec::new(), Vec::new());
        for waiting in waiting {
            topics.extend(waiting.subscribed);
            confirms.extend(waiting.confirms);
        }
        settle(confirms.into_iter(), |confirm| {
            // Whoever waited may have given up.
            let _ = confirm.send(());
        });
        topics
    }

    /// Looks at the account of a topic, if it was asked for in this session.
    pub(crate) fn track<R>(
        &self,
        topic: &Name,
        session: u64,
        look: impl FnOnce(&mut Tracking, &mut Bridging) -> R,
    ) -> Option<R> {
        let entry = self.topics.find(topic)?;
        let mut interest = entry.lock();
        let is_asked = interest.asked == Some(session) && !interest.is_queued;
        let is_wanted = !interest.is_retired && is_asked;
        let Interest {
            tracking, bridging, ..
        } = &mut *interest;
        is_wanted.then(|| look(tracking, bridging))
    }

    pub(crate) fn health(&self) -> Health {
        let outgoing = self.outgoing.lock();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Health {
            is_connected: outgoing.session().is_some(),
            broker: outgoing.broker().cloned(),
            pending_topics: outgoing.pending_topics(),
            queued_bytes: outgoing.queued_bytes(),
            disconnections: read(&self.tally.disconnections),
            gaps: read(&self.tally.gaps),
            doubles: read(&self.tally.doubles),
            undecodable: read(&self.tally.undecodable),
        }
    }
}

/// Does something to confirmations that wakes who waits for them. These are wakers of the user's, of which one must not keep
/// the others from being woken, nor end the link.
fn settle(confirms: impl Iterator<Item = Confirm>, how: impl Fn(Confirm)) {
    let mut panicked = None;
    for_each_despite_panics(confirms, how, &mut panicked);
    if panicked.is_some() {
        note_panic();
    }
}

fn note_panic() {
    tracing::error!("a waker panicked as a connection or a confirmation was told");
}

fn check_name(topic: &Name) -> Result<(), PublishError> {
    let got = topic.as_str().len();
    if got > MAX_NAME {
        return Err(PublishError::NameTooLong {
            limit: MAX_NAME,
            got,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::pin::pin;
    use std::task::{Context, Wake, Waker};

    use super::*;

    struct PanickingWaker;

    impl Wake for PanickingWaker {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }

    #[test]
    fn b7_a_waker_that_panics_at_a_connection_does_not_end_the_link() {
        let echo_topic = Name::new("echo".into(), &RandomState::new());
        let exchange = Exchange::new(7, echo_topic, RemoteOptions::new());
        let waker = Waker::from(Arc::new(PanickingWaker));
        let mut waiting = pin!(exchange.when_connected());
        let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        let session = exchange.connected("broker".into(), 1_000);
        assert!(exchange.health().is_connected);
        exchange.disconnected(session);
        assert!(!exchange.health().is_connected);
    }
}

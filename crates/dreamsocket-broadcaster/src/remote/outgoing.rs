//! What waits to be handed to the link, in order, and what of it waits to be confirmed.
//!
//! **Echoes.** A client crate says that it has taken a command, not that the broker has carried it out. So this node is
//! subscribed to a topic of its own and publishes a number there behind what is to be confirmed: brokers carry out the
//! commands of one connection in order, so when the number comes back all before it is done. One echo confirms a whole
//! batch.
//!
//! Plain data: time is an argument. What runs foreign code when it is dropped or used, the senders that wake a task, is
//! given out, for when no lock is held.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::engine::Name;
use crate::error::PublishError;
use crate::fingerprint::Prehashed;
use crate::link::Command;
use crate::remote::frame::{self, Draft, Stamp};
use crate::remote::numbering::Numbering;
use crate::remote::options::RemoteOptions;

/// A batch of commands ends when it has so many, or so many bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 256 * 1024;

/// What an entry of the queue is taken to cost beside its frame and name.
const ENTRY: usize = 64;

/// How long an echo may be under way before another one is sent behind it: a link may lose.
const ECHO_LATE: Duration = Duration::from_secs(1);

/// So many quiet topics are remembered, of which each takes some 190 bytes. One that is forgotten and published to again
/// costs nothing, unless the end of what was before is lost together with its announcements.
const REMEMBERED: usize = 50_000;

/// A tenth of a second's share of what is done slowly.
pub(crate) const TICKS_PER_SECOND: usize = 10;

pub(crate) struct Outgoing {
    /// Which session is the current one. Only grows.
    session: u64,
    is_connected: bool,
    is_closed: bool,
    broker: Option<Arc<str>>,
    max_frame: usize,
    queue: VecDeque<Entry>,
    /// What the published messages in the queue cost.
    queued_bytes: usize,
    /// The topics that are not subscribed again yet.
    resubscribe: VecDeque<Name>,
    numbering: Numbering,
    echo_topic: Name,
    node: u64,
    echoes: u64,
    /// What is confirmed by which echo.
    waiting: VecDeque<Waiting>,
}

enum Entry {
    Subscribe(Name),
    Unsubscribe(Name),
    Publish {
        topic: Name,
        draft: Draft,
        is_kept: bool,
        confirm: Option<Confirm>,
    },
    Announce(Name, Stamp),
    Echo(Name, Bytes),
}

/// Whoever waits for a confirmation; dropping it says that none will come.
pub(crate) type Confirm = oneshot::Sender<()>;

#[derive(Default)]
pub(crate) struct Waiting {
    number: u64,
    sent: Option<Instant>,
    pub(crate) subscribed: Vec<Name>,
    pub(crate) confirms: Vec<Confirm>,
}

/// What [`Outgoing::take`] gives.
pub(crate) enum Taken {
    /// With the topics that keep history among those that are subscribed.
    Batch(Vec<Command>, Vec<Name>),
    Nothing,
    /// This session gets nothing any more.
    End,
}

impl Outgoing {
    pub(crate) fn new(node: u64, echo_topic: Name) -> Self {
        Self {
            session: 0,
            is_connected: false,
            is_closed: false,
            broker: None,
            max_frame: usize::MAX,
            queue: VecDeque::new(),
            queued_bytes: 0,
            resubscribe: VecDeque::new(),
            numbering: Numbering::new(node, REMEMBERED),
            echo_topic,
            node,
            echoes: 0,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn own_topic(&self) -> Arc<str> {
        self.echo_topic.to_shared()
    }

    /// The current session, if there is a connection.
    pub(crate) fn session(&self) -> Option<u64> {
        self.is_connected.then_some(self.session)
    }

    pub(crate) const fn broker(&self) -> Option<&Arc<str>> {
        self.broker.as_ref()
    }

    pub(crate) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// How many topics the broker has not confirmed as subscribed.
    pub(crate) fn pending_topics(&self) -> usize {
        let queued = self.queue.iter();
        let queued = queued.filter(|entry| matches!(entry, Entry::Subscribe(_)));
        let sent = self.waiting.iter().map(|waiting| waiting.subscribed.len());
        self.resubscribe.len() + queued.count() + sent.sum::<usize>()
    }

    pub(crate) fn has_commands(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Begins a session. Whoever had one has to have ended it.
    pub(crate) fn connect(&mut self, broker: Arc<str>, max_frame: usize) -> u64 {
        self.session += 1;
        self.is_connected = true;
        self.broker = Some(broker);
        self.max_frame = max_frame;
        let echo_topic = self.echo_topic.clone();
        self.queue.push_front(Entry::Subscribe(echo_topic));
        self.session
    }

    /// Notes what is to be subscribed again: the first ones before everything that waits, so that this node gets its own
    /// messages, the others bit by bit.
    pub(crate) fn subscribe_again(&mut self, first: Vec<Name>, others: VecDeque<Name>) {
        for topic in first.into_iter().rev() {
            // Behind the echo's.
            let place = self.queue.len().min(1);
            self.queue.insert(place, Entry::Subscribe(topic));
        }
        self.resubscribe = others;
    }

    /// The next topics that are to be subscribed again.
    pub(crate) fn next_to_resubscribe(&mut self, rate: usize) -> Vec<Name> {
        let count = (rate / TICKS_PER_SECOND).max(1).min(self.resubscribe.len());
        self.resubscribe.drain(..count).collect()
    }

    /// Ends a session, if it is the current one, and gives what will not be confirmed any more. Published messages that
    /// were not handed to the link stay.
    pub(crate) fn disconnect(&mut self, session: u64, now: Instant) -> Option<VecDeque<Waiting>> {
        if self.session() != Some(session) {
            return None;
        }
        self.is_connected = false;
        self.numbering.announce_again(now);
        self.resubscribe = VecDeque::new();
        self.queue.retain(|entry| match entry {
            Entry::Publish { .. } | Entry::Announce(..) => true,
            Entry::Echo(..) | Entry::Subscribe(_) | Entry::Unsubscribe(_) => false,
        });
        self.queued_bytes = self.queue.iter().map(Entry::cost).sum();
        Some(mem::take(&mut self.waiting))
    }

    /// Nothing will be published any more, but for what waits and the last numbers.
    pub(crate) fn close(&mut self, now: Instant) {
        self.is_closed = true;
        for (topic, stamp) in self.numbering.farewell(now, BATCH) {
            self.push(Entry::Announce(topic, stamp));
        }
    }

    pub(crate) fn subscribe(&mut self, topic: Name) {
        self.queue.push_back(Entry::Subscribe(topic));
    }

    pub(crate) fn unsubscribe(&mut self, topic: Name) {
        self.queue.push_back(Entry::Unsubscribe(topic));
    }

    /// Gives the message its number and puts it into the queue.
    pub(crate) fn publish(
        &mut self,
        topic: &Name,
        mut draft: Draft,
        confirm: Option<Confirm>,
        options: &RemoteOptions,
        now: Instant,
    ) -> Result<(), PublishError> {
        if !self.is_connected && !options.is_queueing {
            return Err(PublishError::Away);
        }
        let got = draft.len();
        if got > self.max_frame {
            return Err(PublishError::TooLarge {
                limit: self.max_frame.saturating_sub(frame::OVERHEAD),
                got: draft.payload_len(),
            });
        }
        // As with an outbox: one that is larger than the whole bound goes alone.
        let queued_bytes = self.queued_bytes + cost(topic, got);
        if self.queued_bytes > 0 && queued_bytes > options.max_queue {
            return Err(PublishError::Full {
                limit: options.max_queue,
            });
        }
        draft.stamp(self.numbering.next(topic, now));
        self.push(Entry::Publish {
            topic: topic.clone(),
            draft,
            is_kept: topic.is_kept(),
            confirm,
        });
        Ok(())
    }

    fn push(&mut self, entry: Entry) {
        self.queued_bytes += entry.cost();
        self.queue.push_back(entry);
    }

    /// Puts the announcements that are due into the queue, unless it is long anyway.
    pub(crate) fn announce(&mut self, max_queue: usize, now: Instant) {
        if !self.is_connected || self.queued_bytes > max_queue / 2 {
            return;
        }
        let limit = BATCH.max(self.numbering.len() / TICKS_PER_SECOND);
        for (topic, stamp) in self.numbering.announcements(now, limit) {
            self.push(Entry::Announce(topic, stamp));
        }
    }

    /// Sends another echo if the last one is late.
    pub(crate) fn echo_again(&mut self, now: Instant) {
        let late = self.waiting.back().and_then(|waiting| waiting.sent);
        if late.is_some_and(|sent| now.saturating_duration_since(sent) >= ECHO_LATE) {
            let (topic, frame) = self.echo(Waiting::default(), now);
            self.push(Entry::Echo(topic, frame));
        }
    }

    /// The next commands, with an echo behind them if anything of it is to be confirmed.
    pub(crate) fn take(&mut self, session: u64, now: Instant) -> Taken {
        if self.session() != Some(session) {
            return Taken::End;
        }
        if self.queue.is_empty() {
            return if self.is_closed {
                Taken::End
            } else {
                Taken::Nothing
            };
        }
        let mut commands = Vec::with_capacity(BATCH.min(self.queue.len() + 1));
        let mut bytes = 0;
        let mut waiting = Waiting::default();
        let mut kept = Vec::new();
        let mut left = HashSet::<_, BuildHasherDefault<Prehashed>>::default();
        while commands.len() < BATCH && bytes < BATCH_BYTES {
            // Until the link has left such a topic, what comes of it would be taken for a part of the new replay: it is
            // subscribed with the next batch, which is not asked for before.
            let is_next = |entry: &mut Entry| match entry {
                Entry::Subscribe(topic) => !left.contains(topic),
                Entry::Unsubscribe(_)
                | Entry::Publish { .. }
                | Entry::Announce(..)
                | Entry::Echo(..) => true,
            };
            let Some(entry) = self.queue.pop_front_if(is_next) else {
                break;
            };
            let cost = entry.cost();
            bytes += cost;
            self.queued_bytes = self.queued_bytes.saturating_sub(cost);
            commands.push(match entry {
                Entry::Subscribe(topic) => {
                    let command = if topic.is_kept() {
                        kept.push(topic.clone());
                        Command::SubscribeKept(topic.to_shared())
                    } else {
                        Command::Subscribe(topic.to_shared())
                    };
                    waiting.subscribed.push(topic);
                    command
                }
                Entry::Unsubscribe(topic) => {
                    let command = Command::Unsubscribe(topic.to_shared());
                    if topic.is_kept() {
                        left.insert(topic);
                    }
                    command
                }
                Entry::Publish {
                    topic,
                    draft,
                    is_kept,
                    confirm,
                } => {
                    waiting.confirms.extend(confirm);
                    let frame = draft.send(self.numbering.sent(&topic, now));
                    let topic = topic.to_shared();
                    if is_kept {
                        Command::PublishKept { topic, frame }
                    } else {
                        Command::Publish { topic, frame }
                    }
                }
                Entry::Announce(topic, stamp) => {
                    let since_ms = self.numbering.since_ms(&topic, now);
                    let frame = frame::announcement(Stamp {
                        since_ms: since_ms.unwrap_or(stamp.since_ms),
                        ..stamp
                    });
                    let topic = topic.to_shared();
                    Command::Publish { topic, frame }
                }
                Entry::Echo(topic, frame) => {
                    let topic = topic.to_shared();
                    Command::Publish { topic, frame }
                }
            });
        }
        if !(waiting.subscribed.is_empty() && waiting.confirms.is_empty()) {
            let (topic, frame) = self.echo(waiting, now);
            let topic = topic.to_shared();
            commands.push(Command::Publish { topic, frame });
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(BATCH);
        }
        Taken::Batch(commands, kept)
    }

    fn echo(&mut self, waiting: Waiting, now: Instant) -> (Name, Bytes) {
        self.echoes += 1;
        self.waiting.push_back(Waiting {
            number: self.echoes,
            sent: Some(now),
            ..waiting
        });
        let frame = frame::echo(self.node, self.echoes);
        (self.echo_topic.clone(), frame)
    }

    /// An echo has come back: gives what is confirmed by it.
    pub(crate) fn echoed(&mut self, number: u64) -> Vec<Waiting> {
        let confirmed = self
            .waiting
            .partition_point(|waiting| waiting.number <= number);
        self.waiting.drain(..confirmed).collect()
    }

    /// Gives whoever waits for an echo, which then confirms subscriptions only.
    #[cfg(feature = "nats")]
    pub(crate) fn take_confirms(&mut self) -> Vec<Confirm> {
        let waiting = self.waiting.iter_mut();
        waiting
            .flat_map(|waiting| mem::take(&mut waiting.confirms))
            .collect()
    }
}

impl Entry {
    /// What it takes of the room for what is published.
    fn cost(&self) -> usize {
        match self {
            Self::Subscribe(_) | Self::Unsubscribe(_) => 0,
            Self::Publish { topic, draft, .. } => cost(topic, draft.len()),
            Self::Announce(topic, _) => cost(topic, frame::STAMPED),
            Self::Echo(topic, frame) => cost(topic, frame.len()),
        }
    }
}

fn cost(topic: &Name, frame: usize) -> usize {
    ENTRY + topic.as_str().len() + frame
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;
    use crate::remote::frame::Frame;

    struct Fixture {
        outgoing: Outgoing,
        hasher: RandomState,
        options: RemoteOptions,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let hasher = RandomState::new();
            let echo_topic = Name::new("echo".into(), &hasher);
            Self {
                outgoing: Outgoing::new(7, echo_topic),
                hasher,
                options: RemoteOptions::new(),
                now: Instant::now(),
            }
        }

        fn connected() -> (Self, u64) {
            let mut fixture = Self::new();
            let session = fixture.connect();
            fixture.take(session);
            (fixture, session)
        }

        fn name(&self, topic: &str) -> Name {
            Name::new(topic.into(), &self.hasher)
        }

        fn connect(&mut self) -> u64 {
            self.outgoing.connect("broker".into(), 1_000)
        }

        fn publish(&mut self, topic: &str, length: usize) -> Result<(), PublishError> {
            let name = self.name(topic);
            let mut draft = Draft::new(None, 1);
            draft.buffer().extend(vec![b'x'; length]);
            self.outgoing
                .publish(&name, draft, None, &self.options, self.now)
        }

        fn publish_confirmed(&mut self, topic: &str) -> oneshot::Receiver<()> {
            let name = self.name(topic);
            let (confirm, confirmed) = oneshot::channel();
            let draft = Draft::new(None, 1);
            self.outgoing
                .publish(&name, draft, Some(confirm), &self.options, self.now)
                .unwrap();
            confirmed
        }

        /// What a session is given, short: `+` subscribes, `-` unsubscribes, `!` publishes.
        fn take(&mut self, session: u64) -> Option<Vec<String>> {
            let commands = match self.outgoing.take(session, self.now) {
                Taken::Batch(commands, _) => commands,
                Taken::Nothing => Vec::new(),
                Taken::End => return None,
            };
            let short = commands.into_iter().map(|command| match command {
                Command::Subscribe(topic) => format!("+{topic}"),
                Command::Unsubscribe(topic) => format!("-{topic}"),
                Command::SubscribeKept(topic) => format!("+{topic} kept"),
                Command::PublishKept { topic, .. } => format!("!{topic} kept"),
                Command::Publish { topic, frame } => match Frame::decode(frame) {
                    Ok(Frame::Message { stamp, .. }) => format!("!{topic} {}", stamp.number),
                    Ok(Frame::Announcement(stamp)) => format!("!{topic} ({})", stamp.number),
                    Ok(Frame::Echo { number, .. }) => format!("!{topic} echo {number}"),
                    Err(error) => panic!("{error}"),
                },
            });
            Some(short.collect())
        }
    }

    fn strings(strings: &[&str]) -> Option<Vec<String>> {
        Some(strings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn b2_commands_go_out_in_order_with_an_echo_behind_what_is_to_be_confirmed() {
        let mut fixture = Fixture::new();
        let session = fixture.connect();
        assert_eq!(fixture.take(session), strings(&["+echo", "!echo echo 1"]));
        fixture.publish("a", 1).unwrap();
        assert_eq!(fixture.take(session), strings(&["!a 1"]));
        fixture.outgoing.subscribe(fixture.name("b"));
        fixture.publish("b", 1).unwrap();
        fixture.outgoing.unsubscribe(fixture.name("b"));
        let expected = strings(&["+b", "!b 2", "-b", "!echo echo 2"]);
        assert_eq!(fixture.take(session), expected);
        assert_eq!(fixture.take(session), strings(&[]));

        assert_eq!(fixture.outgoing.pending_topics(), 2);
        let confirmed = fixture.outgoing.echoed(2);
        let topics: Vec<_> = confirmed
            .iter()
            .flat_map(|waiting| &waiting.subscribed)
            .collect();
        assert_eq!(topics, [&fixture.name("echo"), &fixture.name("b")]);
        assert_eq!(fixture.outgoing.pending_topics(), 0);
        assert!(fixture.outgoing.echoed(2).is_empty());
    }

    #[test]
    fn b7_a_new_connection_begins_with_subscriptions_and_goes_on_with_what_waits() {
        let (mut fixture, first) = Fixture::connected();
        fixture.publish("a", 1).unwrap();
        fixture.outgoing.subscribe(fixture.name("b"));
        let mut confirmed = fixture.publish_confirmed("a");
        assert!(
            fixture
                .outgoing
                .disconnect(first + 1, fixture.now)
                .is_none()
        );
        assert!(fixture.outgoing.disconnect(first, fixture.now).is_some());
        assert!(fixture.outgoing.disconnect(first, fixture.now).is_none());
        assert_eq!(fixture.take(first), None);

        let second = fixture.connect();
        let again = ["b", "c"].map(|topic| fixture.name(topic)).into();
        let others = ["d", "e"].map(|topic| fixture.name(topic)).into();
        fixture.outgoing.subscribe_again(again, others);
        let expected = strings(&["+echo", "+b", "+c", "!a 1", "!a 2", "!echo echo 2"]);
        assert_eq!(fixture.take(second), expected);
        assert!(confirmed.try_recv().is_err());
        drop(fixture.outgoing.echoed(2));

        assert_eq!(fixture.outgoing.pending_topics(), 2);
        let next = fixture.outgoing.next_to_resubscribe(10);
        assert_eq!(next, [fixture.name("d")]);
        assert_eq!(fixture.outgoing.next_to_resubscribe(1_000).len(), 1);
        assert_eq!(fixture.outgoing.next_to_resubscribe(1_000).len(), 0);
    }

    #[test]
    fn b1_what_was_handed_over_is_not_confirmed_by_a_later_connection() {
        let (mut fixture, first) = Fixture::connected();
        let mut confirmed = fixture.publish_confirmed("a");
        fixture.take(first);
        drop(fixture.outgoing.disconnect(first, fixture.now));
        let closed = oneshot::error::TryRecvError::Closed;
        assert_eq!(confirmed.try_recv(), Err(closed));
    }

    #[cfg(feature = "nats")]
    #[test]
    fn b1_what_was_handed_over_before_a_refusal_is_not_confirmed_and_the_rest_is() {
        let (mut fixture, session) = Fixture::connected();
        let mut first = fixture.publish_confirmed("a");
        fixture.outgoing.subscribe(fixture.name("b"));
        fixture.take(session);
        let mut second = fixture.publish_confirmed("a");
        fixture.take(session);
        let mut later = fixture.publish_confirmed("a");
        assert_eq!(fixture.outgoing.take_confirms().len(), 2);
        let closed = oneshot::error::TryRecvError::Closed;
        assert_eq!(first.try_recv(), Err(closed.clone()));
        assert_eq!(second.try_recv(), Err(closed));
        let waiting = &fixture.outgoing.waiting;
        assert!(waiting.iter().all(|waiting| waiting.confirms.is_empty()));

        fixture.take(session);
        let confirmed = fixture.outgoing.echoed(4);
        let topics = confirmed.iter().flat_map(|waiting| &waiting.subscribed);
        assert!(topics.eq(&[fixture.name("echo"), fixture.name("b")]));
        for confirm in confirmed.into_iter().flat_map(|waiting| waiting.confirms) {
            confirm.send(()).unwrap();
        }
        assert_eq!(later.try_recv(), Ok(()));
    }

    #[test]
    fn b2_what_a_frame_says_of_time_is_true_when_it_is_sent() {
        let (mut fixture, session) = Fixture::connected();
        fixture.options = RemoteOptions::new().queue_while_away();
        fixture.publish("a", 1).unwrap();
        fixture.take(session);
        fixture.now += Duration::from_secs(2);
        fixture.outgoing.announce(usize::MAX, fixture.now);
        fixture.publish("a", 1).unwrap();
        drop(fixture.outgoing.disconnect(session, fixture.now));
        fixture.now += Duration::from_secs(1);
        fixture.publish("a", 1).unwrap();
        fixture.now += Duration::from_secs(60);
        let session = fixture.connect();
        let Taken::Batch(commands, _) = fixture.outgoing.take(session, fixture.now) else {
            panic!("there is something to take");
        };
        let frames = commands.into_iter().filter_map(|command| match command {
            Command::Publish { frame, .. } => Frame::decode(frame).ok(),
            _ => None,
        });
        let times = frames.filter_map(|frame| match frame {
            Frame::Message { stamp, .. } | Frame::Announcement(stamp) => Some(stamp),
            Frame::Echo { .. } => None,
        });
        let times: Vec<_> = times.map(|it| (it.number, it.since_ms)).collect();
        assert_eq!(times, [(1, 63_000), (2, 63_000), (3, 0)]);
    }

    #[test]
    fn b7_the_queue_is_bounded_and_gives_its_room_back() {
        let (mut fixture, session) = Fixture::connected();
        fixture.options = RemoteOptions::new().max_queue(1_000);
        let mut accepted = 0;
        while fixture.publish("a", 100).is_ok() {
            accepted += 1;
        }
        assert_eq!(accepted, 5);
        let queued = fixture.outgoing.queued_bytes();
        assert!((800..=1_000).contains(&queued), "{queued}");
        fixture.take(session);
        assert_eq!(fixture.outgoing.queued_bytes(), 0);
        // One that is larger than the bound goes alone.
        fixture.options = RemoteOptions::new().max_queue(10);
        fixture.publish("a", 100).unwrap();
        let refused = fixture.publish("a", 0);
        assert!(matches!(refused, Err(PublishError::Full { limit: 10 })));
    }

    #[test]
    fn b1_what_the_broker_would_not_take_is_refused_without_a_number() {
        let (mut fixture, session) = Fixture::connected();
        let refused = fixture.publish("a", 1_000);
        assert!(matches!(
            refused,
            Err(PublishError::TooLarge { got: 1_000, .. })
        ));
        fixture.publish("a", 900).unwrap();
        assert_eq!(fixture.take(session), strings(&["!a 1"]));
        drop(fixture.outgoing.disconnect(session, fixture.now));
        let refused = fixture.publish("a", 1);
        assert!(matches!(refused, Err(PublishError::Away)));
        fixture.options = RemoteOptions::new().queue_while_away();
        fixture.publish("a", 1).unwrap();
        let session = fixture.connect();
        let expected = strings(&["+echo", "!a 2", "!echo echo 2"]);
        assert_eq!(fixture.take(session), expected);
    }

    #[test]
    fn b1_a_late_echo_is_followed_by_another() {
        let (mut fixture, session) = Fixture::connected();
        fixture.outgoing.echo_again(fixture.now);
        assert_eq!(fixture.take(session), strings(&[]));
        fixture.now += ECHO_LATE;
        fixture.outgoing.echo_again(fixture.now);
        fixture.outgoing.echo_again(fixture.now);
        assert_eq!(fixture.take(session), strings(&["!echo echo 2"]));
        assert_eq!(fixture.outgoing.echoed(2).len(), 2);
        fixture.now += ECHO_LATE;
        fixture.outgoing.echo_again(fixture.now);
        assert_eq!(fixture.take(session), strings(&[]), "nothing is waited for");
    }

    #[test]
    fn b2_who_goes_says_its_last_numbers_and_then_the_session_ends() {
        let (mut fixture, session) = Fixture::connected();
        fixture.publish("a", 1).unwrap();
        fixture.publish("a", 1).unwrap();
        fixture.outgoing.close(fixture.now);
        assert_eq!(fixture.take(session), strings(&["!a 1", "!a 2", "!a (2)"]));
        assert_eq!(fixture.take(session), None);
    }

    #[test]
    fn b1_what_fits_exactly_is_taken() {
        let (mut fixture, _) = Fixture::connected();
        let largest = 1_000 - Draft::new(None, 1).len();
        fixture.publish("a", largest).unwrap();
        assert!(fixture.publish("a", largest + 1).is_err());
        // A second one of the same size, to the byte.
        fixture.options = RemoteOptions::new().max_queue(fixture.outgoing.queued_bytes() * 2);
        fixture.publish("a", largest).unwrap();
        assert!(fixture.publish("a", 0).is_err());
    }

    #[test]
    fn b7_a_lost_connection_leaves_the_messages_and_nothing_else() {
        let (mut fixture, session) = Fixture::connected();
        fixture.publish("a", 100).unwrap();
        fixture.publish("a", 100).unwrap();
        let queued = fixture.outgoing.queued_bytes();
        fixture.outgoing.subscribe(fixture.name("b"));
        // An echo of this connection.
        fixture.now += ECHO_LATE;
        let waiting = fixture.publish_confirmed("c");
        fixture.take(session);
        fixture.publish("a", 100).unwrap();
        fixture.publish("a", 100).unwrap();
        fixture.now += ECHO_LATE;
        fixture.outgoing.echo_again(fixture.now);
        assert!(fixture.outgoing.queued_bytes() > queued);
        drop(fixture.outgoing.disconnect(session, fixture.now));
        assert_eq!(fixture.outgoing.queued_bytes(), queued);
        drop(waiting);
        let session = fixture.connect();
        let taken = fixture.take(session);
        assert_eq!(taken, strings(&["+echo", "!a 3", "!a 4", "!echo echo 4"]));
    }

    #[test]
    fn b2_nothing_is_announced_without_a_connection_or_while_much_waits() {
        let (mut fixture, session) = Fixture::connected();
        fixture.options = RemoteOptions::new().queue_while_away();
        fixture.publish("a", 100).unwrap();
        let most = fixture.outgoing.queued_bytes() * 2;
        fixture.now += Duration::from_secs(10);
        fixture.publish("b", 100).unwrap();
        fixture.outgoing.announce(most, fixture.now);
        assert_eq!(fixture.take(session), strings(&["!a 1", "!b 2"]));
        drop(fixture.outgoing.disconnect(session, fixture.now));
        fixture.outgoing.announce(most, fixture.now);
        let session = fixture.connect();
        assert_eq!(fixture.take(session), strings(&["+echo", "!echo echo 2"]));
        fixture.publish("c", 100).unwrap();
        fixture.outgoing.announce(most * 2, fixture.now);
        assert_eq!(fixture.take(session), strings(&["!c 3", "!a (1)"]));
    }

    #[test]
    fn b2_all_quiet_topics_are_announced_within_a_second_however_many_there_are() {
        let (mut fixture, _) = Fixture::connected();
        fixture.options = RemoteOptions::new().max_queue(usize::MAX);
        for topic in 0..10_007 {
            fixture.publish(&topic.to_string(), 0).unwrap();
        }
        fixture.now += Duration::from_secs(1);
        let before = fixture.outgoing.queue.len();
        fixture.outgoing.announce(usize::MAX, fixture.now);
        assert_eq!(fixture.outgoing.queue.len() - before, 1_000);
    }

    #[test]
    fn b5_a_topic_that_is_kept_is_left_and_subscribed_again_in_two_batches() {
        let (mut fixture, session) = Fixture::connected();
        let [kept, plain] = ["kept", "plain"].map(|topic| fixture.name(topic));
        let kept = kept.keeping(true);
        for topic in [&kept, &plain] {
            fixture.outgoing.subscribe(topic.clone());
        }
        fixture.take(session);
        for topic in [&plain, &kept, &kept] {
            fixture.outgoing.unsubscribe(topic.clone());
            fixture.outgoing.subscribe(topic.clone());
        }
        let first = strings(&["-plain", "+plain", "-kept", "!echo echo 3"]);
        assert_eq!(fixture.take(session), first);
        let again = strings(&["+kept kept", "-kept", "!echo echo 4"]);
        assert_eq!(fixture.take(session), again);
        let last = strings(&["+kept kept", "!echo echo 5"]);
        assert_eq!(fixture.take(session), last);
        assert_eq!(fixture.take(session), strings(&[]));
    }

    #[test]
    fn b7_a_batch_is_bounded_by_count_and_by_bytes() {
        let (mut fixture, session) = Fixture::connected();
        fixture.outgoing.max_frame = usize::MAX;
        for _ in 0..BATCH + 1 {
            fixture.publish("a", 0).unwrap();
        }
        assert_eq!(fixture.take(session).unwrap().len(), BATCH);
        assert_eq!(fixture.take(session).unwrap().len(), 1);
        for _ in 0..6 {
            fixture.publish("a", BATCH_BYTES / 4).unwrap();
        }
        assert_eq!(fixture.take(session).unwrap().len(), 4);
        assert_eq!(fixture.take(session).unwrap().len(), 2);
    }
}

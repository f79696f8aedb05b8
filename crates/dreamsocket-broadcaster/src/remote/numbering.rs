//! The publisher's side of the account: which number a message gets, and when the last one is announced.
//!
//! Numbers of one topic grow by one, so that whoever sees two of them knows how many are between. The loss of the last
//! message would show only with the next one; so while a topic is quiet its last number is announced, twice, in case the
//! first announcement is lost, too.
//!
//! Names may come from users and must not all stay for ever: of the topics that are quiet so many are remembered, and those
//! that have been quiet for longest are forgotten. If such a topic is published to again, that begins a new **run**, whose
//! first number is greater than all that were given before; each message says where its run began.
//!
//! Plain data: time is an argument.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Name;
use crate::fingerprint::Prehashed;
use crate::remote::frame::Stamp;

/// How long a topic has to be quiet for its last number to be announced the first, and the second time. Whoever lost the
/// last message and the first announcement is told within 5 s all the same, with a second to spare for the way.
const ANNOUNCED: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Between two announcements of one number, however late the first one was.
const APART: Duration = Duration::from_secs(1);

/// What was published or announced so long before a connection counted as lost may have been lost with it, and is announced
/// again. A client of NATS with its own settings notices after two to three minutes.
const RECENT: Duration = Duration::from_secs(240);

pub(crate) struct Numbering {
    publisher: u64,
    /// The greatest number that was given to any message.
    highest: u64,
    runs: HashMap<Name, Run, BuildHasherDefault<Prehashed>>,
    /// When to look at a run again. Those with an older ticket than their run's are void.
    due: BinaryHeap<Reverse<Due>>,
    tickets: u64,
    /// How many topics are remembered, beside those that are not quiet.
    remembered: usize,
    /// Those with nothing left to announce, with their run's ticket, the longest quiet first. Some are void.
    quiet: VecDeque<(Name, u64)>,
}

struct Run {
    start: u64,
    last: u64,
    at: Instant,
    /// When the last message was sent that was. Those behind it wait for a connection, say.
    sent: Option<Instant>,
    /// How often the last number was announced.
    announced: usize,
    /// When it was published or announced last.
    said: Instant,
    ticket: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    ticket: u64,
    topic: Topic,
}

/// A name that takes no part in the order.
struct Topic(Name);

impl Numbering {
    pub(crate) fn new(publisher: u64, remembered: usize) -> Self {
        Self {
            publisher,
            highest: 0,
            runs: HashMap::default(),
            due: BinaryHeap::new(),
            tickets: 0,
            remembered,
            quiet: VecDeque::new(),
        }
    }

    /// How many topics are remembered.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// The stamp of the topic's next message, as if it was sent now.
    pub(crate) fn next(&mut self, topic: &Name, now: Instant) -> Stamp {
        let Some(run) = self.runs.get_mut(topic) else {
            let number = self.highest + 1;
            self.highest = number;
            self.tickets += 1;
            let run = Run {
                start: number,
                last: number,
                at: now,
                sent: None,
                announced: 0,
                said: now,
                ticket: self.tickets,
            };
            self.due.push(run.due(topic, run.next_look()));
            self.runs.insert(topic.clone(), run);
            return Stamp {
                publisher: self.publisher,
                start: number,
                number,
                since_ms: 0,
            };
        };
        let since_ms = run.since_ms(now).unwrap_or_default();
        run.last += 1;
        run.at = now;
        run.said = now;
        self.highest = self.highest.max(run.last);
        let stamp = Stamp {
            publisher: self.publisher,
            start: run.start,
            number: run.last,
            since_ms,
        };
        // While nothing is announced the run's look is due soon enough, and finds out that it has to wait.
        if run.announced > 0 {
            run.announced = 0;
            self.tickets += 1;
            run.ticket = self.tickets;
            self.due.push(run.due(topic, run.next_look()));
        }
        stamp
    }

    /// The topic's next message is sent, however long ago it got its number. Gives the milliseconds since the one before it was,
    /// unless it is the first, or the topic was forgotten while it waited.
    pub(crate) fn sent(&mut self, topic: &Name, now: Instant) -> Option<u32> {
        let run = self.runs.get_mut(topic)?;
        let since_ms = run.since_ms(now);
        run.sent = Some(now);
        since_ms
    }

    /// The milliseconds since a message of the topic was sent last, unless it was forgotten.
    pub(crate) fn since_ms(&self, topic: &Name, now: Instant) -> Option<u32> {
        self.runs.get(topic)?.since_ms(now)
    }

    /// The announcements that are due, `limit` at most. Forgets what is too much.
    pub(crate) fn announcements(&mut self, now: Instant, limit: usize) -> Vec<(Name, Stamp)> {
        let mut announcements = Vec::new();
        while announcements.len() < limit {
            let Some(due) = self.due.peek_mut().filter(|due| due.0.at <= now) else {
                break;
            };
            let Reverse(Due { ticket, topic, .. }) = PeekMut::pop(due);
            let topic = topic.0;
            let Some(run) = self.runs.get_mut(&topic).filter(|run| run.ticket == ticket) else {
                continue;
            };
            // It may have been published to since the look was planned.
            let mut next = run.next_look();
            if now >= next {
                run.announced += 1;
                run.said = now;
                announcements.push((
                    topic.clone(),
                    Stamp {
                        publisher: self.publisher,
                        start: run.start,
                        number: run.last,
                        since_ms: run.since_ms(now).unwrap_or_default(),
                    },
                ));
                if run.is_quiet() {
                    self.quiet.push_back((topic, ticket));
                    continue;
                }
                next = run.next_look().max(now + APART);
            }
            self.due.push(run.due(&topic, next));
        }
        self.forget();
        announcements
    }

    fn forget(&mut self) {
        let runs = &mut self.runs;
        while runs.len() > self.remembered {
            let Some((topic, ticket)) = self.quiet.pop_front() else {
                break;
            };
            if runs.get(&topic).is_some_and(|run| run.ticket == ticket) {
                runs.remove(&topic);
            }
        }
        // A topic that is quiet again and again leaves a void entry each time.
        if self.quiet.len() > runs.len() * 2 {
            self.quiet
                .retain(|(topic, ticket)| runs.get(topic).is_some_and(|run| run.ticket == *ticket));
        }
    }

    /// The connection is lost: announces everything that is recent again, as soon as it is asked for. How long there is none
    /// does not count.
    pub(crate) fn announce_again(&mut self, now: Instant) {
        self.due.clear();
        for (topic, run) in &mut self.runs {
            if run.is_quiet() && now.saturating_duration_since(run.said) > RECENT {
                continue;
            }
            // The age of the message is still the true one: only the plan begins anew.
            run.announced = 0;
            self.tickets += 1;
            run.ticket = self.tickets;
            self.due.push(run.due(topic, now));
        }
    }

    /// What has not been announced: for a publisher that goes.
    pub(crate) fn farewell(&self, now: Instant, limit: usize) -> Vec<(Name, Stamp)> {
        let unannounced = self.runs.iter().filter(|(_, run)| run.announced == 0);
        unannounced
            .take(limit)
            .map(|(topic, run)| {
                let stamp = Stamp {
                    publisher: self.publisher,
                    start: run.start,
                    number: run.last,
                    since_ms: run.since_ms(now).unwrap_or_default(),
                };
                (topic.clone(), stamp)
            })
            .collect()
    }
}

impl Run {
    fn since_ms(&self, now: Instant) -> Option<u32> {
        let since = now.saturating_duration_since(self.sent?);
        Some(u32::try_from(since.as_millis()).unwrap_or(u32::MAX))
    }

    fn next_look(&self) -> Instant {
        let wait = ANNOUNCED.get(self.announced);
        self.at + wait.copied().unwrap_or_default()
    }

    /// Whether there is nothing left to announce.
    const fn is_quiet(&self) -> bool {
        self.announced == ANNOUNCED.len()
    }

    fn due(&self, topic: &Name, at: Instant) -> Reverse<Due> {
        Reverse(Due {
            at,
            ticket: self.ticket,
            topic: Topic(topic.clone()),
        })
    }
}

impl PartialEq for Topic {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Topic {}

impl PartialOrd for Topic {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Topic {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    struct Fixture {
        numbering: Numbering,
        hasher: RandomState,
        start: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                numbering: Numbering::new(7, 2),
                hasher: RandomState::new(),
                start: Instant::now(),
            }
        }

        fn name(&self, topic: &str) -> Name {
            Name::new(topic.into(), &self.hasher)
        }

        /// Start, number and milliseconds since the one before.
        fn publish(&mut self, topic: &str, at_ms: u64) -> (u64, u64, u32) {
            let name = self.name(topic);
            let at = self.start + Duration::from_millis(at_ms);
            let stamp = self.numbering.next(&name, at);
            let since_ms = self.numbering.sent(&name, at);
            assert_eq!(since_ms.unwrap_or_default(), stamp.since_ms);
            assert_eq!(stamp.publisher, 7);
            (stamp.start, stamp.number, stamp.since_ms)
        }

        /// Topic, number and milliseconds since.
        fn announced(&mut self, at_ms: u64, limit: usize) -> Vec<(String, u64, u32)> {
            let at = self.start + Duration::from_millis(at_ms);
            let announcements = self.numbering.announcements(at, limit).into_iter();
            announcements
                .map(|(name, stamp)| (name.as_str().to_owned(), stamp.number, stamp.since_ms))
                .collect()
        }
    }

    #[test]
    fn b2_numbers_of_a_topic_grow_by_one_whatever_else_is_published() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.publish("a", 0), (1, 1, 0));
        assert_eq!(fixture.publish("b", 10), (2, 2, 0));
        assert_eq!(fixture.publish("a", 30), (1, 2, 30));
        assert_eq!(fixture.publish("a", 31), (1, 3, 1));
        assert_eq!(fixture.publish("b", 40), (2, 3, 30));
        assert_eq!(fixture.publish("c", 40), (4, 4, 0));
    }

    #[test]
    fn b2_the_age_of_a_message_counts_from_when_it_was_sent() {
        let mut fixture = Fixture::new();
        let [name, other] = ["a", "b"].map(|topic| fixture.name(topic));
        let start = fixture.start;
        let at = |ms| start + Duration::from_millis(ms);
        let numbering = &mut fixture.numbering;
        for ms in [0, 10, 20] {
            numbering.next(&name, at(ms));
        }
        assert_eq!(numbering.since_ms(&name, at(90)), None);
        assert_eq!(numbering.sent(&name, at(100)), None);
        assert_eq!(numbering.sent(&name, at(107)), Some(7));
        assert_eq!(numbering.since_ms(&name, at(200)), Some(93));
        assert_eq!(
            numbering.sent(&name, at(u64::from(u32::MAX) + 200)),
            Some(u32::MAX)
        );
        assert_eq!(numbering.sent(&other, at(0)), None);
    }

    #[test]
    fn b2_a_quiet_topic_is_announced_twice() {
        let mut fixture = Fixture::new();
        fixture.publish("a", 0);
        assert_eq!(fixture.announced(999, 9), []);
        assert_eq!(fixture.announced(1_000, 9), [("a".to_owned(), 1, 1_000)]);
        assert_eq!(fixture.announced(2_999, 9), []);
        assert_eq!(fixture.announced(3_100, 9), [("a".to_owned(), 1, 3_100)]);
        assert_eq!(fixture.announced(1_000_000, 9), []);
        assert_eq!(fixture.publish("a", 1_000_000), (1, 2, 1_000_000));
    }

    #[test]
    fn b2_the_longest_quiet_topics_are_forgotten_and_begin_anew_above_all_that_was() {
        let mut fixture = Fixture::new();
        for (topic, at) in [("a", 0), ("b", 1), ("c", 2), ("d", 3)] {
            fixture.publish(topic, at);
        }
        assert_eq!(fixture.announced(1_100, 9).len(), 4);
        assert_eq!(fixture.numbering.len(), 4, "they are not quiet yet");
        fixture.publish("a", 1_200);
        assert_eq!(fixture.announced(4_000, 9).len(), 4);
        assert_eq!(fixture.numbering.len(), 2);
        assert_eq!(fixture.announced(9_000, 9).len(), 1);
        assert_eq!(fixture.publish("a", 10_000), (1, 3, 8_800));
        assert_eq!(fixture.publish("d", 10_000), (4, 5, 9_997));
        assert_eq!(fixture.publish("b", 10_000), (6, 6, 0));
        assert_eq!(fixture.publish("b", 10_001), (6, 7, 1));
    }

    #[test]
    fn a_topic_that_is_quiet_again_and_again_takes_no_more_room() {
        let mut fixture = Fixture::new();
        for round in 0..1_000 {
            fixture.publish("a", round * 10_000);
            assert_eq!(fixture.announced(round * 10_000 + 3_000, 9).len(), 1);
            assert_eq!(fixture.announced(round * 10_000 + 5_000, 9).len(), 1);
        }
        assert!(fixture.numbering.quiet.len() <= 2);
        assert!(fixture.numbering.due.len() <= 2);
    }

    #[test]
    fn b2_a_busy_topic_is_not_announced() {
        let mut fixture = Fixture::new();
        for at in 0..100 {
            fixture.publish("a", at * 500);
            assert_eq!(fixture.announced(at * 500, 9), []);
        }
        assert_eq!(fixture.numbering.due.len(), 1);
        assert_eq!(fixture.announced(50_499, 9), []);
        assert_eq!(fixture.announced(50_500, 9).len(), 1);
    }

    #[test]
    fn b2_a_message_after_an_announcement_is_announced_as_soon_as_any() {
        let mut fixture = Fixture::new();
        fixture.publish("a", 0);
        assert_eq!(fixture.announced(3_000, 9).len(), 1);
        assert_eq!(fixture.announced(3_000, 9).len(), 0);
        fixture.publish("a", 4_000);
        assert_eq!(fixture.announced(4_999, 9), []);
        assert_eq!(fixture.announced(5_000, 9), [("a".to_owned(), 2, 1_000)]);
        assert_eq!(fixture.announced(7_000, 9), [("a".to_owned(), 2, 3_000)]);
        assert_eq!(fixture.announced(64_000, 9), []);
        assert_eq!(
            fixture.numbering.due.len(),
            0,
            "the void ones are gone, too"
        );
        assert_eq!(fixture.numbering.quiet.len(), 1);
    }

    #[test]
    fn announcements_come_in_bounded_batches() {
        let mut fixture = Fixture::new();
        for topic in 0..100 {
            fixture.publish(&topic.to_string(), 0);
        }
        assert_eq!(fixture.announced(1_000, 40).len(), 40);
        assert_eq!(fixture.announced(1_000, 40).len(), 40);
        assert_eq!(fixture.announced(1_000, 40).len(), 20);
        assert_eq!(fixture.announced(1_000, 40).len(), 0);
    }

    #[test]
    fn after_a_lost_connection_all_that_is_remembered_is_announced_again() {
        let mut fixture = Fixture::new();
        fixture.publish("a", 0);
        assert_eq!(fixture.announced(1_000, 9).len(), 1);
        assert_eq!(fixture.announced(3_000, 9).len(), 1);
        fixture.publish("b", 20_000);
        let now = fixture.start + Duration::from_millis(20_100);
        fixture.numbering.announce_again(now);
        let announced = fixture.announced(20_100, 9);
        assert_eq!(
            announced,
            [("a".to_owned(), 1, 20_100)],
            "b is not quiet yet"
        );
        let again = [("b".to_owned(), 2, 1_100), ("a".to_owned(), 1, 21_100)];
        assert_eq!(fixture.announced(21_100, 9), again);
    }

    #[test]
    fn who_goes_says_what_it_has_not_said_yet() {
        let mut fixture = Fixture::new();
        fixture.publish("a", 0);
        assert_eq!(fixture.announced(1_000, 9).len(), 1);
        fixture.publish("b", 1_000);
        let now = fixture.start + Duration::from_millis(1_100);
        let farewell = fixture.numbering.farewell(now, 9);
        assert_eq!(farewell.len(), 1);
        assert_eq!((farewell[0].0.as_str(), farewell[0].1.number), ("b", 2));
    }

    #[test]
    fn after_a_lost_connection_what_was_said_in_four_minutes_is_announced_and_no_more() {
        let mut fixture = Fixture::new();
        fixture.publish("a", 0);
        fixture.publish("b", 1);
        assert_eq!(fixture.announced(1_000, 9).len(), 1);
        assert_eq!(fixture.announced(1_001, 9).len(), 1);
        assert_eq!(fixture.announced(3_000, 9).len(), 1);
        assert_eq!(fixture.announced(3_001, 9).len(), 1);
        fixture.publish("c", 100_000);
        assert_eq!(fixture.announced(101_000, 9).len(), 1);
        assert_eq!(fixture.announced(103_000, 9).len(), 1);
        let now = fixture.start + Duration::from_millis(243_001);
        fixture.numbering.announce_again(now);
        // However late there is another connection.
        let mut announced = fixture.announced(600_000, 9);
        announced.sort();
        let expected = [("b".to_owned(), 2, 599_999), ("c".to_owned(), 3, 500_000)];
        assert_eq!(announced, expected);
        assert_eq!(fixture.announced(601_000, 9).len(), 2);
        // That one is lost, too.
        let now = fixture.start + Duration::from_millis(841_000);
        fixture.numbering.announce_again(now);
        assert_eq!(fixture.announced(841_000, 9).len(), 2);
        assert_eq!(fixture.announced(842_000, 9).len(), 2);
        let now = fixture.start + Duration::from_millis(1_082_001);
        fixture.numbering.announce_again(now);
        assert_eq!(fixture.announced(1_082_001, 9), []);
    }

    #[test]
    fn b2_a_topic_that_was_quiet_again_and_again_is_forgotten_in_its_turn() {
        let mut fixture = Fixture::new();
        let mut quiet = |topic: &str, at| {
            let (start, ..) = fixture.publish(topic, at);
            assert_eq!(fixture.announced(at + 1_000, 9).len(), 1);
            assert_eq!(fixture.announced(at + 3_000, 9).len(), 1);
            start
        };
        let a = [0, 10_000, 20_000].map(|at| quiet("a", at));
        assert_eq!(a, [1, 1, 1]);
        let b = quiet("b", 30_000);
        quiet("c", 40_000);
        assert_eq!(quiet("b", 50_000), b);
        assert_ne!(quiet("a", 60_000), 1);
    }

    /// It was quiet, and is in line to be forgotten; now there is something to say of it.
    #[test]
    fn b2_what_is_announced_again_is_not_forgotten_before() {
        let mut fixture = Fixture::new();
        fixture.publish("a", 0);
        assert_eq!(fixture.announced(1_000, 9).len(), 1);
        assert_eq!(fixture.announced(3_000, 9).len(), 1);
        let now = fixture.start + Duration::from_millis(4_000);
        fixture.numbering.announce_again(now);
        fixture.publish("b", 4_000);
        fixture.publish("c", 4_000);
        assert_eq!(fixture.announced(4_000, 0), []);
        assert_eq!(fixture.announced(4_000, 9).len(), 1);
    }
}

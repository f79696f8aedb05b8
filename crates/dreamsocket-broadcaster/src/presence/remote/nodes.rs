//! Which nodes live, as far as one of them can tell. Plain data: time is an argument.
//!
//! Signs of life come as messages, and may be late. A node whose signs stay out is looked for in the store: only when its
//! key is missing there, twice in a row, is it gone. And only a node that is well itself says so: one that could not
//! write its own key for a while, since it was paused or the broker was away or has lost everything, waits until the
//! others have had time to write theirs.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Name;

/// How many nodes may be waited for that are heard of and whose keys are not there.
const MAX_STRANGERS: usize = 1_000;

/// How many topics are noted that a stranger was heard in. Past them all that are watched are read.
const MAX_TOPICS: usize = 1_000;

pub(super) struct Nodes {
    own: u64,
    beat: Duration,
    living: HashMap<u64, Living>,
    strangers: HashMap<u64, Stranger>,
    /// More strangers were heard than are waited for: who is met now may be one of them.
    has_overlooked: bool,
    /// When the own key was written last.
    shown: Option<Instant>,
    /// From when on others may be called gone.
    judges_from: Option<Instant>,
    /// Others may think that this node is gone.
    is_missed: bool,
    /// When it showed them all its people again.
    shown_all: Option<Instant>,
}

struct Living {
    heard: Instant,
    /// How often in a row its key was missing.
    missing: u8,
}

struct Stranger {
    heard: Instant,
    topics: HashSet<Name>,
    /// There are more topics than are noted.
    is_everywhere: bool,
}

/// Where nodes were heard while it was not known that they live: what they told there is still to be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    In(HashSet<Name>),
    Everywhere,
}

impl Nodes {
    pub(super) fn new(own: u64, beat: Duration) -> Self {
        Self {
            own,
            beat,
            living: HashMap::new(),
            strangers: HashMap::new(),
            has_overlooked: false,
            shown: None,
            judges_from: None,
            is_missed: false,
            shown_all: None,
        }
    }

    /// How long a key lasts.
    pub(super) fn expiry(&self) -> Duration {
        self.beat * 3
    }

    /// The own key was written, for the first time in so long by another clock: one that goes on while the machine sleeps.
    pub(super) fn show(&mut self, now: Instant, pause: Duration) {
        let shown = self.shown.replace(now);
        let pause = shown.map(|shown| pause.max(now.saturating_duration_since(shown)));
        if pause.is_some_and(|pause| pause > self.beat * 2) || self.judges_from.is_none() {
            // Others may have had the same pause, and then a lost connection; they come back within this time.
            let grace = if shown.is_some() {
                self.beat * 5
            } else {
                Duration::ZERO
            };
            self.judges_from = Some(now + grace);
        }
        // It had expired.
        self.is_missed |= pause.is_some_and(|pause| pause >= self.expiry());
    }

    /// Somebody says that this node is gone.
    pub(super) const fn miss(&mut self) {
        self.is_missed = true;
    }

    /// Whether others have to be told of all people of this node, since they may think that it is gone: once a beat at most.
    pub(super) fn must_show_all(&mut self, now: Instant) -> bool {
        let last = self.shown_all;
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= self.beat);
        let must_show_all = self.is_missed && is_due;
        if must_show_all {
            self.is_missed = false;
            self.shown_all = Some(now);
        }
        must_show_all
    }

    /// The connection was lost: what is missing at the store now may be the store's fault.
    pub(super) fn distrust(&mut self, now: Instant) {
        if self.shown.is_some() {
            self.judges_from = Some(now + self.beat * 5);
        }
    }

    /// A node was heard. Gives whether it is known to live.
    pub(super) fn hear(&mut self, node: u64, now: Instant) -> bool {
        let living = self.living.get_mut(&node);
        living.is_some_and(|living| {
            living.heard = now;
            living.missing = 0;
            true
        })
    }

    /// A node that is not known to live was heard, or its roster was found. Gives whether it was not met before.
    pub(super) fn meet(&mut self, node: u64, topic: Option<&Name>, now: Instant) -> bool {
        let is_new = !self.strangers.contains_key(&node);
        if is_new && self.strangers.len() >= MAX_STRANGERS {
            self.has_overlooked = true;
            return false;
        }
        let stranger = self.strangers.entry(node).or_insert_with(|| Stranger {
            heard: now,
            topics: HashSet::new(),
            is_everywhere: self.has_overlooked,
        });
        stranger.heard = now;
        if stranger.topics.len() < MAX_TOPICS {
            stranger.topics.extend(topic.cloned());
        } else {
            stranger.is_everywhere |= topic.is_some_and(|topic| !stranger.topics.contains(topic));
        }
        is_new
    }

    /// Somebody says that a node is gone: look for it now.
    pub(super) fn suspect(&mut self, node: u64, now: Instant) {
        let silence = self.silence();
        if let Some(living) = self.living.get_mut(&node) {
            living.heard = living.heard.min(before(now, silence));
        }
    }

    /// A node says that it goes. Gives whether it was known.
    pub(super) fn bury(&mut self, node: u64) -> bool {
        self.strangers.remove(&node);
        self.living.remove(&node).is_some()
    }

    pub(super) fn is_living(&self, node: u64) -> bool {
        self.living.contains_key(&node)
    }

    fn silence(&self) -> Duration {
        self.beat * 3 / 2
    }

    /// Whether the store has to be asked who lives.
    pub(super) fn must_ask(&self, now: Instant) -> bool {
        let silence = self.silence();
        let is_silent = |living: &Living| now.saturating_duration_since(living.heard) >= silence;
        !self.strangers.is_empty() || self.living.values().any(is_silent)
    }

    /// Takes in who lives by the store. Gives where they were heard before.
    pub(super) fn admit(&mut self, keys: &HashSet<u64>, now: Instant) -> Unread {
        let mut topics = HashSet::new();
        let mut is_everywhere = false;
        // Not heard yet: should it be dead already, it is not to be waited for as long as for one that was.
        let heard = before(now, self.beat / 2);
        for node in keys.iter().filter(|node| **node != self.own) {
            match self.strangers.remove(node) {
                Some(stranger) => {
                    is_everywhere |= stranger.is_everywhere;
                    topics.extend(stranger.topics);
                }
                None => is_everywhere |= self.has_overlooked && !self.is_living(*node),
            }
            self.living
                .entry(*node)
                .or_insert(Living { heard, missing: 0 });
        }
        let patience = self.beat * 4;
        self.strangers
            .retain(|_, stranger| now.saturating_duration_since(stranger.heard) < patience);
        self.has_overlooked &= !self.strangers.is_empty();
        if is_everywhere {
            Unread::Everywhere
        } else {
            Unread::In(topics)
        }
    }

    /// The store was asked who lives. Gives who is gone.
    pub(super) fn judge(&mut self, keys: &HashSet<u64>, now: Instant) -> Vec<u64> {
        let (silence, beat) = (self.silence(), self.beat);
        let is_well = self.judges_from.is_some_and(|from| from <= now)
            && self
                .shown
                .is_some_and(|shown| now.saturating_duration_since(shown) < beat * 2);
        let mut gone = Vec::new();
        for (node, living) in &mut self.living {
            let is_silent = now.saturating_duration_since(living.heard) >= silence;
            if keys.contains(node) || !is_silent || !is_well {
                living.missing = 0;
                continue;
            }
            living.missing = living.missing.saturating_add(1);
            if living.missing >= 2 {
                gone.push(*node);
            }
        }
        for node in &gone {
            self.living.remove(node);
        }
        gone
    }
}

fn before(now: Instant, time: Duration) -> Instant {
    now.checked_sub(time).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    const BEAT: Duration = Duration::from_secs(1);

    /// Half seconds after the start.
    fn at(start: Instant, halves: u32) -> Instant {
        start + BEAT / 2 * halves
    }

    fn keys(nodes: &[u64]) -> HashSet<u64> {
        nodes.iter().copied().collect()
    }

    fn show(nodes: &mut Nodes, now: Instant) {
        nodes.show(now, Duration::ZERO);
    }

    /// Node 1 of 1 to 3, all of whom were heard at the start, and who goes on to show itself.
    fn nodes(start: Instant) -> Nodes {
        let mut nodes = Nodes::new(1, BEAT);
        show(&mut nodes, start);
        nodes.admit(&keys(&[1, 2, 3]), start);
        assert!(
            !nodes.must_ask(at(start, 1)),
            "who was not heard yet gets some time"
        );
        assert!(nodes.hear(2, start) && nodes.hear(3, start) && !nodes.hear(1, start));
        nodes
    }

    #[test]
    fn b8_who_is_silent_and_whose_key_is_missing_twice_is_gone() {
        let start = Instant::now();
        let mut nodes = nodes(start);
        assert!(
            !nodes.must_ask(at(start, 2)),
            "one sign of life may be late"
        );
        show(&mut nodes, at(start, 2));
        nodes.hear(2, at(start, 2));
        assert!(nodes.must_ask(at(start, 3)));
        assert!(nodes.judge(&keys(&[1, 2, 3]), at(start, 3)).is_empty());
        assert!(nodes.judge(&keys(&[1]), at(start, 3)).is_empty(), "once");
        assert_eq!(nodes.judge(&keys(&[1]), at(start, 4)), [3]);
        assert!(!nodes.is_living(3) && nodes.is_living(2));
    }

    #[test]
    fn b8_a_key_or_a_sign_of_life_between_begins_anew() {
        let start = Instant::now();
        let mut nodes = nodes(start);
        show(&mut nodes, at(start, 3));
        assert!(nodes.judge(&keys(&[1, 2]), at(start, 4)).is_empty());
        assert!(nodes.judge(&keys(&[1, 2, 3]), at(start, 4)).is_empty());
        assert!(nodes.judge(&keys(&[1, 2]), at(start, 4)).is_empty());
        nodes.hear(3, at(start, 4));
        assert!(nodes.judge(&keys(&[1, 2]), at(start, 5)).is_empty());
    }

    #[test]
    fn b8_who_was_away_calls_nobody_gone_for_a_while() {
        let start = Instant::now();
        let mut nodes = nodes(start);
        show(&mut nodes, at(start, 20));
        assert!(
            nodes.must_show_all(at(start, 20)),
            "the own key had expired"
        );
        for halves in 20..30 {
            show(&mut nodes, at(start, halves));
            assert!(nodes.judge(&keys(&[1]), at(start, halves)).is_empty());
        }
        show(&mut nodes, at(start, 30));
        assert!(nodes.judge(&keys(&[1]), at(start, 30)).is_empty());
        let mut gone = nodes.judge(&keys(&[1]), at(start, 31));
        gone.sort_unstable();
        assert_eq!(gone, [2, 3]);
        show(&mut nodes, at(start, 32));
        assert!(!nodes.must_show_all(at(start, 32)));
    }

    #[test]
    fn b8_a_machine_that_slept_shows_all_its_people_again() {
        let start = Instant::now();
        let mut nodes = nodes(start);
        nodes.show(at(start, 2), BEAT * 2);
        assert!(!nodes.must_show_all(at(start, 2)));
        nodes.show(at(start, 4), BEAT * 3);
        assert!(nodes.must_show_all(at(start, 4)));
    }

    #[test]
    fn b8_who_is_missed_shows_all_its_people_once_a_beat_at_most() {
        let start = Instant::now();
        let mut nodes = nodes(start);
        assert!(!nodes.must_show_all(start));
        for halves in [0, 2] {
            nodes.miss();
            assert!(nodes.must_show_all(at(start, halves)));
            assert!(!nodes.must_show_all(at(start, halves + 1)));
            nodes.miss();
            assert!(!nodes.must_show_all(at(start, halves + 1)));
        }
        assert!(nodes.must_show_all(at(start, 9)), "later, but not never");
    }

    #[test]
    fn b8_who_cannot_show_itself_calls_nobody_gone() {
        let start = Instant::now();
        let mut nodes = nodes(start);
        for halves in 4..40 {
            assert!(nodes.judge(&keys(&[]), at(start, halves)).is_empty());
        }
    }

    #[test]
    fn b8_after_a_lost_connection_nobody_is_called_gone_for_a_while() {
        let start = Instant::now();
        let mut nodes = nodes(start);
        nodes.distrust(at(start, 4));
        for halves in 4..14 {
            show(&mut nodes, at(start, halves));
            assert!(nodes.judge(&keys(&[]), at(start, halves)).is_empty());
        }
        show(&mut nodes, at(start, 14));
        assert!(nodes.judge(&keys(&[]), at(start, 14)).is_empty(), "once");
        assert_eq!(nodes.judge(&keys(&[]), at(start, 14)).len(), 2);
        // Who has not shown itself yet has lost nothing.
        let mut new = Nodes::new(1, BEAT);
        new.distrust(start);
        show(&mut new, start);
        new.admit(&keys(&[2]), start);
        assert!(new.judge(&keys(&[]), at(start, 3)).is_empty());
        assert_eq!(new.judge(&keys(&[]), at(start, 3)), [2]);
    }

    #[test]
    fn b8_a_stranger_is_taken_in_when_its_key_is_there() {
        let start = Instant::now();
        let mut nodes = nodes(start);
        let topic = Name::new("lobby".into(), &RandomState::new());
        assert!(!nodes.hear(4, start));
        assert!(nodes.meet(4, Some(&topic), start));
        assert!(!nodes.meet(4, Some(&topic), start));
        assert!(nodes.must_ask(start) && !nodes.is_living(4));
        assert_eq!(
            nodes.admit(&keys(&[1, 2, 3]), at(start, 1)),
            Unread::In(HashSet::new())
        );
        assert_eq!(
            nodes.admit(&keys(&[1, 4]), at(start, 1)),
            Unread::In([topic].into())
        );
        assert!(nodes.is_living(4));
        // One that never comes is not waited for.
        nodes.meet(5, None, start);
        nodes.admit(&keys(&[1]), at(start, 8));
        nodes.hear(2, at(start, 8));
        nodes.hear(3, at(start, 8));
        nodes.hear(4, at(start, 8));
        assert!(!nodes.must_ask(at(start, 8)));
    }

    #[test]
    fn b8_who_says_that_it_goes_is_gone_and_who_is_missed_is_looked_for() {
        let start = Instant::now();
        let mut nodes = nodes(start);
        assert!(nodes.bury(2) && !nodes.bury(2));
        assert!(!nodes.must_ask(start));
        nodes.suspect(3, at(start, 1));
        assert!(nodes.must_ask(at(start, 1)));
    }

    #[test]
    fn b8_strangers_are_bounded() {
        let start = Instant::now();
        let mut nodes = Nodes::new(1, BEAT);
        for node in 0..2 * MAX_STRANGERS as u64 {
            nodes.meet(node, None, start);
        }
        assert_eq!(nodes.strangers.len(), MAX_STRANGERS);
        // Of the others it is not known where they were heard, whether they are met again or found at once.
        let met = MAX_STRANGERS as u64;
        let nowhere = || Unread::In(HashSet::new());
        assert_eq!(nodes.admit(&keys(&[2, 3]), start), nowhere());
        assert!(nodes.meet(met, None, start));
        assert_eq!(nodes.admit(&keys(&[met]), start), Unread::Everywhere);
        assert_eq!(nodes.admit(&keys(&[met + 1]), start), Unread::Everywhere);
        assert_eq!(nodes.admit(&keys(&[met, met + 1]), start), nowhere());
        nodes.admit(&keys(&[]), at(start, 8));
        nodes.meet(met + 2, None, start);
        assert_eq!(nodes.admit(&keys(&[met + 2]), start), nowhere());
    }

    #[test]
    fn b8_a_strangers_topics_are_bounded_and_past_them_all_are_read() {
        let start = Instant::now();
        let hasher = RandomState::new();
        let mut nodes = Nodes::new(1, BEAT);
        let topics: Vec<_> = (0..=MAX_TOPICS)
            .map(|topic| Name::new(topic.to_string().into(), &hasher))
            .collect();
        let known = &topics[..MAX_TOPICS];
        for (node, heard) in [(2, known), (3, &topics[..])] {
            for topic in heard.iter().chain(known) {
                nodes.meet(node, Some(topic), start);
            }
            assert_eq!(nodes.strangers[&node].topics.len(), MAX_TOPICS);
        }
        assert_eq!(
            nodes.admit(&keys(&[2]), start),
            Unread::In(known.iter().cloned().collect())
        );
        assert_eq!(nodes.admit(&keys(&[2, 3]), start), Unread::Everywhere);
    }
}

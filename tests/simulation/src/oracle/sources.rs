//! The sources of a session's selector: which are there, what waits in them, and whose turn it is (L4, L7).

use std::collections::VecDeque;

use super::channels::Channel;
use super::{Bounds, Checked, Endpoint, Moment, ensure};
use crate::event::Kind;

/// After how many messages of the peer the selector has its turn, and some that are under way (L4).
const PEERS_TURNS: u32 = 20;

#[derive(Debug)]
pub(super) struct Source {
    id: u32,
    key: Option<String>,
    kind: Kind,
    /// What waits in it, if it is fed.
    queue: VecDeque<u64>,
    /// What waits in it, if it is a topic's.
    pub(super) channel: Option<Channel>,
    /// When it last had something new in front.
    since: u64,
    /// How many messages of other sources were handled while this one waited.
    passed: u32,
}

impl Source {
    fn is_waiting(&self) -> bool {
        match &self.channel {
            Some(channel) => channel.is_waiting(),
            None => !self.queue.is_empty(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Selection {
    /// All sources that were ever made for it.
    made: Vec<Source>,
    /// Those that are in the selector.
    active: Vec<u32>,
    /// Whether the selector is gone.
    is_dead: bool,
    /// How many messages of the peer were handled while something waited here.
    passed: u32,
}

impl Selection {
    pub(super) fn make(&mut self, id: u32, key: Option<String>, kind: Kind) {
        let queue = match kind {
            Kind::Torrent(count) => (0..count).collect(),
            _ => VecDeque::new(),
        };
        let channel = match kind {
            Kind::Topic {
                capacity, policy, ..
            } => Some(Channel::new(capacity, policy)),
            _ => None,
        };
        self.made.push(Source {
            id,
            key,
            kind,
            queue,
            channel,
            since: 0,
            passed: 0,
        });
    }

    pub(super) fn feed(&mut self, now: Moment, source: u32, number: u64) {
        if let Some(source) = self.made.iter_mut().find(|it| it.id == source) {
            if source.queue.is_empty() {
                source.since = now.at;
            }
            source.queue.push_back(number);
        }
    }

    fn key(&self, id: u32) -> Option<&str> {
        let source = self.made.iter().find(|it| it.id == id)?;
        source.key.as_deref()
    }

    pub(super) fn replace(&mut self, sources: &[u32]) {
        self.active.clear();
        self.add(sources);
    }

    /// A source whose key is there takes the place of that one.
    pub(super) fn add(&mut self, sources: &[u32]) {
        for id in sources {
            let key = self.key(*id).map(str::to_owned);
            let place = self
                .active
                .iter()
                .position(|old| key.is_some() && self.key(*old) == key.as_deref());
            match place {
                Some(place) => self.active[place] = *id,
                None => self.active.push(*id),
            }
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        let mut active = std::mem::take(&mut self.active);
        active.retain(|id| self.key(*id) != Some(key));
        self.active = active;
    }

    /// The selector is dropped, with all its sources.
    pub(super) fn die(&mut self) {
        self.is_dead = true;
        self.active.clear();
    }

    pub(super) fn active(&mut self) -> impl Iterator<Item = &mut Source> {
        let active = &self.active;
        let made = self.made.iter_mut();
        made.filter(|source| active.contains(&source.id))
    }

    /// The topics' channels that are in the selector.
    pub(super) fn channels_of(&mut self, topic: u32) -> impl Iterator<Item = &mut Channel> {
        self.active().filter_map(move |source| match source.kind {
            Kind::Topic { topic: of, .. } if of == topic => source.channel.as_mut(),
            _ => None,
        })
    }

    /// A message of the peer is handled.
    pub(super) fn note_peers_turn(&mut self, _: Moment) -> Checked {
        if !self.active().any(|source| source.is_waiting()) {
            self.passed = 0;
            return Ok(());
        }
        self.passed += 1;
        let passed = self.passed;
        ensure(passed <= PEERS_TURNS, "L4", || {
            format!("{passed} messages of the peer were handled while the selector's wait")
        })
    }

    /// A message of this source is handled.
    fn note_turn(&mut self, now: Moment, id: u32) -> Checked {
        self.passed = 0;
        let limit = 2 * u32::try_from(self.active.len()).unwrap_or(u32::MAX) + 4;
        let (mut most, mut waiting) = (0, 0);
        for source in self.active() {
            if source.id == id {
                source.passed = 0;
                source.since = now.at;
            } else if source.is_waiting() {
                source.passed += 1;
                if source.passed > most {
                    (most, waiting) = (source.passed, source.id);
                }
            } else {
                source.passed = 0;
            }
        }
        ensure(most <= limit, "L4", || {
            format!("{most} messages of other sources were handled while source {waiting} waits")
        })
    }

    /// Since when the source waits that has waited longest, short of timers.
    fn waiting_since(&mut self) -> Option<u64> {
        let waiting = self.active().filter(|source| source.is_waiting());
        waiting
            .map(|source| match &source.channel {
                Some(channel) => channel.since().max(source.since),
                None => source.since,
            })
            .min()
    }
}

impl Endpoint {
    /// A message of a source that is fed, or of a timer, is handled.
    pub(super) fn fed(&mut self, now: Moment, id: u32, number: u64) -> Checked {
        self.selectors_turn()?;
        let source = self.selection.active().find(|source| source.id == id);
        let Some(source) = source else {
            return ensure(false, "L7", || {
                format!("message {number} came of source {id}, which was replaced or removed")
            });
        };
        if source.kind != Kind::Timer {
            let expected = source.queue.pop_front();
            ensure(expected == Some(number), "L4", || {
                format!("message {number} came of source {id}, and the next one was {expected:?}")
            })?;
        }
        self.selection.note_turn(now, id)
    }

    /// A message of a topic is handled.
    pub(super) fn said(&mut self, now: Moment, topic: u32, number: u64) -> Checked {
        self.selectors_turn()?;
        let mut id = None;
        for source in self.selection.active() {
            if let (Kind::Topic { topic: of, .. }, Some(channel)) =
                (source.kind, source.channel.as_mut())
                && of == topic
            {
                channel.take_message(now, number)?;
                id = Some(source.id);
            }
        }
        match id {
            Some(id) => self.selection.note_turn(now, id),
            None => ensure(false, "L7", || {
                format!("message {number} came of topic {topic}, which is not in the selector")
            }),
        }
    }

    /// A gap is told.
    pub(super) fn missed(&mut self, now: Moment, key: &str, count: Option<u64>) -> Checked {
        self.selectors_turn()?;
        let source = self
            .selection
            .active()
            .find(|source| source.key.as_deref().unwrap_or_default() == key);
        let Some((id, channel)) =
            source.and_then(|source| Some((source.id, source.channel.as_mut()?)))
        else {
            return ensure(false, "L7", || {
                format!("a gap was told of {key:?}, which is not in the selector")
            });
        };
        channel.take_missed(now, count)?;
        self.selection.note_turn(now, id)
    }

    /// What waits in the selector is handled when nothing else runs.
    pub(super) fn check_selector(&mut self, now: u64, bounds: &Bounds) -> Checked {
        let since = self.selection.waiting_since();
        let since = since.map(|since| since.max(self.life.since));
        ensure(
            since.is_none_or(|since| now <= since + bounds.tick),
            "L4",
            || "a message of the selector waits, and nothing runs",
        )
    }
}

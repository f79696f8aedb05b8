//! What a room keeps where other nodes take part: what they are to be told of this node's connections, and whose
//! connections it knows of each of them. Plain data.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use super::wire::{Entry, STEP_OVERHEAD, Step};
use crate::fingerprint::Fingerprint;

/// How many steps may wait to be told. Past them the others read the roster instead.
const MAX_STEPS: usize = 256;

#[derive(Default)]
pub(super) struct Rosters {
    /// This node's connections by number, as far as others are to see them.
    own: BTreeMap<u64, (u64, Entry)>,
    /// What they take, in bytes.
    own_size: usize,
    /// The version of what is in `own`: the time at which it changed last.
    version: u64,
    /// The version that others were told last; 0 if that was nobody.
    told: u64,
    steps: Vec<Step<Entry>>,
    has_too_many: bool,
    /// The task is told that there is something to do here, and will come.
    pub(super) is_queued: bool,
    /// The task follows what other nodes tell.
    pub(super) is_watched: bool,
    /// Since it does, the store was read.
    pub(super) is_read: bool,
    pub(super) others: HashMap<u64, Roster>,
}

/// What is known of another node's connections in the topic.
#[derive(Default)]
pub(super) struct Roster {
    /// 0: nothing yet.
    pub(super) version: u64,
    /// In which of the task's turns it was heard of last.
    pub(super) touched: u64,
    /// Since when the store was looked at in vain.
    pub(super) absent_since: Option<Instant>,
    /// By number: whose it is, and its stamp.
    pub(super) connections: HashMap<u64, (Fingerprint, u64)>,
}

/// What others are to be told.
pub(super) struct News {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Not set if it is too much: let them read.
    pub(super) steps: Option<Vec<Step<Entry>>>,
}

impl Rosters {
    /// Whether it would be forgotten without a loss.
    pub(super) const fn is_idle(&self) -> bool {
        !self.is_queued && !self.is_watched
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Adds a connection of this node's, or changes what it shows, unless the roster would become too large.
    pub(super) fn set(&mut self, number: u64, stamp: u64, entry: Entry, max_size: usize) -> bool {
        let before = self.own.get(&number);
        let before = before.map_or(0, |(_, entry)| STEP_OVERHEAD + entry.len());
        let size = self.own_size - before + STEP_OVERHEAD + entry.len();
        if size > max_size {
            return false;
        }
        self.own_size = size;
        self.own.insert(number, (stamp, entry.clone()));
        self.version = stamp;
        self.add(Step::Set {
            number,
            stamp,
            what: entry,
        });
        true
    }

    pub(super) fn leave(&mut self, number: u64, stamp: u64) {
        if let Some((_, entry)) = self.own.remove(&number) {
            self.own_size -= STEP_OVERHEAD + entry.len();
            self.version = stamp;
            self.add(Step::Leave { number });
        }
    }

    fn add(&mut self, step: Step<Entry>) {
        if self.steps.len() < MAX_STEPS {
            self.steps.push(step);
        } else {
            self.steps.clear();
            self.has_too_many = true;
        }
    }

    /// What has changed since this was asked last.
    pub(super) fn take_news(&mut self) -> Option<News> {
        let steps = std::mem::take(&mut self.steps);
        let has_too_many = std::mem::take(&mut self.has_too_many);
        if steps.is_empty() && !has_too_many {
            return None;
        }
        let news = News {
            from: self.told,
            to: self.version,
            steps: (!has_too_many).then_some(steps),
        };
        self.told = if self.own.is_empty() { 0 } else { self.version };
        Some(news)
    }

    /// All of this node's connections.
    pub(super) fn own_steps(&self) -> Vec<Step<Entry>> {
        let own = self.own.iter();
        own.map(|(number, (stamp, entry))| Step::Set {
            number: *number,
            stamp: *stamp,
            what: entry.clone(),
        })
        .collect()
    }

    /// Whether a step tells something new of a node's connection.
    pub(super) fn is_new<T>(&self, node: u64, step: &Step<T>) -> bool {
        let Step::Set { number, stamp, .. } = step else {
            return true;
        };
        let roster = self.others.get(&node);
        let known = roster.and_then(|roster| roster.connections.get(number));
        known.is_none_or(|(_, known)| known < stamp)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(bytes: usize) -> Entry {
        Entry {
            key: Bytes::new(),
            value: Bytes::from(vec![0; bytes]),
        }
    }

    #[test]
    fn b8_a_room_that_is_queued_or_watched_is_not_idle() {
        let mut rosters = Rosters::default();
        assert!(rosters.is_idle());
        rosters.is_queued = true;
        assert!(!rosters.is_idle());
        (rosters.is_queued, rosters.is_watched) = (false, true);
        assert!(!rosters.is_idle());
    }

    #[test]
    fn b8_a_roster_is_filled_to_the_byte_and_gives_its_room_back() {
        let mut rosters = Rosters::default();
        let most = STEP_OVERHEAD + 10;
        assert!(!rosters.set(1, 1, entry(11), most));
        assert!(!rosters.has_own());
        for stamp in [1, 3, 5] {
            assert!(rosters.set(1, stamp, entry(10), most));
            assert!(rosters.set(1, stamp, entry(10), most), "of the same one");
            assert!(!rosters.set(2, stamp, entry(0), most));
            assert!(rosters.has_own());
            rosters.leave(1, stamp + 1);
            assert_eq!(rosters.version(), stamp + 1);
            assert!(!rosters.has_own());
        }
    }

    #[test]
    fn b8_past_so_many_steps_the_others_are_to_read() {
        let mut rosters = Rosters::default();
        assert!(rosters.take_news().is_none());
        for (steps, are_told) in [(MAX_STEPS, true), (MAX_STEPS + 1, false), (1, true)] {
            for stamp in 1..=steps {
                assert!(rosters.set(1, stamp as u64, entry(0), usize::MAX));
            }
            let news = rosters.take_news().unwrap();
            assert_eq!(news.steps.map(|it| it.len()), are_told.then_some(steps));
            assert!(rosters.take_news().is_none());
        }
    }

    #[test]
    fn b8_a_step_is_new_if_its_stamp_is_later() {
        let mut rosters = Rosters::default();
        let step = |number, stamp| Step::Set {
            number,
            stamp,
            what: (),
        };
        assert!(rosters.is_new(7, &step(1, 5)));
        let roster = rosters.others.entry(7).or_default();
        let id = Fingerprint::new(&1, &std::hash::RandomState::new());
        roster.connections.insert(1, (id, 5));
        assert!(!rosters.is_new(7, &step(1, 4)));
        assert!(!rosters.is_new(7, &step(1, 5)));
        assert!(rosters.is_new(7, &step(1, 6)));
        assert!(rosters.is_new(7, &step(2, 5)));
        assert!(rosters.is_new(8, &step(1, 5)));
        assert!(rosters.is_new::<()>(7, &Step::Leave { number: 1 }));
    }
}

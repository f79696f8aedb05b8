//! What is to be done at the store, and when, by topic. Plain data: time is an argument.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use crate::engine::Name;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Job {
    /// Write this node's roster.
    Write,
    /// Read everybody's.
    Read,
}

#[derive(Default)]
pub(super) struct Agenda {
    /// By time, and by number where that is the same.
    due: BTreeMap<(Instant, u64), (Name, Job)>,
    entries: HashMap<(Name, Job), (Instant, u64)>,
    next: u64,
}

impl Agenda {
    /// At that time at the latest.
    pub(super) fn add(&mut self, topic: &Name, job: Job, at: Instant) {
        let key = (topic.clone(), job);
        if let Some(known) = self.entries.get(&key) {
            if known.0 <= at {
                return;
            }
            self.due.remove(known);
        }
        let place = (at, self.next);
        self.next += 1;
        self.due.insert(place, key.clone());
        self.entries.insert(key, place);
    }

    pub(super) fn remove(&mut self, topic: &Name, job: Job) {
        if let Some(place) = self.entries.remove(&(topic.clone(), job)) {
            self.due.remove(&place);
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next one, if it is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Name, Job)> {
        let entry = self.due.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let key = entry.remove();
        self.entries.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earlier_of_two_times_counts() {
        let hasher = RandomState::new();
        let [a, b] = ["a", "b"].map(|name| Name::new(name.into(), &hasher));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut agenda = Agenda::default();
        agenda.add(&a, Job::Write, at(5));
        agenda.add(&a, Job::Write, at(9));
        agenda.add(&b, Job::Write, at(3));
        agenda.add(&b, Job::Write, at(1));
        agenda.add(&b, Job::Read, at(2));
        assert_eq!(agenda.next(), Some(at(1)));
        assert_eq!(agenda.take(start), None);
        agenda.remove(&b, Job::Read);
        assert_eq!(agenda.take(at(9)), Some((b, Job::Write)));
        assert_eq!(agenda.take(at(9)), Some((a, Job::Write)));
        assert_eq!((agenda.take(at(9)), agenda.next()), (None, None));
    }
}

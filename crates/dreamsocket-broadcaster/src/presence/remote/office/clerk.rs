//! The clerk: writes this node's rosters to the store and reads those of others, one job at a time, at a bounded rate.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::{self, Instant};

use super::super::super::options::{REWRITE, ROSTER_EXPIRY};
use super::super::super::wire::{Change, Entry, Step, Word};
use super::super::agenda::Job;
use super::{Office, in_time, merge, node_of};
use crate::engine::{Engine, Name, SubscriberId};
use crate::store::{Shelf, Store, StoreError};

/// How long a roster may be missing at the store until it is nobody's: by then its node has written it again.
const PATIENCE: Duration = Duration::from_secs(ROSTER_EXPIRY.as_secs() / 2);

/// What the clerk may do at once after a rest.
const BURST: Duration = Duration::from_millis(50);

/// The longest pause after the store has failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The log has one word about a store that fails in this time.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// How large a roster may be to be shown again to everybody by a message; of a larger one only its version is.
const MAX_SHOWN: usize = 64 * 1024;

impl<K, V, S> Office<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Store,
{
    pub(super) async fn work(&self) {
        // Who finds a roster asks whether its node lives.
        self.outer.when_shown().await;
        let spacing = Duration::from_secs(1) / self.outer.options.rate;
        let mut slot = Instant::now();
        let mut failures = 0_u32;
        let mut logged = None;
        loop {
            let now = Instant::now();
            let (job, next) = {
                let mut desk = self.desk.lock();
                (desk.take(now), desk.next())
            };
            let Some((topic, job)) = job else {
                match next {
                    Some(next) => tokio::select! {
                        () = time::sleep_until(next) => {}
                        () = self.jobs.notified() => {}
                    },
                    None => self.jobs.notified().await,
                }
                continue;
            };
            slot = slot.max(now.checked_sub(BURST).unwrap_or(now));
            time::sleep_until(slot).await;
            slot += spacing;
            self.outer.engine.when_connected().await;
            let done = match job {
                Job::Write => self.write(&topic).await,
                Job::Read => self.read(&topic).await,
            };
            match done {
                Ok(()) => failures = 0,
                Err(error) => {
                    if logged.is_none_or(|logged| now > logged + LOG_PAUSE) {
                        logged = Some(now);
                        tracing::warn!(%error, "the store of presence has failed; it is tried again");
                    }
                    failures = failures.saturating_add(1);
                    let pause = Duration::from_millis(100) * failures;
                    let pause = pause.min(LONGEST_PAUSE);
                    self.desk.lock().agenda.add(&topic, job, now + pause);
                    time::sleep(pause).await;
                }
            }
        }
    }

    async fn write(&self, topic: &Name) -> Result<(), StoreError> {
        let found = self.guard(|shared| {
            let lock = shared.rooms.find(topic)?;
            let room = lock.lock();
            let rosters = room.rosters.as_deref()?;
            rosters
                .has_own()
                .then(|| (rosters.version(), rosters.own_steps()))
        });
        let (version, steps) = match found {
            Some(Some(found)) => found,
            // Nobody is left. That is written, too: what is not found might also be lost.
            _ => {
                let desk = self.desk.lock();
                let sheet = desk.sheets.get(topic);
                (sheet.map_or(0, |sheet| sheet.version), Vec::new())
            }
        };
        if version == 0 {
            return Ok(());
        }
        if let Some(sheet) = self.desk.lock().sheets.get_mut(topic) {
            // What changes from here on waits for the next one.
            sheet.written_at = Some(Instant::now());
        }
        let is_empty = steps.is_empty();
        let whole = self.change(0, version, steps).encode();
        let shelf = Shelf::Roster(topic.to_shared());
        let put = self
            .store
            .put(&shelf, &self.key, whole.clone(), ROSTER_EXPIRY);
        in_time(put).await?;
        let now = Instant::now();
        let mut desk = self.desk.lock();
        let Some(sheet) = desk.sheets.get_mut(topic) else {
            return Ok(());
        };
        sheet.written = version;
        sheet.written_at = Some(now);
        let is_unseen = std::mem::take(&mut sheet.is_unseen);
        desk.rewrites.remove(topic, Job::Write);
        if !is_empty {
            desk.rewrites.add(topic, Job::Write, now + REWRITE);
        }
        drop(desk);
        // For who has read an older one and heard nothing of this.
        let subject = self.subject(topic);
        let is_shown = is_unseen && whole.len() <= MAX_SHOWN && self.say(&subject, whole);
        // Of what a broker does not take in one message, the version is enough to have them read it.
        let word = || self.change(version, version, Vec::new()).encode();
        let is_said = is_shown || self.say(&subject, word());
        let mut desk = self.desk.lock();
        if is_said {
            desk.let_go(topic);
        } else if let Some(sheet) = desk.sheets.get_mut(topic) {
            // The connection is away, or too much waits for it: others are to hear of it later.
            sheet.is_unseen |= is_unseen;
            let due = now + self.outer.options.write_interval;
            desk.agenda.add(topic, Job::Write, due);
        }
        Ok(())
    }

    fn change(&self, from: u64, to: u64, steps: Vec<Step<Entry>>) -> Change {
        Change {
            node: self.outer.node,
            from,
            to,
            encoding: self.outer.options.encoding.byte(),
            steps,
        }
    }

    async fn read(&self, topic: &Name) -> Result<(), StoreError> {
        let Some((turn, ear)) = self.begin_reading(topic).await? else {
            return Ok(());
        };
        let shelf = Shelf::Roster(topic.to_shared());
        let listed = in_time(self.store.list(&shelf)).await?;
        let mut rosters = Vec::new();
        for (key, value) in listed {
            match (node_of(&key), Change::decode(value)) {
                (Some(node), _) if node == self.outer.node => {}
                (Some(node), Ok(change)) if node == change.node => rosters.push(change),
                _ => {
                    let what = "a roster at the store cannot be read";
                    self.outer.note_unreadable(what);
                }
            }
        }
        let is_known = |change: &Change| self.desk.lock().nodes.is_living(change.node);
        if !rosters.iter().all(is_known) {
            let lives = self.ask_who_lives().await?;
            self.admit(&lives);
        }
        let mut present = HashSet::new();
        for change in rosters {
            let now = Instant::now();
            let is_living = {
                let nodes = &mut self.desk.lock().nodes;
                let is_living = nodes.is_living(change.node);
                if !is_living {
                    nodes.meet(change.node, Some(topic), now);
                }
                is_living
            };
            if is_living {
                present.insert(change.node);
                self.apply(topic, change, turn);
            }
        }
        let again = self.guard(|shared| {
            let lock = shared.rooms.find(topic)?;
            let mut again = None;
            let now = Instant::now();
            merge(shared, topic, &lock, |room| {
                let (merged, absent) = room.miss_absent(&present, turn, (now, PATIENCE));
                again = absent;
                merged
            });
            again
        });
        {
            let mut desk = self.desk.lock();
            let Some(sheet) = desk.sheets.get_mut(topic) else {
                return Ok(());
            };
            if sheet.ear.is_none_or(|(id, _)| id != ear) {
                // Left and watched again meanwhile: what was read before is forgotten, and it will be read again.
                return Ok(());
            }
            self.set_unread(sheet, false);
            if let Some(due) = again.flatten() {
                desk.agenda.add(topic, Job::Read, due);
            }
        }
        self.guard(|shared| {
            let lock = shared.rooms.find(topic)?;
            let mut room = lock.lock();
            let rosters = room.rosters.as_deref_mut()?;
            rosters.is_read = rosters.is_watched;
            Some(())
        });
        self.tell_readers();
        Ok(())
    }

    /// Makes sure that what is told from now on comes here, so that nothing is between it and what is read. Gives the
    /// number of the turn and the subscription, if the topic is still watched.
    async fn begin_reading(&self, topic: &Name) -> Result<Option<(u64, SubscriberId)>, StoreError> {
        let (is_confirmed, turn, ear) = {
            let mut desk = self.desk.lock();
            let ear = desk.sheets.get(topic).and_then(|sheet| sheet.ear);
            let Some((ear, subscribed)) = ear else {
                return Ok(None);
            };
            desk.turn += 1;
            (subscribed <= desk.confirmed, desk.turn, ear)
        };
        if !is_confirmed {
            // The broker carries out in order what it is asked for.
            let word = Word::Alive(self.outer.node).encode();
            self.outer
                .engine
                .publish_confirmed(&self.lives, word)
                .await?;
            let mut desk = self.desk.lock();
            // Who subscribed while it was on the way has this turn's number.
            desk.confirmed = turn - 1;
        }
        Ok(Some((turn, ear)))
    }
}

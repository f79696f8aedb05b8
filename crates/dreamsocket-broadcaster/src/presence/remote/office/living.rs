//! Who lives: this node shows that it does, finds out who does not any more, and says farewell.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::time::{self, Instant};

use super::super::super::wire::Word;
use super::super::agenda::Job;
use super::super::nodes::Unread;
use super::{Desk, FAREWELL, Office, despite_panics, in_time, merge, node_of};
use crate::engine::{Engine, Name};
use crate::store::{Shelf, Store, StoreError};

impl<K, V, S> Office<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Store,
{
    pub(super) async fn live(&self) {
        let beat = self.outer.options.beat;
        let mut next = Instant::now();
        let mut shown = SystemTime::now();
        let mut disconnections = 0;
        loop {
            if Instant::now() >= next {
                let expiry = self.desk.lock().nodes.expiry();
                let put =
                    self.store
                        .put(&Shelf::Lives, &self.key, Bytes::from_static(b"1"), expiry);
                if let Ok(Ok(())) = time::timeout(beat, put).await {
                    let now = Instant::now();
                    next = now + beat;
                    // A machine that slept has a clock of this kind that slept with it.
                    let pause = SystemTime::now().duration_since(shown);
                    shown = SystemTime::now();
                    let pause = pause.unwrap_or_default();
                    self.desk.lock().nodes.show(now, pause);
                    self.set_shown(true);
                    self.say_word(Word::Alive(self.outer.node));
                } else {
                    self.set_shown(false);
                }
            }
            let must_show_all = self.desk.lock().nodes.must_show_all(Instant::now());
            if must_show_all {
                self.write_all(true);
            }
            let health = self.outer.engine.health();
            if health.is_connected && health.disconnections != disconnections {
                disconnections = health.disconnections;
                self.write_all(false);
            }
            if self.desk.lock().nodes.must_ask(Instant::now())
                && let Ok(Ok(lives)) = time::timeout(beat, self.ask_who_lives()).await
            {
                self.admit(&lives);
                let gone = self.desk.lock().nodes.judge(&lives, Instant::now());
                for node in &gone {
                    self.say_word(Word::Missed(*node));
                }
                self.remove_nodes(&gone);
            }
            tokio::select! {
                () = time::sleep(beat / 4) => {}
                () = self.strangers.notified() => {}
            }
        }
    }

    fn set_shown(&self, is_shown: bool) {
        // It may wake who waits for the connection.
        despite_panics(|| self.outer.is_shown.send_replace(is_shown));
    }

    pub(super) async fn ask_who_lives(&self) -> Result<HashSet<u64>, StoreError> {
        let lives = in_time(self.store.list(&Shelf::Lives)).await?;
        Ok(lives.iter().filter_map(|(key, _)| node_of(key)).collect())
    }

    pub(super) fn admit(&self, lives: &HashSet<u64>) {
        let now = Instant::now();
        let unread = self.desk.lock().nodes.admit(lives, now);
        let topics = match unread {
            Unread::In(topics) => topics.into_iter().collect(),
            Unread::Everywhere => self.watched(),
        };
        for topic in topics {
            self.must_read(&topic, now);
        }
    }

    fn watched(&self) -> Vec<Name> {
        let sheets = &self.desk.lock().sheets;
        let watched = sheets.iter().filter(|(_, sheet)| sheet.ear.is_some());
        watched.map(|(topic, _)| topic.clone()).collect()
    }

    /// Writes all rosters again, as fast as the rate allows. After a lost connection the store may have lost them.
    fn write_all(&self, is_unseen: bool) {
        let now = Instant::now();
        let mut desk = self.desk.lock();
        desk.nodes.distrust(now);
        let Desk {
            sheets, rewrites, ..
        } = &mut *desk;
        for (topic, sheet) in sheets.iter_mut().filter(|(_, sheet)| sheet.is_peopled) {
            sheet.is_unseen |= is_unseen;
            rewrites.add(topic, Job::Write, now);
        }
        drop(desk);
        self.jobs.notify_one();
    }

    /// They are gone, and all their people.
    pub(super) fn remove_nodes(&self, nodes: &[u64]) {
        if nodes.is_empty() {
            return;
        }
        for topic in self.watched() {
            self.guard(|shared| {
                let Some(lock) = shared.rooms.find(&topic) else {
                    return;
                };
                merge(shared, &topic, &lock, |room| {
                    nodes.iter().map(|node| room.remove_node(*node)).collect()
                });
            });
        }
    }

    pub(super) async fn say_farewell(&self) {
        // First the key: who hears the word and then finds the key would take the node in again.
        let removed = self.store.remove(&Shelf::Lives, &self.key);
        let _ = time::timeout(FAREWELL / 2, removed).await;
        self.say_word(Word::Gone(self.outer.node));
        let written: Vec<Name> = {
            let sheets = &self.desk.lock().sheets;
            let written = sheets.iter().filter(|(_, sheet)| sheet.written > 0);
            written.map(|(topic, _)| topic.clone()).collect()
        };
        for topic in written {
            let shelf = Shelf::Roster(topic.to_shared());
            let _ = self.store.remove(&shelf, &self.key).await;
        }
    }
}

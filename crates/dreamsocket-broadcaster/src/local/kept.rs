//! Topics that keep history: a message goes into the ring and to the subscribers in one order, and who joins takes what is
//! in the ring and gets all that comes after it.
//!
//! A publisher puts its message into the ring and begins the walk with the ring locked; who joins with a replay copies the
//! ring and gets onto the list with the ring locked. So a message is either in the copy or delivered, and not both.

use std::sync::Arc;
use std::time::Instant;

use crate::counts::Counts;
use crate::deferred::Deferred;
use crate::directory::shard_of;
use crate::engine::{Name, Sink, SubscriberId};
use crate::history::Begin;
use crate::keyer::Keys;
use crate::local::Local;
use crate::parcel::Parcel;
use crate::position::Position;
use crate::ring::Replay;
use crate::rings::Rings;

impl<M> Local<M> {
    /// Publishes to a topic that keeps history. Leaves what runs foreign code to the caller, except the subscribers' key
    /// functions. Tells to how many the message was handed.
    pub(super) fn publish_kept(
        &self,
        rings: &Rings<M>,
        topic: &Name,
        message: M,
        except: Option<u64>,
        deferred: &mut Deferred<M>,
    ) -> u64 {
        let counts = &self.counts[shard_of(topic)];
        let mut keys = Keys::new();
        loop {
            let kept = rings.find_or_insert(topic);
            let turn = kept.turn.lock();
            let mut state = kept.state.lock();
            if state.is_retired {
                drop(state);
                rings.remove(topic, &kept);
                continue;
            }
            // Looked for with the ring locked: who joins with a replay is on the list now, or will find the message.
            let entry = self.topics.find(topic);
            let subscribers = entry.as_ref().map(|entry| entry.subscribers.lock());
            let unknown = subscribers.as_ref();
            let unknown = unknown.map_or_else(Vec::new, |list| list.keyers_missing_in(&keys));
            if !unknown.is_empty() {
                drop(subscribers);
                drop(state);
                drop(turn);
                for keyer in unknown {
                    keys.compute(&keyer, &message, &self.secret, deferred);
                }
                continue;
            }

            let now = Instant::now();
            let number = rings.next_number();
            let is_new = state.touched == 0;
            state.touched = number;
            let position = Position::new(self.id, u128::from(number));
            let parcel = Arc::new(Parcel::new(message, Some(position)));
            let history = &rings.history;
            state.ring.expire(now, history.max_age, deferred);
            let shared = Arc::clone(&parcel);
            state.ring.push(shared, now, history.count, deferred);
            let walk = match subscribers {
                Some(list) => Some((list.walk(parcel, &keys, except), list)),
                None => {
                    deferred.discard(parcel);
                    None
                }
            };
            drop(state);

            let mut walked = Counts {
                published: 1,
                ..Counts::default()
            };
            if let (Some((mut walk, mut subscribers)), Some(entry)) = (walk, &entry) {
                while subscribers.deliver(&mut walk, deferred) {
                    drop(subscribers);
                    subscribers = entry.subscribers.lock();
                }
                let is_retired = subscribers.is_retired();
                drop(subscribers);
                walked = walk.counts;
                if is_retired {
                    self.topics.remove(topic, entry);
                }
            }
            drop(turn);
            rings.settle(topic, number, is_new, now, deferred);
            counts.add(walked);
            return walked.delivered;
        }
    }

    /// Adds a subscriber that begins with what is kept.
    pub(super) fn subscribe_with_replay(
        &self,
        topic: &Name,
        sink: &Arc<dyn Sink<M>>,
        begin: Begin,
    ) -> SubscriberId {
        // Declared before the guards, so that it drops after them.
        let mut deferred = Deferred::new();
        let rings = self.rings.as_deref().filter(|_| topic.is_kept());
        let Some(rings) = rings else {
            sink.replay(Replay::of_nothing(begin), &mut deferred);
            return self.add(topic, Arc::clone(sink));
        };
        loop {
            // A name that was never published to takes no room among those that were.
            let kept = rings.find_or(topic, || {
                sink.replay(Replay::of_nothing(begin), &mut deferred);
                self.add(topic, Arc::clone(sink))
            });
            let kept = match kept {
                Ok(kept) => kept,
                Err(id) => return id,
            };
            let mut state = kept.state.lock();
            if state.is_retired {
                drop(state);
                rings.remove(topic, &kept);
                continue;
            }
            let (now, max_age) = (Instant::now(), rings.history.max_age);
            state.ring.expire(now, max_age, &mut deferred);
            sink.replay(state.ring.replay(begin), &mut deferred);
            return self.add(topic, Arc::clone(sink));
        }
    }
}

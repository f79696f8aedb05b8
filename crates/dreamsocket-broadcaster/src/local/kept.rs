//! Topics that keep history: a message goes into the ring and to the subscribers in one order, and who joins takes what is
//! in the ring and gets all that comes after it.
//!
//! A publisher puts its message into the ring and begins the walk with the ring locked; who joins with a replay copies the
//! ring and gets onto the list with the ring locked. So a message is either in the copy or delivered, and not both.

use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "remote")]
use std::time::Instant;

use crate::clock;
use crate::counts::Counts;
use crate::deferred::Deferred;
use crate::directory::shard_of;
use crate::engine::{Name, Sink, SubscriberId};
#[cfg(feature = "remote")]
use crate::gap::Gap;
use crate::history::Begin;
use crate::keyer::Keys;
use crate::local::Local;
use crate::parcel::Parcel;
use crate::position::Position;
use crate::ring::Replay;
use crate::rings::{Rings, State, Waiting};

/// A message that a broker has brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) position: Position,
    pub(crate) age: Duration,
    /// It goes into the ring only.
    pub(crate) is_past: bool,
}

impl<M> State<M> {
    /// Gives a replay to each who waits for one and is not further on. Gives the sinks to be dropped when no lock is held.
    fn fulfil(&mut self, sinks: &mut Vec<Arc<dyn Sink<M>>>, deferred: &mut Deferred<M>) {
        let Self { ring, waiting, .. } = self;
        waiting.retain(|Waiting { begin, sink, .. }| {
            if ring.is_before(*begin) {
                return true;
            }
            if let Some(sink) = sink.upgrade() {
                sink.replay(ring.replay(*begin), deferred);
                sinks.push(sink);
            }
            false
        });
    }
}

/// How long who is to begin with what a broker has kept waits for it.
#[cfg(feature = "remote")]
const PATIENCE: Duration = Duration::from_secs(5);

impl<M> Local<M> {
    /// Publishes to a topic that keeps history. Leaves what runs foreign code to the caller, except the subscribers' key
    /// functions. Tells to how many the message was handed.
    pub(super) fn publish_kept(
        &self,
        rings: &Rings<M>,
        topic: &Name,
        message: M,
        except: Option<u64>,
        arrival: Option<Arrival>,
        deferred: &mut Deferred<M>,
    ) -> u64 {
        let counts = &self.counts[shard_of(topic)];
        let mut keys = Keys::new();
        loop {
            let kept = match arrival {
                None => rings.find_or_insert(topic),
                Some(_) => match rings.find(topic) {
                    Some(kept) => kept,
                    None => {
                        // Nobody is subscribed any more.
                        deferred.discard_unshared(message);
                        return 0;
                    }
                },
            };
            let turn = kept.turn.lock();
            let mut state = kept.state.lock();
            if state.is_retired {
                drop(state);
                rings.remove(topic, &kept);
                continue;
            }
            // Looked for with the ring locked: who joins with a replay is on the list now, or will find the message.
            let is_past = arrival.is_some_and(|arrival| arrival.is_past);
            let entry = self.topics.find(topic).filter(|_| !is_past);
            // The ring may be let go of meanwhile, and its turn with it: that of the subscribers stays.
            let walking = entry.as_ref().map(|entry| entry.turn.lock());
            let subscribers = entry.as_ref().map(|entry| entry.subscribers.lock());
            let unknown = subscribers.as_ref();
            let unknown = unknown.map_or_else(Vec::new, |list| list.keyers_missing_in(&keys));
            if !unknown.is_empty() {
                drop(subscribers);
                drop(walking);
                drop(state);
                drop(turn);
                for keyer in unknown {
                    keys.compute(&keyer, &message, &self.secret, deferred);
                }
                continue;
            }

            let now = clock::now();
            let number = rings.next_number();
            state.touched = number;
            let (position, at) = match arrival {
                Some(Arrival { position, age, .. }) => (position, now.checked_sub(age)),
                None => (Position::new(self.id, u128::from(number)), None),
            };
            if !state.ring.goes_on_with(position) {
                // The broker has lost what it kept: what is here is of no use elsewhere.
                state.ring.clear(deferred);
            }
            let parcel = Arc::new(Parcel::new(message, Some(position)));
            let history = &rings.history;
            state.ring.expire(now, history.max_age, deferred);
            let is_first = state.ring.is_empty();
            let moved_from = is_first.then(|| std::mem::replace(&mut state.place, number));
            let shared = Arc::clone(&parcel);
            state
                .ring
                .push(shared, at.unwrap_or(now), history.count, deferred);
            let walk = match subscribers {
                Some(list) => Some((list.walk(parcel, &keys, except), list)),
                None => {
                    deferred.discard(parcel);
                    None
                }
            };
            drop(state);

            let mut walked = Counts {
                published: u64::from(!is_past),
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
            drop(walking);
            if rings.is_remote {
                // Behind the walk: what was delivered to who waits was not taken.
                let mut sinks = Vec::new();
                let mut state = kept.state.lock();
                if state.is_complete && !state.waiting.is_empty() {
                    state.fulfil(&mut sinks, deferred);
                }
                drop(state);
                drop(turn);
                drop(sinks);
            } else {
                drop(turn);
                rings.settle(topic, number, moved_from, now, deferred);
            }
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
        deferred: &mut Deferred<M>,
    ) -> SubscriberId {
        let rings = self.rings.as_deref().filter(|_| topic.is_kept());
        let Some(rings) = rings else {
            sink.replay(Replay::of_nothing(begin), deferred);
            return self.add(topic, Arc::clone(sink));
        };
        loop {
            let kept = if rings.is_remote {
                rings.find_or_insert(topic)
            } else {
                // A name that was never published to takes no room among those that were.
                let kept = rings.find_or(topic, || {
                    sink.replay(Replay::of_nothing(begin), deferred);
                    self.add(topic, Arc::clone(sink))
                });
                match kept {
                    Ok(kept) => kept,
                    Err(id) => return id,
                }
            };
            let mut state = kept.state.lock();
            if state.is_retired {
                drop(state);
                rings.remove(topic, &kept);
                continue;
            }
            let now = clock::now();
            // In process nobody else has said more than is here: such a position is made up, or another topic's.
            let is_ahead = rings.is_remote && state.ring.is_before(begin);
            if state.is_complete && !is_ahead {
                let max_age = rings.history.max_age;
                state.ring.expire(now, max_age, deferred);
                sink.replay(state.ring.replay(begin), deferred);
            } else {
                rings.note_waiting(topic, now);
                state.waiting.push(Waiting {
                    since: now,
                    begin,
                    sink: Arc::downgrade(sink),
                });
            }
            return self.add(topic, Arc::clone(sink));
        }
    }
}

#[cfg(feature = "remote")]
impl<M> Local<M> {
    /// Takes what a broker has kept, for a topic that has subscribers.
    pub(crate) fn arrive(
        &self,
        topic: &Name,
        message: M,
        except: Option<SubscriberId>,
        arrival: Arrival,
    ) {
        let Some(rings) = self.rings.as_deref() else {
            return;
        };
        let except = except.filter(|id| id.engine == self.id).map(|id| id.number);
        let mut deferred = Deferred::new();
        self.publish_kept(rings, topic, message, except, Some(arrival), &mut deferred);
    }

    /// Something is missing in what came before anybody here was subscribed.
    pub(crate) fn miss_past(&self, topic: &Name, gap: Gap) {
        if let Some(kept) = self.rings.as_deref().and_then(|rings| rings.find(topic)) {
            kept.state.lock().ring.miss(gap);
        }
    }

    /// All is in the ring that a broker has kept.
    pub(crate) fn complete(&self, topic: &Name) {
        let Some(kept) = self.rings.as_deref().and_then(|rings| rings.find(topic)) else {
            return;
        };
        let mut deferred = Deferred::new();
        let mut sinks = Vec::new();
        // Not in the middle of a walk: what is in the ring would be delivered again.
        let turn = kept.turn.lock();
        let mut state = kept.state.lock();
        state.is_complete = true;
        state.fulfil(&mut sinks, &mut deferred);
        drop(state);
        drop(turn);
        drop(deferred);
        // One may be its channel's last by now.
        drop(sinks);
    }

    /// Who has waited for too long is told a gap, and goes on with what is published.
    pub(crate) fn give_up_waiting(&self, now: Instant) {
        let Some(rings) = self.rings.as_deref() else {
            return;
        };
        let Some(until) = now.checked_sub(PATIENCE) else {
            return;
        };
        let mut deferred = Deferred::new();
        let mut sinks = Vec::new();
        while let Some(topic) = rings.next_awaited(until) {
            let Some(kept) = rings.find(&topic) else {
                continue;
            };
            let _turn = kept.turn.lock();
            let mut state = kept.state.lock();
            let late = state.waiting.iter();
            let late = late.take_while(|waiting| waiting.since <= until).count();
            let State {
                ring,
                is_complete,
                waiting,
                ..
            } = &mut *state;
            for Waiting { begin, sink, .. } in waiting.drain(..late) {
                let Some(sink) = sink.upgrade() else {
                    continue;
                };
                let replay = if *is_complete {
                    ring.replay(begin)
                } else {
                    let mut replay = Replay::of_nothing(Begin::Last(0));
                    replay.miss_before(Gap::UNKNOWN);
                    replay
                };
                sink.replay(replay, &mut deferred);
                sinks.push(sink);
            }
        }
        drop(deferred);
        drop(sinks);
    }

    /// Nobody is subscribed any more: what is kept is the broker's. What it gives is to be dropped when no lock is held.
    pub(crate) fn forget(&self, topic: &Name) -> Deferred<M> {
        let mut deferred = Deferred::new();
        if let Some(rings) = self.rings.as_deref()
            && let Some(kept) = rings.find(topic)
        {
            let mut state = kept.state.lock();
            state.is_retired = true;
            state.ring.clear(&mut deferred);
            drop(state);
            rings.remove(topic, &kept);
        }
        deferred
    }
}

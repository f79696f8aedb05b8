//! The engine that reaches other machines: the local one for the last hop, and a link for the way there.
//!
//! A message of one's own takes the way through the broker, too, and comes to the subscribers of this process when it is
//! back. So all nodes see the messages of a topic in the order in which the broker has them, a chat reads the same on
//! every page, and there is one path on which gaps are found. It costs the way there and back, and it means that a
//! publish that failed has reached nobody: not half of the subscribers.
//!
//! What is here knows the message type; the rest, which does not, is in `exchange.rs`.

#[cfg(any(feature = "nats", feature = "redis"))]
pub(crate) mod backoff;
mod bridging;
pub(crate) mod encoding;
pub(crate) mod exchange;
mod frame;
mod numbering;
pub(crate) mod options;
mod outgoing;
mod tracking;

use std::error::Error;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::{self, Instant};

use crate::clock;
use crate::counts::Counts;
use crate::deferred::Deferred;
use crate::engine::{Confirmation, Engine, Name, Sink, SubscriberId, Unsubscribe};
use crate::error::PublishError;
use crate::gap::Gap;
use crate::health::Health;
use crate::history::Begin;
use crate::link::{Link, Node};
use crate::local::Local;
use crate::local::kept::Arrival;
use crate::position::Position;
use crate::remote::bridging::Place;
use crate::remote::encoding::Coder;
use crate::remote::exchange::Exchange;
use crate::remote::frame::{Draft, Frame};
use crate::remote::options::RemoteOptions;
use crate::remote::outgoing::Confirm;
use crate::remote::tracking::Verdict;
use crate::topic::{Published, TopicInfo};

pub(crate) struct Remote<M> {
    local: Local<M>,
    exchange: Arc<Exchange>,
    coder: Coder<M>,
    published: AtomicU64,
    /// The log has had one word about what cannot be read; the counter has the rest.
    is_logged: AtomicBool,
}

/// The part of an engine that a link needs.
pub(crate) trait Arrivals: Send + Sync {
    /// Takes a frame that came for a topic in a session. Called by one thread at a time for each session.
    fn arrive(&self, session: u64, topic: &str, kept: Option<(Position, Duration)>, frame: Bytes);

    /// All that was kept of a topic has come in a session.
    fn replayed(&self, session: u64, topic: &str);
}

impl<M: Serialize + DeserializeOwned + Send + Sync + 'static> Remote<M> {
    /// Starts the link as a task of the current runtime.
    pub(crate) fn start<L: Link>(link: L, options: RemoteOptions) -> Arc<Self> {
        let coder = Coder::new(options.encoding);
        Self::start_with(link, coder, options)
    }
}

impl<M: Send + Sync + 'static> Remote<M> {
    /// As [`start`](Self::start), with messages that are written in a way of their own.
    pub(crate) fn start_with<L: Link>(
        link: L,
        coder: Coder<M>,
        mut options: RemoteOptions,
    ) -> Arc<Self> {
        if !L::KEEPS_HISTORY && options.history.take().is_some() {
            tracing::warn!("this link keeps no history; who asks for it is told a gap");
        }
        let has_history = options.history.is_some();
        let local = Local::with_remote_history(options.history.clone());
        // A life of this node: whoever comes after it under the same address is somebody else.
        let id = local.id();
        let echo_topic = local.name(format!("$node/{id:016x}").into());
        let echo_topic = echo_topic.keeping(false);
        let remote = Arc::new(Self {
            exchange: Arc::new(Exchange::new(id, echo_topic, options)),
            local,
            coder,
            published: AtomicU64::new(0),
            is_logged: AtomicBool::new(false),
        });
        let exchange = Arc::clone(&remote.exchange);
        let arrivals = Arc::downgrade(&remote) as Weak<dyn Arrivals>;
        let waited_for = Arc::downgrade(&remote);
        tokio::spawn(async move {
            let running = async {
                run_to_its_end(&exchange, link, arrivals).await;
                // Who begins with what is kept is still told that it does not come.
                if has_history {
                    exchange.when_closed().await;
                }
            };
            tokio::select! {
                () = running => {}
                () = exchange.keep_time() => {}
                () = give_up_waiting(waited_for), if has_history => {}
                () = exchange.when_over() => {}
            }
        });
        remote
    }

    /// Drawn by chance: no other engine has it.
    pub(crate) const fn id(&self) -> u64 {
        self.local.id()
    }

    /// Ready when there is a connection.
    pub(crate) async fn when_connected(&self) {
        self.exchange.when_connected().await;
    }
}

impl<M: Send + Sync + 'static> Remote<M> {
    fn send(
        &self,
        topic: &Name,
        message: M,
        except: Option<SubscriberId>,
        confirm: Option<Confirm>,
    ) -> Result<Published, PublishError> {
        let mut draft = Draft::new(except, self.coder.encoding.byte());
        self.coder
            .encode(&message, draft.buffer())
            .map_err(PublishError::Unencodable)?;
        self.exchange.publish(topic, draft, confirm)?;
        self.published.fetch_add(1, Ordering::Relaxed);
        Ok(Published {
            local: self.local.audience(topic, except),
        })
    }

    fn handle(&self, session: u64, topic: &str, frame: Bytes) {
        let now = Instant::now();
        // What is published this way is not kept, whatever is kept of the topic.
        let named = self.local.name(topic.into());
        let topic = named.clone().keeping(false);
        let tally = &self.exchange.tally;
        match Frame::decode(frame) {
            Ok(Frame::Message {
                stamp,
                except,
                encoding,
                payload,
            }) => {
                let look = self
                    .exchange
                    .track(&topic, session, |tracking, _| tracking.message(stamp, now));
                match look {
                    Some(Verdict::Deliver(mut gap)) => match self.decode(encoding, &payload) {
                        Ok(message) => {
                            self.tell(&topic, gap);
                            // The local engine cannot fail.
                            let _ = self.local.publish(&topic, message, except);
                        }
                        Err(error) => {
                            gap.add(Gap::ONE);
                            self.tell(&topic, gap);
                            self.note_unreadable(&topic, &*error);
                        }
                    },
                    Some(Verdict::Drop) => {
                        tally.doubles.fetch_add(1, Ordering::Relaxed);
                    }
                    None => {}
                }
            }
            Ok(Frame::Announcement(stamp)) => {
                let look = self.exchange.track(&topic, session, |tracking, bridging| {
                    // What it announces may be about to be replayed; it will be announced again.
                    if named.is_kept() && !bridging.is_live() {
                        return Gap::NONE;
                    }
                    tracking.announcement(stamp, now)
                });
                self.tell(&named, look.unwrap_or_default());
            }
            Ok(Frame::Echo { node, number }) => {
                if node == self.local.id() {
                    self.confirm(session, number, now);
                }
            }
            Err(error) => {
                // Somebody said something here that this node cannot make out.
                if self.exchange.track(&topic, session, |_, _| ()).is_some() {
                    self.tell(&named, Gap::UNKNOWN);
                    self.note_unreadable(&topic, &error);
                }
            }
        }
    }

    /// Takes a frame that the broker has kept.
    fn handle_kept(
        &self,
        session: u64,
        topic: &str,
        position: Position,
        age: Duration,
        frame: Bytes,
    ) {
        let now = Instant::now();
        let topic = self.local.name(topic.into());
        if !topic.is_kept() {
            // Other nodes keep what this one does not.
            return self.handle(session, topic.as_str(), frame);
        }
        let frame = Frame::decode(frame);
        let look = self
            .exchange
            .track(&topic, session, |tracking, bridging| {
                let stamp = match &frame {
                    Ok(Frame::Message { stamp, .. }) => Some(*stamp),
                    Ok(_) | Err(_) => None,
                };
                let place = bridging.place(position, stamp);
                if let Place::Known { is_bridge: true } = place {
                    tracking.bridge(!bridging.has_begun());
                }
                let (is_past, is_torn) = match place {
                    Place::Known { .. } => return None,
                    Place::Past { is_torn } => (true, is_torn),
                    Place::New => (false, false),
                };
                let verdict = match &frame {
                    Ok(Frame::Message { stamp, .. }) if is_past => tracking.past(*stamp, now),
                    Ok(Frame::Message { stamp, .. }) => tracking.kept_message(*stamp, now),
                    Ok(_) => Verdict::Drop,
                    Err(_) => Verdict::Deliver(Gap::UNKNOWN),
                };
                Some((verdict, is_past, is_torn))
            })
            .flatten();
        let Some((verdict, is_past, is_torn)) = look else {
            return;
        };
        let Verdict::Deliver(mut gap) = verdict else {
            let tally = &self.exchange.tally;
            tally.doubles.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if is_torn {
            gap.add(Gap::UNKNOWN);
        }
        let read = match frame {
            Ok(Frame::Message {
                except,
                encoding,
                payload,
                ..
            }) => match self.decode(encoding, &payload) {
                Ok(message) => Ok((message, except)),
                Err(error) => {
                    gap.add(Gap::ONE);
                    Err(error)
                }
            },
            Ok(_) => return,
            Err(error) => Err(error.into()),
        };
        if is_past {
            self.local.miss_past(&topic, gap);
        } else {
            self.tell(&topic, gap);
        }
        match read {
            Ok((message, except)) => {
                let arrival = Arrival {
                    position,
                    age,
                    is_past,
                };
                self.local.arrive(&topic, message, except, arrival);
            }
            Err(error) => self.note_unreadable(&topic, &*error),
        }
    }

    /// All that was kept of a topic has come.
    fn handle_replayed(&self, session: u64, topic: &str) {
        let now = Instant::now();
        let topic = self.local.name(topic.into());
        let look = self.exchange.track(&topic, session, |tracking, bridging| {
            (bridging.replayed(), tracking.confirm(now))
        });
        let Some((replayed, owed)) = look else {
            return;
        };
        if replayed.is_torn {
            self.local.miss_past(&topic, Gap::UNKNOWN);
        }
        // Of what is owed nothing is missing in the ring, nor to who waits for the first replay.
        if replayed.is_first {
            self.tell(&topic.clone().keeping(false), owed);
        } else {
            self.tell(&topic, owed);
        }
        self.local.complete(&topic);
    }

    fn confirm(&self, session: u64, number: u64, now: Instant) {
        // Of those that keep history the replay confirms.
        let topics = self.exchange.echoed(number).into_iter();
        for topic in topics.filter(|topic| !topic.is_kept()) {
            let look = self
                .exchange
                .track(&topic, session, |tracking, _| tracking.confirm(now));
            self.tell(&topic, look.unwrap_or_default());
        }
    }

    /// Tells a gap, whatever the wakers do that run in it: what is behind it counts as heard by now, and is to be handed on.
    fn tell(&self, topic: &Name, gap: Gap) {
        if gap.is_none() {
            return;
        }
        self.exchange.tally.gaps.fetch_add(1, Ordering::Relaxed);
        let telling = AssertUnwindSafe(|| self.local.miss(topic, gap));
        if catch_unwind(telling).is_err() {
            tracing::error!(topic = topic.as_str(), "a waker panicked as a gap was told");
        }
    }

    fn decode(&self, encoding: u8, payload: &[u8]) -> Result<M, Box<dyn Error + Send + Sync>> {
        if payload.len() > self.exchange.options().max_message {
            return Err("the message is larger than max_message".into());
        }
        let decoding = AssertUnwindSafe(|| self.coder.decode(encoding, payload));
        catch_unwind(decoding).unwrap_or_else(|_| Err("its Deserialize panicked".into()))
    }

    fn note_unreadable(&self, topic: &Name, error: &dyn Error) {
        let tally = &self.exchange.tally;
        tally.undecodable.fetch_add(1, Ordering::Relaxed);
        if !self.is_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                topic = topic.as_str(),
                "a message from another node cannot be read; its subscribers are told of a gap; \
                 further ones are only counted"
            );
        }
        // What serde says may have a piece of the message in it.
        tracing::debug!(topic = topic.as_str(), %error, "cannot be read");
    }
}

impl<M: Send + Sync + 'static> Arrivals for Remote<M> {
    fn arrive(&self, session: u64, topic: &str, kept: Option<(Position, Duration)>, frame: Bytes) {
        // What runs of the user's in there, key functions, drops and wakers, must not end the link.
        let handling = AssertUnwindSafe(|| match kept {
            Some((position, age)) => self.handle_kept(session, topic, position, age, frame),
            None => self.handle(session, topic, frame),
        });
        if catch_unwind(handling).is_err() {
            tracing::error!(
                topic,
                "code of the application panicked as a message was handed on"
            );
        }
    }

    fn replayed(&self, session: u64, topic: &str) {
        let handling = AssertUnwindSafe(|| self.handle_replayed(session, topic));
        if catch_unwind(handling).is_err() {
            tracing::error!(topic, "code of the application panicked in a replay");
        }
    }
}

impl<M: Send + Sync + 'static> Engine<M> for Remote<M> {
    fn name(&self, name: Arc<str>) -> Name {
        self.local.name(name)
    }

    fn publish(
        &self,
        topic: &Name,
        message: M,
        except: Option<SubscriberId>,
    ) -> Result<Published, PublishError> {
        self.send(topic, message, except, None)
    }

    fn publish_confirmed<'a>(&'a self, topic: &'a Name, message: M) -> Confirmation<'a> {
        Box::pin(async move {
            let (confirm, confirmed) = oneshot::channel();
            let published = self.send(topic, message, None, Some(confirm))?;
            let timeout = self.exchange.options().confirm_timeout;
            match time::timeout(timeout, confirmed).await {
                Ok(Ok(())) => Ok(published),
                Ok(Err(_)) | Err(_) => Err(PublishError::Unconfirmed),
            }
        })
    }

    fn subscribe(
        &self,
        topic: &Name,
        sink: Arc<dyn Sink<M>>,
        begin: Option<Begin>,
        deferred: &mut Deferred<M>,
    ) -> SubscriberId {
        let join = || self.local.subscribe(topic, sink, begin, deferred);
        self.exchange.subscribe(topic, join)
    }

    fn subscribers(&self, topic: &Name) -> usize {
        self.local.subscribers(topic)
    }

    fn topic_counts(&self, topic: &Name) -> Counts {
        self.local.topic_counts(topic)
    }

    fn all_subscribers(&self) -> usize {
        self.local.all_subscribers()
    }

    fn topics(&self) -> usize {
        self.local.topics()
    }

    fn list_topics(&self, limit: usize, is_wanted: &dyn Fn(&str) -> bool) -> Vec<TopicInfo> {
        self.local.list_topics(limit, is_wanted)
    }

    fn counts(&self) -> Counts {
        Counts {
            published: self.published.load(Ordering::Relaxed),
            ..self.local.counts()
        }
    }

    fn health(&self) -> Health {
        self.exchange.health()
    }

    /// Others may still publish.
    fn abandon(&self) {}
}

impl<M: Send + Sync> Unsubscribe for Remote<M> {
    fn unsubscribe(&self, topic: &Name, id: SubscriberId) {
        self.local.unsubscribe(topic, id);
        let forgotten = self
            .exchange
            .unsubscribe(topic, || self.local.forget(topic));
        drop(forgotten);
    }
}

/// Runs a link, whose panic is an end like any other.
async fn run_to_its_end<L: Link>(exchange: &Arc<Exchange>, link: L, arrivals: Weak<dyn Arrivals>) {
    let node = Node::new(Arc::clone(exchange), arrivals);
    let mut running = pin!(async { link.run(node).await });
    poll_fn(|context| {
        let polling = AssertUnwindSafe(|| running.as_mut().poll(context));
        catch_unwind(polling).unwrap_or_else(|_| {
            tracing::error!("the link panicked; nothing goes to other machines any more");
            Poll::Ready(())
        })
    })
    .await;
}

/// Looks, every tenth of a second, who has waited for too long for what is kept; until the engine is gone, and longer.
async fn give_up_waiting<M>(remote: Weak<Remote<M>>) {
    loop {
        time::sleep(Duration::from_millis(100)).await;
        if let Some(remote) = remote.upgrade() {
            let giving_up = AssertUnwindSafe(|| remote.local.give_up_waiting(clock::now()));
            // Only wakers run in it that are the user's.
            let _ = catch_unwind(giving_up);
        }
    }
}

impl<M> Drop for Remote<M> {
    fn drop(&mut self) {
        self.exchange.close();
    }
}

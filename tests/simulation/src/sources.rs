//! Sources for selectors: fed by another task, all there at once, of a topic, of a timer; and one that panics.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dreamsocket::Selector;

use crate::app::{App, Custom, channel_options, dawdle};
use crate::event::{Event, Kind, Policy};
use crate::handlers::OnPurpose;
use crate::random::Rng;
use crate::record::{EndpointId, Record};

/// The keys of sources that are fed. A key that is there already is replaced.
pub(crate) const KEYS: &[&str] = &["a", "b", "c"];

/// A source, as the record knows it.
pub(crate) struct Made {
    pub(crate) id: u32,
    pub(crate) selector: Selector<Custom>,
}

/// A channel that another task feeds with so many messages.
pub(crate) fn fed(app: &Arc<App>, endpoint: EndpointId, rng: &mut Rng, count: u64) -> Made {
    let key = rng.percent(75).then(|| *rng.pick(KEYS));
    let capacity = usize::try_from(rng.within(1..=6)).unwrap_or(1);
    let (sender, channel) = Selector::channel(capacity);
    let id = app.record.source(endpoint, key, Kind::Fed);
    let (record, mut rng) = (app.record.clone(), rng.split(5));
    tokio::spawn(async move {
        for number in 0..count {
            if rng.percent(30) {
                tokio::time::sleep(Duration::from_millis(rng.within(1..=30))).await;
            } else {
                dawdle(&mut rng).await;
            }
            let message = Custom::Fed { source: id, number };
            if sender.send(message).await.is_err() {
                return;
            }
            record.note(endpoint, Event::Fed { source: id, number });
        }
    });
    Made {
        id,
        selector: keyed(key, channel),
    }
}

fn keyed(key: Option<&'static str>, selector: Selector<Custom>) -> Selector<Custom> {
    match key {
        Some(key) => Selector::new().select_as(key, selector),
        None => selector,
    }
}

/// A stream in which so many messages are there at once.
pub(crate) fn torrent(app: &Arc<App>, endpoint: EndpointId, count: u64) -> Made {
    let id = app.record.source(endpoint, None, Kind::Torrent(count));
    let stream = Torrent {
        source: id,
        next: 0,
        count,
    };
    Made {
        id,
        selector: Selector::new().select(stream),
    }
}

struct Torrent {
    source: u32,
    next: u64,
    count: u64,
}

impl futures_core::Stream for Torrent {
    type Item = Custom;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Custom>> {
        let number = self.next;
        self.next += 1;
        Poll::Ready((number < self.count).then_some(Custom::Fed {
            source: self.source,
            number,
        }))
    }
}

pub(crate) fn timer(app: &Arc<App>, endpoint: EndpointId, rng: &mut Rng) -> Made {
    let id = app.record.source(endpoint, None, Kind::Timer);
    let delay = Duration::from_millis(rng.within(1..=40));
    let message = Custom::Fed {
        source: id,
        number: 0,
    };
    let selector = match rng.percent(50) {
        true => Selector::after(delay, message),
        false => Selector::every(delay, message),
    };
    Made { id, selector }
}

/// A topic's channel, under the topic's name.
pub(crate) fn subscribed(app: &App, endpoint: EndpointId, topic: u64, rng: &mut Rng) -> Made {
    let (number, topic) = app.topic(topic);
    let capacity = usize::try_from(rng.within(1..=8)).unwrap_or(1);
    let policy = *rng.weighted(&[
        (5, Policy::DropOldest),
        (3, Policy::DropNewest),
        (3, Policy::LatestPerKey),
        (1, Policy::End),
    ]);
    let kind = Kind::Topic {
        topic: *number,
        capacity,
        policy,
    };
    let id = app.record.source(endpoint, Some(topic.name()), kind);
    let channel = topic.subscribe_with(channel_options(capacity, policy));
    Made {
        id,
        selector: Selector::from(channel),
    }
}

/// A source that panics when it is looked at.
pub(crate) fn panicking(app: &App, endpoint: EndpointId) -> Made {
    let id = app.record.source(endpoint, None, Kind::Timer);
    let stream = Panicking {
        record: app.record.clone(),
        endpoint,
    };
    Made {
        id,
        selector: Selector::new().select(stream),
    }
}

struct Panicking {
    record: Record,
    endpoint: EndpointId,
}

impl futures_core::Stream for Panicking {
    type Item = Custom;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Custom>> {
        self.record.note(self.endpoint, Event::SourcePanics);
        std::panic::resume_unwind(Box::new(OnPurpose))
    }
}

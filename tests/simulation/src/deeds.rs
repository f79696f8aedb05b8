//! What a handler does with a message: the orders of the peer, and what the seed adds.

use std::sync::Arc;
use std::time::Duration;

use dreamsocket::{
    Action, BoxError, Close, Connection, Message, Missed, OnMissed, Prepared, Selector,
    continue_connection, continue_connection_adding, continue_connection_removing,
    continue_connection_with_selector, stop_connection, stop_connection_with,
};

use crate::app::{App, Custom, Payload, dawdle, yield_once};
use crate::event::{Event, Returned};
use crate::handlers::{State, panic_on_purpose};
use crate::order::{Deed, Order};
use crate::sources::{KEYS, Made, fed, panicking, subscribed, timer, torrent};

/// What a handler is about to return.
pub(crate) enum Next {
    Continue,
    Make(Makes),
    Replace(Vec<Made>),
    Add(Made),
    Remove(String),
    Stop,
    StopWith(u16),
}

/// Sources that are to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Makes {
    Fed(u64),
    Torrent(u64),
    Timer,
    Panicking,
    Topic(u64),
    /// In the place of all that there are.
    Others,
}

impl Next {
    pub(crate) fn carry_out(self) -> (Returned, Result<Action<Custom>, BoxError>) {
        let (returned, action) = match self {
            Self::Continue | Self::Make(_) => (Returned::Continue, continue_connection()),
            Self::Replace(made) => {
                let ids = made.iter().map(|made| made.id).collect();
                let selectors = made.into_iter().map(|made| made.selector);
                let selector = selectors.fold(Selector::new(), Selector::merge);
                let action = continue_connection_with_selector(selector);
                (Returned::Replace(ids), action)
            }
            Self::Add(made) => {
                let action = continue_connection_adding(made.selector);
                (Returned::Add(vec![made.id]), action)
            }
            Self::Remove(key) => {
                let action = continue_connection_removing(key.clone());
                (Returned::Remove(key), action)
            }
            Self::Stop => (Returned::Stop(1000), stop_connection()),
            Self::StopWith(code) => (Returned::Stop(code), stop_connection_with(code, "enough")),
        };
        (returned, Ok(action))
    }
}

pub(crate) fn make(makes: Makes, state: &mut State, app: &Arc<App>) -> Next {
    let (endpoint, rng) = (state.endpoint, &mut state.rng);
    Next::Add(match makes {
        Makes::Fed(count) => fed(app, endpoint, rng, count),
        Makes::Torrent(count) => torrent(app, endpoint, count),
        Makes::Timer => timer(app, endpoint, rng),
        Makes::Panicking => panicking(app, endpoint),
        Makes::Topic(topic) => subscribed(app, endpoint, topic, rng),
        Makes::Others => {
            let topic = rng.within(0..=2);
            let made = vec![
                fed(app, endpoint, rng, 6),
                subscribed(app, endpoint, topic, rng),
            ];
            return Next::Replace(made);
        }
    })
}

pub(crate) async fn act(
    state: &mut State,
    message: Message<Custom>,
    connection: &Connection,
    app: &Arc<App>,
) -> Result<Next, BoxError> {
    state.touch(&app.record);
    let endpoint = state.endpoint;
    let text = match message {
        Message::Text(text) => text,
        Message::ConnectionClosed(_) => return after_the_end(state, connection, app).await,
        Message::Custom(_) | Message::Missed(_) => {
            dawdle(&mut state.rng).await;
            if state.rng.percent(50) {
                let payload = Payload::any(app.unique("custom", 2), &mut state.rng);
                app.send(endpoint, connection, payload).await?;
            }
            return Ok(Next::Continue);
        }
        Message::Binary(_) => return Ok(Next::Continue),
    };
    let Some(order) = Order::parse(&text) else {
        dawdle(&mut state.rng).await;
        return Ok(Next::Continue);
    };
    dawdle(&mut state.rng).await;
    let next = obey(order, state, connection, app).await;
    state.touch(&app.record);
    next
}

/// What a handler does that is told of the end: it finds that sends fail.
async fn after_the_end(
    state: &mut State,
    connection: &Connection,
    app: &Arc<App>,
) -> Result<Next, BoxError> {
    let endpoint = state.endpoint;
    match state.rng.below(20) {
        0 => panic_on_purpose(),
        1 => return Err("no luck at the end".into()),
        2 => tokio::time::sleep(Duration::from_millis(state.rng.within(1..=50))).await,
        3 => return Ok(Next::Stop),
        4 => std::future::pending().await,
        5..=9 => {
            let payload = Payload::Text(app.unique("too late", 0));
            let _ = app.send(endpoint, connection, payload).await;
        }
        _ => {
            let payload = Payload::Text(app.unique("too late", 0));
            let _ = app.try_send(endpoint, connection, payload);
        }
    }
    state.touch(&app.record);
    Ok(Next::Continue)
}

async fn obey(
    order: Order,
    state: &mut State,
    connection: &Connection,
    app: &Arc<App>,
) -> Result<Next, BoxError> {
    let endpoint = state.endpoint;
    let Order { deed, count, size } = order;
    let code = u16::try_from(count).unwrap_or(4_000);
    match deed {
        Deed::Quiet => {}
        Deed::Echo | Deed::Large => {
            let payload = Payload::any(app.unique("echo", size), &mut state.rng);
            app.send(endpoint, connection, payload).await?;
        }
        Deed::Prepared => {
            let payload = Payload::Prepared(Prepared::text(app.unique("prepared", 5)));
            app.send(endpoint, connection, payload).await?;
        }
        Deed::TrySend => {
            for _ in 0..count {
                let payload = Payload::any(app.unique("try", 300), &mut state.rng);
                let _ = app.try_send(endpoint, connection, payload);
            }
        }
        Deed::Slow => tokio::time::sleep(Duration::from_millis(count)).await,
        Deed::Yield => {
            for _ in 0..count {
                yield_once().await;
            }
        }
        Deed::Burst | Deed::Flood => {
            for _ in 0..count {
                let payload = Payload::any(app.unique("burst", size), &mut state.rng);
                app.send(endpoint, connection, payload).await?;
            }
        }
        Deed::Stubborn => {
            for _ in 0..count {
                let payload = Payload::any(app.unique("stubborn", size), &mut state.rng);
                let _ = app.send(endpoint, connection, payload).await;
            }
        }
        Deed::GiveUp => give_up(state, connection, app).await,
        Deed::Ping => app.ping(endpoint, connection).await,
        Deed::Spawn => spawn(count, state, connection, app),
        Deed::Add => return Ok(Next::Make(Makes::Fed(count))),
        Deed::Torrent => return Ok(Next::Make(Makes::Torrent(count))),
        Deed::Timer => return Ok(Next::Make(Makes::Timer)),
        Deed::Subscribe => return Ok(Next::Make(Makes::Topic(size))),
        Deed::PanicInSource => return Ok(Next::Make(Makes::Panicking)),
        Deed::Replace => return Ok(Next::Make(Makes::Others)),
        Deed::Remove => {
            let key = (*state.rng.pick(KEYS)).to_owned();
            return Ok(Next::Remove(key));
        }
        Deed::Unsubscribe => {
            let (_, topic) = app.topic(size);
            return Ok(Next::Remove(topic.name().to_owned()));
        }
        Deed::Publish => {
            for _ in 0..count {
                app.publish(size, &mut state.rng);
            }
        }
        Deed::Feed => {
            for _ in 0..count {
                app.publish_prepared(size);
            }
        }
        Deed::Forward => forward(size, state, connection, app),
        Deed::Unforward => unforward(state, app),
        Deed::Stop => return Ok(Next::Stop),
        Deed::StopWith => return Ok(Next::StopWith(code)),
        Deed::Fail => return Err("no luck".into()),
        Deed::FailWith => return Err(Close::new(code, "out").into()),
        Deed::Panic => {
            for _ in 0..count {
                yield_once().await;
            }
            state.touch(&app.record);
            panic_on_purpose();
        }
        Deed::Close => {
            app.close(endpoint, connection, code).await;
            let payload = Payload::Text(app.unique("behind the close", 0));
            let _ = app.send(endpoint, connection, payload).await;
        }
        Deed::CloseElsewhere => {
            let (app, connection) = (Arc::clone(app), connection.clone());
            let mut rng = state.rng.split(3);
            tokio::spawn(async move {
                dawdle(&mut rng).await;
                app.close(endpoint, &connection, code).await;
            });
        }
        Deed::AwaitDrain => {
            if let Some(hub) = &app.hub {
                hub.drained().await;
                app.record.note(endpoint, Event::DrainAwaited);
            }
        }
        Deed::Never => std::future::pending().await,
    }
    Ok(Next::Continue)
}

/// Begins a send and drops it, perhaps while it waits for room.
async fn give_up(state: &mut State, connection: &Connection, app: &Arc<App>) {
    let payload = Payload::Text(app.unique("given up", 700));
    let sending = app.send(state.endpoint, connection, payload);
    let patience = Duration::from_millis(state.rng.within(0..=4));
    let _ = tokio::time::timeout(patience, sending).await;
}

/// Has another task send.
fn spawn(count: u64, state: &mut State, connection: &Connection, app: &Arc<App>) {
    let (app, connection) = (Arc::clone(app), connection.clone());
    let (endpoint, mut rng) = (state.endpoint, state.rng.split(4));
    tokio::spawn(async move {
        for _ in 0..count {
            dawdle(&mut rng).await;
            let size = rng.within(0..=400);
            let payload = Payload::any(app.unique("spawned", size), &mut rng);
            let sent = app.send(endpoint, &connection, payload).await;
            if sent.is_err_and(|error| error.is_closed()) {
                return;
            }
        }
    });
}

fn forward(topic: u64, state: &mut State, connection: &Connection, app: &Arc<App>) {
    unforward(state, app);
    let (number, feed) = app.feed(topic);
    let capacity = usize::try_from(state.rng.within(1..=8)).unwrap_or(1);
    let options = dreamsocket::ChannelOptions::new().capacity(capacity);
    let choice = state.rng.below(8);
    let (options, on_missed): (_, fn(Missed) -> OnMissed) = match choice {
        0 => (options.drop_newest(), NOTICES[state.forwards]),
        1 => (options, |_| OnMissed::End),
        2 => (options.end_when_full(), NOTICES[state.forwards]),
        _ => (options, NOTICES[state.forwards]),
    };
    let (ends, mark) = (matches!(choice, 1..=2), state.forwards);
    state.forwards = (state.forwards + 1) % NOTICES.len();
    let id = app.record.next_id();
    let channel = feed.subscribe_with(options);
    let topic = *number;
    let event = Event::Forward {
        id,
        topic,
        ends,
        mark,
    };
    app.record.note(state.endpoint, event);
    state.forward = Some((id, connection.forward(channel, on_missed)));
}

fn unforward(state: &mut State, app: &Arc<App>) {
    if let Some((id, forward)) = state.forward.take() {
        drop(forward);
        app.record.note(state.endpoint, Event::Unforward { id });
    }
}

/// What stands in the place of a gap, marked so that it is known which of some forwarded channels it is of.
const NOTICES: [fn(Missed) -> OnMissed; 4] = [notice::<0>, notice::<1>, notice::<2>, notice::<3>];

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is the library's"
)]
fn notice<const MARK: usize>(missed: Missed) -> OnMissed {
    let count = missed.count.unwrap_or(u64::MAX);
    OnMissed::Notice(Prepared::text(format!(
        "m {} {count} {MARK}",
        missed.source
    )))
}

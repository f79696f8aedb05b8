//! The three handlers, which do what they are told by messages and by the seed, on a server and on a client alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dreamsocket::{Action, BoxError, Closed, Connection, Forward, Message, Selector};

use crate::app::{App, Custom, Payload, dawdle, yield_once};
use crate::deeds::{Next, act, make};
use crate::event::{End, Event, Given, Returned};
use crate::frames::{Print, head, number};
use crate::random::Rng;
use crate::record::{EndpointId, Record};
use crate::sources::{fed, subscribed};

/// A panic of the application's, on purpose.
#[derive(Debug)]
pub(crate) struct OnPurpose;

/// What the handlers of one connection, or of one client, are given.
#[derive(Debug)]
pub(crate) struct Dependencies {
    pub(crate) app: Arc<App>,
    /// The endpoint that was opened last: a client that reconnects has one after the other.
    pub(crate) endpoint: Arc<AtomicU32>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) endpoint: EndpointId,
    /// How often a handler has changed it.
    version: u64,
    pub(crate) rng: Rng,
    pub(crate) forward: Option<(u32, Forward)>,
    /// How many channels were forwarded, in a circle.
    pub(crate) forwards: usize,
}

impl State {
    /// Changes the state, and tells the record: whatever comes of the handler, `on_close` has to get it so.
    pub(crate) fn touch(&mut self, record: &Record) {
        self.version += 1;
        record.touch(self.endpoint, self.version);
    }
}

/// A handler that runs; one that is dropped before its end says so.
struct Running<'a> {
    record: &'a Record,
    endpoint: EndpointId,
    is_done: bool,
}

impl<'a> Running<'a> {
    fn begin(record: &'a Record, endpoint: EndpointId, event: Event) -> Self {
        record.note(endpoint, event);
        Self {
            record,
            endpoint,
            is_done: false,
        }
    }

    fn end(mut self, event: Event) {
        self.is_done = true;
        self.record.note(self.endpoint, event);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            let by_panic = std::thread::panicking();
            self.record.note(self.endpoint, Event::Dropped { by_panic });
        }
    }
}

/// Unlike `panic!` it calls no hook, which would print it.
pub(crate) fn panic_on_purpose() -> ! {
    std::panic::resume_unwind(Box::new(OnPurpose))
}

pub(crate) async fn on_init(
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<(State, Option<Selector<Custom>>), BoxError> {
    let app = &dependencies.app;
    let endpoint = dependencies.endpoint.load(Ordering::Relaxed);
    let running = Running::begin(&app.record, endpoint, Event::Init);
    app.join(endpoint, connection);
    let mut rng = app.rng(endpoint, 0);
    dawdle(&mut rng).await;
    match rng.below(60) {
        0 => {
            running.end(Event::InitDone(None));
            return Err("no luck".into());
        }
        1 => panic_on_purpose(),
        2 => std::future::pending().await,
        3..=6 => tokio::time::sleep(Duration::from_millis(rng.within(1..=80))).await,
        7..=16 => {
            let hello = Payload::any(app.unique("hello", 3), &mut rng);
            let _ = app.send(endpoint, connection, hello).await;
        }
        _ => {}
    }
    let state = State {
        endpoint,
        version: 0,
        rng: app.rng(endpoint, 1),
        forward: None,
        forwards: 0,
    };
    let mut selector = None;
    let mut ids = Vec::new();
    if rng.percent(30) {
        let made = fed(app, endpoint, &mut rng, 8);
        ids.push(made.id);
        selector = Some(made.selector);
    }
    if rng.percent(20) {
        let topic = rng.within(0..=2);
        let made = subscribed(app, endpoint, topic, &mut rng);
        ids.push(made.id);
        selector = Some(selector.unwrap_or_default().merge(made.selector));
    }
    running.end(Event::InitDone(Some(ids)));
    Ok((state, selector))
}

pub(crate) async fn on_message(
    state: &mut State,
    message: Message<Custom>,
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<Action<Custom>, BoxError> {
    let app = &dependencies.app;
    let given = Event::Begun(given(&message));
    let running = Running::begin(&app.record, state.endpoint, given);
    let mut next = act(state, message, connection, app).await;
    if next.is_ok() {
        dawdle(&mut state.rng).await;
    }
    // Sources are made at the very end: from there until they are in the selector nothing else runs.
    if let Ok(Next::Make(makes)) = next {
        next = Ok(make(makes, state, app));
    }
    let (returned, action) = match next {
        Ok(next) => next.carry_out(),
        Err(error) => {
            let code = code_of(&error);
            (Returned::Error(code), Err(error))
        }
    };
    running.end(Event::Done(returned));
    action
}

pub(crate) async fn on_close(state: State, closed: Closed, dependencies: &Dependencies) {
    let app = &dependencies.app;
    let (endpoint, version) = (state.endpoint, state.version);
    let end = end_of(&closed);
    let running = Running::begin(&app.record, endpoint, Event::OnClose { end, version });
    let mut rng = app.rng(endpoint, 2);
    match rng.below(30) {
        0 => panic_on_purpose(),
        1 => std::future::pending().await,
        2..=4 => tokio::time::sleep(Duration::from_millis(rng.within(1..=60))).await,
        5..=7 => yield_once().await,
        _ => {}
    }
    drop(state);
    running.end(Event::OnCloseDone);
}

fn given(message: &Message<Custom>) -> Given {
    match message {
        Message::Text(text) => Given::Message(Print::of(text.as_bytes()), head(text.as_bytes())),
        Message::Binary(bytes) => Given::Message(Print::of(bytes), head(bytes)),
        Message::Custom(Custom::Fed { source, number }) => Given::Fed {
            source: *source,
            number: *number,
        },
        Message::Custom(Custom::Said { topic, number, .. }) => Given::Said {
            topic: *topic,
            number: *number,
        },
        Message::Missed(missed) => Given::Missed {
            source: missed.source.to_string(),
            count: missed.count,
        },
        Message::ConnectionClosed(closed) => Given::Closed(end_of(closed)),
    }
}

fn end_of(closed: &Closed) -> End {
    End {
        code: number(closed.code),
        reason: closed.reason.to_string(),
        is_clean: closed.clean,
        cause: closed.cause,
    }
}

/// The code with which an error of these handlers closes.
fn code_of(error: &BoxError) -> u16 {
    if let Some(error) = error.downcast_ref::<dreamsocket::SendError>() {
        return if error.is_timeout() { 1013 } else { 1011 };
    }
    let text = error.to_string();
    let code = text
        .strip_prefix("close with ")
        .and_then(|rest| rest.get(..4));
    code.and_then(|code| code.parse().ok()).unwrap_or(1011)
}

//! Handlers that note what they see and do what the test tells them, for all tests whose point is not a handler's form.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use dreamsocket::testing::{Builder, Client};
use dreamsocket::{
    Action, BoxError, Closed, Config, Connection, Hub, Message, Selector, continue_connection,
};
use tokio::sync::Semaphore;

/// What `on_message` does in one test, on a state that counts messages.
pub(crate) type Act =
    for<'a> fn(&'a mut u32, Message<String>, &'a Connection, &'a Stage) -> Acting<'a>;

pub(crate) type Acting<'a> =
    Pin<Box<dyn Future<Output = Result<Action<String>, BoxError>> + Send + 'a>>;

/// Writes an [`Act`]: `act!(|state, message, connection, stage| { … })`.
macro_rules! act {
    (|$state:pat_param, $message:pat_param, $connection:pat_param, $stage:pat_param| $body:expr) => {
        |$state, $message, $connection, $stage| Box::pin(async move { $body })
    };
}
pub(crate) use act;

/// The dependencies: what is to be done, and what was seen.
pub(crate) struct Stage {
    act: Act,
    builder: Mutex<Builder>,
    selector: Mutex<Option<Selector<String>>>,
    /// How long `on_init` and `on_close` take.
    init_time: Duration,
    close_time: Duration,
    seen: Mutex<VecDeque<String>>,
    gate: Semaphore,
}

impl Stage {
    pub(crate) fn new(act: Act) -> Self {
        Self {
            act,
            builder: Mutex::new(crate::builder()),
            selector: Mutex::default(),
            init_time: Duration::ZERO,
            close_time: Duration::ZERO,
            seen: Mutex::default(),
            gate: Semaphore::new(0),
        }
    }

    pub(crate) fn with_selector(self, selector: impl Into<Selector<String>>) -> Self {
        *self.selector.lock().unwrap() = Some(selector.into());
        self
    }

    pub(crate) fn with_config(self, config: Config) -> Self {
        self.with(|builder| builder.with_config(config))
    }

    pub(crate) fn with_hub(self, hub: &Hub) -> Self {
        self.with(|builder| builder.with_hub(hub))
    }

    pub(crate) fn with(self, change: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = std::mem::take(&mut *self.builder.lock().unwrap());
        *self.builder.lock().unwrap() = change(builder);
        self
    }

    pub(crate) fn with_init_time(mut self, time: Duration) -> Self {
        self.init_time = time;
        self
    }

    pub(crate) fn with_on_close_time(mut self, time: Duration) -> Self {
        self.close_time = time;
        self
    }

    pub(crate) fn connect(self) -> (Client, Arc<Self>) {
        let stage = Arc::new(self);
        let builder = stage.builder.lock().unwrap().clone();
        let client = builder.connect(Arc::clone(&stage), on_init, on_message, on_close);
        (client, stage)
    }

    pub(crate) fn note(&self, what: impl Into<String>) {
        self.seen.lock().unwrap().push_back(what.into());
    }

    /// What was seen since the last look.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().drain(..).collect()
    }

    /// What was seen since the last look, `init` and `on_close` left out.
    pub(crate) fn messages(&self) -> Vec<String> {
        let mut seen = self.seen();
        seen.retain(|line| line != "init" && !line.starts_with("on_close"));
        seen
    }

    /// Waits in a handler until the test [releases](Self::release) it.
    pub(crate) async fn hold(&self) {
        self.gate.acquire().await.unwrap().forget();
    }

    pub(crate) fn release(&self) {
        self.gate.add_permits(1);
    }
}

async fn on_init(_: &Connection, stage: &Arc<Stage>) -> (u32, Option<Selector<String>>) {
    if !stage.init_time.is_zero() {
        tokio::time::sleep(stage.init_time).await;
    }
    stage.note("init");
    (0, stage.selector.lock().unwrap().take())
}

async fn on_message(
    state: &mut u32,
    message: Message<String>,
    connection: &Connection,
    stage: &Arc<Stage>,
) -> Result<Action<String>, BoxError> {
    *state += 1;
    stage.note(describe(&message));
    (stage.act)(state, message, connection, stage).await
}

async fn on_close(state: u32, closed: Closed, stage: &Arc<Stage>) {
    stage.note(format!("on_close {state}, {}", describe_closed(&closed)));
    if !stage.close_time.is_zero() {
        tokio::time::sleep(stage.close_time).await;
        stage.note("on_close is done");
    }
}

fn describe(message: &Message<String>) -> String {
    match message {
        Message::Text(text) if text.len() > 100 => format!("{} bytes of text", text.len()),
        Message::Text(text) => text.to_string(),
        Message::Binary(bytes) => format!("{} bytes", bytes.len()),
        Message::Custom(text) => format!("custom {text}"),
        Message::Missed(missed) => format!("missed {:?} of {}", missed.count, missed.source),
        Message::ConnectionClosed(closed) => describe_closed(closed),
    }
}

fn describe_closed(closed: &Closed) -> String {
    let clean = if closed.clean { "clean" } else { "unclean" };
    format!("closed {} {} {clean}", closed.code, closed.cause)
}

/// Does nothing with any message.
pub(crate) const IGNORE: Act = act!(|_, _, _, _| Ok(continue_connection()));

/// Sends every text back.
pub(crate) const ECHO: Act = act!(|_, message, connection, _| {
    if let Message::Text(text) = message {
        connection.send_text(text).await?;
    }
    Ok(continue_connection())
});

/// A source that is ready as long as it has anything, unlike `tokio_stream::iter`, which pauses now and then.
pub(crate) fn always<I>(items: I) -> Selector<String>
where
    I: Iterator<Item = String> + Send + Unpin + 'static,
{
    struct Always<I>(I);

    impl<I: Iterator + Unpin> futures_core::Stream for Always<I> {
        type Item = I::Item;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
            Poll::Ready(self.0.next())
        }
    }

    Selector::new().select(Always(items))
}

/// The time that code takes that does not await: the clock goes on, and nothing else.
pub(crate) async fn block(time: Duration) {
    let mut advancing = std::pin::pin!(tokio::time::advance(time));
    std::future::poll_fn(|context| {
        let _ = advancing.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// Waits on "hold" until it is released, and sends every text back.
pub(crate) const HOLD_AND_ECHO: Act = act!(|_, message, connection, stage| {
    if let Message::Text(text) = message {
        if text == "hold" {
            stage.hold().await;
        }
        connection.send_text(text).await?;
    }
    Ok(continue_connection())
});

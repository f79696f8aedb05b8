//! What a test expects of the session, and what it says when something else comes.

use std::future::{Future, poll_fn};
use std::panic::Location;

use bytes::Bytes;
use dreamsocket_protocol::{CloseCode, Text};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Client, Session};
use crate::testing::PATIENCE;
use crate::testing::peer::Received;
use crate::testing::settling::settle;
use crate::testing::transcript::Shortened;

/// What the client expects.
///
/// Each waits at most [`PATIENCE`] and then fails the test. Those for messages and the close pass over pings and pongs, as
/// a browser hides them.
impl Client {
    /// The next thing that came, whatever it is.
    ///
    /// # Panics
    ///
    /// If nothing comes.
    #[track_caller]
    pub fn receive(&mut self) -> impl Future<Output = Received> {
        let wait = Wait::begin();
        async move { self.next(wait, "anything").await }
    }

    /// The next text message.
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing.
    #[track_caller]
    pub fn receive_text(&mut self) -> impl Future<Output = Text> {
        let wait = Wait::begin();
        async move {
            match self.next_message(wait, "a text").await {
                Received::Text(text) => text,
                other => self.fail_on(wait.at, "a text", &other),
            }
        }
    }

    /// The next message has to be this text.
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing.
    #[track_caller]
    pub fn expect_text<T: AsRef<str>>(&mut self, text: T) -> impl Future<Output = ()> {
        let wait = Wait::begin();
        async move {
            let text = text.as_ref();
            let expected = format!("the text {}", Shortened(text.as_bytes()));
            match self.next_message(wait, &expected).await {
                Received::Text(received) if received == text => {}
                other => self.fail_on(wait.at, &expected, &other),
            }
        }
    }

    /// The next message has to be these bytes.
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing.
    #[track_caller]
    pub fn expect_binary<B: AsRef<[u8]>>(&mut self, payload: B) -> impl Future<Output = ()> {
        let wait = Wait::begin();
        async move {
            let payload = payload.as_ref();
            let expected = format!("the bytes {}", Shortened(payload));
            match self.next_message(wait, &expected).await {
                Received::Binary(received) if received == payload => {}
                other => self.fail_on(wait.at, &expected, &other),
            }
        }
    }

    /// The next message has to be a text that is a `T` in JSON.
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn expect_json<T: serde::de::DeserializeOwned>(&mut self) -> impl Future<Output = T> {
        let wait = Wait::begin();
        async move {
            let expected = format!("JSON of a {}", std::any::type_name::<T>());
            let text = match self.next_message(wait, &expected).await {
                Received::Text(text) => text,
                other => self.fail_on(wait.at, &expected, &other),
            };
            serde_json::from_str(&text).unwrap_or_else(|error| {
                self.fail(
                    wait.at,
                    format_args!("expected {expected}, which it is not: {error}"),
                )
            })
        }
    }

    /// The next thing but pongs has to be a ping; its payload.
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing.
    #[track_caller]
    pub fn expect_ping(&mut self) -> impl Future<Output = Bytes> {
        let wait = Wait::begin();
        async move {
            loop {
                match self.next(wait, "a ping").await {
                    Received::Ping(payload) => return payload,
                    Received::Pong(_) => {}
                    other => self.fail_on(wait.at, "a ping", &other),
                }
            }
        }
    }

    /// The next thing but pings has to be a pong with this payload.
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing.
    #[track_caller]
    pub fn expect_pong<B: AsRef<[u8]>>(&mut self, payload: B) -> impl Future<Output = ()> {
        let wait = Wait::begin();
        async move {
            let payload = payload.as_ref();
            let expected = format!("the pong {}", Shortened(payload));
            loop {
                match self.next(wait, &expected).await {
                    Received::Pong(received) if received == payload => return,
                    Received::Ping(_) => {}
                    other => self.fail_on(wait.at, &expected, &other),
                }
            }
        }
    }

    /// The next message has to be a close frame with this code; its reason. 1005 is one without a code, and 1006 an end of
    /// the transport without a close frame (RFC 6455 §7.1.5).
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing.
    #[track_caller]
    pub fn expect_closed<C: Into<CloseCode>>(&mut self, code: C) -> impl Future<Output = Text> {
        let wait = Wait::begin();
        async move {
            let code = code.into();
            let expected = format!("a close with {code}");
            match self.next_message(wait, &expected).await {
                Received::Close(received, reason) if received == code => reason,
                Received::Ended if code == CloseCode::ABNORMAL => Text::default(),
                other => self.fail_on(wait.at, &expected, &other),
            }
        }
    }

    /// Lets everything run that is ready, without moving the clock; then no message, close or end may have come. Pings and
    /// pongs may, and are passed over.
    ///
    /// # Panics
    ///
    /// If something came.
    #[track_caller]
    pub fn expect_nothing(&mut self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            settle().await;
            let mut inner = self.peer.lock();
            let is_closed = inner.is_close_received;
            let came = std::mem::take(&mut inner.received)
                .into_iter()
                .find(|received| match received {
                    Received::Ping(_) | Received::Pong(_) => false,
                    Received::Ended => !is_closed,
                    _ => true,
                });
            drop(inner);
            if let Some(came) = came {
                self.fail_on(at, "nothing", &came);
            }
        }
    }

    /// Waits until the session's task is done: `on_close` has run.
    ///
    /// # Panics
    ///
    /// If it does not end, or if it panicked itself; if the WebSocket of a server's is not one of this library's.
    #[track_caller]
    pub fn ended(&mut self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let ended = match &mut self.session {
                Session::Task(task) => timeout(PATIENCE, task).await,
                // Nothing more is told but that nobody tells any more.
                Session::Seen(sight) => {
                    timeout(PATIENCE, async {
                        while sight.changed().await.is_ok() {}
                        Ok(())
                    })
                    .await
                }
                Session::Unseen => self.fail(at, UNSEEN),
                Session::Ended => return,
            };
            match ended {
                Ok(Ok(())) => self.session = Session::Ended,
                Ok(Err(error)) => self.fail(at, format_args!("the session's task failed: {error}")),
                Err(_) => self.fail(
                    at,
                    format_args!("the session has not ended within {PATIENCE:?}"),
                ),
            }
        }
    }

    /// Whether the session's task is done: `on_close` has run.
    ///
    /// # Panics
    ///
    /// If the WebSocket of a server's is not one of this library's.
    #[must_use]
    #[track_caller]
    pub fn is_ended(&self) -> bool {
        match &self.session {
            Session::Task(task) => task.is_finished(),
            Session::Seen(sight) => sight.has_changed().is_err(),
            Session::Unseen => self.fail(Location::caller(), UNSEEN),
            Session::Ended => true,
        }
    }

    async fn next_message(&self, wait: Wait, expected: &str) -> Received {
        loop {
            match self.next(wait, expected).await {
                Received::Ping(_) | Received::Pong(_) => {}
                message => return message,
            }
        }
    }

    async fn next(&self, wait: Wait, expected: &str) -> Received {
        let received = poll_fn(|context| self.peer.poll_received(context));
        match timeout_at(wait.deadline, received).await {
            Ok(Some(received)) => received,
            Ok(None) => self.fail(
                wait.at,
                format_args!("expected {expected}, but the session broke the protocol"),
            ),
            Err(_) => self.fail(
                wait.at,
                format_args!("expected {expected}, but nothing came within {PATIENCE:?}"),
            ),
        }
    }

    fn fail_on(&self, at: &Location<'_>, expected: &str, received: &Received) -> ! {
        let received = match received {
            Received::Text(text) => format!("the text {}", Shortened(text.as_bytes())),
            Received::Binary(bytes) => format!("the bytes {}", Shortened(bytes)),
            Received::Ping(payload) => format!("the ping {}", Shortened(payload)),
            Received::Pong(payload) => format!("the pong {}", Shortened(payload)),
            Received::Close(code, reason) => {
                format!("a close with {code} {}", Shortened(reason.as_bytes()))
            }
            Received::Ended => "the end of the transport".to_owned(),
        };
        self.fail(at, format_args!("expected {expected}, got {received}"))
    }
}

/// What is said to those who ask for the end of a WebSocket that the library does not know.
const UNSEEN: &str =
    "this WebSocket is not one of dreamsocket's, so it has no `on_close`, and its end is not seen";

/// Where an expectation is written, and until when it waits: one bound for all of it, whatever it passes over.
#[derive(Debug, Clone, Copy)]
struct Wait {
    at: &'static Location<'static>,
    deadline: Instant,
}

impl Wait {
    #[track_caller]
    fn begin() -> Self {
        Self {
            at: Location::caller(),
            deadline: Instant::now() + PATIENCE,
        }
    }
}

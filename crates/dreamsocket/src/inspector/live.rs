//! The page's WebSocket: it says what it wants to see, and gets that once a second.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use dreamsocket_protocol::CloseCode;
use http::{Request, Response};
use http_body_util::Full;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Inspector;
use super::look::Window;
use super::summary::Summary;
use super::topics::Topics;
use super::view::{TopicsView, View};
use crate::action::{Action, continue_connection, stop_connection_with};
use crate::config::Config;
use crate::connection::Connection;
use crate::error::{BoxError, Close, SendError};
use crate::message::Message;
use crate::origin::OriginPolicy;
use crate::rate::Rate;
use crate::selector::Selector;
use crate::upgrade::Upgrade;

/// How often a page is told.
const EVERY: Duration = Duration::from_secs(1);

/// How many topics of each broadcaster a page shows.
const TOPICS: usize = 20;

/// What a page is closed with when the drain is over. The page knows it.
const DRAINED: &str = "drained";

/// What it says when there were connections left at its end.
const CUT: &str = "the drain is over";

/// How many pages look at the same time.
const VIEWERS: usize = 16;

/// The bounds of the page's connections. What a page says is small, and seldom; but each of it is a look.
pub(super) fn config(origins: OriginPolicy) -> Config {
    const RATE: Rate = Rate::per_second(NonZeroU32::MIN.saturating_add(9));
    Config::default()
        .with_origins(origins)
        .with_max_connections(VIEWERS)
        .with_max_message(4 * 1024)
        .with_max_frame(4 * 1024)
        .with_message_rate(Some(RATE))
}

/// What a page shows, and why its hub's drain waits for it.
pub(super) struct Watching {
    view: View,
    /// Held until both close frames are there, so that the page hears of the drain's end.
    _farewell: watch::Receiver<bool>,
}

/// Why a page is told now.
enum Reason {
    Tick,
    /// Whether the hub has come to its end: first that it has not.
    Over(bool),
}

/// What a page is told.
#[derive(Serialize)]
struct Update<'a> {
    summary: Summary,
    connections: Window<'a>,
    topics: Topics,
}

/// Upgrades a page's request, into a hub of its own instead of the one that is shown.
pub(super) fn upgrade<B>(inspector: Inspector, mut request: Request<B>) -> Response<Full<Bytes>> {
    let viewers = inspector.inner.viewers.clone();
    request.extensions_mut().insert(viewers);
    Upgrade::new(request).run(inspector, on_init, on_message, on_close)
}

async fn on_init(_: &Connection, inspector: &Inspector) -> (Watching, Option<Selector<Reason>>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let farewell = inspector.inner.hub.farewell();
    let reasons = Selector::from(ticks)
        .map(|_| Reason::Tick)
        .merge(Selector::from(farewell.clone()).map(Reason::Over));
    let watching = Watching {
        view: View::default(),
        _farewell: farewell,
    };
    (watching, Some(reasons))
}

async fn on_message(
    watching: &mut Watching,
    message: Message<Reason>,
    connection: &Connection,
    inspector: &Inspector,
) -> Result<Action<Reason>, BoxError> {
    // Before the look, so that the last update is of the end.
    let is_over = matches!(message, Message::Custom(Reason::Over(true))) || inspector.is_over();
    match message {
        Message::Text(text) => {
            watching.view = serde_json::from_str(&text)
                .map_err(|error| Close::new(CloseCode::POLICY, error.to_string()))?;
        }
        Message::Custom(Reason::Tick | Reason::Over(true)) => {}
        Message::Custom(Reason::Over(false))
        | Message::Binary(_)
        | Message::Missed(_)
        | Message::ConnectionClosed(_) => {
            return Ok(continue_connection());
        }
    }
    let look = inspector.look().await;
    let update = Update {
        summary: inspector.summary(),
        connections: look.window(&watching.view).await,
        topics: inspector.topics(&TopicsView::of(TOPICS)).await,
    };
    match connection.try_send_json(&update) {
        // A page that does not read gets the next one, and no drain waits for it.
        Ok(()) | Err(SendError::Full) => {}
        Err(error) => return Err(error.into()),
    }
    if is_over {
        let reason = if inspector.is_over() { DRAINED } else { CUT };
        return Ok(stop_connection_with(CloseCode::GOING_AWAY, reason));
    }
    Ok(continue_connection())
}

async fn on_close(_: Watching, _: &Inspector) {}

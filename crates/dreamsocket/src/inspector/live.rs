//! The page's WebSocket: it says what it wants to see, and gets that once a second.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use dreamsocket_protocol::CloseCode;
use http::{Request, Response};
use http_body_util::Full;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Inspector;
use super::look::Window;
use super::summary::Summary;
use super::topics::Topics;
use super::view::{TopicsView, View};
use crate::action::{Action, continue_connection, stop_connection_with};
use crate::config::Config;
use crate::connection::Connection;
use crate::error::{BoxError, Close};
use crate::message::Message;
use crate::origin::OriginPolicy;
use crate::rate::Rate;
use crate::selector::Selector;
use crate::upgrade::Upgrade;

/// How often a page is told.
const EVERY: Duration = Duration::from_secs(1);

/// How many topics of each broadcaster a page shows.
const TOPICS: usize = 20;

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

async fn on_init(_: &Connection, _: &Inspector) -> (View, Option<Selector<Instant>>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    (View::default(), Some(Selector::from(ticks)))
}

async fn on_message(
    view: &mut View,
    message: Message<Instant>,
    connection: &Connection,
    inspector: &Inspector,
) -> Result<Action<Instant>, BoxError> {
    match message {
        Message::Text(text) => {
            *view = serde_json::from_str(&text)
                .map_err(|error| Close::new(CloseCode::POLICY, error.to_string()))?;
        }
        Message::Custom(_) if inspector.is_over() => {
            return Ok(stop_connection_with(CloseCode::GOING_AWAY, "drained"));
        }
        Message::Custom(_) => {}
        Message::Binary(_) | Message::Missed(_) | Message::ConnectionClosed(_) => {
            return Ok(continue_connection());
        }
    }
    let look = inspector.look().await;
    let update = Update {
        summary: inspector.summary(),
        connections: look.window(view).await,
        topics: inspector.topics(&TopicsView::of(TOPICS)).await,
    };
    connection.send_json(&update).await?;
    Ok(continue_connection())
}

async fn on_close(_: View, _: &Inspector) {}

//! `/feed`: numbered messages, fifty a second, forwarded without a handler. Whoever falls behind is told how many it missed.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, ChannelOptions, Connection, Forward, Message, OnMissed, Prepared, Selector, Topic,
    continue_connection, upgrade_websocket,
};

use super::App;

const INTERVAL: Duration = Duration::from_millis(20);

/// The length of what follows the number.
const PADDING: usize = 1000;

/// How many messages a subscriber may fall behind.
const BEHIND: usize = 64;

/// Publishes for ever.
pub(super) async fn publish(feed: Topic<Prepared>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let padding = "x".repeat(PADDING);
    for number in 0_u64.. {
        ticks.tick().await;
        let published = feed.publish(Prepared::text(format!("{number} {padding}")));
        // An engine in this process takes everything.
        debug_assert!(published.is_ok());
    }
}

pub(super) async fn feed(State(app): State<App>, request: Request) -> Response {
    upgrade_websocket(request, app, on_init, on_message, on_close)
}

async fn on_init(connection: &Connection, app: &App) -> (Forward, Option<Selector>) {
    app.note_begun();
    let options = ChannelOptions::new().capacity(BEHIND);
    let channel = app.feed.subscribe_with(options);
    let forward = connection.forward(channel, |missed| {
        let count = missed.count.unwrap_or_default();
        OnMissed::Notice(Prepared::text(format!("missed {count}")))
    });
    (forward, None)
}

/// What a subscriber says is not listened to.
async fn on_message(_: &mut Forward, _: Message, _: &Connection, _: &App) -> Action {
    continue_connection()
}

async fn on_close(_: Forward, app: &App) {
    app.note_ended();
}

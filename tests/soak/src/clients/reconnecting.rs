//! A client that connects again by itself whenever the network cuts it off, with this library's loop at its end, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dreamsocket::client::{Connect, Reconnect};
use dreamsocket::{Action, Connection, Message, Selector, SendError, continue_connection};
use fault_proxy::{Dice, End, Plan, Proxy};
use tokio::time::{Instant, timeout};

use super::{PATIENCE, url};
use crate::load::Load;
use crate::tally::Tally;

/// What its handlers count.
#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
    received: AtomicU64,
    wrong: AtomicU64,
}

pub(crate) async fn live(load: &Load, mut dice: Dice) {
    let proxy = match Proxy::start(load.address, Plan::calm(), dice.seed()).await {
        Ok(proxy) => proxy,
        Err(error) => return load.tally.fail(format!("no proxy: {error}")),
    };
    let counts = Arc::new(Counts::default());
    let reconnect = Reconnect::new()
        .with_first_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(500))
        .with_first_retried(true);
    let connect = Connect::new(url(proxy.address(), "/echo")).with_reconnect(reconnect);
    let connected = connect.run(Arc::clone(&counts), on_init, on_message, on_close);
    let connected = match connected.await {
        Ok(connected) => connected,
        Err(error) => return load.tally.fail(format!("reconnecting: {error}")),
    };
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end && !load.is_over() {
        load.pause(dice.time(Duration::from_secs(1), Duration::from_secs(4)))
            .await;
        let kind = if dice.once_in(2) {
            End::Cut
        } else {
            End::Reset
        };
        proxy.end_all(kind);
        let is_down = dice.once_in(3);
        proxy.refuse(is_down);
        if is_down {
            load.pause(Duration::from_millis(500)).await;
            proxy.refuse(false);
        }
    }
    connected.stop();
    match timeout(PATIENCE, connected.ended()).await {
        Ok(ended) => Tally::add(&load.tally.reconnected, u64::from(ended.reconnects)),
        Err(_) => load.tally.fail("reconnecting: never ended".to_owned()),
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Tally::add(&load.tally.received, count(&counts.received));
    let (begun, ended, wrong) = (
        count(&counts.begun),
        count(&counts.ended),
        count(&counts.wrong),
    );
    if begun != ended || wrong > 0 {
        let failure = format!("reconnecting: {begun} begun, {ended} ended, {wrong} wrong");
        load.tally.fail(failure);
    }
}

/// The state is the number of the next message.
async fn on_init(
    connection: &Connection,
    counts: &Arc<Counts>,
) -> Result<(u64, Option<Selector>), SendError> {
    // Before anything that can fail: without a state there is no `on_close`.
    connection.try_send_text("0")?;
    counts.begun.fetch_add(1, Ordering::Relaxed);
    Ok((0, None))
}

async fn on_message(
    next: &mut u64,
    message: Message,
    connection: &Connection,
    counts: &Arc<Counts>,
) -> Result<Action, SendError> {
    if let Message::Text(text) = message {
        let is_right = text.as_str() == next.to_string();
        let counter = if is_right {
            &counts.received
        } else {
            &counts.wrong
        };
        counter.fetch_add(1, Ordering::Relaxed);
        *next += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        connection.send_text(next.to_string()).await?;
    }
    Ok(continue_connection())
}

async fn on_close(_: u64, counts: &Arc<Counts>) {
    counts.ended.fetch_add(1, Ordering::Relaxed);
}

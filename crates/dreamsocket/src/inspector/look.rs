//! One look at all connections, shared by all who look within a second; and what two looks tell of rates.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::view::{Order, Search, Sort, View};
use crate::connection::ConnectionId;
use crate::hub::{ConnectionInfo, Hub};

/// For how long a look is good: a little less than the page's second.
pub(super) const GOOD_FOR: Duration = Duration::from_millis(900);

/// Rows that are gone through before other tasks may run.
const SLICE: usize = 256;

/// The last look, and what the next one's rates are counted from. Both are given back when nobody has looked for a while.
#[derive(Debug, Default)]
pub(super) struct Looks {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    last: Option<Arc<Look>>,
    counted: Option<Counted>,
    asked: Option<Instant>,
    /// The task that gives back. It lives no longer than there is something to give.
    keeper: Option<AbortHandle>,
}

/// All connections at one time.
#[derive(Debug)]
pub(super) struct Look {
    at: Instant,
    /// In the order of their numbers.
    rows: Vec<Row>,
    totals: Totals,
}

/// What connections had carried at one time.
#[derive(Debug)]
struct Counted {
    at: Instant,
    /// In the order of their numbers.
    counts: Vec<(ConnectionId, Carried)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Carried {
    messages_in: u64,
    bytes_in: u64,
    messages_out: u64,
    bytes_out: u64,
}

/// A connection, and what it has carried a second since the last look.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) info: ConnectionInfo,
    /// Unknown if nobody has looked lately.
    pub(super) rates: Option<Rates>,
}

/// What was carried in a second.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Rates {
    pub(super) messages_in: f64,
    bytes_in: f64,
    pub(super) messages_out: f64,
    bytes_out: f64,
}

/// What all connections come to.
#[derive(Debug, Clone, Default, Serialize)]
struct Totals {
    connections: usize,
    closing: usize,
    outbox_bytes: usize,
    missed: u64,
    rates: Option<Rates>,
}

/// A part of a look.
#[derive(Debug, Serialize)]
pub(super) struct Window<'a> {
    totals: &'a Totals,
    sort: Sort,
    order: Order,
    /// How many connections were found.
    matched: usize,
    /// How many of these come before.
    offset: usize,
    connections: Vec<&'a Row>,
}

impl Looks {
    /// How long the last look is kept after somebody asked: some 300 bytes a connection.
    const KEPT_FOR: Duration = Duration::from_secs(10);

    /// How long the counts are kept: 40 bytes a connection. A script that looks once a minute has its rates from them.
    const COUNTED_FOR: Duration = Duration::from_secs(120);

    /// The last look, or a new one if that is too old. Lets other tasks run every 256 connections.
    pub(super) async fn take(self: &Arc<Self>, hub: &Hub) -> Arc<Look> {
        // Who comes while somebody looks shares that look.
        let mut kept = self.kept.lock().await;
        let at = Instant::now();
        kept.asked = Some(at);
        if let Some(look) = kept.last.as_ref().filter(|look| look.is_good(hub)) {
            return Arc::clone(look);
        }
        // Both at a time would take twice the memory.
        kept.last = None;
        let mut look = Look {
            at,
            rows: Vec::with_capacity(hub.connections()),
            totals: Totals::of(kept.counted.as_ref()),
        };
        let mut counts = Vec::with_capacity(hub.connections());
        for slice in hub.slices() {
            for connection in &slice {
                let info = ConnectionInfo::of(connection, at);
                counts.push((info.id, Carried::of(&info)));
                look.add(info, kept.counted.as_ref());
            }
            tokio::task::yield_now().await;
        }
        let look = Arc::new(look);
        kept.last = Some(Arc::clone(&look));
        kept.counted = Some(Counted { at, counts });
        if kept.keeper.as_ref().is_none_or(AbortHandle::is_finished) {
            let keeper = tokio::spawn(Self::give_back(Arc::downgrade(self)));
            kept.keeper = Some(keeper.abort_handle());
        }
        look
    }

    /// Waits until nobody has asked for a while, and gives back what is kept.
    async fn give_back(looks: Weak<Self>) {
        loop {
            let next = {
                let Some(looks) = looks.upgrade() else {
                    return;
                };
                let mut kept = looks.kept.lock().await;
                let unasked = kept.asked.map_or(Duration::MAX, |asked| asked.elapsed());
                if unasked >= Self::COUNTED_FOR {
                    *kept = Kept::default();
                    return;
                }
                if unasked >= Self::KEPT_FOR {
                    kept.last = None;
                    // No longer, since somebody may look meanwhile.
                    Self::KEPT_FOR
                } else {
                    Self::KEPT_FOR - unasked
                }
            };
            tokio::time::sleep(next).await;
        }
    }
}

impl Look {
    /// One in which there are connections is none of a hub where there are none any more: whoever watches a drain sees its end.
    fn is_good(&self, hub: &Hub) -> bool {
        self.at.elapsed() < GOOD_FOR && (self.rows.is_empty() || hub.connections() > 0)
    }

    /// Adds the connection with the next number.
    fn add(&mut self, info: ConnectionInfo, before: Option<&Counted>) {
        let rates = before.map(|before| Rates::between(before, self.at, &info));
        self.totals.add(&info, rates);
        self.rows.push(Row { info, rates });
    }

    /// Lets other tasks run every 256 connections.
    pub(super) async fn window(&self, view: &View) -> Window<'_> {
        let mut search = Search::of(&view.search);
        let mut found: Vec<&Row> = Vec::new();
        for slice in self.rows.chunks(SLICE) {
            found.extend(slice.iter().filter(|row| search.finds(row)));
            tokio::task::yield_now().await;
        }
        let matched = found.len();
        let offset = view.offset.min(matched);
        let end = offset + view.limit().min(matched - offset);
        // Only what is in the window is put in order.
        if end < matched {
            found.select_nth_unstable_by(end, |a, b| view.compare(a, b));
            found.truncate(end);
        }
        if 0 < offset && offset < end {
            found.select_nth_unstable_by(offset, |a, b| view.compare(a, b));
        }
        let mut connections = found.split_off(offset);
        connections.sort_unstable_by(|a, b| view.compare(a, b));
        Window {
            totals: &self.totals,
            sort: view.sort,
            order: view.order,
            matched,
            offset,
            connections,
        }
    }
}

impl Counted {
    fn find(&self, id: ConnectionId) -> Option<Carried> {
        let place = self.counts.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.counts.get(place).map(|(_, carried)| *carried)
    }
}

impl Carried {
    const fn of(info: &ConnectionInfo) -> Self {
        Self {
            messages_in: info.messages_in,
            bytes_in: info.bytes_in,
            messages_out: info.messages_out,
            bytes_out: info.bytes_out,
        }
    }
}

impl Rates {
    /// One that was not there at the last look has carried everything since.
    fn between(before: &Counted, at: Instant, info: &ConnectionInfo) -> Self {
        let seconds = at
            .saturating_duration_since(before.at)
            .as_secs_f64()
            .max(f64::MIN_POSITIVE);
        let now = Carried::of(info);
        let before = before.find(info.id).unwrap_or_default();
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Self {
            messages_in: rate(now.messages_in, before.messages_in),
            bytes_in: rate(now.bytes_in, before.bytes_in),
            messages_out: rate(now.messages_out, before.messages_out),
            bytes_out: rate(now.bytes_out, before.bytes_out),
        }
    }

    fn add(&mut self, other: Self) {
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
        self.messages_out += other.messages_out;
        self.bytes_out += other.bytes_out;
    }
}

impl Totals {
    /// Of nothing yet. Without counts before there are no rates.
    fn of(before: Option<&Counted>) -> Self {
        Self {
            rates: before.map(|_| Rates::default()),
            ..Self::default()
        }
    }

    fn add(&mut self, info: &ConnectionInfo, rates: Option<Rates>) {
        self.connections += 1;
        self.closing += usize::from(info.is_closing);
        self.outbox_bytes += info.outbox_bytes;
        self.missed += info.missed.unwrap_or_default();
        if let (Some(total), Some(rates)) = (&mut self.rates, rates) {
            total.add(rates);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test(start_paused = true)]
    async fn what_a_look_takes_is_given_back_when_nobody_looks() {
        let hub = Hub::new(Config::default());
        let looks = Arc::new(Looks::default());
        let is_kept = async || {
            let kept = looks.kept.lock().await;
            (kept.last.is_some(), kept.counted.is_some())
        };
        let pass = async |time: Duration| {
            tokio::time::sleep(time).await;
            // The keeper's turn.
            tokio::task::yield_now().await;
        };
        let second = Duration::from_secs(1);
        looks.take(&hub).await;
        pass(Looks::KEPT_FOR - second).await;
        assert_eq!(is_kept().await, (true, true));
        // Somebody does.
        looks.take(&hub).await;
        pass(Looks::KEPT_FOR - second).await;
        assert_eq!(is_kept().await, (true, true));
        pass(2 * second).await;
        assert_eq!(is_kept().await, (false, true));
        pass(Looks::COUNTED_FOR).await;
        assert_eq!(is_kept().await, (false, false));
        assert!(looks.kept.lock().await.keeper.is_none());

        looks.take(&hub).await;
        assert_eq!(is_kept().await, (true, true));
        pass(2 * Looks::COUNTED_FOR).await;
        assert_eq!(is_kept().await, (false, false));
    }
}

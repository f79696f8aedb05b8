//! One look at all connections, shared by all who look within a second; and what two looks tell of rates.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::view::{Order, Search, Sort, View};
use crate::hub::{ConnectionInfo, Hub};

/// For how long a look is good: a little less than the page's second.
const GOOD_FOR: Duration = Duration::from_millis(900);

/// The last look, which is also what the next one's rates are counted from. It is kept as long as the inspector.
#[derive(Debug, Default)]
pub(super) struct Looks {
    last: Mutex<Option<Arc<Look>>>,
}

/// All connections at one time.
#[derive(Debug)]
pub(super) struct Look {
    at: Instant,
    /// In the order of their numbers.
    rows: Vec<Row>,
    totals: Totals,
}

/// A connection, and what it has carried a second since the last look.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) info: ConnectionInfo,
    /// Unknown at the first look of all.
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
    /// The last look, or a new one if that is too old. Lets other tasks run every 256 connections.
    pub(super) async fn take(&self, hub: &Hub) -> Arc<Look> {
        // Who comes while somebody looks shares that look.
        let mut last = self.last.lock().await;
        if let Some(look) = last.as_ref().filter(|look| look.at.elapsed() < GOOD_FOR) {
            return Arc::clone(look);
        }
        let at = Instant::now();
        let mut infos = Vec::with_capacity(hub.connections());
        for slice in hub.slices() {
            let slice = slice.iter();
            infos.extend(slice.map(|connection| ConnectionInfo::of(connection, at)));
            tokio::task::yield_now().await;
        }
        let look = Arc::new(Look::new(at, infos, last.as_deref()));
        *last = Some(Arc::clone(&look));
        look
    }
}

impl Look {
    /// `infos` are in the order of their numbers.
    fn new(at: Instant, infos: Vec<ConnectionInfo>, previous: Option<&Self>) -> Self {
        let mut totals = Totals {
            rates: previous.map(|_| Rates::default()),
            ..Totals::default()
        };
        let rows = infos.into_iter().map(|info| {
            let rates = previous.map(|previous| Rates::between(previous, at, &info));
            totals.add(&info, rates);
            Row { info, rates }
        });
        let rows = rows.collect();
        Self { at, rows, totals }
    }

    pub(super) fn window(&self, view: &View) -> Window<'_> {
        let mut search = Search::of(&view.search);
        let mut found: Vec<&Row> = self.rows.iter().filter(|row| search.finds(row)).collect();
        let matched = found.len();
        let offset = view.offset.min(matched);
        let end = offset + view.limit().min(matched - offset);
        // Only what comes up to the window's end is put in order.
        if end < matched {
            found.select_nth_unstable_by(end, |a, b| view.compare(a, b));
            found.truncate(end);
        }
        found.sort_unstable_by(|a, b| view.compare(a, b));
        Window {
            totals: &self.totals,
            sort: view.sort,
            order: view.order,
            matched,
            offset,
            connections: found.split_off(offset),
        }
    }

    fn find(&self, info: &ConnectionInfo) -> Option<&ConnectionInfo> {
        let place = self.rows.binary_search_by_key(&info.id, |row| row.info.id);
        place
            .ok()
            .and_then(|place| self.rows.get(place))
            .map(|row| &row.info)
    }
}

impl Rates {
    /// One that was not there at the last look has carried everything since.
    fn between(previous: &Look, at: Instant, now: &ConnectionInfo) -> Self {
        let before = previous.find(now);
        let seconds = at
            .saturating_duration_since(previous.at)
            .as_secs_f64()
            .max(f64::MIN_POSITIVE);
        let rate = |count: fn(&ConnectionInfo) -> u64| {
            let carried = count(now).saturating_sub(before.map_or(0, count));
            carried as f64 / seconds
        };
        Self {
            messages_in: rate(|info| info.messages_in),
            bytes_in: rate(|info| info.bytes_in),
            messages_out: rate(|info| info.messages_out),
            bytes_out: rate(|info| info.bytes_out),
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

//! What somebody wants to see of the lists: order, search, and a window of bounded size. The same for the page's WebSocket
//! and for queries.

use std::cmp::Ordering;
use std::fmt::Write;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::look::Row;

/// Rows in one answer, at most.
const MAX_ROWS: usize = 500;

/// Rows in one answer, unless told.
const ROWS: usize = 100;

/// Characters in a search, at most.
const MAX_SEARCH: usize = 100;

/// Words in it, at most: each is looked for in every row.
const MAX_WORDS: usize = 8;

/// A window of the list of connections.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct View {
    pub(super) sort: Sort,
    pub(super) order: Order,
    /// Words that each have to be found in a connection.
    pub(super) search: Sought,
    pub(super) offset: usize,
    limit: usize,
}

impl Default for View {
    fn default() -> Self {
        Self {
            sort: Sort::default(),
            order: Order::default(),
            search: Sought::default(),
            offset: 0,
            limit: ROWS,
        }
    }
}

/// What is looked for, of a bounded length.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Sought(String);

impl Sought {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Sought {
    type Error = TooMuchSought;

    fn try_from(search: String) -> Result<Self, TooMuchSought> {
        let is_long = search.chars().nth(MAX_SEARCH).is_some();
        if is_long || search.split_whitespace().nth(MAX_WORDS).is_some() {
            return Err(TooMuchSought);
        }
        Ok(Self(search))
    }
}

/// A search that would take too long.
#[derive(Debug, thiserror::Error)]
#[error("`search` takes {MAX_SEARCH} characters and {MAX_WORDS} words at most")]
pub(super) struct TooMuchSought;

/// Those topics that have most subscribers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TopicsView {
    /// What has to be found in a topic's name.
    pub(super) search: Sought,
    limit: usize,
}

impl Default for TopicsView {
    fn default() -> Self {
        Self {
            search: Sought::default(),
            limit: ROWS,
        }
    }
}

impl TopicsView {
    pub(super) fn of(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// As much as anybody can ask for, without a search.
    pub(super) fn whole() -> Self {
        Self::of(MAX_ROWS)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.min(MAX_ROWS)
    }
}

/// By what connections are put in order. Rates are those of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    #[default]
    Outbox,
    Missed,
    RoundTrip,
    MessagesIn,
    MessagesOut,
    Age,
    Peer,
    Path,
    State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Ascending,
    #[default]
    Descending,
}

enum Key<'a> {
    Number(f64),
    Address(SocketAddr),
    Text(&'a str),
}

impl View {
    pub(super) fn limit(&self) -> usize {
        self.limit.min(MAX_ROWS)
    }

    /// Whose turn is first. What is not known comes last either way, and those that are equal are in the order of who is
    /// slowest, then of their numbers, so that they do not jump about.
    pub(super) fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let compared = match (self.key(a), self.key(b)) {
            (Some(a), Some(b)) => {
                let compared = compare(&a, &b);
                match self.order {
                    Order::Ascending => compared,
                    Order::Descending => compared.reverse(),
                }
            }
            (a, b) => a.is_none().cmp(&b.is_none()),
        };
        compared
            .then_with(|| b.info.outbox_bytes.cmp(&a.info.outbox_bytes))
            .then_with(|| b.info.missed.cmp(&a.info.missed))
            .then_with(|| a.info.id.cmp(&b.info.id))
    }

    fn key<'a>(&self, row: &'a Row) -> Option<Key<'a>> {
        let info = &row.info;
        match self.sort {
            Sort::Outbox => Some(Key::Number(info.outbox_bytes as f64)),
            Sort::Missed => info.missed.map(|missed| Key::Number(missed as f64)),
            Sort::RoundTrip => info.round_trip.map(|time| Key::Number(time.as_secs_f64())),
            Sort::MessagesIn => row.rates.map(|rates| Key::Number(rates.messages_in)),
            Sort::MessagesOut => row.rates.map(|rates| Key::Number(rates.messages_out)),
            Sort::Age => info.age.map(|age| Key::Number(age.as_secs_f64())),
            Sort::Peer => info.peer_addr.map(Key::Address),
            Sort::Path => info.path.as_deref().map(Key::Text),
            Sort::State => info.state.as_deref().map(Key::Text),
        }
    }
}

fn compare(a: &Key<'_>, b: &Key<'_>) -> Ordering {
    match (a, b) {
        (Key::Number(a), Key::Number(b)) => a.total_cmp(b),
        (Key::Address(a), Key::Address(b)) => a.cmp(b),
        (Key::Text(a), Key::Text(b)) => a.cmp(b),
        // A sort has keys of one kind.
        _ => Ordering::Equal,
    }
}

/// Looks for words in connections: in what is a text of theirs.
pub(super) struct Search {
    words: Vec<String>,
    /// Used again for each.
    text: String,
}

impl Search {
    pub(super) fn of(Sought(search): &Sought) -> Self {
        let words = search.split_whitespace().map(str::to_lowercase);
        Self {
            words: words.collect(),
            text: String::new(),
        }
    }

    pub(super) fn finds(&mut self, row: &Row) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let info = &row.info;
        self.text.clear();
        let mut write = |part: std::fmt::Arguments<'_>| {
            // Writing into a string does not fail.
            let _ = self.text.write_fmt(format_args!("{part}\n"));
        };
        write(format_args!("{}", info.id));
        if let Some(address) = info.peer_addr {
            write(format_args!("{address}"));
        }
        for text in [&info.path, &info.subprotocol].into_iter().flatten() {
            write(format_args!("{text}"));
        }
        if let Some(state) = &info.state {
            write(format_args!("{state}"));
        }
        if info.is_closing {
            write(format_args!("closing"));
        }
        let text = self.text.to_lowercase();
        self.words.iter().all(|word| text.contains(word))
    }
}

//! Who is in a hub, as plain data: [`Hub::list_connections`].
//!
//! The registry's lock is held for a copy of the numbers and then for some handles at a time; nothing is looked at under it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dreamsocket_protocol::Role;
#[cfg(feature = "json")]
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::{Admission, Hub};
use crate::connection::{Connection, ConnectionId};

/// How many handles are taken out of the registry under one lock.
const SLICE: usize = 256;

/// Of what others have chosen, such as a path, so many bytes are kept or shown at most.
const MAX_TEXT: usize = 256;

/// What is known of a connection that costs memory and serves only who looks: kept where a hub was told to.
#[derive(Debug)]
pub(crate) struct Details {
    opened: Instant,
    path: Option<Box<str>>,
    /// The name of the state's type, as the compiler writes it. Unknown on a client.
    pub(crate) state: Option<&'static str>,
    missed: AtomicU64,
}

impl Details {
    /// The handlers were told of a gap. One of unknown size counts as one message.
    pub(crate) fn note_missed(&self, count: Option<u64>) {
        self.missed.fetch_add(count.unwrap_or(1), Ordering::Relaxed);
    }
}

/// One connection of a hub, at the moment it was looked at; [`Hub::list_connections`] gives it.
///
/// With the feature `json` it can be serialized: times are numbers of seconds (`age_seconds`, `round_trip_seconds`), what is
/// unknown is `null`.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Its number.
    pub id: ConnectionId,
    /// The peer's address; behind a proxy the proxy's.
    pub peer_addr: Option<SocketAddr>,
    /// The path that the upgrade saw, without the query, which may hold secrets; 256 bytes at most. A router that nests strips
    /// the part that it has matched. A [detail](Hub::keep_details).
    pub path: Option<String>,
    /// The subprotocol that was agreed on.
    pub subprotocol: Option<String>,
    /// How long ago it was let in. A [detail](Hub::keep_details).
    #[cfg_attr(
        feature = "json",
        serde(rename = "age_seconds", serialize_with = "in_seconds")
    )]
    pub age: Option<Duration>,
    /// The type of its state, without modules: `Chat`, `Option<Player>`. A [detail](Hub::keep_details).
    pub state: Option<Cow<'static, str>>,
    /// Whether we are the client on it.
    pub is_client: bool,
    /// Messages of the peer that were handed to `on_message`.
    pub messages_in: u64,
    /// Bytes of their payloads.
    pub bytes_in: u64,
    /// Messages that were encoded for the socket.
    pub messages_out: u64,
    /// Bytes of their payloads.
    pub bytes_out: u64,
    /// Bytes in the outbox: accepted, and not yet taken by the socket; 64 a message included.
    pub outbox_bytes: usize,
    /// How many bytes the outbox may hold.
    pub outbox_limit: usize,
    /// How long the peer took to answer the last ping that it answered.
    #[cfg_attr(
        feature = "json",
        serde(rename = "round_trip_seconds", serialize_with = "in_seconds")
    )]
    pub round_trip: Option<Duration>,
    /// How many messages its channels have lost because it was too slow, or on their way; a gap of unknown size counts as
    /// one. A [detail](Hub::keep_details).
    pub missed: Option<u64>,
    /// Whether it is closing or closed: sends fail.
    pub is_closing: bool,
}

impl ConnectionInfo {
    pub(crate) fn of(connection: &Connection, now: Instant) -> Self {
        let shared = &connection.shared;
        let details = shared.facts.details.as_deref();
        let counts = shared.counters.read();
        Self {
            id: shared.id,
            peer_addr: connection.peer_addr(),
            path: details.and_then(|details| details.path.as_deref().map(str::to_owned)),
            subprotocol: connection.subprotocol().map(str::to_owned),
            age: details.map(|details| now.saturating_duration_since(details.opened)),
            state: details
                .and_then(|details| details.state)
                .map(shorten_type_name),
            is_client: shared.facts.role == Role::Client,
            messages_in: counts.messages_in,
            bytes_in: counts.bytes_in,
            messages_out: counts.messages_out,
            bytes_out: counts.bytes_out,
            outbox_bytes: shared.outbox.buffered(),
            outbox_limit: shared.outbox.limit(),
            round_trip: connection.round_trip_time(),
            missed: details.map(|details| details.missed.load(Ordering::Relaxed)),
            is_closing: shared.outbox.is_closed(),
        }
    }
}

#[cfg(feature = "json")]
fn in_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

impl Hub {
    /// The connection of this number, if it is one of this hub's: to close it, to ping it, to send to it.
    ///
    /// ```
    /// use dreamsocket::{CloseCode, ConnectionId, Hub, InvalidClose};
    ///
    /// /// False if it is not there.
    /// async fn send_away(hub: &Hub, id: ConnectionId) -> Result<bool, InvalidClose> {
    ///     let Some(connection) = hub.connection(id) else { return Ok(false) };
    ///     connection.close(CloseCode::POLICY, "please do not come back").await?;
    ///     Ok(true)
    /// }
    /// # let _ = send_away;
    /// ```
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<Connection> {
        self.inner.lock().connections.get(&id).cloned()
    }

    /// From here on, new connections remember what serves only who looks: when they were opened, on what path, with what type
    /// of state, and how many messages they have missed. Some 64 bytes a connection, and the path. The inspector does this.
    pub fn keep_details(&self) {
        self.inner.keeps_details.store(true, Ordering::Relaxed);
    }

    /// All connections of now, in the order of their numbers, which are random. Those that come or go meanwhile are in it or not.
    ///
    /// Looks at every connection, so ask for it when somebody wants to know, not for each message: 10,000 take some
    /// milliseconds.
    ///
    /// ```
    /// use dreamsocket::{Config, Hub};
    ///
    /// let hub = Hub::new(Config::default());
    /// hub.keep_details();
    /// let waiting: usize = hub.list_connections().iter().map(|connection| connection.outbox_bytes).sum();
    /// assert_eq!(waiting, 0);
    /// ```
    #[must_use]
    pub fn list_connections(&self) -> Vec<ConnectionInfo> {
        let now = Instant::now();
        self.slices()
            .flatten()
            .map(|connection| ConnectionInfo::of(&connection, now))
            .collect()
    }

    /// All connections in the order of their numbers, some at a time, each time under a short lock.
    pub(crate) fn slices(&self) -> impl Iterator<Item = Vec<Connection>> {
        let mut ids: Vec<ConnectionId> = self.inner.lock().connections.keys().copied().collect();
        ids.sort_unstable();
        let slices = ids.len().div_ceil(SLICE);
        (0..slices).map(move |slice| {
            let registry = self.inner.lock();
            let ids = ids.iter().skip(slice * SLICE).take(SLICE);
            ids.filter_map(|id| registry.connections.get(id).cloned())
                .collect()
        })
    }
}

impl Admission {
    /// What a connection that is let in now remembers of itself, if its hub wants it.
    pub(crate) fn details(
        &self,
        path: Option<&str>,
        state: Option<&'static str>,
    ) -> Option<Box<Details>> {
        let hub = self.hub.as_ref()?;
        let keeps = hub.inner.keeps_details.load(Ordering::Relaxed);
        keeps.then(|| {
            Box::new(Details {
                opened: Instant::now(),
                path: path.map(|path| cut(path).into()),
                state,
                missed: AtomicU64::new(0),
            })
        })
    }
}

/// The beginning of a text, of a bounded size.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A type's name without the paths of modules; of a typed connection's state what the application calls its state.
fn shorten_type_name(name: &'static str) -> Cow<'static, str> {
    const TYPED: &str = "dreamsocket::typed::handlers::State<";
    let name = name.strip_prefix(TYPED).map_or(name, first_argument);
    if !name.contains("::") {
        return Cow::Borrowed(name);
    }
    let is_of_path = |character: char| character.is_alphanumeric() || "_:{}#".contains(character);
    if name.chars().all(is_of_path) {
        return Cow::Borrowed(last_segment(name));
    }
    let mut short = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(character) = rest.chars().next() {
        let end = rest.find(|next| !is_of_path(next)).unwrap_or(rest.len());
        let (path, behind) = rest.split_at(end);
        short.push_str(last_segment(path));
        rest = behind;
        if path.is_empty() {
            short.push(character);
            rest = rest.get(character.len_utf8()..).unwrap_or_default();
        }
    }
    Cow::Owned(short)
}

fn last_segment(path: &str) -> &str {
    path.rsplit_once("::").map_or(path, |(_, last)| last)
}

/// Up to the first comma outside of brackets.
fn first_argument(arguments: &'static str) -> &'static str {
    let mut depth = 0_usize;
    let end = arguments.find(|character| match character {
        '<' | '(' | '[' => {
            depth += 1;
            false
        }
        '>' | ')' | ']' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => character == ',' && depth == 0,
    });
    arguments
        .get(..end.unwrap_or(arguments.len()))
        .unwrap_or(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_lose_their_modules() {
        for (name, short) in [
            ("()", "()"),
            ("u32", "u32"),
            ("chat::chat::Chat", "Chat"),
            ("core::option::Option<game::Player>", "Option<Player>"),
            (
                "(alloc::string::String, [game::x::Y; 3])",
                "(String, [Y; 3])",
            ),
            ("&mut a::B<dyn c::D<e::F>>", "&mut B<dyn D<F>>"),
            (
                "dreamsocket::typed::handlers::State<(a::B, c::D<e::F, g::H>), x::Out, dreamsocket::typed::Json>",
                "(B, D<F, H>)",
            ),
        ] {
            assert_eq!(shorten_type_name(name), short);
        }
    }

    #[test]
    fn paths_are_cut_at_a_character() {
        let long = "/é".repeat(200);
        assert_eq!(cut(&long).len(), 256);
        assert!(long.starts_with(cut(&long)));
        assert_eq!(cut(&format!("/{long}")).len(), 256);
        assert_eq!(
            cut(&format!("//{long}")).len(),
            256 - usize::from(!format!("//{long}").is_char_boundary(256))
        );
        assert_eq!(cut("/chat"), "/chat");
    }
}

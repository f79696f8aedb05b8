//! The span of a connection, and what is said at its beginning and its end.
//!
//! A child of the span in which the upgrade was asked for, so that what that one knows, such as a user or a request's number,
//! stands beside every line of the connection. Payloads, queries and headers are in none of it.

use std::time::Duration;

use dreamsocket_protocol::Role;
use tracing::field::{Empty, display};
use tracing::{Span, debug, info_span};

use super::{Connection, Shared};
use crate::hub::cut;
use crate::message::Closed;

/// Whom lines and the span come from.
const TARGET: &str = "dreamsocket::connection";
const NAME: &str = "connection";

/// A connection's span, as far as the handshake knows it. Where nobody wants it, it is the present one.
pub(crate) fn open(role: Role, path: Option<&str>, subprotocol: Option<&str>) -> Span {
    let span = info_span!(
        target: TARGET,
        NAME,
        id = Empty,
        role = match role {
            Role::Server => "server",
            Role::Client => "client",
        },
        peer = Empty,
        // A peer's head may be long, and a subscriber keeps this as long as the connection lasts.
        path = path.map(cut),
        subprotocol,
        code = Empty,
        cause = Empty,
        clean = Empty,
        messages_in = Empty,
        messages_out = Empty,
        bytes_in = Empty,
        bytes_out = Empty,
        duration_ms = Empty,
    );
    if span.is_disabled() {
        Span::current()
    } else {
        span
    }
}

/// The connection is there.
pub(crate) fn identify(span: &Span, connection: &Connection) {
    if !is_ours(span) {
        return;
    }
    span.record("id", display(connection.id()));
    if let Some(peer) = connection.peer_addr() {
        span.record("peer", display(peer));
    }
}

/// The first line, within the span.
pub(crate) fn note_open(connection: &Connection) {
    debug!(target: TARGET, id = %connection.id(), "open");
}

/// The last line, within the span, and what the span is to know by its end.
pub(crate) fn note_end(connection: &Shared, closed: &Closed, lasted: Duration) {
    let counts = connection.counters.read();
    let duration_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
    let span = Span::current();
    if is_ours(&span) {
        span.record("code", u16::from(closed.code));
        span.record("cause", display(closed.cause));
        span.record("clean", closed.clean);
        span.record("messages_in", counts.messages_in);
        span.record("messages_out", counts.messages_out);
        span.record("bytes_in", counts.bytes_in);
        span.record("bytes_out", counts.bytes_out);
        span.record("duration_ms", duration_ms);
    }
    debug!(
        target: TARGET,
        id = %connection.id,
        code = u16::from(closed.code),
        cause = %closed.cause,
        clean = closed.clean,
        counts.messages_in,
        counts.messages_out,
        counts.bytes_in,
        counts.bytes_out,
        duration_ms,
        "closed"
    );
}

/// Whether it is a connection's and not the application's, which may have fields of the same names.
fn is_ours(span: &Span) -> bool {
    span.metadata()
        .is_some_and(|metadata| metadata.name() == NAME && metadata.target() == TARGET)
}

//! The names of the metrics, and what a recorder is told of each. docs/observability.md lists them; a test holds it to this.

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) const CONNECTIONS: &str = "dreamsocket_connections";
pub(crate) const OPENED: &str = "dreamsocket_connections_opened_total";
pub(crate) const CLOSES: &str = "dreamsocket_closes_total";
pub(crate) const LASTED: &str = "dreamsocket_connection_seconds";
pub(crate) const REFUSALS: &str = "dreamsocket_refusals_total";
pub(crate) const FAULTS: &str = "dreamsocket_faults_total";
pub(crate) const ACCEPT_PAUSES: &str = "dreamsocket_accept_pauses_total";
pub(crate) const READ_PAUSES: &str = "dreamsocket_read_pauses_total";
pub(crate) const MESSAGES: &str = "dreamsocket_messages_total";
pub(crate) const BYTES: &str = "dreamsocket_message_bytes_total";
pub(crate) const HANDLERS: &str = "dreamsocket_handler_seconds";
pub(crate) const OUTBOX: &str = "dreamsocket_outbox_bytes";
pub(crate) const GAPS: &str = "dreamsocket_gaps_total";
pub(crate) const MISSED: &str = "dreamsocket_missed_messages_total";
pub(crate) const ROUND_TRIPS: &str = "dreamsocket_round_trip_seconds";

pub(super) const TOPICS: &str = "dreamsocket_broadcaster_topics";
pub(super) const SUBSCRIBERS: &str = "dreamsocket_broadcaster_subscribers";
pub(super) const PUBLISHED: &str = "dreamsocket_broadcaster_published_total";
pub(super) const DELIVERED: &str = "dreamsocket_broadcaster_delivered_total";
pub(super) const DROPPED: &str = "dreamsocket_broadcaster_dropped_total";
pub(super) const CONNECTED: &str = "dreamsocket_broker_connected";
pub(super) const READY: &str = "dreamsocket_broker_ready";
pub(super) const PENDING_TOPICS: &str = "dreamsocket_broker_pending_topics";
pub(super) const QUEUED: &str = "dreamsocket_broker_queued_bytes";
pub(super) const DISCONNECTIONS: &str = "dreamsocket_broker_disconnections_total";
pub(super) const BROKER_GAPS: &str = "dreamsocket_broker_gaps_total";
pub(super) const DOUBLES: &str = "dreamsocket_broker_doubles_total";
pub(super) const UNDECODABLE: &str = "dreamsocket_broker_undecodable_total";

/// Describes what connections measure.
pub(crate) fn describe() {
    describe_gauge!(CONNECTIONS, Unit::Count, "WebSockets that are open.");
    describe_counter!(OPENED, Unit::Count, "WebSockets that were opened.");
    describe_counter!(CLOSES, Unit::Count, "WebSockets that have ended.");
    describe_histogram!(LASTED, Unit::Seconds, "How long WebSockets were open.");
    describe_counter!(REFUSALS, Unit::Count, "Upgrades that were refused.");
    describe_counter!(
        FAULTS,
        Unit::Count,
        "TCP connections that the server gave up before a WebSocket came of them."
    );
    describe_counter!(
        ACCEPT_PAUSES,
        Unit::Count,
        "How often accepting has waited for room for another TCP connection."
    );
    describe_counter!(
        READ_PAUSES,
        Unit::Count,
        "How often reading has paused since a peer had sent as much as it may."
    );
    describe_counter!(MESSAGES, Unit::Count, "Messages, to and from handlers.");
    describe_counter!(BYTES, Unit::Bytes, "Payloads of messages, not compressed.");
    describe_histogram!(
        HANDLERS,
        Unit::Seconds,
        "How long handlers took, their waiting included."
    );
    describe_gauge!(
        OUTBOX,
        Unit::Bytes,
        "What waits in all outboxes, 64 bytes a message included."
    );
    describe_counter!(GAPS, Unit::Count, "Gaps that subscribers were told.");
    describe_counter!(
        MISSED,
        Unit::Count,
        "Messages in gaps, as far as their number is known."
    );
    describe_histogram!(
        ROUND_TRIPS,
        Unit::Seconds,
        "How long peers took to answer pings."
    );
}

/// Describes what is sampled of broadcasters.
pub(super) fn describe_topics() {
    describe_gauge!(TOPICS, Unit::Count, "Topics that have subscribers here.");
    describe_gauge!(SUBSCRIBERS, Unit::Count, "Subscribers here, of all topics.");
    describe_counter!(PUBLISHED, Unit::Count, "Messages that were published here.");
    describe_counter!(
        DELIVERED,
        Unit::Count,
        "Messages that were handed to subscribers here."
    );
    describe_counter!(
        DROPPED,
        Unit::Count,
        "Messages for which a subscriber's channel had no room."
    );
}

/// Describes what is sampled of brokers.
pub(super) fn describe_broker() {
    describe_gauge!(
        CONNECTED,
        Unit::Count,
        "1 while there is a connection to the broker, else 0."
    );
    describe_gauge!(READY, Unit::Count, "1 while messages flow, else 0.");
    describe_gauge!(
        PENDING_TOPICS,
        Unit::Count,
        "Topics that wait to be subscribed to at the broker."
    );
    describe_gauge!(
        QUEUED,
        Unit::Bytes,
        "What waits to be handed to the broker."
    );
    describe_counter!(
        DISCONNECTIONS,
        Unit::Count,
        "How often the connection to the broker was lost."
    );
    describe_counter!(
        BROKER_GAPS,
        Unit::Count,
        "Gaps since messages did not come here."
    );
    describe_counter!(
        DOUBLES,
        Unit::Count,
        "Frames that came again or too late, and were dropped."
    );
    describe_counter!(
        UNDECODABLE,
        Unit::Count,
        "Messages and frames that could not be read."
    );
}

//! What becomes of a message that is not of the type that is expected. Pure data.

/// What becomes of a message that does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnUndecodable {
    /// The handler is told: `typed::Message::Undecodable`.
    #[default]
    Tell,
    /// The connection is closed with 1007 (RFC 6455 §7.4.1: data that is not what its type says).
    Close,
    /// The message is dropped.
    Ignore,
}

//! [`Prepared`]: a message that is encoded once and shared by all connections that it goes to (S3).
//!
//! Pure data. What a connection needs instead of the shared frame (a client masks each of its own) is the session's.

use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::{Engine, Limits, MessageKind, Role, Text};

#[cfg(feature = "json")]
use crate::error::SendError;

/// A message made ready to go to many connections: its frame is encoded once, and sending it copies a reference.
///
/// Cheap to clone, and a topic of prepared messages is what [`Connection::forward`](crate::Connection::forward) takes.
///
/// ```
/// use dreamsocket::{Connection, Prepared, SendError};
///
/// async fn tell_all(connections: &[Connection]) -> Result<(), SendError> {
///     let message = Prepared::text("The doors open.");
///     for connection in connections {
///         connection.send_prepared(&message).await?;
///     }
///     Ok(())
/// }
/// # let _ = tell_all;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    kind: MessageKind,
    /// The whole frame, as a server sends it.
    frame: Bytes,
    /// Where the payload starts in it.
    start: u8,
}

impl Prepared {
    /// A text message.
    #[must_use]
    pub fn text(message: impl Into<Text>) -> Self {
        Self::new(MessageKind::Text, message.into().as_bytes_ref())
    }

    /// A binary message.
    #[must_use]
    pub fn binary(message: impl Into<Bytes>) -> Self {
        Self::new(MessageKind::Binary, &message.into())
    }

    /// A value as a text message in JSON.
    ///
    /// # Errors
    ///
    /// [`SendError::Json`] if the value cannot be written as JSON.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(message: &T) -> Result<Self, SendError> {
        serde_json::to_string(message)
            .map(Self::text)
            .map_err(SendError::Json)
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.frame
            .get(usize::from(self.start)..)
            .unwrap_or_default()
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        self.kind
    }

    pub(crate) const fn frame(&self) -> &Bytes {
        &self.frame
    }

    fn new(kind: MessageKind, payload: &[u8]) -> Self {
        // The longest header of a server's frame has 10 bytes.
        let mut frame = BytesMut::with_capacity(10 + payload.len());
        let mut engine = Engine::new(Role::Server, Limits::default());
        let encoded = engine.encode_message(kind, payload, || [0; 4], &mut frame);
        debug_assert!(encoded.is_ok(), "a new engine has sent no close frame");
        let start = u8::try_from(frame.len() - payload.len()).unwrap_or_default();
        Self {
            kind,
            frame: frame.freeze(),
            start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_a_prepared_message_is_the_frame_of_a_server() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let prepared = Prepared::binary(payload.clone());
            assert_eq!(prepared.payload(), payload);
            let mut expected = BytesMut::new();
            let mut engine = Engine::new(Role::Server, Limits::default());
            engine
                .encode_message(MessageKind::Binary, &payload, || [0; 4], &mut expected)
                .unwrap();
            assert_eq!(prepared.frame(), &expected);
        }
        assert_eq!(Prepared::text("hi").frame(), &b"\x81\x02hi"[..]);
    }

    #[test]
    fn s3_a_clone_shares_the_frame() {
        let prepared = Prepared::text("shared");
        assert_eq!(prepared.clone().frame().as_ptr(), prepared.frame().as_ptr());
    }
}

//! [`Prepared`]: a message that is encoded once and shared by all connections that it goes to (S3), compressed once for
//! all that compress alike.
//!
//! Pure data. What a connection needs instead of the shared frame (a client masks each of its own) is the session's.

#[cfg(any(feature = "json", feature = "nats", feature = "redis"))]
mod travel;

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dreamsocket_protocol::{Compressor, MessageKind, Text, encode_shared_frame};

#[cfg(feature = "json")]
use crate::error::SendError;

/// A message made ready to go to many connections: its frame is encoded once, and sending it copies a reference.
///
/// Cheap to clone, and a topic of prepared messages is what [`Connection::forward`](crate::Connection::forward) takes. With
/// a feature that brings serde (`json`, `nats`, `redis`) such a topic may reach other machines: kind and payload travel,
/// and the frame is made once on each. Binary messages do so better as MessagePack than as JSON, which has only numbers
/// for them.
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
#[derive(Clone)]
pub struct Prepared {
    inner: Arc<Inner>,
}

struct Inner {
    kind: MessageKind,
    /// The whole frame, as a server sends it without compression.
    frame: Bytes,
    /// Where the payload starts in it.
    start: u8,
    /// Made for the first connection that compresses.
    compressed: OnceLock<Box<[Variant; VARIANTS]>>,
}

/// How many kinds of compressors the results are kept for: under one configuration connections differ in their window only,
/// which a peer chooses among seven.
const VARIANTS: usize = 7;

/// What a kind of compressor made of the message: the whole frame and where its payload starts, or nothing if the message
/// goes as it is.
type Variant = OnceLock<(Compressor, Option<Compressed>)>;

/// A compressed message, as a frame of a server.
#[derive(Debug, Clone)]
pub(crate) struct Compressed {
    frame: Bytes,
    length: usize,
}

impl Compressed {
    pub(crate) const fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The frame's payload, for those who can't send the frame itself.
    pub(crate) fn payload(&self) -> &[u8] {
        let start = self.frame.len() - self.length;
        self.frame.get(start..).unwrap_or_default()
    }
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
        self.inner
            .frame
            .get(usize::from(self.inner.start)..)
            .unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> MessageKind {
        self.inner.kind
    }

    pub(crate) fn frame(&self) -> &Bytes {
        &self.inner.frame
    }

    /// The message as it goes to connections that compress like this; `None` if it goes as it is. Only the first of them
    /// has it compressed.
    pub(crate) fn compressed(&self, compressor: Compressor) -> Option<Compressed> {
        let variants = self.inner.compressed.get_or_init(Box::default);
        for variant in &**variants {
            let (made_by, compressed) =
                variant.get_or_init(|| (compressor, self.compress(compressor)));
            if *made_by == compressor {
                return compressed.clone();
            }
        }
        self.compress(compressor)
    }

    fn compress(&self, compressor: Compressor) -> Option<Compressed> {
        let compressed = compressor.compress(self.payload())?;
        Some(Compressed {
            frame: encode_shared_frame(self.inner.kind, true, &compressed),
            length: compressed.len(),
        })
    }

    fn new(kind: MessageKind, payload: &[u8]) -> Self {
        let frame = encode_shared_frame(kind, false, payload);
        Self {
            inner: Arc::new(Inner {
                kind,
                start: u8::try_from(frame.len() - payload.len()).unwrap_or_default(),
                frame,
                compressed: OnceLock::new(),
            }),
        }
    }
}

impl PartialEq for Prepared {
    fn eq(&self, other: &Self) -> bool {
        // Kind and payload are in the frame.
        self.inner.frame == other.inner.frame
    }
}

impl Eq for Prepared {}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("kind", &self.inner.kind)
            .field("bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use dreamsocket_protocol::handshake::DeflateParams;
    use dreamsocket_protocol::{DeflateTuning, Engine, Limits, Role};

    use super::*;

    fn compressor(window_bits: u8) -> Compressor {
        let params = DeflateParams {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: window_bits,
            client_max_window_bits: 15,
        };
        Engine::new(Role::Server, Limits::default())
            .with_deflate(params, DeflateTuning::default())
            .compressor()
            .unwrap()
    }

    #[test]
    fn s3_it_is_compressed_once_for_each_kind_of_connection() {
        let prepared = Prepared::text("again and ".repeat(100));
        let address = |compressor| {
            let compressed = prepared.clone().compressed(compressor).unwrap();
            assert_eq!(compressed.frame()[0], 0xc1);
            assert!(compressed.frame().ends_with(compressed.payload()));
            compressed.frame().as_ptr()
        };
        let first: Vec<_> = (9..=15).map(|bits| address(compressor(bits))).collect();
        let again: Vec<_> = (9..=15).map(|bits| address(compressor(bits))).collect();
        assert_eq!(first, again);
    }

    #[test]
    fn s3_what_gets_no_shorter_goes_as_it_is() {
        let prepared = Prepared::binary(&b"short"[..]);
        assert!(prepared.compressed(compressor(15)).is_none());
        assert!(prepared.compressed(compressor(15)).is_none());
    }

    #[test]
    fn debug_shows_no_payload() {
        assert!(!format!("{:?}", Prepared::text("secret")).contains("secret"));
    }

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

//! How values become messages and back. Knows no connection.

use std::fmt;

use bytes::Bytes;
use dreamsocket_protocol::Text;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BoxError;

/// A message as it goes over the wire.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "WebSocket has these two (RFC 6455 §5.6)"
)]
pub enum Payload {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
}

impl Payload {
    /// The bytes of either.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_ref(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Without its contents.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Text(_) => "Text",
            Self::Binary(_) => "Binary",
        };
        write!(f, "{kind}({} bytes)", self.as_bytes().len())
    }
}

/// How typed messages are written: [`Json`], [`MessagePack`](crate::typed) or one of your own.
pub trait Format: Send + Sync + 'static {
    /// Turns a value into a message.
    ///
    /// # Errors
    ///
    /// When the value cannot be written in this format.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Payload, BoxError>;

    /// Turns a message into a value.
    ///
    /// # Errors
    ///
    /// When the message is not in this format, or of another shape.
    fn decode<T: DeserializeOwned>(payload: &Payload) -> Result<T, BoxError>;

    /// Why that error came, in words without a piece of the message.
    fn explain(error: &BoxError) -> String;
}

/// JSON (RFC 8259), in text messages; in binary messages it is read, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is a name and no value")]
pub struct Json;

impl Format for Json {
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Payload, BoxError> {
        let text = serde_json::to_string(value)?;
        Ok(Payload::Text(text.into()))
    }

    fn decode<T: DeserializeOwned>(payload: &Payload) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(payload.as_bytes())?)
    }

    fn explain(error: &BoxError) -> String {
        let Some(error) = error.downcast_ref::<serde_json::Error>() else {
            return "the message is no JSON".to_owned();
        };
        let what = if error.is_data() {
            "the message is JSON of another shape than is expected here"
        } else {
            "the message is no JSON"
        };
        format!("{what} (line {}, column {})", error.line(), error.column())
    }
}

/// [MessagePack](https://msgpack.org), in binary messages, with the names of fields as JSON has them.
#[cfg(feature = "messagepack")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is a name and no value")]
pub struct MessagePack;

/// As deep as JSON may be: what is read in place of a tree has a bound.
#[cfg(feature = "messagepack")]
const MAX_DEPTH: usize = 128;

#[cfg(feature = "messagepack")]
impl Format for MessagePack {
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Payload, BoxError> {
        Ok(Payload::Binary(rmp_serde::to_vec_named(value)?.into()))
    }

    fn decode<T: DeserializeOwned>(payload: &Payload) -> Result<T, BoxError> {
        let Payload::Binary(bytes) = payload else {
            return Err("it is a text message".into());
        };
        let mut rest = &**bytes;
        let mut decoder = rmp_serde::Deserializer::new(&mut rest);
        decoder.set_max_depth(MAX_DEPTH);
        let value = T::deserialize(&mut decoder)?;
        if !rest.is_empty() {
            return Err("there is something behind the value".into());
        }
        Ok(value)
    }

    fn explain(_: &BoxError) -> String {
        "the message is no MessagePack, or of another shape than is expected here".to_owned()
    }
}

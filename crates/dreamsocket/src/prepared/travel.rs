//! A [`Prepared`] message on its way to another node: its kind and payload, from which the frame is made anew there, once
//! for all connections of that node.

use std::fmt;

use dreamsocket_protocol::MessageKind;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Prepared;

#[derive(Serialize)]
#[serde(rename = "Prepared")]
enum Sent<'a> {
    Text(&'a str),
    Binary(Bytes<&'a [u8]>),
}

#[derive(Deserialize)]
#[serde(rename = "Prepared")]
enum Received {
    Text(String),
    Binary(Bytes<Vec<u8>>),
}

/// Bytes that are not written as a list of numbers where the format has something better.
struct Bytes<B>(B);

impl Serialize for Prepared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let payload = self.payload();
        let sent = match self.kind() {
            // It was made of a text.
            MessageKind::Text => Sent::Text(std::str::from_utf8(payload).unwrap_or_default()),
            MessageKind::Binary => Sent::Binary(Bytes(payload)),
        };
        sent.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Prepared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Received::deserialize(deserializer)? {
            Received::Text(text) => Self::text(text),
            Received::Binary(Bytes(bytes)) => Self::binary(bytes),
        })
    }
}

impl Serialize for Bytes<&[u8]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Vec<u8>, A::Error> {
                // What a sender says of the length is not believed.
                let mut bytes = Vec::new();
                while let Some(number) = numbers.next_element::<u64>()? {
                    bytes.push(u8::try_from(number).map_err(A::Error::custom)?);
                }
                Ok(bytes)
            }
        }

        deserializer.deserialize_byte_buf(Any).map(Bytes)
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    #[test]
    fn b9_a_prepared_message_travels_as_its_kind_and_payload() {
        for (prepared, json) in [
            (Prepared::text("a \"b\""), r#"{"Text":"a \"b\""}"#),
            (Prepared::text(""), r#"{"Text":""}"#),
            (Prepared::binary(vec![0, 255]), r#"{"Binary":[0,255]}"#),
            (Prepared::binary(vec![]), r#"{"Binary":[]}"#),
        ] {
            assert_eq!(serde_json::to_string(&prepared).unwrap(), json);
            let received: Prepared = serde_json::from_str(json).unwrap();
            assert_eq!(received, prepared);
        }
    }

    #[test]
    fn b9_what_is_no_prepared_message_is_an_error() {
        for json in [
            "{}",
            "1",
            r#"{"Text":1}"#,
            r#"{"Binary":[256]}"#,
            r#"{"Binary":[-1]}"#,
        ] {
            assert!(serde_json::from_str::<Prepared>(json).is_err(), "{json}");
        }
    }
}

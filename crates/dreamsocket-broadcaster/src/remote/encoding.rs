//! How messages are written for the way between nodes: serde, in one of a few formats.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How a broadcaster writes its messages for other machines.
///
/// Each message says how it was written, and all formats that are built in are read: nodes may differ, and change one
/// after the other. What must not differ is what serde makes of the message type; to change that while nodes of both
/// kinds run, use what its format allows (in JSON and MessagePack: new fields with `#[serde(default)]`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// JSON: can be read by people and by everything else. The default.
    #[default]
    Json,
    /// MessagePack with the names of the fields: as flexible as JSON, and smaller where there are numbers and bytes.
    #[cfg(feature = "messagepack")]
    MessagePack,
    /// postcard: the smallest. It writes no names, so every change of the type needs all nodes to change at once, and
    /// formats that ask the data what it is (`#[serde(untagged)]`, `#[serde(flatten)]`) are not possible.
    #[cfg(feature = "postcard")]
    Postcard,
}

type Failure = Box<dyn Error + Send + Sync>;

/// The two directions for one message type. Functions rather than a trait: the engine's type does not ask for serde.
pub(crate) struct Coder<M> {
    pub(crate) encoding: Encoding,
    encode: fn(Encoding, &M, &mut Vec<u8>) -> Result<(), Failure>,
    decode: fn(Encoding, &[u8]) -> Result<M, Failure>,
}

/// A format that is not built in here.
#[derive(Debug)]
struct UnknownEncoding(u8);

impl<M: Serialize + DeserializeOwned> Coder<M> {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            encode,
            decode,
        }
    }
}

impl<M> Coder<M> {
    /// Appends the message to the buffer. Runs the user's `Serialize`.
    pub(crate) fn encode(&self, message: &M, buffer: &mut Vec<u8>) -> Result<(), Failure> {
        (self.encode)(self.encoding, message, buffer)
    }

    /// Runs the user's `Deserialize`.
    pub(crate) fn decode(&self, encoding: u8, bytes: &[u8]) -> Result<M, Failure> {
        let encoding = Encoding::from_byte(encoding)?;
        (self.decode)(encoding, bytes)
    }
}

impl Encoding {
    /// Its name within a frame. Must never change.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Json => 1,
            #[cfg(feature = "messagepack")]
            Self::MessagePack => 2,
            #[cfg(feature = "postcard")]
            Self::Postcard => 3,
        }
    }

    const fn from_byte(byte: u8) -> Result<Self, UnknownEncoding> {
        match byte {
            1 => Ok(Self::Json),
            #[cfg(feature = "messagepack")]
            2 => Ok(Self::MessagePack),
            #[cfg(feature = "postcard")]
            3 => Ok(Self::Postcard),
            _ => Err(UnknownEncoding(byte)),
        }
    }
}

fn encode<M: Serialize>(
    encoding: Encoding,
    message: &M,
    buffer: &mut Vec<u8>,
) -> Result<(), Failure> {
    match encoding {
        Encoding::Json => serde_json::to_writer(buffer, message)?,
        #[cfg(feature = "messagepack")]
        Encoding::MessagePack => rmp_serde::encode::write_named(buffer, message)?,
        #[cfg(feature = "postcard")]
        Encoding::Postcard => {
            postcard::to_io(message, buffer)?;
        }
    }
    Ok(())
}

fn decode<M: DeserializeOwned>(encoding: Encoding, bytes: &[u8]) -> Result<M, Failure> {
    Ok(match encoding {
        Encoding::Json => serde_json::from_slice(bytes)?,
        #[cfg(feature = "messagepack")]
        Encoding::MessagePack => rmp_serde::from_slice(bytes)?,
        #[cfg(feature = "postcard")]
        Encoding::Postcard => postcard::from_bytes(bytes)?,
    })
}

impl fmt::Display for UnknownEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "encoding {} is not built in here", self.0)
    }
}

impl Error for UnknownEncoding {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Said {
        name: String,
        numbers: Vec<u32>,
        maybe: Option<bool>,
    }

    fn encodings() -> impl Iterator<Item = Encoding> {
        (0..=u8::MAX).filter_map(|byte| Encoding::from_byte(byte).ok())
    }

    #[test]
    fn b9_every_encoding_reads_what_it_has_written_whatever_the_reader_writes() {
        let said = Said {
            name: "Ada".to_owned(),
            numbers: vec![0, 1, u32::MAX],
            maybe: None,
        };
        let built_in = [
            true,
            cfg!(feature = "messagepack"),
            cfg!(feature = "postcard"),
        ];
        let built_in = built_in.into_iter().filter(|is_there| *is_there);
        assert_eq!(encodings().count(), built_in.count());
        let reader = Coder::<Said>::new(Encoding::Json);
        for encoding in encodings() {
            let coder = Coder::new(encoding);
            let mut buffer = b"before".to_vec();
            coder.encode(&said, &mut buffer).unwrap();
            let written = buffer.strip_prefix(b"before").unwrap();
            assert_eq!(reader.decode(encoding.byte(), written).unwrap(), said);
        }
    }

    #[test]
    fn b9_what_cannot_be_written_or_read_is_an_error() {
        let coder = Coder::<Said>::new(Encoding::Json);
        for encoding in encodings() {
            assert!(coder.decode(encoding.byte(), b"\xff\xff").is_err());
        }
        let error = coder.decode(0, b"{}").unwrap_err();
        assert_eq!(error.to_string(), "encoding 0 is not built in here");

        let mut by_pairs = std::collections::HashMap::new();
        by_pairs.insert((1, 2), 3);
        let coder = Coder::new(Encoding::Json);
        assert!(coder.encode(&by_pairs, &mut Vec::new()).is_err());
    }
}

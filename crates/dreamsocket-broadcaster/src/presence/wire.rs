//! What nodes tell each other of their people, in bytes: the changes of one node in one topic, which is also how its whole
//! roster is kept in the store; and signs of life. Plain data.
//!
//! A change leads from one version of a roster to a later one. One that begins at version 0 begins with nobody, so it is
//! the whole roster. Changes may be applied again on top of a version between: each of their steps says how a connection
//! is afterwards, and not how it differs.

use std::error::Error;
use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What it begins with. What begins with anything else is of a later version.
const FORMAT: u8 = 1;

const ALIVE: u8 = 1;
const GONE: u8 = 2;
const MISSED: u8 = 3;
const CHANGE: u8 = 4;

const SET: u8 = 1;
const LEAVE: u8 = 2;

/// What a step takes beside its key and value, at most.
pub(super) const STEP_OVERHEAD: usize = 25;

/// What a node says of a node, itself or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// I am here.
    Alive(u64),
    /// I go, and all my people with me.
    Gone(u64),
    /// It seems to be gone: who hears this of itself was away, and has to show itself again.
    Missed(u64),
}

/// From one version of a node's roster in a topic to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) node: u64,
    /// 0: from nobody.
    pub(super) from: u64,
    pub(super) to: u64,
    /// How keys and values are written.
    pub(super) encoding: u8,
    pub(super) steps: Vec<Step<Entry>>,
}

/// How a connection is from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<T> {
    Set { number: u64, stamp: u64, what: T },
    Leave { number: u64 },
}

/// A connection's key and value, as they travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
}

/// Bytes that no node of this version has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Word {
    pub(super) fn encode(self) -> Bytes {
        let (kind, node) = match self {
            Self::Alive(node) => (ALIVE, node),
            Self::Gone(node) => (GONE, node),
            Self::Missed(node) => (MISSED, node),
        };
        let mut bytes = BytesMut::with_capacity(10);
        bytes.put_slice(&[FORMAT, kind]);
        bytes.put_u64(node);
        bytes.freeze()
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, Unreadable> {
        let kind = kind(&mut bytes)?;
        let node = bytes.try_get_u64().map_err(|_| Unreadable)?;
        match kind {
            ALIVE => Ok(Self::Alive(node)),
            GONE => Ok(Self::Gone(node)),
            MISSED => Ok(Self::Missed(node)),
            _ => Err(Unreadable),
        }
    }
}

impl Change {
    pub(super) fn encode(&self) -> Bytes {
        let steps = self.steps.iter().map(|step| match step {
            Step::Set { what, .. } => STEP_OVERHEAD + what.len(),
            Step::Leave { .. } => STEP_OVERHEAD,
        });
        let mut bytes = BytesMut::with_capacity(32 + steps.sum::<usize>());
        bytes.put_slice(&[FORMAT, CHANGE, self.encoding]);
        for number in [self.node, self.from, self.to] {
            bytes.put_u64(number);
        }
        for step in &self.steps {
            match step {
                Step::Set {
                    number,
                    stamp,
                    what,
                } => {
                    bytes.put_u8(SET);
                    bytes.put_u64(*number);
                    bytes.put_u64(*stamp);
                    for part in [&what.key, &what.value] {
                        bytes.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
                        bytes.put_slice(part);
                    }
                }
                Step::Leave { number } => {
                    bytes.put_u8(LEAVE);
                    bytes.put_u64(*number);
                }
            }
        }
        bytes.freeze()
    }

    /// Copies nothing: keys and values are parts of the bytes.
    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, Unreadable> {
        if kind(&mut bytes)? != CHANGE {
            return Err(Unreadable);
        }
        let encoding = bytes.try_get_u8().map_err(|_| Unreadable)?;
        let mut number = || bytes.try_get_u64().map_err(|_| Unreadable);
        let (node, from, to) = (number()?, number()?, number()?);
        let mut steps = Vec::new();
        while bytes.has_remaining() {
            steps.push(step(&mut bytes)?);
        }
        Ok(Self {
            node,
            from,
            to,
            encoding,
            steps,
        })
    }
}

impl Entry {
    pub(super) fn len(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

fn kind(bytes: &mut impl Buf) -> Result<u8, Unreadable> {
    match (bytes.try_get_u8(), bytes.try_get_u8()) {
        (Ok(FORMAT), Ok(kind)) => Ok(kind),
        _ => Err(Unreadable),
    }
}

fn step(bytes: &mut Bytes) -> Result<Step<Entry>, Unreadable> {
    let tag = bytes.try_get_u8().map_err(|_| Unreadable)?;
    let number = bytes.try_get_u64().map_err(|_| Unreadable)?;
    match tag {
        SET => Ok(Step::Set {
            number,
            stamp: bytes.try_get_u64().map_err(|_| Unreadable)?,
            what: Entry {
                key: part(bytes)?,
                value: part(bytes)?,
            },
        }),
        LEAVE => Ok(Step::Leave { number }),
        _ => Err(Unreadable),
    }
}

fn part(bytes: &mut Bytes) -> Result<Bytes, Unreadable> {
    let len = bytes.try_get_u32().map_err(|_| Unreadable)?;
    let len = usize::try_from(len).map_err(|_| Unreadable)?;
    if len > bytes.len() {
        return Err(Unreadable);
    }
    Ok(bytes.split_to(len))
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are not what a node of this version writes")
    }
}

impl Error for Unreadable {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps() -> impl Strategy<Value = Vec<Step<Entry>>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let set = (any::<u64>(), any::<u64>(), bytes(), bytes());
        let set = set.prop_map(|(number, stamp, key, value)| Step::Set {
            number,
            stamp,
            what: Entry { key, value },
        });
        let leave = any::<u64>().prop_map(|number| Step::Leave { number });
        prop::collection::vec(prop_oneof![set, leave], 0..10)
    }

    proptest! {
        #[test]
        fn b8_a_change_is_read_as_it_was_written(
            node: u64, from: u64, to: u64, encoding: u8, steps in steps()
        ) {
            let change = Change { node, from, to, encoding, steps };
            prop_assert_eq!(Change::decode(change.encode()), Ok(change));
        }

        #[test]
        fn b8_any_bytes_are_read_or_refused(bytes in prop::collection::vec(0_u8..6, 0..100)) {
            let _ = Word::decode(&bytes);
            let _ = Change::decode(Bytes::from(bytes));
        }

        #[test]
        fn b8_what_is_cut_short_is_refused(steps in steps(), missing in 1_usize..20) {
            let change = Change { node: 1, from: 2, to: 3, encoding: 1, steps };
            let bytes = change.encode();
            let cut = bytes.slice(..bytes.len().saturating_sub(missing));
            prop_assert_ne!(Change::decode(cut), Ok(change));
        }
    }

    #[test]
    fn b8_words_are_read_as_they_were_written() {
        for word in [Word::Alive(1), Word::Gone(u64::MAX), Word::Missed(0)] {
            assert_eq!(Word::decode(&word.encode()), Ok(word));
        }
        assert_eq!(
            Word::decode(&[2, ALIVE, 0, 0, 0, 0, 0, 0, 0, 1]),
            Err(Unreadable)
        );
    }
}

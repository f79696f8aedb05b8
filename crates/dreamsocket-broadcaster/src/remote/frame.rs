//! What travels between nodes: a version, who published it as which number, and the encoded message.
//!
//! All numbers are big-endian. A message is
//!
//! | bytes | |
//! |---|---|
//! | 1 | the version of all this, 1 |
//! | 1 | the kind: 1 a message, 2 a message that one subscriber does not get, 3 an announcement, 4 an echo |
//! | 1 | how the message is encoded; 0 where there is none |
//! | 8 | the publisher: one life of one broadcaster |
//! | 8 | the number of the first message of the run that this one is in |
//! | 8 | the message's own number; of an announcement: the last message's |
//! | 4 | milliseconds since the message before this one in its run was sent; of an announcement: since the last one was |
//! | 16 | kind 2 only: the subscriber who does not get it |
//! | … | the message |
//!
//! An echo has a number only, behind the publisher. The numbers of a topic and publisher grow by one from message to
//! message within a run; a run ends when its publisher forgets it (`numbering.rs`), and the next begins with a greater
//! number than any before.

use std::error::Error;
use std::fmt;

use bytes::{Buf, BufMut, Bytes};

use crate::engine::SubscriberId;

const VERSION: u8 = 1;

const MESSAGE: u8 = 1;
const MESSAGE_EXCEPT: u8 = 2;
const ANNOUNCEMENT: u8 = 3;
const ECHO: u8 = 4;

/// Where the stamp begins.
const STAMP: usize = 3;
/// Where its age is.
const SINCE: usize = STAMP + 24;
/// Where the message begins, if everybody gets it.
pub(crate) const STAMPED: usize = STAMP + 28;
/// What a frame adds to a message, at most.
pub(crate) const OVERHEAD: usize = STAMPED + 16;

/// Which message of which publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) publisher: u64,
    pub(crate) start: u64,
    pub(crate) number: u64,
    /// Counted from when a message was sent to when this is: either may have waited for a connection, and receivers compare it
    /// with how long they have been subscribed.
    pub(crate) since_ms: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Message {
        stamp: Stamp,
        except: Option<SubscriberId>,
        encoding: u8,
        payload: Bytes,
    },
    Announcement(Stamp),
    Echo {
        node: u64,
        number: u64,
    },
}

/// A message that is not sent yet: it is encoded before it has a number, which is given under a lock, and may wait then.
pub(crate) struct Draft {
    bytes: Vec<u8>,
}

/// The frame was made by something else, or by a later version of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Draft {
    /// Leaves room for the stamp; the message is then written behind it.
    pub(crate) fn new(except: Option<SubscriberId>, encoding: u8) -> Self {
        let kind = if except.is_some() {
            MESSAGE_EXCEPT
        } else {
            MESSAGE
        };
        let mut bytes = Vec::with_capacity(128);
        bytes.put_slice(&[VERSION, kind, encoding]);
        bytes.put_bytes(0, STAMPED - STAMP);
        if let Some(id) = except {
            bytes.put_u64(id.engine);
            bytes.put_u64(id.number);
        }
        Self { bytes }
    }

    /// Where the message goes.
    pub(crate) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How long the message is that was written.
    pub(crate) fn payload_len(&self) -> usize {
        let header = match self.bytes.get(1) {
            Some(&MESSAGE_EXCEPT) => OVERHEAD,
            _ => STAMPED,
        };
        self.bytes.len().saturating_sub(header)
    }

    pub(crate) fn stamp(&mut self, stamp: Stamp) {
        if let Some(mut room) = self.bytes.get_mut(STAMP..STAMPED) {
            put_stamp(&mut room, stamp);
        }
    }

    /// The frame, as it is sent now. If it is known better by now than by the stamp, it says how long ago the message before it
    /// was sent.
    pub(crate) fn send(mut self, since_ms: Option<u32>) -> Bytes {
        if let Some(since_ms) = since_ms
            && let Some(mut room) = self.bytes.get_mut(SINCE..STAMPED)
        {
            room.put_u32(since_ms);
        }
        Bytes::from(self.bytes)
    }
}

fn put_stamp(buffer: &mut impl BufMut, stamp: Stamp) {
    buffer.put_u64(stamp.publisher);
    buffer.put_u64(stamp.start);
    buffer.put_u64(stamp.number);
    buffer.put_u32(stamp.since_ms);
}

pub(crate) fn announcement(stamp: Stamp) -> Bytes {
    let mut bytes = Vec::with_capacity(STAMPED);
    bytes.put_slice(&[VERSION, ANNOUNCEMENT, 0]);
    put_stamp(&mut bytes, stamp);
    Bytes::from(bytes)
}

pub(crate) fn echo(node: u64, number: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(STAMP + 16);
    bytes.put_slice(&[VERSION, ECHO, 0]);
    bytes.put_u64(node);
    bytes.put_u64(number);
    Bytes::from(bytes)
}

impl Frame {
    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, Unreadable> {
        let buffer = &mut bytes;
        if get(buffer.try_get_u8())? != VERSION {
            return Err(Unreadable);
        }
        let kind = get(buffer.try_get_u8())?;
        let encoding = get(buffer.try_get_u8())?;
        Ok(match kind {
            MESSAGE => Self::Message {
                stamp: stamp(buffer)?,
                except: None,
                encoding,
                payload: bytes,
            },
            MESSAGE_EXCEPT => Self::Message {
                stamp: stamp(buffer)?,
                except: Some(SubscriberId {
                    engine: get(buffer.try_get_u64())?,
                    number: get(buffer.try_get_u64())?,
                }),
                encoding,
                payload: bytes,
            },
            ANNOUNCEMENT => Self::Announcement(stamp(buffer)?),
            ECHO => Self::Echo {
                node: get(buffer.try_get_u64())?,
                number: get(buffer.try_get_u64())?,
            },
            _ => return Err(Unreadable),
        })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not a frame that this version knows")
    }
}

impl Error for Unreadable {}

fn stamp(buffer: &mut Bytes) -> Result<Stamp, Unreadable> {
    let stamp = Stamp {
        publisher: get(buffer.try_get_u64())?,
        start: get(buffer.try_get_u64())?,
        number: get(buffer.try_get_u64())?,
        since_ms: get(buffer.try_get_u32())?,
    };
    // Numbers are counted with further on.
    if stamp.start > stamp.number {
        return Err(Unreadable);
    }
    Ok(stamp)
}

fn get<T>(read: Result<T, bytes::TryGetError>) -> Result<T, Unreadable> {
    read.map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMPS: [Stamp; 2] = [
        Stamp {
            publisher: 1,
            start: 2,
            number: 3,
            since_ms: 4,
        },
        Stamp {
            publisher: u64::MAX,
            start: 0,
            number: u64::MAX,
            since_ms: u32::MAX,
        },
    ];

    fn frames() -> Vec<(Bytes, Frame)> {
        let mut frames = vec![(echo(7, 8), Frame::Echo { node: 7, number: 8 })];
        for stamp in STAMPS {
            frames.push((announcement(stamp), Frame::Announcement(stamp)));
            let id = SubscriberId {
                engine: 5,
                number: 6,
            };
            for (except, payload) in [(None, &b"hello"[..]), (Some(id), b"hello"), (None, b"")] {
                let mut draft = Draft::new(except, 9);
                draft.buffer().put_slice(payload);
                assert_eq!(draft.payload_len(), payload.len());
                let frame = Frame::Message {
                    stamp,
                    except,
                    encoding: 9,
                    payload: Bytes::from_static(payload),
                };
                draft.stamp(stamp);
                frames.push((draft.send(None), frame));
            }
        }
        frames
    }

    #[test]
    fn b9_frames_come_back_as_they_were() {
        for (bytes, frame) in frames() {
            assert!(bytes.len() <= OVERHEAD + 5);
            assert_eq!(Frame::decode(bytes), Ok(frame));
        }
    }

    #[test]
    fn b9_the_layout_is_what_the_table_says() {
        let mut draft = Draft::new(None, 1);
        draft.buffer().put_slice(b"{}");
        draft.stamp(Stamp {
            publisher: 0x0102_0304_0506_0708,
            start: 1,
            number: 2,
            since_ms: 4,
        });
        let bytes = draft.send(Some(3));
        let expected = [
            &[1, 1, 1][..],
            &[1, 2, 3, 4, 5, 6, 7, 8],
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 2],
            &[0, 0, 0, 3],
            b"{}",
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn b9_what_cannot_be_read_is_an_error_at_every_length() {
        for (bytes, frame) in frames() {
            let payload = match frame {
                Frame::Message { payload, .. } => payload.len(),
                Frame::Announcement(_) | Frame::Echo { .. } => 0,
            };
            for length in 0..bytes.len() - payload {
                assert_eq!(Frame::decode(bytes.slice(..length)), Err(Unreadable));
            }
            let mut later = bytes.to_vec();
            later[0] = VERSION + 1;
            assert_eq!(Frame::decode(Bytes::from(later)), Err(Unreadable));
            let mut unknown = bytes.to_vec();
            unknown[1] = 0;
            assert_eq!(Frame::decode(Bytes::from(unknown)), Err(Unreadable));
        }
        let backwards = Stamp {
            start: 4,
            ..STAMPS[0]
        };
        assert_eq!(Frame::decode(announcement(backwards)), Err(Unreadable));
    }
}

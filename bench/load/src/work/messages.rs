//! The messages themselves: what is sent, encoded once, and what has to come back, counted by bytes.

use anyhow::{Result, ensure};

use crate::frame;

/// As much as one write offers.
const WRITE: usize = 1024 * 1024;

/// The same message over and over, ready to be written from any place in it.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Whole messages side by side.
    bytes: Vec<u8>,
    length: usize,
}

impl Outgoing {
    /// `at_once`: as many as one write may hold.
    pub(super) fn new(message: &[u8], at_once: usize) -> Self {
        // One more, since a write may begin in the middle of a message.
        let repeated = (at_once + 1).min(WRITE / message.len()).max(1);
        Self {
            bytes: message.repeat(repeated),
            length: message.len(),
        }
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// What comes next when so much is written and so much is due, or as much of it as fits.
    pub(super) fn next(&self, written: u64, due: u64) -> &[u8] {
        let start = (written % self.length as u64) as usize;
        let left = (due - written).min((self.bytes.len() - start) as u64) as usize;
        &self.bytes[start..start + left]
    }
}

/// What has been written of what is due to be written.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sending {
    pub(super) written: u64,
    pub(super) due: u64,
}

impl Sending {
    pub(super) fn add(&mut self, messages: u64, outgoing: &Outgoing) {
        self.due += messages * outgoing.length() as u64;
    }

    /// Writes what is due until all is written or the socket is full.
    pub(super) fn write(
        &mut self,
        outgoing: &Outgoing,
        mut write: impl FnMut(&[u8]) -> Result<usize>,
    ) -> Result<()> {
        while self.written < self.due {
            let bytes = outgoing.next(self.written, self.due);
            let length = write(bytes)?;
            self.written += length as u64;
            if length < bytes.len() {
                break;
            }
        }
        Ok(())
    }
}

/// Counts equal replies by their bytes. The first is compared in full, so that a server that says something else, cuts its
/// messages into fragments or writes longer headers is found rather than miscounted.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Replies {
    received: u64,
}

impl Replies {
    /// Takes bytes in; as many messages became whole.
    pub(super) fn take(&mut self, bytes: &[u8], expected: &[u8]) -> Result<u64> {
        let length = expected.len() as u64;
        if self.received < length {
            let rest = &expected[self.received as usize..];
            let common = rest.len().min(bytes.len());
            ensure!(
                rest[..common] == bytes[..common],
                "the first reply is not what was sent: {:02x?}, not {:02x?}",
                &bytes[..common.min(16)],
                &rest[..common.min(16)]
            );
        }
        let before = self.received / length;
        self.received += bytes.len() as u64;
        Ok(self.received / length - before)
    }

    /// Says whether the last reply is whole.
    pub(super) fn is_even(&self, length: usize) -> bool {
        self.received.is_multiple_of(length as u64)
    }
}

/// A payload that a compressor could not do much with.
pub(super) fn binary(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect()
}

/// JSON such as applications send, of exactly that many bytes.
pub(super) fn json(size: usize) -> Vec<u8> {
    let mut text = String::from("{\"items\":[");
    for number in 0_usize.. {
        let item = format!(
            "{{\"id\":{},\"user\":\"user-{}\",\"score\":{},\"online\":{}}},",
            1000 + number * 7,
            number * 31 % 97,
            number * 7919 % 1013,
            number % 3 == 0
        );
        if text.len() + item.len() + 12 > size {
            break;
        }
        text.push_str(&item);
    }
    text.truncate(text.trim_end_matches(',').len());
    text.push_str("],\"pad\":\"");
    let rest = size.saturating_sub(text.len() + 2);
    text.extend(std::iter::repeat_n('-', rest));
    text.push_str("\"}");
    text.into_bytes()
}

/// A message as it goes, and as it has to come back.
pub(super) fn frames(payload: &[u8], raw: bool) -> (Vec<u8>, Vec<u8>) {
    let sent = frame::masked(frame::BINARY, false, payload);
    let back = if raw {
        sent.clone()
    } else {
        frame::unmasked(frame::BINARY, payload)
    };
    (sent, back)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_sending(length: usize, messages: u64, room: usize) {
        let message = binary(length);
        let outgoing = Outgoing::new(&message, 4);
        let mut sending = Sending::default();
        let mut written: Vec<u8> = Vec::new();
        for _ in 0..messages {
            sending.add(1, &outgoing);
            let write = |bytes: &[u8]| {
                let length = bytes.len().min(room);
                written.extend(&bytes[..length]);
                Ok(length)
            };
            sending.write(&outgoing, write).unwrap();
        }
        while sending.written < sending.due {
            let write = |bytes: &[u8]| {
                written.extend(bytes);
                Ok(bytes.len())
            };
            sending.write(&outgoing, write).unwrap();
        }
        assert!(written == message.repeat(messages as usize));
    }

    #[test]
    fn whole_messages_go_out_through_any_socket() {
        for length in [1, 38, 4096, WRITE + 14] {
            for room in [3, 1000, usize::MAX] {
                check_sending(length, 9, room);
            }
        }
    }

    #[test]
    fn replies_are_counted_by_bytes() {
        let mut replies = Replies::default();
        assert_eq!(replies.take(b"ab", b"abc").unwrap(), 0);
        assert_eq!(replies.take(b"cxyzq", b"abc").unwrap(), 2);
        assert!(!replies.is_even(3));
        assert_eq!(replies.take(b"qq", b"abc").unwrap(), 1);
        assert!(replies.is_even(3));
    }

    #[test]
    fn a_wrong_first_reply_is_found() {
        let mut replies = Replies::default();
        assert_eq!(replies.take(b"a", b"abc").unwrap(), 0);
        assert!(replies.take(b"x", b"abc").is_err());
    }

    #[test]
    fn payloads_have_their_size() {
        for size in [100, 1024, 65536] {
            let text = json(size);
            assert_eq!((text.len(), binary(size).len()), (size, size));
            assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
        }
    }
}

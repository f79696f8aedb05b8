//! Frames to messages: which data frame may follow which (RFC 6455 §5.4), what fragments are charged,
//! and the text check. Its buffer grows by what came, never by what was declared. Control frames,
//! which may come in between, are not its business.

use crate::config::{Limits, MIN_FRAGMENT_CHARGE};
use crate::engine::{Event, MessageKind};
use crate::error::Violation;
use crate::frame::{FrameHeader, OpCode};
use crate::text::Text;
use crate::utf8::{InvalidUtf8, Utf8Checker};
use bytes::{Bytes, BytesMut};

/// The message in progress.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Assembler {
    max_message: usize,
    /// The fragmented message in progress.
    fragmented: Option<Box<Fragmented>>,
    /// The verdict on the text in progress, fragmented or not.
    utf8: Utf8Checker,
}

#[derive(Clone, PartialEq, Eq)]
struct Fragmented {
    kind: MessageKind,
    compressed: bool,
    /// What its fragments have been charged.
    charged: u64,
    /// What came of its payload.
    parts: BytesMut,
}

/// A fragmented message whose last fragment has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    pub(crate) kind: MessageKind,
    pub(crate) compressed: bool,
    pub(crate) payload: Bytes,
}

impl Assembler {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            max_message: limits.max_message,
            fragmented: None,
            utf8: Utf8Checker::default(),
        }
    }

    #[inline]
    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    pub(crate) fn set_max_message(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// Whether a message may begin.
    #[inline]
    pub(crate) fn is_between_messages(&self) -> bool {
        self.fragmented.is_none()
    }

    /// Admits a data frame, or refuses it, by its header alone.
    pub(crate) fn begin_frame(&mut self, header: &FrameHeader) -> Result<(), Violation> {
        let kind = match (header.opcode, &self.fragmented) {
            (OpCode::Continuation, Some(fragmented)) => fragmented.kind,
            (OpCode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
            (_, Some(_)) => return Err(Violation::UnfinishedMessage),
            (OpCode::Text, None) => MessageKind::Text,
            (_, None) => MessageKind::Binary,
        };
        let charge = if header.is_fragment() {
            let fragmented = self.fragmented.get_or_insert_with(|| {
                Box::new(Fragmented {
                    kind,
                    compressed: header.compressed,
                    charged: 0,
                    parts: BytesMut::new(),
                })
            });
            let least = header.length.max(MIN_FRAGMENT_CHARGE as u64);
            fragmented.charged = fragmented.charged.saturating_add(least);
            fragmented.charged
        } else {
            header.length
        };
        if usize::try_from(charge).is_ok_and(|charge| charge <= self.max_message) {
            return Ok(());
        }
        Err(Violation::MessageTooBig {
            limit: self.max_message,
            got: charge,
        })
    }

    /// Checks the next piece of an unfragmented text that has not come whole.
    pub(crate) fn check_text(&mut self, piece: &[u8]) -> Result<(), Violation> {
        self.utf8
            .feed(piece)
            .map_err(|InvalidUtf8| Violation::InvalidUtf8)
    }

    /// Adds the next piece of a fragment.
    pub(crate) fn append(&mut self, piece: &[u8]) -> Result<(), Violation> {
        // `begin_frame` has made it.
        let Some(fragmented) = &mut self.fragmented else {
            return Ok(());
        };
        fragmented.parts.extend_from_slice(piece);
        if fragmented.kind == MessageKind::Text && !fragmented.compressed {
            self.check_text(piece)?;
        }
        Ok(())
    }

    /// Ends the fragmented message.
    pub(crate) fn finish(&mut self) -> Assembled {
        match self.fragmented.take() {
            Some(fragmented) => Assembled {
                kind: fragmented.kind,
                compressed: fragmented.compressed,
                payload: fragmented.parts.freeze(),
            },
            // `begin_frame` has made it.
            None => Assembled {
                kind: MessageKind::Binary,
                compressed: false,
                payload: Bytes::new(),
            },
        }
    }

    /// Ends a message whose payload is all there.
    pub(crate) fn finish_message(
        &mut self,
        kind: MessageKind,
        payload: Bytes,
    ) -> Result<Event, Violation> {
        match kind {
            MessageKind::Binary => Ok(Event::Binary(payload)),
            MessageKind::Text => {
                self.utf8 = Utf8Checker::default();
                // The whole text is checked, though its pieces were: the caller could have written
                // to its buffer since, and a `Text` that is no UTF-8 must not be possible.
                Text::try_from(payload)
                    .map(Event::Text)
                    .map_err(|_| Violation::InvalidUtf8)
            }
        }
    }

    /// Drops the message in progress.
    pub(crate) fn reset(&mut self) {
        self.fragmented = None;
        self.utf8 = Utf8Checker::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(opcode: OpCode, fin: bool, length: u64) -> FrameHeader {
        FrameHeader {
            fin,
            opcode,
            compressed: false,
            mask: None,
            length,
        }
    }

    #[test]
    fn the_buffer_grows_by_what_came() {
        let limits = Limits::new().with_max_message(1 << 40);
        let mut assembler = Assembler::new(limits);
        assert_eq!(
            assembler.begin_frame(&header(OpCode::Binary, false, 1 << 39)),
            Ok(())
        );
        let capacity =
            |assembler: &Assembler| assembler.fragmented.as_ref().unwrap().parts.capacity();
        assert_eq!(capacity(&assembler), 0);
        assembler.append(&[0; 1000]).unwrap();
        assert!(capacity(&assembler) < 4096);
    }

    #[test]
    fn an_idle_assembler_holds_no_memory() {
        let mut assembler = Assembler::new(Limits::new());
        assembler
            .begin_frame(&header(OpCode::Text, false, 2))
            .unwrap();
        assembler.append(b"ab").unwrap();
        assembler
            .begin_frame(&header(OpCode::Continuation, true, 1))
            .unwrap();
        assembler.append(b"c").unwrap();
        assert_eq!(assembler.finish().payload, "abc");
        assert!(assembler == Assembler::new(Limits::new()));
    }
}

//! The state machine that ties the rest: the caller's bytes in, events out, control and Close frames
//! when they are due. It owns the order of things (what may still be sent, what is still listened
//! to) and leaves the wire format to the decoder and the frame codec.

use crate::assembler::{Assembled, Assembler};
use crate::close::{CloseCode, CloseFrame};
use crate::config::{Limits, Role};
use crate::decoder::Decoder;
use crate::deflate::{Compressor, Deflate, DeflateTuning};
use crate::error::{EncodeError, InvalidClose, PingError, Violation};
use crate::frame::{MAX_CONTROL_PAYLOAD, MAX_SHORT, OpCode, encode_header, encode_short_header};
use crate::handshake::DeflateParams;
use crate::mask::{MaskKey, apply_mask};
use crate::text::Text;
use bytes::{Bytes, BytesMut};
use std::fmt;

/// How many pings and pongs may wait to be encoded; one pong more if all of them are pings.
pub const MAX_WAITING_CONTROL: usize = 64;

/// Up to this size, in bytes, a message that came in one frame is copied out of the read buffer.
/// Larger ones are split off it without a copy, and so keep the whole of it alive.
pub const MAX_COPIED_MESSAGE: usize = 2048;

/// The two kinds of messages (RFC 6455 §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "RFC 6455 has two kinds of data frames, and no registry adds one"
)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    fn opcode(self) -> OpCode {
        match self {
            Self::Text => OpCode::Text,
            Self::Binary => OpCode::Binary,
        }
    }
}

/// What came from the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that forgets an event is broken; the compiler should say so"
)]
pub enum Event {
    /// A whole text message.
    Text(Text),
    /// A whole binary message.
    Binary(Bytes),
    /// A ping, whose pong is already queued.
    Ping(Bytes),
    /// A pong, asked for or not.
    Pong(Bytes),
    /// The peer's Close frame, whose reply is already queued. Nothing follows it.
    Close(CloseFrame),
    /// The peer broke a rule; the Close frame that says so is already queued, unless another was before. Nothing follows it.
    Violation(Violation),
}

/// One end of one WebSocket connection, after the opening handshake.
///
/// It is plain data: clone it, compare it, move it. It is small, since a server has one for each idle connection: what few
/// connections have is boxed. See the [crate's page](crate) for the loop that
/// drives it.
#[derive(Clone, PartialEq, Eq)]
pub struct Engine {
    role: Role,
    decoder: Decoder,
    assembler: Assembler,
    /// `None` unless compression was agreed on; boxed, since most connections did not.
    deflate: Option<Box<Deflate>>,
    waiting: Vec<Control>,
    /// The Close frame that waits to be encoded: ours, a reply, or a violation's.
    queued_close: Option<Box<CloseFrame>>,
    is_close_sent: bool,
    is_close_received: bool,
    violation: Option<Box<Violation>>,
}

/// A ping or pong that waits to be encoded.
#[derive(Clone, PartialEq, Eq)]
enum Control {
    Ping(Bytes),
    Pong(Bytes),
}

/// Says where the connection stands; payloads, which are not for logs, are left out.
impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("role", &self.role)
            .field("bytes_wanted", &self.bytes_wanted())
            .field("waiting_control", &self.waiting.len())
            .field("has_close", &self.has_close())
            .field("is_close_sent", &self.is_close_sent)
            .field("is_close_received", &self.is_close_received)
            .field("violation", &self.violation)
            .finish_non_exhaustive()
    }
}

/// Input.
impl Engine {
    /// An engine for a connection on which nothing was exchanged yet.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            decoder: Decoder::new(role, limits.max_frame),
            assembler: Assembler::new(limits),
            deflate: None,
            waiting: Vec::new(),
            queued_close: None,
            is_close_sent: false,
            is_close_received: false,
            violation: None,
        }
    }

    /// Compresses messages as was agreed on in the handshake (permessage-deflate, RFC 7692). To be said before anything is
    /// exchanged.
    ///
    /// The limit for messages holds for what came and again for what it is inflated to, which is checked while it is
    /// inflated: an engine holds at most both.
    #[must_use]
    pub fn with_deflate(mut self, params: DeflateParams, tuning: DeflateTuning) -> Self {
        self.decoder.allow_compressed();
        self.deflate = Some(Box::new(Deflate::new(self.role, params, tuning)));
        self
    }

    /// Other limits hold from here on: for what has not begun yet, and for what is still to come of a message in progress.
    pub fn set_limits(&mut self, limits: Limits) {
        self.decoder.set_max_frame(limits.max_frame);
        self.assembler.set_max_message(limits.max_message);
    }

    /// Takes the next event out of `buffer`: the bytes read so far and not used yet, in order.
    ///
    /// `None` means that more bytes are needed: append them to what is left in `buffer`, and call
    /// again. What is left is a part of a header, or the part of a payload that has come, already
    /// unmasked and checked; the engine remembers how far, so the caller must neither change nor
    /// remove it, but may move it to the front of another buffer. A buffer that is empty after
    /// `None` can be dropped.
    ///
    /// After the peer's Close and after a violation, all bytes are used up and ignored. After our
    /// own Close, data is used up as it comes and dropped: no messages, and no pongs for pings.
    #[inline]
    pub fn handle_input(&mut self, buffer: &mut BytesMut) -> Option<Event> {
        if self.is_deaf() {
            buffer.clear();
            return None;
        }
        // Nearly every message comes like this, and is looked at here in one go: the way through `next_event`, which
        // takes any split of any frame, costs 330 instructions more.
        if self.assembler.is_between_messages()
            && let Some((kind, payload)) = self
                .decoder
                .take_whole_message(buffer, self.assembler.max_message())
        {
            return match kind {
                MessageKind::Binary => Some(Event::Binary(payload)),
                MessageKind::Text => match Text::try_from(payload) {
                    Ok(text) => Some(Event::Text(text)),
                    Err(_) => Some(self.violate(Violation::InvalidUtf8, buffer)),
                },
            };
        }
        self.handle_rest(buffer)
    }

    /// [`handle_input`](Self::handle_input) for all that is not as usual.
    #[inline(never)]
    fn handle_rest(&mut self, buffer: &mut BytesMut) -> Option<Event> {
        match self.next_event(buffer) {
            Ok(event) => event,
            Err(violation) => Some(self.violate(violation, buffer)),
        }
    }

    /// Ends all that comes from the peer, with what has to be sent and said about it.
    #[cold]
    fn violate(&mut self, violation: Violation, buffer: &mut BytesMut) -> Event {
        buffer.clear();
        self.decoder.reset();
        self.assembler.reset();
        self.queue_close(CloseFrame::bare(violation.close_code()));
        self.violation = Some(Box::new(violation.clone()));
        Event::Violation(violation)
    }

    /// How many more bytes the frame in progress needs at least; 0 between frames.
    ///
    /// A hint for a reader. It's the peer's number, though within the limits as long as messages
    /// are still wanted: never reserve it without a bound of your own.
    #[must_use]
    pub fn bytes_wanted(&self) -> usize {
        self.decoder.bytes_wanted()
    }

    fn next_event(&mut self, buffer: &mut BytesMut) -> Result<Option<Event>, Violation> {
        loop {
            let header = match self.decoder.header() {
                Some(header) => header,
                None => {
                    let Some(header) = self.decoder.read_header(buffer)? else {
                        return Ok(None);
                    };
                    if !header.opcode.is_control() {
                        self.assembler.begin_frame(&header)?;
                    }
                    header
                }
            };
            let new = self.decoder.unmask_new(buffer);
            let is_whole = self.decoder.is_whole();
            if header.is_fragment() {
                self.assembler.append(new)?;
                self.decoder.skip(buffer);
                if !is_whole {
                    return Ok(None);
                }
                if header.fin {
                    let Assembled {
                        kind,
                        compressed,
                        payload,
                    } = self.assembler.finish();
                    return self.finish_message(kind, compressed, payload).map(Some);
                }
                continue;
            }
            if !is_whole {
                if header.opcode == OpCode::Text && !header.compressed {
                    self.assembler.check_text(new)?;
                }
                return Ok(None);
            }
            let payload = self.take_payload(buffer);
            let compressed = header.compressed;
            return match header.opcode {
                OpCode::Text => self.finish_message(MessageKind::Text, compressed, payload),
                OpCode::Close => self.handle_close(&payload),
                OpCode::Ping => Ok(self.handle_ping(payload)),
                OpCode::Pong => Ok(Event::Pong(payload)),
                // A continuation is a fragment, and was dealt with.
                OpCode::Binary | OpCode::Continuation => {
                    self.finish_message(MessageKind::Binary, compressed, payload)
                }
            }
            .map(Some);
        }
    }

    fn finish_message(
        &mut self,
        kind: MessageKind,
        compressed: bool,
        payload: Bytes,
    ) -> Result<Event, Violation> {
        let payload = match &mut self.deflate {
            Some(deflate) if compressed => {
                deflate.inflate(&payload, self.assembler.max_message())?
            }
            _ => payload,
        };
        self.assembler.finish_message(kind, payload)
    }

    /// Takes the whole payload at the front of the buffer: a small one as a copy, so that whoever
    /// keeps it does not keep the read buffer.
    fn take_payload(&mut self, buffer: &mut BytesMut) -> Bytes {
        let payload = self.decoder.peek(buffer);
        if payload.len() > MAX_COPIED_MESSAGE {
            return self.decoder.take(buffer).freeze();
        }
        let payload = Bytes::copy_from_slice(payload);
        self.decoder.skip(buffer);
        payload
    }

    fn handle_ping(&mut self, payload: Bytes) -> Event {
        if !self.is_close_sent {
            if self.waiting.len() >= MAX_WAITING_CONTROL {
                // RFC 6455 §5.5.3: only the most recent ping has to be answered. The pings that
                // wait are the caller's, and stay; if they are all there is, this pong is one more.
                self.waiting
                    .retain(|control| matches!(control, Control::Ping(_)));
            }
            self.waiting.push(Control::Pong(payload.clone()));
        }
        Event::Ping(payload)
    }

    /// RFC 6455 §5.5.1: a Close is answered with one, that "typically echos the status code". The
    /// reason is the peer's own text and tells it nothing: it is left out.
    fn handle_close(&mut self, payload: &[u8]) -> Result<Event, Violation> {
        let frame = CloseFrame::parse(payload)?;
        self.is_close_received = true;
        self.assembler.reset();
        self.queue_close(frame.code.map_or_else(CloseFrame::empty, CloseFrame::bare));
        Ok(Event::Close(frame))
    }

    /// The first Close that is queued is the one that is sent.
    fn queue_close(&mut self, frame: CloseFrame) {
        if !self.is_close_sent && self.queued_close.is_none() {
            self.queued_close = Some(Box::new(frame));
        }
    }

    fn is_deaf(&self) -> bool {
        self.is_close_received || self.violation.is_some()
    }
}

/// Output.
impl Engine {
    /// Queues a ping, to be encoded by [`poll_control`](Self::poll_control).
    ///
    /// # Errors
    ///
    /// If the payload has more than 125 bytes, if [`MAX_WAITING_CONTROL`] control frames wait
    /// already, or if the Close frame has been encoded.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), PingError> {
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(PingError::TooLong { got: payload.len() });
        }
        if self.is_close_sent {
            return Err(PingError::Closed);
        }
        if self.waiting.len() >= MAX_WAITING_CONTROL {
            return Err(PingError::TooMany {
                limit: MAX_WAITING_CONTROL,
            });
        }
        self.waiting
            .push(Control::Ping(Bytes::copy_from_slice(payload)));
        Ok(())
    }

    /// Queues our Close frame, to be encoded by [`poll_close`](Self::poll_close). Does nothing if
    /// one is queued or sent already, be it ours, a reply or a violation's.
    ///
    /// # Errors
    ///
    /// If the code may not be sent or the reason has more than 123 bytes, whether or not the frame
    /// would have been queued.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), InvalidClose> {
        let frame = CloseFrame::new(code, reason)?;
        self.queue_close(frame);
        Ok(())
    }

    /// Appends all waiting pings and pongs to `output`; false if there were none.
    ///
    /// `next_key` is called once for each frame, and by clients only.
    pub fn poll_control(
        &mut self,
        mut next_key: impl FnMut() -> MaskKey,
        output: &mut BytesMut,
    ) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        // Taken, not drained: an idle connection holds no queue.
        for control in std::mem::take(&mut self.waiting) {
            let (opcode, payload) = match control {
                Control::Ping(payload) => (OpCode::Ping, payload),
                Control::Pong(payload) => (OpCode::Pong, payload),
            };
            let frame = Frame::control(opcode, &payload);
            encode_frame(self.role, frame, &mut next_key, output);
        }
        true
    }

    /// Appends the queued Close frame to `output`; false if none is queued.
    ///
    /// It is the last frame: what waits in [`poll_control`](Self::poll_control) is dropped, and
    /// nothing can be encoded any more. `next_key` is called by clients only.
    pub fn poll_close(
        &mut self,
        mut next_key: impl FnMut() -> MaskKey,
        output: &mut BytesMut,
    ) -> bool {
        let Some(frame) = self.queued_close.take() else {
            return false;
        };
        let payload = frame.to_payload();
        let frame = Frame::control(OpCode::Close, &payload);
        encode_frame(self.role, frame, &mut next_key, output);
        self.is_close_sent = true;
        self.waiting = Vec::new();
        self.assembler.reset();
        self.decoder.discard_data();
        // No message goes either way any more.
        self.deflate = None;
        true
    }

    /// Appends a message to `output` as one frame, compressed if that was agreed on and makes it shorter.
    ///
    /// ```
    /// # use bytes::BytesMut;
    /// # use dreamsocket_protocol::{Engine, Limits, MessageKind, Role};
    /// let mut client = Engine::new(Role::Client, Limits::default());
    /// let mut output = BytesMut::new();
    /// // A real key is drawn from a generator that the peer can't guess.
    /// let next_key = || [0x37, 0xfa, 0x21, 0x3d];
    /// client.encode_message(MessageKind::Text, b"Hello", next_key, &mut output)?;
    /// assert_eq!(&output[..], b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    /// # Ok::<(), dreamsocket_protocol::EncodeError>(())
    /// ```
    ///
    /// The payload of a [`MessageKind::Text`] has to be UTF-8: the engine takes the caller's word.
    /// `next_key` is called once, and by clients only.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Closed`] if the Close frame has been encoded.
    #[inline]
    pub fn encode_message(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        next_key: impl FnMut() -> MaskKey,
        output: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if self.is_close_sent {
            return Err(EncodeError::Closed);
        }
        // A small message of most connections is not worth a call.
        if payload.len() <= MAX_SHORT && self.role == Role::Server && self.deflate.is_none() {
            encode_short_header(kind.opcode(), payload.len() as u8, output);
            output.extend_from_slice(payload);
            return Ok(());
        }
        self.encode_any(kind.opcode(), payload, next_key, output);
        Ok(())
    }

    #[inline(never)]
    fn encode_any(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        mut next_key: impl FnMut() -> MaskKey,
        output: &mut BytesMut,
    ) {
        let compressed = self
            .deflate
            .as_mut()
            .and_then(|deflate| deflate.compress(payload));
        let frame = Frame {
            opcode,
            compressed: compressed.is_some(),
            payload: compressed.as_deref().unwrap_or(payload),
        };
        encode_frame(self.role, frame, &mut next_key, output);
    }

    /// Appends a message that was [compressed by itself](Compressor::compress) by a compressor equal to
    /// [`compressor`](Self::compressor); `payload` is the message as it was before.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Closed`] if the Close frame has been encoded, [`EncodeError::NotAgreed`] without compression.
    pub fn encode_compressed(
        &mut self,
        kind: MessageKind,
        compressed: &[u8],
        payload: &[u8],
        mut next_key: impl FnMut() -> MaskKey,
        output: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        self.note_compressed(payload)?;
        let frame = Frame {
            opcode: kind.opcode(),
            compressed: true,
            payload: compressed,
        };
        encode_frame(self.role, frame, &mut next_key, output);
        Ok(())
    }

    /// Notes a message that the caller writes as a frame that was made for many connections
    /// ([`encode_shared_frame`]); `payload` is the message as it was before it was compressed. For servers.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Closed`] if the Close frame has been encoded, [`EncodeError::NotAgreed`] without compression: then the
    /// frame must not be written.
    pub fn note_compressed(&mut self, payload: &[u8]) -> Result<(), EncodeError> {
        if self.is_close_sent {
            return Err(EncodeError::Closed);
        }
        let deflate = self.deflate.as_mut().ok_or(EncodeError::NotAgreed)?;
        deflate.note_sent(payload);
        Ok(())
    }

    /// Appends a message's header alone to `output`; the caller writes the `payload_len` bytes of
    /// its payload behind it, by reference and as they are. For servers.
    ///
    /// # Errors
    ///
    /// [`EncodeError::MaskRequired`] for a client, [`EncodeError::Closed`] if the Close frame has
    /// been encoded.
    pub fn encode_header(
        &mut self,
        kind: MessageKind,
        payload_len: usize,
        output: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if self.role == Role::Client {
            return Err(EncodeError::MaskRequired);
        }
        if self.is_close_sent {
            return Err(EncodeError::Closed);
        }
        encode_header(kind.opcode(), false, None, payload_len, output);
        Ok(())
    }
}

/// Where the connection stands.
impl Engine {
    /// Whether [`poll_control`](Self::poll_control) has something to encode.
    #[must_use]
    pub fn has_control(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether [`poll_close`](Self::poll_close) has something to encode.
    #[must_use]
    pub fn has_close(&self) -> bool {
        self.queued_close.is_some()
    }

    /// Whether our Close frame has been encoded.
    #[must_use]
    pub fn is_close_sent(&self) -> bool {
        self.is_close_sent
    }

    /// Whether the peer's Close frame has come.
    #[must_use]
    pub fn is_close_received(&self) -> bool {
        self.is_close_received
    }

    /// Whether nothing more is to be expected in either direction: our Close frame has been
    /// encoded, and the peer's has come or a violation took its place.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_close_sent && self.is_deaf()
    }

    /// What decides how messages are compressed, for those that are compressed once for many connections; `None` unless
    /// compression was agreed on.
    #[must_use]
    pub fn compressor(&self) -> Option<Compressor> {
        self.deflate.as_ref().map(|deflate| deflate.compressor())
    }

    /// The rule that the peer broke, if it broke one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_deref()
    }
}

/// Encodes a message as the frame of a server, which any number of connections can share: `compressed` says whether the
/// payload was [compressed](Compressor::compress).
///
/// ```
/// # use dreamsocket_protocol::{MessageKind, encode_shared_frame};
/// assert_eq!(encode_shared_frame(MessageKind::Text, false, b"hi"), &b"\x81\x02hi"[..]);
/// ```
#[must_use]
pub fn encode_shared_frame(kind: MessageKind, compressed: bool, payload: &[u8]) -> Bytes {
    let mut output = BytesMut::with_capacity(payload.len().saturating_add(MAX_HEADER));
    let frame = Frame {
        opcode: kind.opcode(),
        compressed,
        payload,
    };
    encode_frame(Role::Server, frame, &mut || [0; 4], &mut output);
    output.freeze()
}

/// The longest header of a server's frame.
const MAX_HEADER: usize = 10;

#[derive(Clone, Copy)]
struct Frame<'a> {
    opcode: OpCode,
    compressed: bool,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// RFC 7692 §6.1: control frames are never compressed.
    const fn control(opcode: OpCode, payload: &'a [u8]) -> Self {
        Self {
            opcode,
            compressed: false,
            payload,
        }
    }
}

fn encode_frame(
    role: Role,
    frame: Frame<'_>,
    next_key: &mut impl FnMut() -> MaskKey,
    output: &mut BytesMut,
) {
    let Frame {
        opcode,
        compressed,
        payload,
    } = frame;
    let mask = match role {
        Role::Client => Some(next_key()),
        Role::Server => None,
    };
    encode_header(opcode, compressed, mask, payload.len(), output);
    let begin = output.len();
    output.extend_from_slice(payload);
    if let (Some(key), Some(payload)) = (mask, output.get_mut(begin..)) {
        apply_mask(payload, key, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_KEY: fn() -> MaskKey = || unreachable!("a server masks nothing");

    fn client() -> Engine {
        Engine::new(Role::Client, Limits::new())
    }

    fn receive(engine: &mut Engine, bytes: &[u8]) -> Option<Event> {
        engine.handle_input(&mut BytesMut::from(bytes))
    }

    #[test]
    fn an_engine_is_plain_data() {
        fn check<T: Clone + Eq + fmt::Debug + Send + Sync + Unpin + 'static>() {}
        check::<Engine>();
    }

    #[test]
    fn waiting_control_frames_are_bounded_however_many_pings_come() {
        let mut engine = client();
        for _ in 0..MAX_WAITING_CONTROL {
            engine.ping(b"ours").unwrap();
        }
        for _ in 0..1000 {
            receive(&mut engine, b"\x89\x01x");
        }
        assert_eq!(engine.waiting.len(), MAX_WAITING_CONTROL + 1);
        let mut output = BytesMut::new();
        assert!(engine.poll_control(|| [0; 4], &mut output));
        assert_eq!(engine.waiting.capacity(), 0);
    }

    #[test]
    fn an_unfinished_message_is_let_go_when_it_can_end_no_more() {
        let fresh = Assembler::new(Limits::new());
        let unfinished = || {
            let mut engine = client();
            receive(&mut engine, b"\x01\x04part");
            assert!(engine.assembler != fresh);
            engine
        };
        let mut closed_by_us = unfinished();
        closed_by_us.close(CloseCode::NORMAL, "").unwrap();
        assert!(closed_by_us.poll_close(|| [0; 4], &mut BytesMut::new()));
        assert!(closed_by_us.assembler == fresh);
        let mut closed_by_peer = unfinished();
        receive(&mut closed_by_peer, b"\x88\0");
        assert!(closed_by_peer.assembler == fresh);
        let mut violated = unfinished();
        receive(&mut violated, b"\xff");
        assert!(violated.assembler == fresh);
    }

    #[test]
    fn debug_shows_no_payload() {
        let mut engine = client();
        receive(&mut engine, b"\x01\x06secret");
        receive(&mut engine, b"\x89\x06secret");
        engine.ping(b"secret").unwrap();
        let shown = format!("{engine:?}");
        assert!(!shown.contains("secret"));
        assert!(shown.contains("waiting_control: 2"), "{shown}");
    }

    #[test]
    fn small_messages_are_copied_and_large_ones_are_not() {
        let mut server = Engine::new(Role::Server, Limits::new());
        for (length, is_copied) in [(1, true), (126, true), (2048, true), (2049, false)] {
            let mut buffer = BytesMut::new();
            server
                .encode_message(MessageKind::Binary, &vec![1; length], NO_KEY, &mut buffer)
                .unwrap();
            let mut in_two = buffer.clone();
            let last = in_two.split_off(buffer.len() - 1);
            let check = |engine: &mut Engine, buffer: &mut BytesMut| {
                let memory = buffer.as_ptr_range();
                let Some(Event::Binary(payload)) = engine.handle_input(buffer) else {
                    panic!("no message");
                };
                assert_eq!(payload.len(), length);
                assert_eq!(memory.contains(&payload.as_ptr()), !is_copied, "{length}");
            };
            check(&mut client(), &mut buffer);
            // The same when the frame comes in two pieces, which is another way through the engine.
            let mut client = client();
            assert_eq!(client.handle_input(&mut in_two), None);
            in_two.unsplit(last);
            check(&mut client, &mut in_two);
        }
    }

    #[test]
    fn a_text_is_checked_again_when_the_caller_wrote_to_it() {
        let mut engine = client();
        let mut buffer = BytesMut::from(&b"\x81\x04ab"[..]);
        assert_eq!(engine.handle_input(&mut buffer), None);
        buffer[0] = 0xff;
        buffer.extend_from_slice(b"cd");
        let event = engine.handle_input(&mut buffer);
        assert_eq!(event, Some(Event::Violation(Violation::InvalidUtf8)));
    }
}

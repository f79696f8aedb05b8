//! The client's own task: it writes what the test sends as fast as the session takes it, reads unless it is stalled, and
//! answers pings and closes as a browser does.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use dreamsocket_protocol::handshake::DeflateParams;
use dreamsocket_protocol::{
    CloseCode, CloseFrame, DeflateTuning, Engine, Event, Limits, MaskKey, MessageKind, Role, Text,
    Violation,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::frame::Frame;
use super::transcript::Transcript;

/// What the client got from the session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
    /// A ping, which is answered already unless the client is mute.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// A close frame, with code 1005 if it had none.
    Close(CloseCode, Text),
    /// The session closed the transport. Nothing follows.
    Ended,
}

/// What the test and the client's task share.
#[derive(Debug, Clone)]
pub(super) struct Peer(Arc<Mutex<Inner>>);

#[derive(Debug)]
pub(super) struct Inner {
    io: Option<DuplexStream>,
    engine: Engine,
    /// What was read and not decoded yet.
    input: BytesMut,
    /// What is to be written.
    pub(super) output: BytesMut,
    /// Whether a frame is sent in pieces and not all of it is in `output`: nothing else may go there.
    is_within_frame: bool,
    /// Answers that wait for the end of that frame.
    answers: BytesMut,
    pub(super) received: VecDeque<Received>,
    /// The session broke the protocol.
    pub(super) violation: Option<Violation>,
    pub(super) transcript: Transcript,
    /// How many bytes are read until the client stalls; `None` for no end.
    pub(super) allowance: Option<usize>,
    pub(super) is_mute: bool,
    /// Whether nothing more is written once `output` is.
    pub(super) is_shutting_down: bool,
    /// Whether the client's close frame was sent, by whatever way.
    is_close_sent: bool,
    pub(super) is_close_received: bool,
    pub(super) is_ended: bool,
    keys: u32,
    task: Option<Waker>,
    test: Option<Waker>,
}

impl Peer {
    /// `early` is what the session has sent already.
    pub(super) fn new(
        io: DuplexStream,
        deflate: Option<(DeflateParams, DeflateTuning)>,
        transcript: Transcript,
        early: BytesMut,
    ) -> Self {
        let limits = Limits::new()
            .with_max_message(usize::MAX)
            .with_max_frame(usize::MAX);
        let mut engine = Engine::new(Role::Client, limits);
        if let Some((params, tuning)) = deflate {
            engine = engine.with_deflate(params, tuning);
        }
        let mut inner = Inner {
            io: Some(io),
            engine,
            input: early,
            output: BytesMut::new(),
            is_within_frame: false,
            answers: BytesMut::new(),
            received: VecDeque::new(),
            violation: None,
            transcript,
            allowance: None,
            is_mute: false,
            is_shutting_down: false,
            is_close_sent: false,
            is_close_received: false,
            is_ended: false,
            keys: 0,
            task: None,
            test: None,
        };
        inner.decode();
        Self(Arc::new(Mutex::new(inner)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the test change something, and the task act on it.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.lock();
        let result = change(&mut inner);
        let task = inner.task.take();
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
        result
    }

    /// The next thing that came, at most once each; [`Received::Ended`] again and again. `None` if the session broke the
    /// protocol.
    pub(super) fn poll_received(&self, context: &mut Context<'_>) -> Poll<Option<Received>> {
        let mut inner = self.lock();
        if let Some(received) = inner.received.pop_front() {
            return Poll::Ready(Some(received));
        }
        if inner.violation.is_some() {
            return Poll::Ready(None);
        }
        if inner.is_ended {
            return Poll::Ready(Some(Received::Ended));
        }
        inner.test = Some(context.waker().clone());
        Poll::Pending
    }

    /// The client's task. It ends with the transport.
    pub(super) fn run(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let peer = self.clone();
        poll_fn(move |context| {
            let mut inner = peer.lock();
            let polled = inner.poll(context);
            inner.task = Some(context.waker().clone());
            let test = inner.test.take();
            drop(inner);
            if let Some(test) = test {
                test.wake();
            }
            polled
        })
    }
}

impl Inner {
    /// Encodes a message of the test. False if the close frame was sent before.
    pub(super) fn send_message(&mut self, kind: MessageKind, payload: &[u8]) -> bool {
        if self.is_close_sent {
            return false;
        }
        let name = match kind {
            MessageKind::Text => "text",
            MessageKind::Binary => "binary",
        };
        self.transcript.note_sent(name, payload);
        let keys = &mut self.keys;
        self.engine
            .encode_message(kind, payload, || next_key(keys), &mut self.output)
            .is_ok()
    }

    /// Writes a frame as it is.
    pub(super) fn send_frame(&mut self, frame: &Frame) {
        self.note_frame(frame);
        self.output.extend_from_slice(&frame.to_bytes());
    }

    /// Writes the next piece of frames, of at most `size` bytes. Frames are noted when they begin; what is to be answered
    /// meanwhile follows the frame that has begun.
    pub(super) fn send_piece(&mut self, frames: &mut VecDeque<SplitFrame>, size: usize) {
        let mut room = size;
        while room > 0
            && let Some(next) = frames.front_mut()
        {
            if !next.has_begun {
                next.has_begun = true;
                self.note_frame(&next.frame);
            }
            let part = next.rest.split_to(room.min(next.rest.len()));
            room -= part.len();
            self.output.extend_from_slice(&part);
            self.is_within_frame = !next.rest.is_empty();
            if !self.is_within_frame {
                frames.pop_front();
                let answers = self.answers.split();
                self.output.extend_from_slice(&answers);
            }
        }
        let sent = size - room;
        self.transcript
            .note(format_args!("client  -> a piece of {sent} bytes"));
    }

    /// A frame that is sent as it is.
    fn note_frame(&mut self, frame: &Frame) {
        let (kind, payload) = frame.describe();
        self.transcript.note_sent(&kind, payload);
        self.is_close_sent |= frame.is_close();
    }

    /// Drops the transport: the session finds an end without a close frame, and writes into nothing.
    pub(super) fn vanish(&mut self) {
        if self.io.take().is_some() {
            self.transcript.note("client vanishes");
        }
        self.is_ended = true;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.poll_write(context);
            let Some(io) = self.io.as_mut() else {
                return Poll::Ready(());
            };
            let mut chunk = [0; 4096];
            let allowed = self.allowance.unwrap_or(usize::MAX).min(chunk.len());
            if allowed == 0 {
                return Poll::Pending;
            }
            let mut buffer = ReadBuf::new(&mut chunk[..allowed]);
            let is_open = match Pin::new(io).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => read.is_ok() && !buffer.filled().is_empty(),
            };
            if is_open {
                let read = buffer.filled().len();
                self.allowance = self.allowance.map(|allowance| allowance - read);
                self.input.extend_from_slice(buffer.filled());
                self.decode();
            } else {
                self.transcript.note("session ended the transport");
                self.received.push_back(Received::Ended);
                self.is_ended = true;
                self.io = None;
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) {
        let Some(io) = self.io.as_mut() else { return };
        let mut io = Pin::new(io);
        while !self.output.is_empty() {
            match io.as_mut().poll_write(context, &self.output) {
                Poll::Pending => return,
                Poll::Ready(Ok(count)) => self.output.advance(count),
                Poll::Ready(Err(_)) => {
                    self.transcript.note(format_args!(
                        "session takes nothing more: {} bytes of the client are lost",
                        self.output.len()
                    ));
                    self.output.clear();
                }
            }
        }
        if self.is_shutting_down {
            let _ = io.poll_shutdown(context);
        }
    }

    fn decode(&mut self) {
        while let Some(event) = self.engine.handle_input(&mut self.input) {
            let received = match event {
                Event::Text(text) => Received::Text(text),
                Event::Binary(bytes) => Received::Binary(bytes),
                Event::Ping(payload) => Received::Ping(payload),
                Event::Pong(payload) => Received::Pong(payload),
                Event::Close(CloseFrame { code, reason, .. }) => {
                    self.is_close_received = true;
                    Received::Close(code.unwrap_or(CloseCode::NO_STATUS), reason)
                }
                Event::Violation(violation) => {
                    self.transcript
                        .note(format_args!("session broke the protocol: {violation}"));
                    self.violation = Some(violation);
                    continue;
                }
            };
            match &received {
                Received::Text(text) => self.transcript.note_received("text", text.as_bytes()),
                Received::Binary(bytes) => self.transcript.note_received("binary", bytes),
                Received::Ping(payload) => {
                    self.transcript.note_received("ping", payload);
                    if !self.is_mute && !self.is_close_sent {
                        self.transcript.note_sent("pong, as a reply", payload);
                    }
                }
                Received::Pong(payload) => self.transcript.note_received("pong", payload),
                Received::Close(code, reason) => self
                    .transcript
                    .note_received(&format!("close {code}"), reason.as_bytes()),
                Received::Ended => {}
            }
            self.received.push_back(received);
        }
        self.answer();
    }

    /// Answers pings and a close as the engine wants it, unless the client is mute; between frames, as a browser does.
    fn answer(&mut self) {
        let mut answers = BytesMut::new();
        let keys = &mut self.keys;
        self.engine.poll_control(|| next_key(keys), &mut answers);
        if self.is_mute || self.is_close_sent {
            return;
        }
        if self.is_close_received && self.engine.poll_close(|| next_key(keys), &mut answers) {
            self.transcript.note_sent("close, as a reply", &[]);
            self.is_close_sent = true;
        }
        if self.is_within_frame {
            self.answers.extend_from_slice(&answers);
        } else {
            self.output.extend_from_slice(&answers);
        }
    }
}

/// A frame that is sent in pieces.
#[derive(Debug)]
pub(super) struct SplitFrame {
    frame: Frame,
    /// What was not sent yet.
    rest: Bytes,
    has_begun: bool,
}

impl SplitFrame {
    pub(super) fn new(frame: Frame) -> Self {
        Self {
            rest: frame.to_bytes().into(),
            frame,
            has_begun: false,
        }
    }
}

/// Real masks, the same in every run.
fn next_key(keys: &mut u32) -> MaskKey {
    *keys = keys.wrapping_add(1);
    keys.wrapping_mul(0x9E37_79B9).to_be_bytes()
}

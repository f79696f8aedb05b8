//! Two engines that talk to each other: what one sends the other gets, whole and in order, whatever is sent, however it is
//! split, whoever pings and closes when, with and without compression; and neither ever finds fault with the other.
//!
//! The input: a script, a byte for each step and those that the step needs; behind it two bytes that choose what each side
//! wants of compression.

use crate::input::{Drawn, Input};
use crate::opening::open;
use crate::wire::{RawFrame, drain};
use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::handshake::{DeflateParams, DeflateWish};
use dreamsocket_protocol::{
    CloseCode, CloseFrame, DeflateTuning, EncodeError, Engine, Event, Limits, MAX_CONTROL_PAYLOAD,
    MAX_WAITING_CONTROL, MaskKey, MessageKind, PingError, Role, Text, encode_shared_frame,
};
use std::collections::VecDeque;

/// See the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let wishes = [input.take(), input.take()].map(read_wish);
    // By the handshake, so that it is something that can be agreed on.
    let uri = "ws://example.com/".parse().expect("a URI");
    let opening = open(&uri, &[], wishes[0], wishes[1]).expect("a request for it");
    let [client, server] = opening
        .deflate
        .map_or([None, None], |params| params.map(Some));
    let mut pair = Pair([
        Side::new(Role::Client, client),
        Side::new(Role::Server, server),
    ]);
    let mut script = input.rest().iter().copied();
    while let Some(step) = script.next() {
        pair.step(step, || script.next().unwrap_or_default());
    }
    pair.finish();
}

/// 0 for no compression.
fn read_wish(byte: u8) -> Option<DeflateWish> {
    (!byte.is_multiple_of(16)).then(|| DeflateWish {
        context_takeover: byte & 1 == 0,
        window_bits: 9 + byte / 16 % 7,
    })
}

/// The client and the server.
struct Pair([Side; 2]);

struct Side {
    role: Role,
    engine: Engine,
    /// What it has read and not used up.
    input: BytesMut,
    /// What it has written and the other has not read.
    wire: BytesMut,
    /// How much it has written in all, and read.
    written: usize,
    read: usize,
    /// What the other will be told, and at which byte it is due.
    expected: VecDeque<(usize, Event)>,
    /// Pings that it was given to send and has not sent.
    pings: VecDeque<Bytes>,
    /// Pings that came and have to be answered.
    unanswered: VecDeque<Bytes>,
    /// The Close that it has to send.
    close: Option<CloseFrame>,
    keys: u32,
}

impl Pair {
    fn step(&mut self, step: u8, mut next: impl FnMut() -> u8) {
        let who = usize::from(step & 1);
        let side = &mut self.0[who];
        let argument = next();
        match (step >> 1) & 7 {
            0 => side.send(argument, next(), How::Message),
            1 => side.send(argument, next(), How::HeaderAlone),
            2 => side.send(argument, next(), How::Shared),
            // As many as make others give way, in few bytes.
            3 if argument >= 200 => (200..=argument).for_each(|count| side.ping(&[count])),
            3 => side.ping(&vec![next(); argument.into()]),
            4 => side.close(u16::from_be_bytes([argument, next()])),
            5 => side.poll_control(),
            6 => side.poll_close(),
            _ => self.deliver(who, argument),
        }
    }

    /// The other reads some bytes: as many as the argument's square, so that few and many are tried.
    fn deliver(&mut self, who: usize, argument: u8) {
        let count = usize::from(argument).pow(2) + 1;
        let [client, server] = &mut self.0;
        let (from, to) = if who == 0 {
            (client, server)
        } else {
            (server, client)
        };
        let bytes = from.wire.split_to(count.min(from.wire.len()));
        to.read(&bytes, from, argument.is_multiple_of(2));
    }

    /// All that is under way arrives, and both close.
    fn finish(&mut self) {
        // A ping that was to be sent is answered in the first round, a Close in the second.
        for _ in 0..3 {
            for who in [0, 1] {
                self.0[who].poll_control();
                self.0[who].poll_close();
                while !self.0[who].wire.is_empty() {
                    self.deliver(who, u8::MAX);
                }
            }
        }
        self.0[0].close(1000);
        for who in [0, 1, 0] {
            self.0[who].poll_close();
            while !self.0[who].wire.is_empty() {
                self.deliver(who, u8::MAX);
            }
        }
        for side in &self.0 {
            assert!(side.engine.is_closed(), "{:?}", side.engine);
            assert!(side.input.is_empty());
        }
    }
}

/// A message: what it is made of, and of a size around those at which something changes.
fn read_message(made_of: u8, size: u8, compresses: bool) -> (MessageKind, Bytes) {
    let size = match size {
        short @ 0..200 => usize::from(short),
        medium @ 200..240 => usize::from(medium - 195).pow(2) * 2,
        long @ 240..255 => 2041 + usize::from(long - 240),
        // In the longest form.
        255 => 0x1_0002,
    };
    // Most of the time would go into the compressor, which is not what is looked for.
    let size = if compresses { size.min(700) } else { size };
    let mut drawn = Drawn::new(made_of.into());
    let payload: Vec<u8> = match (made_of >> 1) & 3 {
        0 => vec![b'x'; size],
        1 => "é".repeat(size / 2).into(),
        2 => b"{\"kind\":\"said\"}".repeat(size / 15 + 1)[..size].to_vec(),
        // What is hard to compress, in ASCII, since it may be a text.
        _ => {
            let mut payload: Vec<u8> = std::iter::repeat_with(|| drawn.next() & 0x7f)
                .take(size.min(300))
                .collect();
            payload.resize(size, b'.');
            payload
        }
    };
    let kind = if made_of & 1 == 0 {
        MessageKind::Text
    } else {
        MessageKind::Binary
    };
    (kind, payload.into())
}

/// The ways in which a message can be encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Message,
    /// The header by the engine, and the payload by reference: for servers, without compression.
    HeaderAlone,
    /// Compressed by itself; by a server as a frame that many connections can share.
    Shared,
}

impl Side {
    fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        let mut engine = Engine::new(role, Limits::new());
        if let Some(params) = deflate {
            engine = engine.with_deflate(params, DeflateTuning::new().with_threshold(20));
        }
        Self {
            role,
            engine,
            input: BytesMut::new(),
            wire: BytesMut::new(),
            written: 0,
            read: 0,
            expected: VecDeque::new(),
            pings: VecDeque::new(),
            unanswered: VecDeque::new(),
            close: None,
            keys: 0,
        }
    }

    fn key(keys: &mut u32) -> MaskKey {
        *keys = keys.wrapping_add(0x9e37_79b9);
        keys.to_le_bytes()
    }

    /// Notes what was written behind `begin`: it is due when its last byte is read.
    fn expect(&mut self, begin: usize, event: Event) {
        self.written += self.wire.len() - begin;
        self.expected.push_back((self.written, event));
    }

    fn send(&mut self, made_of: u8, size: u8, how: How) {
        let compresses = self.engine.compressor().is_some();
        let (kind, payload) = read_message(made_of, size, compresses);
        let begin = self.wire.len();
        let sent = match how {
            How::Message => {
                let keys = &mut self.keys;
                let key = || Self::key(keys);
                self.engine
                    .encode_message(kind, &payload, key, &mut self.wire)
            }
            How::HeaderAlone => {
                let sent = self
                    .engine
                    .encode_header(kind, payload.len(), &mut self.wire);
                if self.role == Role::Client {
                    assert_eq!(sent, Err(EncodeError::MaskRequired));
                    return;
                }
                if sent.is_ok() {
                    self.wire.extend_from_slice(&payload);
                }
                sent
            }
            How::Shared => self.send_shared(kind, &payload),
        };
        if self.engine.is_close_sent() {
            assert_eq!(sent, Err(EncodeError::Closed));
            assert_eq!(self.wire.len(), begin);
            return;
        }
        assert_eq!(sent, Ok(()));
        let event = match kind {
            MessageKind::Text => Event::Text(Text::try_from(payload).expect("it was made so")),
            MessageKind::Binary => Event::Binary(payload),
        };
        self.expect(begin, event);
    }

    fn send_shared(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), EncodeError> {
        let keys = &mut self.keys;
        let key = || Self::key(keys);
        let compressor = self.engine.compressor();
        let compressed = compressor.and_then(|compressor| compressor.compress(payload));
        match (compressed, self.role) {
            (None, _) => self
                .engine
                .encode_message(kind, payload, key, &mut self.wire),
            (Some(compressed), Role::Client) => {
                let engine = &mut self.engine;
                engine.encode_compressed(kind, &compressed, payload, key, &mut self.wire)
            }
            (Some(compressed), Role::Server) => {
                self.engine.note_compressed(payload)?;
                let frame = encode_shared_frame(kind, true, &compressed);
                self.wire.extend_from_slice(&frame);
                Ok(())
            }
        }
    }

    fn ping(&mut self, payload: &[u8]) {
        let expected = if payload.len() > MAX_CONTROL_PAYLOAD {
            Err(PingError::TooLong { got: payload.len() })
        } else if self.engine.is_close_sent() {
            Err(PingError::Closed)
        } else if self.waiting() >= MAX_WAITING_CONTROL {
            Err(PingError::TooMany {
                limit: MAX_WAITING_CONTROL,
            })
        } else {
            self.pings.push_back(Bytes::copy_from_slice(payload));
            Ok(())
        };
        assert_eq!(self.engine.ping(payload), expected);
    }

    /// How many control frames wait.
    fn waiting(&self) -> usize {
        self.pings.len() + self.unanswered.len()
    }

    /// RFC 6455 §5.5.3: only the most recent ping has to be answered; past so many, only that one is.
    fn note_ping(&mut self, payload: Bytes) {
        if self.engine.is_close_sent() {
            return;
        }
        if self.waiting() >= MAX_WAITING_CONTROL {
            self.unanswered.clear();
        }
        self.unanswered.push_back(payload);
    }

    fn close(&mut self, code: u16) {
        let code = CloseCode::from(code);
        let reason = "going ✓";
        match (
            self.engine.close(code, reason),
            CloseFrame::new(code, reason),
        ) {
            (Ok(()), Ok(frame)) => self.queue_close(frame),
            (closed, frame) => assert_eq!(closed.err(), frame.err()),
        }
    }

    /// The first Close stands.
    fn queue_close(&mut self, frame: CloseFrame) {
        if !self.engine.is_close_sent() && self.close.is_none() {
            self.close = Some(frame);
        }
    }

    fn poll_control(&mut self) {
        let begin = self.wire.len();
        let waiting = self.waiting();
        assert_eq!(self.engine.has_control(), waiting > 0);
        let keys = &mut self.keys;
        let key = || Self::key(keys);
        assert_eq!(self.engine.poll_control(key, &mut self.wire), waiting > 0);
        let frames = RawFrame::parse_all(&self.wire[begin..]);
        assert_eq!(frames.len(), waiting);
        for frame in frames {
            assert_eq!(frame.key.is_some(), self.role == Role::Client);
            let payload = Bytes::from(frame.payload);
            self.written += frame.size;
            let (queue, event) = match frame.first {
                0x89 => (&mut self.pings, Event::Ping(payload.clone())),
                0x8a => (&mut self.unanswered, Event::Pong(payload.clone())),
                other => panic!("{other:#x} is neither ping nor pong"),
            };
            assert_eq!(queue.pop_front(), Some(payload));
            self.expected.push_back((self.written, event));
        }
    }

    fn poll_close(&mut self) {
        let begin = self.wire.len();
        let keys = &mut self.keys;
        let key = || Self::key(keys);
        let frame = self.close.take();
        assert_eq!(self.engine.poll_close(key, &mut self.wire), frame.is_some());
        if let Some(frame) = frame {
            assert!(self.engine.is_close_sent());
            assert!(!self.engine.has_control());
            self.pings.clear();
            self.unanswered.clear();
            self.expect(begin, Event::Close(frame));
        }
    }

    /// Reads what the other wrote, if asked to in another place than before.
    fn read(&mut self, bytes: &[u8], from: &mut Self, moves: bool) {
        if moves {
            self.input = BytesMut::from(&self.input[..]);
            let copy = self.engine.clone();
            assert_eq!(copy, self.engine);
            self.engine = copy;
        }
        self.input.extend_from_slice(bytes);
        self.read += bytes.len();
        for event in drain(&mut self.engine, &mut self.input) {
            // Data is of no interest any more once our Close is sent.
            while self.engine.is_close_sent()
                && let Some((_, Event::Text(_) | Event::Binary(_))) = from.expected.front()
            {
                from.expected.pop_front();
            }
            let expected = from.expected.pop_front().map(|(_, event)| event);
            assert_eq!(Some(&event), expected.as_ref());
            match event {
                Event::Ping(payload) => self.note_ping(payload),
                Event::Close(frame) => {
                    let reply = frame.code.map_or_else(CloseFrame::default, |code| {
                        CloseFrame::new(code, "").expect("it was sent")
                    });
                    self.queue_close(reply);
                }
                _ => {}
            }
        }
        let is_late = |(due, event): &(usize, Event)| {
            let is_data = matches!(event, Event::Text(_) | Event::Binary(_));
            *due <= self.read && !(is_data && self.engine.is_close_sent())
        };
        assert!(!from.expected.iter().any(is_late), "what is whole is told");
    }
}

//! A client that writes frames of its own making: cut anywhere, slow, silent, wrong or gone. It knows nothing of the
//! library but the bytes of a frame.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use dreamsocket::testing::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};
use turmoil::net::TcpStream;

use crate::deflate::deflate;
use crate::event::Event;
use crate::frames::{Decoder, Item};
use crate::plan::Client;
use crate::random::Rng;
use crate::record::{Record, WORLD};
use crate::script::{Cheat, Part, Step};
use crate::server::{HOST, PORT};

/// How long it waits for the handshake, and for the end.
const PATIENCE: Duration = Duration::from_millis(700);

/// Runs the client's script to its end.
pub(crate) async fn run(number: usize, client: Client, record: Record, end: Duration) {
    tokio::time::sleep(client.script.start).await;
    let note = |what: &str| record.note(WORLD, Event::Note(format!("raw client {number} {what}")));
    let connecting = TcpStream::connect((HOST, PORT));
    let Ok(Ok(stream)) = timeout(PATIENCE, connecting).await else {
        return note("is not let in");
    };
    let mut peer = Peer {
        stream: Some(stream),
        output: Vec::new(),
        replies: Vec::new(),
        is_midway: false,
        decoder: Decoder::new(false, usize::MAX),
        rng: Rng::new(client.seed),
        sent: 0,
        allowance: usize::MAX,
        is_mute: false,
        is_open: false,
        is_closing: false,
        has_closed: false,
        has_ended: false,
        is_shut: false,
    };
    let extensions = match client.script.offers_deflate {
        true => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        false => "",
    };
    let request = format!(
        "GET /{number} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extensions}\r\n"
    );
    peer.output.extend_from_slice(request.as_bytes());
    let mut steps = client.script.steps.iter();
    if client.script.is_early
        && let Some(Step::Send { parts, .. }) = steps.as_slice().first()
    {
        steps.next();
        let bytes = peer.bytes(parts);
        peer.output.extend_from_slice(&bytes);
    }
    peer.drive(PATIENCE, |peer| peer.is_open || peer.has_ended)
        .await;
    for step in steps {
        if peer.has_ended || !peer.is_open {
            break;
        }
        note(&describe(step));
        peer.take(step).await;
    }
    // It reads on, as a browser does, until the server has ended it.
    peer.allowance = usize::MAX;
    let now = turmoil::sim_elapsed().unwrap_or_default();
    peer.drive(end.saturating_sub(now), |peer| peer.has_ended)
        .await;
    note("is gone");
}

/// A step in a few words.
fn describe(step: &Step) -> String {
    match step {
        Step::Send { parts, cuts, .. } => {
            format!("sends {} frames with {cuts} cuts", parts.len())
        }
        other => format!("{other:?}"),
    }
}

struct Peer {
    /// `None` once it is gone.
    stream: Option<TcpStream>,
    /// What is to be written.
    output: Vec<u8>,
    /// Answers, which go between two frames.
    replies: Vec<u8>,
    /// Whether a part of a frame went out, and the rest comes later.
    is_midway: bool,
    decoder: Decoder,
    rng: Rng,
    /// How many frames it has sent.
    sent: u64,
    /// How many bytes it may read.
    allowance: usize,
    is_mute: bool,
    /// The handshake has succeeded.
    is_open: bool,
    /// It was sent a close frame, and has not answered.
    is_closing: bool,
    /// It has sent its own.
    has_closed: bool,
    has_ended: bool,
    /// Nothing more is written once `output` is.
    is_shut: bool,
}

impl Peer {
    async fn take(&mut self, step: &Step) {
        match step {
            Step::Send { parts, cuts, pause } => {
                let bytes = self.bytes(parts);
                self.send_cut(&bytes, *cuts, *pause).await;
            }
            Step::Wait(time) => self.drive(*time, |peer| peer.has_ended).await,
            Step::Stall(time) => self.trickle(0, *time).await,
            Step::Trickle(bytes, time) => self.trickle(*bytes, *time).await,
            Step::Mute(is_mute) => self.is_mute = *is_mute,
            Step::Close(code) => {
                if !self.has_closed {
                    self.has_closed = true;
                    self.output.extend(Frame::close(*code, "bye").to_bytes());
                }
            }
            Step::Cheat(cheat) => {
                if !self.has_closed {
                    self.has_closed = true;
                    self.output.extend(wrong(*cheat));
                }
            }
            Step::HalfClose => {
                self.has_closed = true;
                self.is_shut = true;
            }
            Step::Vanish => {
                self.stream = None;
                self.has_ended = true;
            }
        }
    }

    /// The bytes of frames.
    fn bytes(&mut self, parts: &[Part]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            self.sent += 1;
            let number = self.sent;
            match part {
                Part::Order(order) => {
                    let (payload, bits) = self.deflated(order.text(number).into_bytes());
                    let frame = Frame::text(payload).with_reserved_bits(bits);
                    bytes.extend(frame.to_bytes());
                }
                Part::Fragments(order, count, is_interrupted) => {
                    let (text, bits) = self.deflated(order.text(number).into_bytes());
                    let size = text.len().div_ceil(*count).max(1);
                    let pieces = text.chunks(size).count();
                    for (index, piece) in text.chunks(size).enumerate() {
                        let frame = match index {
                            0 => Frame::text(piece.to_vec()).with_reserved_bits(bits),
                            _ => Frame::continuation(piece.to_vec()),
                        };
                        let is_last = index + 1 == pieces;
                        let frame = if is_last { frame } else { frame.unfinished() };
                        bytes.extend(frame.to_bytes());
                        if *is_interrupted && !is_last {
                            let ping = format!("between {number} {index}");
                            bytes.extend(Frame::ping(ping).to_bytes());
                        }
                    }
                }
                Part::Binary(length) => {
                    let mut payload = format!("#{number} ").into_bytes();
                    payload.resize(payload.len() + length, 7);
                    let (payload, bits) = self.deflated(payload);
                    let frame = Frame::binary(payload).with_reserved_bits(bits);
                    bytes.extend(frame.to_bytes());
                }
                Part::Ping => bytes.extend(Frame::ping(format!("ping {number}")).to_bytes()),
                Part::Pong => bytes.extend(Frame::pong(format!("pong {number}")).to_bytes()),
            }
        }
        bytes
    }

    /// The payload, compressed or not, and the bits that say so.
    fn deflated(&mut self, payload: Vec<u8>) -> (Vec<u8>, u8) {
        match self.decoder.has_deflate() && self.rng.percent(60) {
            true => (deflate(&payload), 4),
            false => (payload, 0),
        }
    }

    /// Sends in so many segments more than one.
    async fn send_cut(&mut self, bytes: &[u8], cuts: usize, pause: Duration) {
        if self.has_closed {
            return;
        }
        let mut places: Vec<usize> = (0..cuts).map(|_| self.rng.below(bytes.len() + 1)).collect();
        places.push(bytes.len());
        places.sort_unstable();
        let mut begin = 0;
        for place in places {
            self.output.extend_from_slice(&bytes[begin..place]);
            begin = place;
            self.is_midway = place < bytes.len();
            self.drive(Duration::from_millis(50), |peer| {
                peer.has_ended || peer.output.is_empty()
            })
            .await;
            if !pause.is_zero() {
                self.drive(pause, |peer| peer.has_ended).await;
            }
        }
    }

    async fn trickle(&mut self, bytes: usize, time: Duration) {
        self.allowance = bytes;
        self.drive(time, |peer| peer.has_ended).await;
        self.allowance = usize::MAX;
    }

    /// Writes and reads for so long, or until it is enough.
    async fn drive(&mut self, time: Duration, is_enough: impl Fn(&Self) -> bool) {
        let mut sleep = pin!(sleep_until(Instant::now() + time));
        poll_fn(|context| {
            self.poll(context);
            if is_enough(self) {
                return Poll::Ready(());
            }
            sleep.as_mut().poll(context)
        })
        .await;
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        loop {
            self.poll_write(context);
            let Some(stream) = self.stream.as_mut().filter(|_| !self.has_ended) else {
                return;
            };
            let mut chunk = [0; 4096];
            let length = self.allowance.min(chunk.len());
            if length == 0 {
                return;
            }
            let mut buffer = ReadBuf::new(&mut chunk[..length]);
            match Pin::new(stream).poll_read(context, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let read = buffer.filled().len();
                    if self.allowance != usize::MAX {
                        self.allowance -= read;
                    }
                    self.decoder.push(buffer.filled());
                    self.answer();
                }
                Poll::Ready(_) => {
                    self.has_ended = true;
                    self.stream = None;
                }
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) {
        if !self.is_midway {
            self.output.append(&mut self.replies);
        }
        while !self.output.is_empty() {
            let Some(stream) = &mut self.stream else {
                return self.output.clear();
            };
            match Pin::new(stream).poll_write(context, &self.output) {
                Poll::Pending => return,
                Poll::Ready(Ok(count)) => drop(self.output.drain(..count)),
                Poll::Ready(Err(_)) => {
                    self.output.clear();
                    self.has_closed = true;
                }
            }
        }
        if self.is_shut
            && let Some(stream) = &mut self.stream
        {
            self.is_shut = false;
            let _ = Pin::new(stream).poll_shutdown(context);
        }
    }

    /// Answers what came.
    fn answer(&mut self) {
        while let Some(item) = self.decoder.next() {
            match item {
                Item::Head(line) => {
                    self.is_open = line.contains(" 101 ");
                    self.has_ended = !self.is_open;
                }
                Item::Ping(payload) if !self.is_mute && !self.has_closed => {
                    self.replies.extend(Frame::pong(payload).to_bytes());
                }
                Item::Close(code) => {
                    self.is_closing = true;
                    if !self.has_closed {
                        self.has_closed = true;
                        let reply = Frame::close(code.unwrap_or(1000), "");
                        self.replies.extend(reply.to_bytes());
                    }
                }
                _ => {}
            }
        }
    }
}

/// Bytes that break the protocol.
fn wrong(cheat: Cheat) -> Vec<u8> {
    match cheat {
        Cheat::Opcode => Frame::new(3, "what").to_bytes(),
        Cheat::Unmasked => Frame::text("plain").unmasked().to_bytes(),
        Cheat::Reserved => Frame::text("bits").with_reserved_bits(2).to_bytes(),
        Cheat::Utf8 => Frame::text(vec![b'a', 0xff, b'b']).to_bytes(),
        Cheat::TooLarge => vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4],
        Cheat::Continuation => Frame::continuation("of what").to_bytes(),
        Cheat::LongPing => Frame::ping(vec![0; 126]).to_bytes(),
        Cheat::BadClose => Frame::close(1005, "").to_bytes(),
    }
}

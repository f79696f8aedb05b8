//! The same bytes to our engine and to tungstenite, in either role and under the same limits: frame by frame the same
//! messages and the same pongs, or both refuse. Each difference that is meant is a row of [`DIFFERENCES`], and any other is
//! a failure.
//!
//! The input: the peer's bytes, and one that chooses role and limits.

use crate::input::Input;
use crate::wire::{RawFrame, drain, frame};
use bytes::BytesMut;
use dreamsocket_protocol::{CloseCode, CloseFrame, Engine, Event, Limits, Role, Text, Violation};
use std::io::{self, Read, Write};
use tungstenite::error::Error;
use tungstenite::protocol::{self, WebSocket, WebSocketConfig};

/// See the module.
pub fn run(input: &[u8]) {
    compare(input);
}

/// Which of the differences the input shows; its bytes mean nothing in common behind it.
///
/// # Panics
///
/// If there is one that is not meant.
pub fn compare(input: &[u8]) -> Option<&'static Difference> {
    let mut input = Input::new(input);
    let choice = input.take();
    let role = if choice & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let (max_message, max_frame) =
        [(2000, 1500), (700, 1500), (2000, 130), (20, 130)][usize::from((choice >> 1) & 3)];
    let mut ours = Ours::new(role, max_message, max_frame);
    let mut theirs = Theirs::new(role, max_message, max_frame);

    let mut bytes = input.rest();
    while let Some(frame) = RawFrame::parse(bytes) {
        let (these, rest) = bytes.split_at(frame.size);
        bytes = rest;
        let step = Step {
            ours: ours.read(these),
            theirs: theirs.read(these),
            frame,
        };
        check_length(&step);
        match (&step.ours, &step.theirs) {
            (Some(Event::Violation(_)), Said::Refused(_)) => return None,
            (Some(ours), Said::Event(theirs)) if ours == theirs => {}
            (None, Said::Nothing) => {}
            _ => {
                let mut differences = DIFFERENCES.iter();
                let meant = differences.find(|difference| (difference.applies)(&step));
                return Some(meant.unwrap_or_else(|| panic!("{step:?}")));
            }
        }
        check_replies(&step, &ours.reply(), &theirs.reply());
        if let Some(Event::Close(_)) = step.ours {
            return None;
        }
    }
    // The beginning of a frame: theirs looks at a frame when it is whole, or at a header; ours at whatever has come.
    let (ours, theirs) = (ours.read(bytes), theirs.read(bytes));
    match (&ours, &theirs) {
        (Some(Event::Violation(_)), Said::Refused(_) | Said::Nothing) | (None, Said::Nothing) => {}
        _ => panic!("{ours:?}, theirs: {theirs:?}, of a part of a frame: {bytes:x?}"),
    }
    None
}

/// What became of a frame.
#[derive(Debug)]
struct Step {
    frame: RawFrame,
    ours: Option<Event>,
    theirs: Said,
}

#[derive(Debug)]
enum Said {
    Nothing,
    Event(Event),
    Refused(#[expect(dead_code, reason = "it is only shown")] Error),
}

/// A difference that is meant.
#[non_exhaustive]
pub struct Difference {
    /// What there is in the bytes.
    pub what: &'static str,
    /// What each makes of it, and why ours does.
    pub why: &'static str,
    applies: fn(&Step) -> bool,
}

impl std::fmt::Debug for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.what)
    }
}

/// All differences that are meant. What needs no row: theirs looks at a frame when it has come whole and ours at each byte,
/// so ours refuses earlier; it refuses by an error alone, and ours with a Close frame that says why (RFC 6455 §7.1.7).
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "a length that is not in its shortest form",
        why: "RFC 6455 §5.2: the minimal number of bytes MUST be used; ours refuses it, theirs reads it",
        applies: |step| {
            matches!(
                step.ours,
                Some(Event::Violation(Violation::NonMinimalLength { .. }))
            )
        },
    },
    Difference {
        what: "a control frame with its length in a longer form",
        why: "the same rule; ours says of it that a control frame has no such length (§5.5)",
        applies: |step| {
            matches!(
                step.ours,
                Some(Event::Violation(Violation::ControlTooLong { .. }))
            ) && step.frame.payload.len() <= 125
        },
    },
    Difference {
        what: "a Close with a code that may not be on the wire",
        why: "RFC 6455 §7.4: ours refuses it with 1002; theirs tells of a Close with 1002 in its place",
        applies: |step| {
            matches!(
                step.ours,
                Some(Event::Violation(Violation::ForbiddenCloseCode { .. }))
            ) && step.tells_of_violation()
        },
    },
    Difference {
        what: "a Close with 1014",
        why: "bad gateway in IANA's registry, which theirs does not know and takes for a code that is not allowed",
        applies: |step| {
            matches!(&step.ours, Some(Event::Close(close)) if close.code == Some(CloseCode::BAD_GATEWAY))
                && step.tells_of_violation()
        },
    },
    Difference {
        what: "a message of many small fragments",
        why: "each is charged 64 bytes at least against the limit, since each costs as much to take; theirs counts payloads",
        applies: |step| {
            matches!(
                step.ours,
                Some(Event::Violation(Violation::MessageTooBig { .. }))
            ) && step.frame.is_fragment()
        },
    },
];

impl Step {
    /// Whether theirs made its own Close of the peer's.
    fn tells_of_violation(&self) -> bool {
        let close = CloseFrame::new(CloseCode::PROTOCOL, "Protocol violation");
        matches!(&self.theirs, Said::Event(Event::Close(told)) if Some(told) == close.as_ref().ok())
    }
}

/// Where theirs takes more than the RFC allows, it is no measure.
fn check_length(step: &Step) {
    let RawFrame {
        first,
        key,
        payload,
        size,
    } = &step.frame;
    let is_shortest = frame(*first, *key, payload).len() == *size;
    let is_refused = matches!(step.ours, Some(Event::Violation(_)));
    assert!(is_shortest || is_refused, "{step:?}");
}

/// What each wrote: the same frames, but for a Close's reason, which ours does not send back, since it is the peer's own.
fn check_replies(step: &Step, ours: &[u8], theirs: &[u8]) {
    let plain = |bytes: &[u8]| -> Vec<(u8, Vec<u8>)> {
        let frames = RawFrame::parse_all(bytes).into_iter();
        frames.map(|frame| (frame.first, frame.payload)).collect()
    };
    let (ours, mut theirs) = (plain(ours), plain(theirs));
    if let Some((0x88, payload)) = theirs.last_mut() {
        payload.truncate(2);
    }
    assert_eq!(ours, theirs, "{step:?}");
}

struct Ours {
    engine: Engine,
    buffer: BytesMut,
}

impl Ours {
    fn new(role: Role, max_message: usize, max_frame: usize) -> Self {
        let limits = Limits::new()
            .with_max_message(max_message)
            .with_max_frame(max_frame);
        Self {
            engine: Engine::new(role, limits),
            buffer: BytesMut::new(),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Option<Event> {
        self.buffer.extend_from_slice(bytes);
        let mut events = drain(&mut self.engine, &mut self.buffer);
        assert!(events.len() <= 1, "of one frame: {events:?}");
        events.pop()
    }

    fn reply(&mut self) -> BytesMut {
        let mut output = BytesMut::new();
        self.engine.poll_control(|| [1, 2, 3, 4], &mut output);
        self.engine.poll_close(|| [1, 2, 3, 4], &mut output);
        output
    }
}

struct Theirs(WebSocket<Memory>);

/// A socket that would block when it has no more to read.
#[derive(Default)]
struct Memory {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.input.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.input[..count]);
        self.input.drain(..count);
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Theirs {
    fn new(role: Role, max_message: usize, max_frame: usize) -> Self {
        let role = match role {
            Role::Server => protocol::Role::Server,
            Role::Client => protocol::Role::Client,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_frame));
        Self(WebSocket::from_raw_socket(
            Memory::default(),
            role,
            Some(config),
        ))
    }

    fn read(&mut self, bytes: &[u8]) -> Said {
        self.0.get_mut().input.extend_from_slice(bytes);
        let mut said = Said::Nothing;
        loop {
            match self.0.read() {
                Ok(message) => {
                    assert!(matches!(said, Said::Nothing), "of one frame: {message:?}");
                    said = Said::Event(read_message(message));
                }
                // It has answered a Close.
                Err(Error::ConnectionClosed) => return said,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return said,
                Err(error) => return Said::Refused(error),
            }
        }
    }

    fn reply(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0.get_mut().output)
    }
}

/// Their message as our event.
fn read_message(message: protocol::Message) -> Event {
    match message {
        protocol::Message::Text(text) => Event::Text(Text::from(text.as_str())),
        protocol::Message::Binary(bytes) => Event::Binary(bytes),
        protocol::Message::Ping(payload) => Event::Ping(payload),
        protocol::Message::Pong(payload) => Event::Pong(payload),
        protocol::Message::Close(None) => Event::Close(CloseFrame::default()),
        protocol::Message::Close(Some(close)) => {
            let frame = CloseFrame::new(u16::from(close.code).into(), &close.reason);
            Event::Close(frame.expect("what theirs allows, we do"))
        }
        protocol::Message::Frame(frame) => panic!("read as it is: {frame}"),
    }
}

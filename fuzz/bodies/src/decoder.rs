//! Any bytes of a peer, in any split: the same events, the same answer and the same engine in the end, and a state that
//! makes sense.
//!
//! The input: the peer's bytes, two bytes that say where to cut them, one that chooses the engine.

use crate::input::{Cuts, Input};
use crate::wire::drain;
use bytes::BytesMut;
use dreamsocket_protocol::handshake::DeflateParams;
use dreamsocket_protocol::{CloseCode, DeflateTuning, Engine, Event, Limits, Role};

/// What the last byte chooses.
#[derive(Clone, Copy)]
struct Choice(u8);

impl Choice {
    const fn role(self) -> Role {
        if self.0 & 1 == 0 {
            Role::Server
        } else {
            Role::Client
        }
    }

    /// Whether our own Close has been sent before anything comes.
    const fn is_closing(self) -> bool {
        self.0 & 2 != 0
    }

    /// Limits that inputs do reach, or such that a length can be declared for which there is no memory.
    const fn limits(self) -> Limits {
        let (max_frame, max_message) = match (self.0 >> 5, self.0 & 4) {
            (1, _) => (usize::MAX, usize::MAX),
            (_, 0) => (1500, 2000),
            _ => (1500, 700),
        };
        Limits::new()
            .with_max_frame(max_frame)
            .with_max_message(max_message)
    }

    fn engine(self) -> Engine {
        let mut engine = Engine::new(self.role(), self.limits());
        if self.0 & 8 != 0 {
            let alone = self.0 & 16 == 0;
            let params = DeflateParams {
                server_no_context_takeover: alone,
                client_no_context_takeover: alone,
                server_max_window_bits: 9,
                client_max_window_bits: 15,
            };
            engine = engine.with_deflate(params, DeflateTuning::new());
        }
        if self.is_closing() {
            engine
                .close(CloseCode::NORMAL, "")
                .expect("1000 may be sent");
            engine.poll_close(|| [0; 4], &mut BytesMut::new());
        }
        engine
    }
}

/// See the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let choice = Choice(input.take());
    let cuts = input.take_cuts();
    let bytes = input.rest();

    let mut whole = choice.engine();
    let mut left = BytesMut::from(bytes);
    let events = drain(&mut whole, &mut left);
    check_state(choice, &whole, &left, &events);
    let answered = answer(&mut whole.clone());

    for cuts in [Cuts::BYTEWISE, cuts] {
        let mut split = choice.engine();
        let mut buffer = BytesMut::new();
        let mut split_events = Vec::new();
        for piece in cuts.pieces(bytes) {
            buffer.extend_from_slice(piece);
            split_events.extend(drain(&mut split, &mut buffer));
        }
        assert_eq!(split_events, events, "{cuts:?}");
        assert_eq!(buffer, left, "{cuts:?}");
        assert_eq!(split, whole, "{cuts:?}");
        assert_eq!(answer(&mut split), answered, "{cuts:?}");
    }

    // What is left goes to another buffer each time, and the engine to a copy of itself.
    let mut moved = choice.engine();
    let mut buffer = BytesMut::new();
    let mut moved_events = Vec::new();
    for piece in cuts.pieces(bytes) {
        buffer = BytesMut::from(&[&buffer[..], piece].concat()[..]);
        moved = moved.clone();
        moved_events.extend(drain(&mut moved, &mut buffer));
    }
    assert_eq!(moved_events, events);
    assert_eq!(moved, whole);

    check_deafness(&mut whole, &events);
}

/// What holds after any bytes.
fn check_state(choice: Choice, engine: &Engine, left: &BytesMut, events: &[Event]) {
    let is_last = |event: &Event| matches!(event, Event::Close(_) | Event::Violation(_));
    let last = events.iter().position(is_last);
    assert!(last.is_none_or(|last| last + 1 == events.len()));
    let violation = match events.last() {
        Some(Event::Violation(violation)) => Some(violation),
        _ => None,
    };
    assert_eq!(engine.violation(), violation);
    assert_eq!(
        engine.is_close_received(),
        matches!(events.last(), Some(Event::Close(_)))
    );
    assert_eq!(engine.is_close_sent(), choice.is_closing());
    assert_eq!(engine.has_close(), last.is_some() && !choice.is_closing());
    assert_eq!(engine.is_closed(), last.is_some() && choice.is_closing());
    if last.is_some() {
        assert!(left.is_empty());
        assert_eq!(engine.bytes_wanted(), 0);
    }
    if choice.is_closing() {
        let is_message = |event: &Event| matches!(event, Event::Text(_) | Event::Binary(_));
        assert!(!events.iter().any(is_message), "a message after our close");
        assert!(!engine.has_control(), "a pong after our close");
    } else {
        // At most an unfinished frame is left, and what it lacks is wanted.
        let max_frame = choice.limits().max_frame;
        assert!(left.len() + engine.bytes_wanted() <= max_frame);
        assert!(left.is_empty() || engine.bytes_wanted() > 0);
    }
}

/// What the engine has to say: pongs, then its Close.
fn answer(engine: &mut Engine) -> BytesMut {
    let mut output = BytesMut::new();
    engine.poll_control(|| [1, 2, 3, 4], &mut output);
    engine.poll_close(|| [5, 6, 7, 8], &mut output);
    output
}

/// After the end nothing is listened to any more.
fn check_deafness(engine: &mut Engine, events: &[Event]) {
    if !matches!(events.last(), Some(Event::Close(_) | Event::Violation(_))) {
        return;
    }
    let mut buffer = BytesMut::from(&b"\x81\x01x\x81\x81\0\0\0\0x\xff"[..]);
    assert_eq!(engine.handle_input(&mut buffer), None);
    assert!(buffer.is_empty());
}

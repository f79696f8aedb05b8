//! Frames written by hand, as a peer of any manners would, and the checks that the chapters share.

use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::{
    CloseCode, CloseFrame, Engine, Event, Limits, MaskKey, Role, Text, Violation,
};

pub(crate) const KEY: MaskKey = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const RSV2: u8 = 0x20;
pub(crate) const RSV3: u8 = 0x10;

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

pub(crate) fn server() -> Engine {
    Engine::new(Role::Server, Limits::default())
}

pub(crate) fn client() -> Engine {
    Engine::new(Role::Client, Limits::default())
}

/// A server's mask key: there is none to draw.
pub(crate) fn no_key() -> MaskKey {
    unreachable!("a server masks nothing")
}

/// A client's frame. `first` is the whole first byte.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    frame.extend(length(0x80, payload.len()));
    frame.extend(KEY);
    frame.extend(
        payload
            .iter()
            .zip(KEY.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// A server's frame.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    frame.extend(length(0, payload.len()));
    frame.extend(payload);
    frame
}

fn length(mask_bit: u8, length: usize) -> Vec<u8> {
    match length {
        0..126 => vec![mask_bit | length as u8],
        126..0x1_0000 => [vec![mask_bit | 126], (length as u16).to_be_bytes().to_vec()].concat(),
        _ => [vec![mask_bit | 127], (length as u64).to_be_bytes().to_vec()].concat(),
    }
}

/// A Close payload.
pub(crate) fn close_payload(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

/// All events that come of these bytes, given at once. Whatever is left is a frame's beginning.
pub(crate) fn events(engine: &mut Engine, bytes: impl AsRef<[u8]>) -> Vec<Event> {
    let mut buffer = BytesMut::from(bytes.as_ref());
    drain(engine, &mut buffer)
}

pub(crate) fn drain(engine: &mut Engine, buffer: &mut BytesMut) -> Vec<Event> {
    std::iter::from_fn(|| engine.handle_input(buffer)).collect()
}

/// All events that come of these bytes, given in these pieces, through one buffer.
pub(crate) fn events_in_pieces<'a>(
    engine: &mut Engine,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Event> {
    let mut buffer = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        events.extend(drain(engine, &mut buffer));
    }
    events
}

pub(crate) fn text(text: &str) -> Event {
    Event::Text(Text::from(text))
}

pub(crate) fn binary(bytes: &[u8]) -> Event {
    Event::Binary(Bytes::copy_from_slice(bytes))
}

pub(crate) fn ping(bytes: &[u8]) -> Event {
    Event::Ping(Bytes::copy_from_slice(bytes))
}

pub(crate) fn pong(bytes: &[u8]) -> Event {
    Event::Pong(Bytes::copy_from_slice(bytes))
}

/// What the engine has to say apart from messages: pings and pongs, then the Close.
pub(crate) fn output(engine: &mut Engine) -> Vec<u8> {
    let mut output = BytesMut::new();
    engine.poll_control(|| KEY, &mut output);
    engine.poll_close(|| KEY, &mut output);
    output.to_vec()
}

/// The bytes are refused with this violation as the last of the events, however they are split; the
/// Close frame that goes out has its code; and nothing that follows is listened to.
#[expect(
    clippy::needless_pass_by_value,
    reason = "each call makes its own, and reads better without a reference"
)]
pub(crate) fn check_refused(new: fn() -> Engine, bytes: &[u8], violation: Violation) {
    for size in [bytes.len().max(1), 1, 3] {
        let mut engine = new();
        let events = events_in_pieces(&mut engine, bytes.chunks(size));
        assert_eq!(
            events.last(),
            Some(&Event::Violation(violation.clone())),
            "{bytes:x?} in pieces of {size}"
        );
        let violations = events
            .iter()
            .filter(|event| matches!(event, Event::Violation(_)));
        assert_eq!(violations.count(), 1);
        assert_eq!(engine.violation(), Some(&violation));
        assert!(engine.has_close() && !engine.is_closed());
        check_deaf(&mut engine);
        assert_eq!(sent_close(&mut engine), Some(violation.close_code()));
        assert!(engine.is_closed());
        check_deaf(&mut engine);
    }
}

/// The engine uses up what comes and says nothing.
pub(crate) fn check_deaf(engine: &mut Engine) {
    for frame in [
        masked(FIN | TEXT, b"x"),
        unmasked(FIN | PING, b"x"),
        vec![0xff; 40],
    ] {
        let mut buffer = BytesMut::from(&frame[..]);
        assert_eq!(engine.handle_input(&mut buffer), None);
        assert!(buffer.is_empty());
        assert_eq!(engine.bytes_wanted(), 0);
    }
}

/// The code of the one Close frame that the engine has to send, without a reason.
pub(crate) fn sent_close(engine: &mut Engine) -> Option<CloseCode> {
    let mut output = BytesMut::new();
    assert!(engine.poll_close(|| KEY, &mut output));
    assert!(!engine.poll_close(|| KEY, &mut output), "only once");
    read_close(&output).code
}

/// The other role's engine reads the frame: masking included.
pub(crate) fn read_close(output: &[u8]) -> CloseFrame {
    let role = if output[1] & 0x80 == 0 {
        Role::Client
    } else {
        Role::Server
    };
    let mut peer = Engine::new(role, Limits::default());
    match events(&mut peer, output).as_slice() {
        [Event::Close(frame)] => frame.clone(),
        other => panic!("not one close frame: {other:?}"),
    }
}

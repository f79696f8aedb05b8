//! What goes over a connection, decoded byte by byte: the head of an HTTP message, then the frames of RFC 6455.
//!
//! Written for the oracle, plainly and apart from the library's engine, so that a mistake there is not made here, too. It
//! never sends and never forgives: the first violation ends what it says.

use dreamsocket::CloseCode;

use crate::deflate::Inflater;

/// What was decoded, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// The head of the request or the response, whose first line this is.
    Head(String),
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame; `None` for one without a code.
    Close(Option<u16>),
    /// The rest is not looked at.
    Broken,
}

/// Decodes one direction of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// What came and is not decoded.
    bytes: Vec<u8>,
    state: State,
    /// Whether frames have to be masked.
    is_masked: bool,
    /// How many bytes a message and a frame may have.
    limit: usize,
    /// The fragments of a message that is not whole.
    message: Option<Fragments>,
    /// There if compression was agreed on.
    inflater: Option<Inflater>,
    /// What they count towards the limit.
    counted: usize,
}

/// What has come of a message.
#[derive(Debug)]
struct Fragments {
    is_text: bool,
    is_compressed: bool,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Frames,
    /// After a close frame or a violation.
    Over,
}

struct Header {
    is_final: bool,
    is_compressed: bool,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// Bytes of the header.
    size: usize,
    length: usize,
    /// What the message counts with it.
    counted: usize,
}

impl Decoder {
    pub(crate) fn new(is_masked: bool, limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            state: State::Head,
            is_masked,
            limit,
            message: None,
            inflater: None,
            counted: 0,
        }
    }

    /// Whether compression was agreed on, as far as this direction tells.
    pub(crate) const fn has_deflate(&self) -> bool {
        self.inflater.is_some()
    }

    /// Compression was agreed on.
    pub(crate) fn agree_on_deflate(&mut self) {
        self.inflater.get_or_insert_with(Inflater::new);
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Over {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(crate) fn next(&mut self) -> Option<Item> {
        loop {
            let item = match self.state {
                State::Over => return None,
                State::Head => return self.next_head(),
                State::Frames => match self.next_frame() {
                    Ok(Step::Wait) => return None,
                    Ok(Step::Fragment) => continue,
                    Ok(Step::Item(item)) => item,
                    Err(Violated) => Item::Broken,
                },
            };
            if matches!(item, Item::Close(_) | Item::Broken) {
                self.state = State::Over;
                self.bytes = Vec::new();
            }
            return Some(item);
        }
    }

    fn next_head(&mut self) -> Option<Item> {
        let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let line = self.bytes.iter().take_while(|byte| **byte != b'\r');
        let line: String = line.map(|byte| char::from(*byte)).collect();
        let head: Vec<u8> = self.bytes.drain(..end).collect();
        let is_refusal = line.starts_with("HTTP/") && !line.contains(" 101 ");
        self.state = if is_refusal {
            State::Over
        } else {
            State::Frames
        };
        if line.contains(" 101 ") && String::from_utf8_lossy(&head).contains("permessage-deflate") {
            self.agree_on_deflate();
        }
        Some(Item::Head(line))
    }

    fn next_frame(&mut self) -> Result<Step, Violated> {
        let Some(header) = self.header()? else {
            return Ok(Step::Wait);
        };
        if self.bytes.len() < header.size + header.length {
            self.check_text(&header)?;
            return Ok(Step::Wait);
        }
        let mut payload: Vec<u8> = self.bytes.drain(..header.size + header.length).collect();
        payload.drain(..header.size);
        if let Some(mask) = header.mask {
            for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= key;
            }
        }
        Ok(Step::Item(match header.opcode {
            8 => Item::Close(close_code(&payload)?),
            9 => Item::Ping(payload),
            10 => Item::Pong(payload),
            opcode => {
                self.counted = if header.is_final { 0 } else { header.counted };
                let mut message = self.message.take().unwrap_or_else(|| Fragments {
                    is_text: opcode == 1,
                    is_compressed: header.is_compressed,
                    bytes: Vec::new(),
                });
                message.bytes.extend_from_slice(&payload);
                let is_plain_text = message.is_text && !message.is_compressed;
                if is_plain_text && is_wrong(&message.bytes, header.is_final) {
                    return Err(Violated);
                }
                if !header.is_final {
                    self.message = Some(message);
                    return Ok(Step::Fragment);
                }
                Item::Message(self.inflated(message)?)
            }
        }))
    }

    /// The message's payload, once it is whole.
    fn inflated(&mut self, message: Fragments) -> Result<Vec<u8>, Violated> {
        let Some(inflater) = self.inflater.as_mut().filter(|_| message.is_compressed) else {
            return Ok(message.bytes);
        };
        let payload = inflater.inflate(&message.bytes, self.limit);
        let payload = payload.ok_or(Violated)?;
        match message.is_text && is_wrong(&payload, true) {
            true => Err(Violated),
            false => Ok(payload),
        }
    }

    /// Text that can't become UTF-8 is wrong before it is whole (RFC 6455 §8.1).
    fn check_text(&self, header: &Header) -> Result<(), Violated> {
        let (is_plain_text, mut text) = match (&self.message, header.opcode) {
            (Some(message), 0) => {
                let is_plain_text = message.is_text && !message.is_compressed;
                (is_plain_text, message.bytes.clone())
            }
            (_, opcode) => (opcode == 1 && !header.is_compressed, Vec::new()),
        };
        if !is_plain_text {
            return Ok(());
        }
        let keys = header.mask.unwrap_or_default();
        let payload = self.bytes.get(header.size..).unwrap_or_default();
        text.extend(
            payload
                .iter()
                .zip(keys.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        match is_wrong(&text, false) {
            true => Err(Violated),
            false => Ok(()),
        }
    }

    /// The header of the next frame, checked; `None` if it has not come.
    fn header(&mut self) -> Result<Option<Header>, Violated> {
        let Some(first) = self.bytes.first() else {
            return Ok(None);
        };
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0F);
        let is_control = opcode >= 8;
        let follows = self.message.is_some();
        // RFC 7692 §6: the first frame of a message may say that it is compressed.
        let is_compressed = first & 0x40 != 0;
        let may_be_compressed = self.inflater.is_some() && matches!(opcode, 1..=2);
        if first & 0x30 != 0
            || (is_compressed && !may_be_compressed)
            || !matches!(opcode, 0..=2 | 8..=10)
            || (is_control && !is_final)
            || (!is_control && (opcode == 0) != follows)
        {
            return Err(Violated);
        }
        let Some(second) = self.bytes.get(1) else {
            return Ok(None);
        };
        let is_masked = second & 0x80 != 0;
        if is_masked != self.is_masked || (is_control && second & 0x7F > 125) {
            return Err(Violated);
        }
        let extra = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let size = 2 + extra + if is_masked { 4 } else { 0 };
        if self.bytes.len() < 2 + extra {
            return Ok(None);
        }
        let declared = match extra {
            0 => u64::from(second & 0x7F),
            _ => {
                let digits = self.bytes[2..2 + extra].iter();
                digits.fold(0, |length, digit| length << 8 | u64::from(*digit))
            }
        };
        let length = usize::try_from(declared).map_err(|_| Violated)?;
        // Each fragment counts at least 64 bytes, so that empty ones have an end.
        let counted = match (is_control, is_final && !follows) {
            (true, _) => 0,
            (false, true) => length,
            (false, false) => self.counted.saturating_add(length.max(64)),
        };
        if length > self.limit || counted > self.limit {
            return Err(Violated);
        }
        if self.bytes.len() < size {
            return Ok(None);
        }
        let mask = is_masked.then(|| {
            let mut mask = [0; 4];
            mask.copy_from_slice(&self.bytes[size - 4..size]);
            mask
        });
        Ok(Some(Header {
            is_final,
            is_compressed,
            opcode,
            mask,
            size,
            length,
            counted,
        }))
    }
}

enum Step {
    Wait,
    Fragment,
    Item(Item),
}

/// The peer broke the protocol.
struct Violated;

/// Whether that is no UTF-8, nor the beginning of any if it is not whole.
fn is_wrong(text: &[u8], is_whole: bool) -> bool {
    match std::str::from_utf8(text) {
        Ok(_) => false,
        Err(error) => is_whole || error.error_len().is_some(),
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Violated> {
    match *payload {
        [] => Ok(None),
        [high, low, ref reason @ ..] => {
            let code = u16::from_be_bytes([high, low]);
            let is_valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            match is_valid && std::str::from_utf8(reason).is_ok() {
                true => Ok(Some(code)),
                false => Err(Violated),
            }
        }
        [_] => Err(Violated),
    }
}

/// As a number.
pub(crate) fn number(code: CloseCode) -> u16 {
    u16::from(code)
}

/// What a payload is known by: its length and a hash of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Print {
    pub(crate) length: usize,
    hash: u64,
}

impl Print {
    pub(crate) fn of(payload: &[u8]) -> Self {
        let hash = payload
            .iter()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
            });
        Self {
            length: payload.len(),
            hash,
        }
    }
}

/// The beginning of a payload, for a transcript.
pub(crate) fn head(payload: &[u8]) -> String {
    let shown = &payload[..payload.len().min(28)];
    let mut text: String = String::from_utf8_lossy(shown)
        .chars()
        .map(|char| if char.is_control() { '.' } else { char })
        .collect();
    if shown.len() < payload.len() {
        text += "…";
    }
    text
}

#[cfg(test)]
mod tests {
    use dreamsocket::testing::Frame;

    use super::*;

    fn decoded(bytes: &[u8], chunk: usize) -> Vec<Item> {
        let mut decoder = Decoder::new(true, 1_000);
        let mut items = Vec::new();
        for chunk in bytes.chunks(chunk) {
            decoder.push(chunk);
            while let Some(item) = decoder.next() {
                items.push(item);
            }
        }
        items
    }

    #[test]
    fn any_split_gives_the_same() {
        let mut bytes = b"GET /7 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        for frame in [
            Frame::text("one"),
            Frame::text("tw").unfinished(),
            Frame::ping("p"),
            Frame::continuation("o"),
            Frame::binary(vec![7; 300]),
            Frame::close(1000, "bye"),
            Frame::text("not looked at"),
        ] {
            bytes.extend(frame.to_bytes());
        }
        let expected = [
            Item::Head("GET /7 HTTP/1.1".to_owned()),
            Item::Message(b"one".to_vec()),
            Item::Ping(b"p".to_vec()),
            Item::Message(b"two".to_vec()),
            Item::Message(vec![7; 300]),
            Item::Close(Some(1000)),
        ];
        for chunk in 1..bytes.len() {
            assert_eq!(decoded(&bytes, chunk), expected, "{chunk}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_the_last() {
        for frame in [
            Frame::new(3, ""),
            Frame::text("a").unmasked(),
            Frame::text("a").with_reserved_bits(4),
            Frame::text(vec![0xff]),
            Frame::continuation("a"),
            Frame::ping("a").unfinished(),
            Frame::ping(vec![0; 126]),
            Frame::close_with_payload(vec![3]),
            Frame::close(1005, ""),
            Frame::binary(vec![0; 1_001]),
        ] {
            let mut bytes = b"GET / HTTP/1.1\r\n\r\n".to_vec();
            bytes.extend(frame.to_bytes());
            assert_eq!(decoded(&bytes, 1).last(), Some(&Item::Broken), "{frame:?}");
        }
    }
}

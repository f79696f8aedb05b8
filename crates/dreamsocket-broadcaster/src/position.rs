//! [`Position`]: a place in what a topic has said. Plain data.

use std::error::Error;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// What separates the numbers of a position's text.
const SEPARATOR: char = '-';

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Three numbers of at most eleven digits, and what separates them.
const MAX_TEXT: usize = 35;

/// The place of a message in its topic's history: where to go on later.
///
/// [`Channel::position`](crate::Channel::position) tells it, and [`Topic::subscribe_from`](crate::Topic::subscribe_from)
/// goes on behind it. As text it is short, at most 35 of the letters `0-9`, `A-Z`, `a-z` and `-`: it can go to a browser
/// and come back in a URL. What comes back need not be trusted: any text is an error, or a position that is there, or
/// one that is not, which a channel tells as a gap.
///
/// Nothing else can be read from it. Positions of one topic on one broker are the same on all nodes.
///
/// ```
/// # use dreamsocket_broadcaster::{Broadcaster, History, Position};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let topic = Broadcaster::with_history(History::last(100)).topic("lobby");
/// let mut channel = topic.subscribe();
/// topic.publish("hello")?;
/// let _ = channel.try_recv()?;
/// let position = channel.position().expect("the topic keeps history");
/// let text = position.to_string();
/// assert_eq!(text.parse::<Position>()?, position);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Of the history: positions of another one, which was lost perhaps, are not in this one.
    life: NonZeroU64,
    number: [u64; 2],
}

/// The text is no [`Position`]: it has another form, or is too long. It may be anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidPosition;

impl Position {
    /// The place of that number in one life of a history: a 0 is taken as life 1. Numbers of a topic grow.
    ///
    /// For a link of one's own to a broker; whoever subscribes has positions from channels.
    #[must_use]
    pub const fn new(life: u64, number: u128) -> Self {
        let life = match NonZeroU64::new(life) {
            Some(life) => life,
            None => NonZeroU64::MIN,
        };
        Self {
            life,
            // Halves of it, so that it takes three words.
            number: [(number >> 64) as u64, number as u64],
        }
    }

    /// Of the history that it is in.
    #[must_use]
    pub const fn life(&self) -> u64 {
        self.life.get()
    }

    /// Where in its life.
    #[must_use]
    pub const fn number(&self) -> u128 {
        (self.number[0] as u128) << 64 | self.number[1] as u128
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [high, low] = self.number;
        let mut text = String::with_capacity(MAX_TEXT);
        push_number(&mut text, self.life());
        if high > 0 {
            text.push(SEPARATOR);
            push_number(&mut text, high);
        }
        text.push(SEPARATOR);
        push_number(&mut text, low);
        f.pad(&text)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    /// # Errors
    ///
    /// When it is not what a position prints.
    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        if text.len() > MAX_TEXT {
            return Err(InvalidPosition);
        }
        let mut numbers = text.split(SEPARATOR).map(parse_number);
        let mut next = || numbers.next().transpose();
        let (life, first, second) = (next()?, next()?, next()?);
        let (Some(life), Some(first), None) = (life.and_then(NonZeroU64::new), first, next()?)
        else {
            return Err(InvalidPosition);
        };
        let number = match second {
            // One text for each position.
            Some(_) if first == 0 => return Err(InvalidPosition),
            Some(second) => [first, second],
            None => [0, first],
        };
        Ok(Self { life, number })
    }
}

fn push_number(text: &mut String, mut number: u64) {
    let base = DIGITS.len() as u64;
    let mut digits = Vec::with_capacity(11);
    loop {
        digits.push(char::from(DIGITS[(number % base) as usize]));
        number /= base;
        if number == 0 {
            break;
        }
    }
    text.extend(digits.iter().rev());
}

fn parse_number(text: &str) -> Result<u64, InvalidPosition> {
    let is_padded = text.len() > 1 && text.starts_with('0');
    if text.is_empty() || is_padded {
        return Err(InvalidPosition);
    }
    let mut number = 0_u64;
    for byte in text.bytes() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return Err(InvalidPosition),
        };
        number = number
            .checked_mul(DIGITS.len() as u64)
            .and_then(|number| number.checked_add(u64::from(digit)))
            .ok_or(InvalidPosition)?;
    }
    Ok(number)
}

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not a position in a topic's history")
    }
}

impl Error for InvalidPosition {}

#[cfg(feature = "serde")]
impl serde::Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Position;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a position in a topic's history, as text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Position, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn b5_positions_come_back_from_their_text(life in 1_u64.., number: u128, low: u64) {
            for number in [number, u128::from(low)] {
                let position = Position::new(life, number);
                let text = position.to_string();
                prop_assert!(text.len() <= MAX_TEXT);
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
                prop_assert_eq!(text.parse(), Ok(position));
                prop_assert_eq!((position.life(), position.number()), (life, number));
            }
        }

        #[test]
        fn b5_any_text_is_a_position_that_prints_the_same_or_an_error(text in "[0-9A-Za-z-]{0,40}|\\PC{0,40}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }

    #[test]
    fn b5_what_is_no_position_is_an_error() {
        let longest = Position::new(u64::MAX, u128::MAX).to_string();
        assert_eq!(longest.len(), MAX_TEXT);
        assert!(longest.parse::<Position>().is_ok());
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "0-1",
            "1-0-1",
            "01-1",
            "1-1-1-1",
            "1 -1",
            "1-+1",
            "1_1",
            "ü-1",
            "LygHa16AHYF-LygHa16AHYG",
            &format!("1{longest}"),
            &"1-".repeat(1_000_000),
        ] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text:.40}");
        }
    }

    #[test]
    fn b5_the_first_position_has_a_text() {
        let first = Position::new(1, 0);
        assert_eq!(first.to_string().parse(), Ok(first));
    }

    #[test]
    fn b5_the_error_says_what_was_asked_for() {
        assert!(InvalidPosition.to_string().contains("not a position"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn b5_a_position_is_read_from_text_only() {
        let position = Position::new(1, 2);
        let text = serde_json::to_string(&position).unwrap();
        assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), position);
        let error = serde_json::from_str::<Position>("12").unwrap_err();
        assert!(error.to_string().contains("as text"), "{error}");
    }

    #[test]
    fn b5_a_position_takes_three_words() {
        assert_eq!(size_of::<Option<Position>>(), 24);
    }
}

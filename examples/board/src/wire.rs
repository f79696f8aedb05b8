//! What goes over the wire: binary messages, integers little-endian. A point is two `u16`, right and down from the upper left
//! corner, in 65,535ths of the board's width and height.
//!
//! A page asks (the first byte says what):
//!
//! | byte | then | |
//! |---|---|---|
//! | 1 | colour `u8`, width `u8`, points | begins a stroke |
//! | 2 | points | draws on |
//! | 3 | a point | points there without drawing |
//! | 4 | | takes its own last stroke back |
//! | 5 | | wipes the board, for everybody |
//! | 6 | UTF-8 | says who it is; a name that is blank, longer than 24 characters or has control characters among them changes nothing |
//!
//! and is told:
//!
//! | byte | then | |
//! |---|---|---|
//! | 1 | its number `u16`, changes | the first message: the picture so far |
//! | 2 | changes | what was drawn since |
//! | 3 | person `u16`, a point, colour `u8`, the name in UTF-8 | somebody points there |
//! | 4 | person `u16` | somebody has left |
//! | 5 | | some of the two before are missing here: nobody points anywhere until it is told anew |
//!
//! A change is one of
//!
//! | byte | then | |
//! |---|---|---|
//! | 1 | stroke `u32`, person `u16`, colour `u8`, width `u8`, count `u16`, points | a stroke begins; the person is 0 in the picture so far |
//! | 2 | stroke `u32`, count `u16`, points | it goes on |
//! | 3 | stroke `u32` | it is gone |
//! | 4 | | all are gone |

use bytes::{Buf, BufMut};

/// Bytes of what a page asks.
pub(crate) const LARGEST_ASK: usize = 4 * 1024;
/// Colours and widths that there are; the page has as many.
const COLOURS: u8 = 8;
const WIDEST: u8 = 64;
/// Characters of a name.
const LONGEST_NAME: usize = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) x: u16,
    pub(crate) y: u16,
}

/// How a stroke looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pen {
    pub(crate) colour: u8,
    pub(crate) width: u8,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Begin(Pen, Vec<Point>),
    More(Vec<Point>),
    PointAt(Point),
    Undo,
    Clear,
    /// Nothing if it is none to show: who types it is not to be closed for it.
    Name(Option<String>),
}

impl Ask {
    /// Reads what a page asks; nothing if it is not one of these.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let ask = match bytes.try_get_u8().ok()? {
            1 => {
                let colour = bytes.try_get_u8().ok()?;
                let width = bytes.try_get_u8().ok()?;
                if colour >= COLOURS || !(1..=WIDEST).contains(&width) {
                    return None;
                }
                return Some(Self::Begin(Pen { colour, width }, points(bytes)?));
            }
            2 => return Some(Self::More(points(bytes)?)),
            3 => match points(bytes)?[..] {
                [point] => return Some(Self::PointAt(point)),
                _ => return None,
            },
            4 => Self::Undo,
            5 => Self::Clear,
            6 => return Some(Self::Name(name(str::from_utf8(bytes).ok()?))),
            _ => return None,
        };
        bytes.is_empty().then_some(ask)
    }
}

/// At least one point, and nothing else.
fn points(bytes: &[u8]) -> Option<Vec<Point>> {
    let (pairs, rest) = bytes.as_chunks::<4>();
    let whole = !pairs.is_empty() && rest.is_empty();
    let points = pairs.iter().map(|&[x, more_x, y, more_y]| Point {
        x: u16::from_le_bytes([x, more_x]),
        y: u16::from_le_bytes([y, more_y]),
    });
    whole.then(|| points.collect())
}

fn name(text: &str) -> Option<String> {
    let name = text.trim();
    let is_good = !name.is_empty()
        && name.chars().count() <= LONGEST_NAME
        && !name.chars().any(char::is_control);
    is_good.then(|| name.to_owned())
}

/// The head of the first message; the changes that make the picture follow.
pub(crate) fn picture(me: u16) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.put_u16_le(me);
    bytes
}

/// The head of a message of changes.
pub(crate) fn changes() -> Vec<u8> {
    vec![2]
}

pub(crate) fn put_begin(bytes: &mut Vec<u8>, stroke: u32, person: u16, pen: Pen, points: &[Point]) {
    bytes.put_u8(1);
    bytes.put_u32_le(stroke);
    bytes.put_u16_le(person);
    bytes.put_u8(pen.colour);
    bytes.put_u8(pen.width);
    put_points(bytes, points);
}

pub(crate) fn put_more(bytes: &mut Vec<u8>, stroke: u32, points: &[Point]) {
    bytes.put_u8(2);
    bytes.put_u32_le(stroke);
    put_points(bytes, points);
}

pub(crate) fn put_gone(bytes: &mut Vec<u8>, stroke: u32) {
    bytes.put_u8(3);
    bytes.put_u32_le(stroke);
}

pub(crate) fn put_all_gone(bytes: &mut Vec<u8>) {
    bytes.put_u8(4);
}

/// A stroke has fewer points than a `u16` holds: `picture.rs` sees to it.
fn put_points(bytes: &mut Vec<u8>, points: &[Point]) {
    bytes.put_u16_le(u16::try_from(points.len()).unwrap_or(u16::MAX));
    for point in points {
        bytes.put_u16_le(point.x);
        bytes.put_u16_le(point.y);
    }
}

pub(crate) fn cursor(person: u16, at: Point, colour: u8, name: &str) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.put_u16_le(person);
    bytes.put_u16_le(at.x);
    bytes.put_u16_le(at.y);
    bytes.put_u8(colour);
    bytes.put_slice(name.as_bytes());
    bytes
}

pub(crate) fn left(person: u16) -> Vec<u8> {
    let mut bytes = vec![4];
    bytes.put_u16_le(person);
    bytes
}

pub(crate) fn missed_cursors() -> Vec<u8> {
    vec![5]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_asks_is_read_whole_or_not_at_all() {
        let point = Point {
            x: 0x0201,
            y: 0xffff,
        };
        let pen = Pen {
            colour: 7,
            width: 64,
        };
        for (bytes, expected) in [
            (
                &[1, 7, 64, 1, 2, 255, 255][..],
                Some(Ask::Begin(pen, vec![point])),
            ),
            (&[1, 8, 64, 1, 2, 255, 255], None),
            (&[1, 7, 65, 1, 2, 255, 255], None),
            (&[1, 7, 0, 1, 2, 255, 255], None),
            (&[1, 7, 64], None),
            (&[2, 1, 2, 255, 255], Some(Ask::More(vec![point]))),
            (&[2, 1, 2, 255], None),
            (&[2], None),
            (&[3, 1, 2, 255, 255], Some(Ask::PointAt(point))),
            (&[3, 1, 2, 255, 255, 1, 2, 3, 4], None),
            (&[4], Some(Ask::Undo)),
            (&[4, 0], None),
            (&[5], Some(Ask::Clear)),
            (b"\x06 Ada ", Some(Ask::Name(Some("Ada".to_owned())))),
            (b"\x06  ", Some(Ask::Name(None))),
            (b"\x06a\nb", Some(Ask::Name(None))),
            (b"\x06abcdefghijklmnopqrstuvwxy", Some(Ask::Name(None))),
            (b"\x06\xff", None),
            (&[7], None),
            (&[], None),
        ] {
            assert_eq!(Ask::decode(bytes), expected, "{bytes:?}");
        }
    }
}

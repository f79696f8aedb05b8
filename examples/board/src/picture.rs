//! What has been drawn, as strokes in the order in which they began, and bounded: the oldest go, a tenth at once, since a page
//! has to draw all that is left anew. Plain data, which writes what changes for those who have seen the picture before.

use std::collections::{BTreeMap, VecDeque};

use crate::wire::{self, Pen, Point};

/// Points of one stroke. A page begins another before that; what is over is not drawn.
pub(crate) const LONGEST_STROKE: usize = 2_000;

/// How much a picture holds. As bytes on the wire it is 4 for a point and 12 for a stroke: 440 KB, of the outbox's MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) points: usize,
    pub(crate) strokes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            points: 80_000,
            strokes: 10_000,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Picture {
    bounds: Bounds,
    strokes: BTreeMap<u32, Stroke>,
    points: usize,
    last: u32,
}

#[derive(Debug)]
struct Stroke {
    pen: Pen,
    points: Vec<Point>,
}

/// The strokes of one person that can be taken back, the last one at the end.
pub(crate) type Own = VecDeque<u32>;

impl Picture {
    /// Begins a stroke, and gives back its number. What changes is put behind `changes`, here and below.
    pub(crate) fn begin(
        &mut self,
        person: u16,
        pen: Pen,
        mut points: Vec<Point>,
        changes: &mut Vec<u8>,
    ) -> u32 {
        points.truncate(LONGEST_STROKE);
        self.last = self.last.wrapping_add(1);
        wire::put_begin(changes, self.last, person, pen, &points);
        self.points += points.len();
        self.strokes.insert(self.last, Stroke { pen, points });
        self.forget(changes);
        self.last
    }

    /// Draws on, if the stroke is there still.
    pub(crate) fn draw_on(&mut self, number: u32, points: &[Point], changes: &mut Vec<u8>) {
        let Some(stroke) = self.strokes.get_mut(&number) else {
            return;
        };
        let room = LONGEST_STROKE - stroke.points.len();
        let points = &points[..points.len().min(room)];
        if points.is_empty() {
            return;
        }
        wire::put_more(changes, number, points);
        stroke.points.extend_from_slice(points);
        self.points += points.len();
        self.forget(changes);
    }

    /// Takes the last of these back that is there still.
    pub(crate) fn take_back(&mut self, own: &mut Own, changes: &mut Vec<u8>) {
        while let Some(number) = own.pop_back() {
            if let Some(stroke) = self.strokes.remove(&number) {
                self.points -= stroke.points.len();
                wire::put_gone(changes, number);
                return;
            }
        }
    }

    pub(crate) fn clear(&mut self, changes: &mut Vec<u8>) {
        self.strokes.clear();
        self.points = 0;
        wire::put_all_gone(changes);
    }

    /// Everything, as changes of an empty board.
    pub(crate) fn put_all(&self, bytes: &mut Vec<u8>) {
        for (number, stroke) in &self.strokes {
            wire::put_begin(bytes, *number, 0, stroke.pen, &stroke.points);
        }
    }

    /// When there is too much, the oldest strokes go until the rest is nine tenths of what may be.
    fn forget(&mut self, changes: &mut Vec<u8>) {
        let Bounds { points, strokes } = self.bounds;
        if self.points <= points && self.strokes.len() <= strokes {
            return;
        }
        while self.points > points * 9 / 10 || self.strokes.len() > strokes * 9 / 10 {
            let Some((number, stroke)) = self.strokes.pop_first() else {
                return;
            };
            self.points -= stroke.points.len();
            wire::put_gone(changes, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEN: Pen = Pen {
        colour: 0,
        width: 1,
    };

    fn line(length: usize) -> Vec<Point> {
        vec![Point { x: 1, y: 2 }; length]
    }

    fn small() -> Picture {
        let bounds = Bounds {
            points: 10,
            strokes: 3,
        };
        Picture {
            bounds,
            ..Picture::default()
        }
    }

    fn numbers(picture: &Picture) -> Vec<u32> {
        picture.strokes.keys().copied().collect()
    }

    #[test]
    fn the_oldest_go() {
        let (mut picture, mut changes) = (small(), Vec::new());
        for length in [4, 4, 2] {
            picture.begin(1, PEN, line(length), &mut changes);
        }
        assert_eq!(numbers(&picture), [1, 2, 3]);
        changes.clear();
        picture.draw_on(3, &line(1), &mut changes);
        assert_eq!((numbers(&picture), picture.points), (vec![2, 3], 7));
        assert_eq!(changes, [2, 3, 0, 0, 0, 1, 0, 1, 0, 2, 0, 3, 1, 0, 0, 0]);
        for _ in 0..2 {
            picture.begin(1, PEN, line(1), &mut changes);
        }
        assert_eq!((numbers(&picture), picture.points), (vec![4, 5], 2));
        // One that is larger than the whole picture is not there at all; nor is it drawn on.
        let gone = picture.begin(1, PEN, line(11), &mut changes);
        changes.clear();
        picture.draw_on(gone, &line(1), &mut changes);
        assert_eq!((numbers(&picture), picture.points), (vec![], 0));
        assert!(changes.is_empty());
    }

    #[test]
    fn a_full_picture_forgets_a_tenth_at_once() {
        let (mut picture, mut changes) = (Picture::default(), Vec::new());
        let mut sizes = Vec::new();
        for _ in 0..11_002 {
            picture.begin(1, PEN, line(1), &mut changes);
            sizes.push(picture.strokes.len());
        }
        assert_eq!(sizes[9_999..=10_001], [10_000, 9_000, 9_001]);
        assert_eq!(sizes[10_999..=11_001], [9_999, 10_000, 9_000]);
    }

    #[test]
    fn a_stroke_has_an_end() {
        let (mut picture, mut changes) = (Picture::default(), Vec::new());
        let stroke = picture.begin(1, PEN, line(LONGEST_STROKE - 1), &mut changes);
        picture.draw_on(stroke, &line(2), &mut changes);
        changes.clear();
        picture.draw_on(stroke, &line(1), &mut changes);
        assert_eq!((picture.points, changes), (LONGEST_STROKE, vec![]));
    }

    #[test]
    fn what_is_taken_back_is_the_last_that_is_there() {
        let (mut picture, mut changes) = (small(), Vec::new());
        let mut own = Own::new();
        own.push_back(picture.begin(1, PEN, line(2), &mut changes));
        own.push_back(picture.begin(1, PEN, line(9), &mut changes));
        assert_eq!(numbers(&picture), [2]);
        changes.clear();
        picture.take_back(&mut own, &mut changes);
        picture.take_back(&mut own, &mut changes);
        assert_eq!((numbers(&picture), own.len()), (vec![], 0));
        assert_eq!(changes, [3, 2, 0, 0, 0]);
    }

    #[test]
    fn the_whole_fits_into_the_outbox() {
        let Bounds { points, strokes } = Bounds::default();
        assert!(points * 4 + strokes * 12 < 500_000);
        let (mut picture, mut changes, mut whole) = (small(), Vec::new(), Vec::new());
        picture.begin(
            9,
            Pen {
                colour: 3,
                width: 4,
            },
            line(1),
            &mut changes,
        );
        picture.put_all(&mut whole);
        assert_eq!(whole, [1, 1, 0, 0, 0, 0, 0, 3, 4, 1, 0, 1, 0, 2, 0]);
    }
}

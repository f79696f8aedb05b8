//! [`Shaper`]: when the bytes that go one way go on, and in which pieces. Pure: the time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::dice::Dice;
use crate::plan::{Flow, Pieces};

/// So many bytes wait at most; then nothing more is read, and the sender waits.
const ROOM: usize = 64 * 1024;

/// With a rate there is less room, or what waits would be many seconds old.
const ROOM_WITH_RATE: usize = 16 * 1024;

/// How long the pause is that comes once in [`PIECES_TO_A_PAUSE`] after a piece of what was split. Without pauses the receiver's
/// system puts the pieces together again before they are read.
const PAUSE: Duration = Duration::from_millis(1);
const PIECES_TO_A_PAUSE: u64 = 16;

/// With a rate, so many pieces a second at least, so that it is even.
const PIECES_A_SECOND: u64 = 20;

pub(crate) struct Shaper {
    flow: Flow,
    dice: Dice,
    waiting: VecDeque<Piece>,
    /// Bytes that wait.
    held: usize,
    /// When the line is free again, which carries one piece after another.
    free_at: Instant,
}

struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

impl Shaper {
    pub(crate) fn new(flow: Flow, dice: Dice, now: Instant) -> Self {
        Self {
            flow,
            dice,
            waiting: VecDeque::new(),
            held: 0,
            free_at: now,
        }
    }

    pub(crate) const fn has_room(&self) -> bool {
        let room = if self.flow.rate.is_some() {
            ROOM_WITH_RATE
        } else {
            ROOM
        };
        self.held < room
    }

    /// Takes bytes that have come.
    pub(crate) fn put(&mut self, now: Instant, bytes: &[u8]) {
        self.held += bytes.len();
        if let Pieces::Coalesced(_) = self.flow.pieces
            && let Some(last) = self.waiting.back_mut()
            && last.due > now
        {
            last.bytes.extend_from_slice(bytes);
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(self.draw_length().min(rest.len()));
            rest = others;
            let due = self.draw_due(now);
            let bytes = piece.to_vec();
            self.waiting.push_back(Piece { due, bytes });
        }
    }

    /// How long the next piece is at most.
    fn draw_length(&mut self) -> usize {
        let by_rate = self
            .flow
            .rate
            .map_or(u64::MAX, |rate| rate.get().div_ceil(PIECES_A_SECOND));
        let by_pieces = match self.flow.pieces {
            Pieces::AsTheyCome => u64::MAX,
            Pieces::Split(most) => self.dice.draw(1..most.get() + 1),
            // The rate holds for the next piece then.
            Pieces::Coalesced(_) => return usize::MAX,
        };
        usize::try_from(by_pieces.min(by_rate)).unwrap_or(usize::MAX)
    }

    /// When a piece that has come now goes on: not before the one that came before it.
    fn draw_due(&mut self, now: Instant) -> Instant {
        let (least, most) = self.flow.delay;
        let mut due = now + self.dice.time(least, most);
        if let Pieces::Coalesced(time) = self.flow.pieces {
            due += time;
        }
        self.waiting.back().map_or(due, |last| last.due.max(due))
    }

    /// When the next piece goes on.
    pub(crate) fn due(&self) -> Option<Instant> {
        Some(self.waiting.front()?.due.max(self.free_at))
    }

    /// The next piece, if it is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        let due = self.due().filter(|due| *due <= now)?;
        let piece = self.waiting.pop_front()?.bytes;
        self.held -= piece.len();
        let mut busy = Duration::ZERO;
        if let Some(rate) = self.flow.rate {
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            busy = Duration::from_nanos(length.saturating_mul(1_000_000_000) / rate.get());
        }
        if matches!(self.flow.pieces, Pieces::Split(_)) && self.dice.once_in(PIECES_TO_A_PAUSE) {
            busy = busy.max(PAUSE);
        }
        // From when it was due and not from now, or the rate would be less by what the clock is late.
        self.free_at = due + busy;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn shaper(flow: Flow) -> (Shaper, Instant) {
        let now = Instant::now();
        (Shaper::new(flow, Dice::new(1), now), now)
    }

    /// All that comes out, each piece with its time since the start.
    fn run(shaper: &mut Shaper, start: Instant) -> Vec<(Duration, Vec<u8>)> {
        let mut pieces = Vec::new();
        while let Some(due) = shaper.due() {
            let early = due.checked_sub(Duration::from_nanos(1)).unwrap();
            assert_eq!(shaper.take(early), None, "not before it is due");
            pieces.push((due - start, shaper.take(due).unwrap()));
        }
        assert_eq!(shaper.held, 0);
        pieces
    }

    fn content(pieces: &[(Duration, Vec<u8>)]) -> Vec<u8> {
        pieces.iter().flat_map(|(_, piece)| piece.clone()).collect()
    }

    #[test]
    fn calm_bytes_go_at_once_as_they_came() {
        let (mut shaper, start) = shaper(Flow::calm());
        shaper.put(start, b"one");
        shaper.put(start, b"two");
        let expected = [
            (Duration::ZERO, b"one".to_vec()),
            (Duration::ZERO, b"two".to_vec()),
        ];
        assert_eq!(run(&mut shaper, start), expected);
    }

    #[test]
    fn a_delay_is_between_its_bounds_and_keeps_the_order() {
        let (mut shaper, start) = shaper(Flow::calm().with_delay(10 * MILLI, 30 * MILLI));
        for byte in 0..100 {
            shaper.put(start, &[byte]);
        }
        let pieces = run(&mut shaper, start);
        assert_eq!(content(&pieces), (0..100).collect::<Vec<_>>());
        assert!(pieces.is_sorted_by_key(|(time, _)| *time));
        assert!(
            pieces
                .iter()
                .all(|(time, _)| (10 * MILLI..=30 * MILLI).contains(time))
        );
        assert!(pieces[0].0 < pieces[99].0, "not all the same");
    }

    #[test]
    fn what_is_split_is_in_pieces_of_at_most_so_many_bytes() {
        let (mut shaper, start) = shaper(Flow::calm().split(7));
        let bytes: Vec<u8> = (0..=255).collect();
        shaper.put(start, &bytes);
        let pieces = run(&mut shaper, start);
        assert_eq!(content(&pieces), bytes);
        assert!(
            pieces
                .iter()
                .all(|(_, piece)| (1..=7).contains(&piece.len()))
        );
        assert!(pieces.iter().any(|(_, piece)| piece.len() == 1));
        assert!(pieces.iter().any(|(_, piece)| piece.len() == 7));
        assert!(pieces.last().unwrap().0 > Duration::ZERO, "with pauses");
    }

    #[test]
    fn what_is_coalesced_goes_in_one_piece() {
        let (mut shaper, start) = shaper(Flow::calm().coalesced(20 * MILLI));
        for millis in 0..40 {
            shaper.put(start + millis * MILLI, &[millis as u8]);
            if millis == 19 {
                assert_eq!(shaper.take(start + 19 * MILLI), None);
                let first = shaper.take(start + 20 * MILLI).unwrap();
                assert_eq!(first, (0..20).collect::<Vec<u8>>());
            }
        }
        let second = (20..40).collect::<Vec<u8>>();
        assert_eq!(run(&mut shaper, start), [(40 * MILLI, second)]);
    }

    #[test]
    fn a_rate_holds() {
        let (mut shaper, start) = shaper(Flow::calm().throttled(10_000));
        assert!(shaper.has_room());
        shaper.put(start, &[7; 20_000]);
        assert!(!shaper.has_room(), "the sender waits");
        let pieces = run(&mut shaper, start);
        assert_eq!(content(&pieces).len(), 20_000);
        let last = pieces.last().unwrap();
        let until_last = (20_000 - last.1.len()) as u32;
        assert_eq!(last.0, until_last * Duration::from_micros(100));
        assert!(pieces.len() >= 40);
    }

    /// A clock that is always late makes the rate no less.
    #[test]
    fn a_late_clock_is_made_up_for() {
        let (mut shaper, start) = shaper(Flow::calm().throttled(10_000));
        shaper.put(start, &[7; 10_000]);
        let (mut now, mut taken) = (start, 0);
        while shaper.held > 0 {
            now += 70 * MILLI;
            while let Some(piece) = shaper.take(now) {
                taken += piece.len();
            }
        }
        assert_eq!(taken, 10_000);
        assert!(
            now - start <= Duration::from_millis(1_100),
            "{:?}",
            now - start
        );
    }
}

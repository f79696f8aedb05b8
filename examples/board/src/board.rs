//! The board that all connections share. What they do is gathered and told once in 16 ms, as the same bytes for all: of ten people
//! who draw at 120 Hz a page gets some 55 messages a second with what they draw instead of 1,200 (as measured), and beside them
//! each cursor as often, or the latest of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dreamsocket::{
    BoxError, Broadcaster, Channel, ChannelOptions, CodedChannel, CodedTopic, Position, Prepared,
    Topic,
};
use tokio::sync::Notify;

use crate::picture::{Own, Picture};
use crate::wire::{self, Pen, Point};

/// Pages at a time.
pub(crate) const MOST_PEOPLE: usize = 500;
/// How long changes are gathered: a picture of a screen of 60 Hz.
const TICK: Duration = Duration::from_millis(16);
/// Messages that a page may be behind: four seconds of drawing. Further behind it has to come back.
const BEHIND: usize = 256;
/// People of whom a page may have a place to see: as many as there can be, and as many who have left meanwhile.
const MOST_CURSORS: usize = MOST_PEOPLE * 2;
/// Bytes of changes that are not gathered any longer.
const LARGE: usize = 32 * 1024;
/// Strokes that one person can take back.
const MOST_UNDO: usize = 200;

#[derive(Clone)]
pub(crate) struct Board {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    /// There is something to tell.
    stirred: Notify,
}

struct Inner {
    picture: Picture,
    /// What has changed since it was told last.
    changes: Vec<u8>,
    /// Who has moved since it was told last, by number.
    moved: BTreeMap<u16, Cursor>,
    told: Topic<Prepared>,
    cursors: CodedTopic<Cursor>,
    /// The numbers of those who are there.
    people: BTreeSet<u16>,
    last: u16,
}

/// Where somebody points.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    person: u16,
    /// Nowhere when the person has left.
    at: Option<(Point, u8, Arc<str>)>,
}

/// Somebody's place at the board. Dropping it leaves.
pub(crate) struct Seat {
    board: Board,
    pub(crate) number: u16,
}

/// What a connection begins with.
pub(crate) struct Entrance {
    pub(crate) seat: Seat,
    /// The first message.
    pub(crate) picture: Vec<u8>,
    /// What is drawn from then on.
    pub(crate) told: Channel<Prepared>,
    pub(crate) cursors: CodedChannel<Cursor>,
}

impl Board {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            picture: Picture::default(),
            changes: wire::changes(),
            moved: BTreeMap::new(),
            told: Broadcaster::new().topic("strokes"),
            cursors: CodedTopic::new(Broadcaster::new().topic("cursors"), encode),
            people: BTreeSet::new(),
            last: 0,
        };
        let shared = Shared {
            inner: Mutex::new(inner),
            stirred: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        let inner = self.shared.inner.lock();
        inner.unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what has changed, for ever: a moment after something has.
    pub(crate) async fn keep_telling(&self) {
        loop {
            self.shared.stirred.notified().await;
            tokio::time::sleep(TICK).await;
            self.lock().tell();
        }
    }

    /// Somebody comes.
    pub(crate) fn enter(&self) -> Entrance {
        let mut inner = self.lock();
        // What the picture has already is not to come once more.
        inner.tell();
        let number = inner.next_number();
        inner.people.insert(number);
        let mut picture = wire::picture(number);
        inner.picture.put_all(&mut picture);
        let all = ChannelOptions::new().capacity(BEHIND).end_when_full();
        let latest = ChannelOptions::new()
            .capacity(MOST_CURSORS)
            .latest_per_key(|cursor: &Cursor| cursor.person);
        Entrance {
            seat: Seat {
                board: self.clone(),
                number,
            },
            picture,
            told: inner.told.subscribe_with(all),
            cursors: inner.cursors.subscribe_with(latest),
        }
    }

    /// Begins a stroke, which can be taken back; gives back its number.
    pub(crate) fn begin(&self, person: u16, pen: Pen, points: Vec<Point>, own: &mut Own) -> u32 {
        let number = self.change(|picture, changes| picture.begin(person, pen, points, changes));
        own.push_back(number);
        if own.len() > MOST_UNDO {
            own.pop_front();
        }
        number
    }

    pub(crate) fn draw_on(&self, stroke: u32, points: &[Point]) {
        self.change(|picture, changes| picture.draw_on(stroke, points, changes));
    }

    pub(crate) fn take_back(&self, own: &mut Own) {
        self.change(|picture, changes| picture.take_back(own, changes));
    }

    pub(crate) fn clear(&self) {
        self.change(Picture::clear);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Picture, &mut Vec<u8>) -> T) -> T {
        let mut inner = self.lock();
        let Inner {
            picture, changes, ..
        } = &mut *inner;
        let result = change(picture, changes);
        if changes.len() > LARGE {
            inner.tell();
        }
        self.shared.stirred.notify_one();
        result
    }

    pub(crate) fn point_at(&self, person: u16, at: Point, colour: u8, name: &Arc<str>) {
        let at = Some((at, colour, Arc::clone(name)));
        self.lock().moved.insert(person, Cursor { person, at });
        self.shared.stirred.notify_one();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let person = self.number;
        let mut inner = self.board.lock();
        inner.people.remove(&person);
        inner.moved.insert(person, Cursor { person, at: None });
        self.board.shared.stirred.notify_one();
    }
}

impl Inner {
    /// Hands on what has changed. Nobody is waited for, and in one process it cannot fail.
    fn tell(&mut self) {
        let nothing = wire::changes();
        if self.changes != nothing {
            let changes = std::mem::replace(&mut self.changes, nothing);
            let _ = self.told.publish(Prepared::binary(changes));
        }
        for cursor in std::mem::take(&mut self.moved).into_values() {
            let _ = self.cursors.topic().publish(cursor);
        }
    }

    /// A number that nobody has; 0 is nobody. There are more of them than people are let in.
    fn next_number(&mut self) -> u16 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.people.contains(&self.last) {
                return self.last;
            }
        }
    }
}

/// A cursor as it goes to every page: made once for all of them.
fn encode(cursor: &Cursor, _: Option<Position>) -> Result<Prepared, BoxError> {
    let bytes = match &cursor.at {
        Some((at, colour, name)) => wire::cursor(cursor.person, *at, *colour, name),
        None => wire::left(cursor.person),
    };
    Ok(Prepared::binary(bytes))
}

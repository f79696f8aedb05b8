//! [`Buffers`]: what a connection holds while something is under way: bytes read and not decoded, messages that are not
//! encoded yet, a batch that is being written.
//!
//! In one box, which is a pool's of the thread while nothing is under way: an idle connection holds none of it, and a busy one
//! allocates nothing and looks into the pool twice each time its task runs.

use std::cell::RefCell;
use std::cmp::min;

use bytes::BytesMut;

use super::writer::Writer;
use crate::config::READ;
use crate::outbox::Queue;

/// How many a thread keeps: with [`KEPT_BYTES`] for reading and as many for writing at most half a MiB, and mostly half of that.
const KEPT: usize = 8;

/// A buffer that has grown beyond this is not kept, nor one that shares as much with a message.
const KEPT_BYTES: usize = 2 * READ;

thread_local! {
    #[expect(clippy::vec_box, reason = "boxes go to connections and come back as they are")]
    static POOL: RefCell<Vec<Box<Buffers>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Bytes read; between frames and messages empty.
    pub(super) read: BytesMut,
    /// Whether the memory of `read` is large. Its capacity does not tell once a message has been split off, which shares it.
    has_grown: bool,
    /// Messages taken from the outbox and not encoded yet.
    pub(super) outgoing: Queue,
    pub(super) writer: Writer,
}

impl Buffers {
    /// Empty ones.
    #[inline]
    pub(super) fn take() -> Box<Self> {
        POOL.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Whether nothing is on its way out.
    #[inline]
    pub(super) fn is_written(&self) -> bool {
        self.outgoing.is_empty() && self.writer.is_empty()
    }

    /// Whether nothing is under way.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.read.is_empty() && self.is_written()
    }

    /// Makes room for a read. The buffer grows with what has come, four times at most with each read and never to more than
    /// the frame needs; what a peer declares is not reserved.
    #[inline]
    pub(super) fn make_room(&mut self, wanted: usize) {
        let length = self.read.len();
        if self.read.capacity() - length < room_for(length, wanted) {
            self.grow(wanted);
        }
    }

    #[cold]
    fn grow(&mut self, wanted: usize) {
        let length = self.read.len();
        // One that is empty is taken back to its front, which copies nothing.
        self.read
            .reserve(wanted.clamp(READ, (3 * length).max(READ)));
        self.has_grown |= self.read.capacity() > KEPT_BYTES;
    }

    /// Takes empty ones back.
    #[inline]
    pub(super) fn give_back(mut self: Box<Self>) {
        if self.has_grown || self.read.capacity() > KEPT_BYTES {
            self.let_go_of_read();
        }
        self.writer.trim(KEPT_BYTES);
        self.outgoing.trim();
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT {
                pool.push(self);
            }
        });
    }

    #[cold]
    fn let_go_of_read(&mut self) {
        self.read = BytesMut::new();
        self.has_grown = false;
    }

    /// Lets go of the memory of what is empty, while the rest waits for the peer.
    #[cold]
    pub(super) fn shrink(&mut self) {
        if self.read.is_empty() {
            self.let_go_of_read();
        }
        if self.is_written() {
            self.writer = Writer::default();
            self.outgoing = Queue::default();
        }
    }
}

/// How much room there must be for a read to be worth its system call.
fn room_for(length: usize, wanted: usize) -> usize {
    if length == 0 {
        READ / 4 * 3
    } else {
        min(wanted, READ / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_used_again_unless_they_have_grown() {
        let mut buffers = Buffers::take();
        buffers.make_room(0);
        buffers.read.extend_from_slice(b"abc");
        let address = buffers.read.as_ptr();
        buffers.read.clear();
        buffers.give_back();
        let mut buffers = Buffers::take();
        assert_eq!(buffers.read.as_ptr(), address);
        assert!(buffers.is_empty());

        buffers.read.reserve(4 * READ);
        buffers.give_back();
        assert_eq!(Buffers::take().read.capacity(), 0);
    }

    #[test]
    fn what_may_be_kept_is_kept() {
        let mut buffers = Buffers::take();
        buffers.make_room(0);
        buffers.read.resize(READ, 0);
        buffers.make_room(READ);
        assert_eq!(buffers.read.capacity(), KEPT_BYTES);
        buffers.read.clear();
        buffers.give_back();
        assert_eq!(Buffers::take().read.capacity(), KEPT_BYTES);
    }

    #[test]
    fn while_something_waits_the_rest_is_let_go_of() {
        let mut buffers = Buffers::default();
        buffers.make_room(0);
        buffers.writer.tail().reserve(1000);
        buffers.read.extend_from_slice(b"half a fra");
        buffers.shrink();
        assert_eq!(buffers.read, "half a fra");
        assert_eq!(buffers.writer.tail().capacity(), 0);
        buffers.read.clear();
        buffers.writer.tail().extend_from_slice(b"a frame");
        buffers.shrink();
        assert_eq!(buffers.read.capacity(), 0);
        assert_eq!(buffers.writer.tail(), "a frame");
    }

    #[test]
    fn a_read_is_worth_its_system_call() {
        // What the buffer holds, what is wanted, and how much room there has to be.
        for (length, wanted, room) in [
            (0, 0, READ / 4 * 3),
            (0, usize::MAX, READ / 4 * 3),
            (10, 100, 100),
            (10, READ / 4 + 1, READ / 4),
            (10, READ, READ / 4),
        ] {
            for (there, has_grown) in [(room, false), (room - 1, true)] {
                let mut buffers = Buffers {
                    read: BytesMut::with_capacity(length + there),
                    ..Buffers::default()
                };
                buffers.read.resize(length, 0);
                buffers.make_room(wanted);
                let more = buffers.read.capacity() > length + there;
                assert_eq!(more, has_grown, "{length}, {wanted}");
            }
        }
    }

    #[test]
    fn a_message_that_is_kept_keeps_its_memory_to_itself() {
        let mut buffers = Buffers::take();
        buffers.make_room(0);
        buffers.read.extend_from_slice(&[1; 4096]);
        let message = buffers.read.split().freeze();
        buffers.give_back();
        let mut buffers = Buffers::take();
        buffers.make_room(0);
        buffers.read.extend_from_slice(&[2; 4096]);
        assert_eq!(message, [1; 4096][..]);
    }

    #[test]
    fn memory_that_a_large_message_shares_is_not_kept() {
        let mut buffers = Buffers::take();
        while buffers.read.len() < 16 * READ {
            buffers.make_room(16 * READ - buffers.read.len());
            let capacity = buffers.read.capacity();
            buffers.read.resize(capacity, 0);
        }
        let rest = buffers.read.len() - 100;
        let message = buffers.read.split_to(rest).freeze();
        buffers.read.clear();
        buffers.give_back();
        drop(message);
        let mut buffers = Buffers::take();
        assert!(!buffers.read.try_reclaim(KEPT_BYTES + 1));
    }

    #[test]
    fn a_read_buffer_grows_with_what_has_come() {
        let mut buffers = Buffers::default();
        buffers.make_room(usize::MAX);
        assert_eq!(buffers.read.capacity(), READ);
        buffers.read.resize(READ, 0);
        buffers.make_room(usize::MAX);
        let capacity = buffers.read.capacity();
        assert!((4 * READ..=4 * READ + 64).contains(&capacity), "{capacity}");

        // Of a frame's last bytes there is room for those alone.
        let mut buffers = Buffers::default();
        buffers.read.reserve(64 * 1024);
        buffers.read.resize(64 * 1024 - 16, 0);
        let capacity = buffers.read.capacity();
        buffers.make_room(14);
        assert_eq!(buffers.read.capacity(), capacity);
    }

    #[test]
    fn a_thread_keeps_a_bounded_number() {
        let taken: Vec<_> = (0..2 * KEPT).map(|_| Buffers::take()).collect();
        taken.into_iter().for_each(Buffers::give_back);
        assert_eq!(POOL.with_borrow(Vec::len), KEPT);
    }
}

//! Read and write buffers, pooled per thread so that an idle connection holds none.

use std::cell::RefCell;

use bytes::BytesMut;

use crate::config::READ_AHEAD;

/// How many buffers a thread keeps: at 16 KiB each, at most 128 KiB a thread.
const KEPT: usize = 8;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for at least [`READ_AHEAD`] bytes.
pub(super) fn take() -> BytesMut {
    POOL.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| BytesMut::with_capacity(READ_AHEAD))
}

/// Takes an empty buffer back. One that is still shared with a message, or has grown, is let go.
pub(super) fn give_back(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.try_reclaim(READ_AHEAD) && buffer.capacity() <= 2 * READ_AHEAD {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT {
                pool.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_unless_it_is_shared_or_large() {
        let mut buffer = take();
        buffer.extend_from_slice(b"abc");
        let address = buffer.as_ptr();
        give_back(buffer);
        let mut buffer = take();
        assert_eq!(buffer.as_ptr(), address);
        assert!(buffer.is_empty());

        buffer.extend_from_slice(b"message");
        let message = buffer.split().freeze();
        give_back(buffer);
        assert_ne!(take().as_ptr(), address, "a message still holds the memory");
        drop(message);

        give_back(BytesMut::with_capacity(4 * READ_AHEAD));
        assert!(take().capacity() <= 2 * READ_AHEAD);
    }

    #[test]
    fn a_thread_keeps_a_bounded_number() {
        let buffers: Vec<_> = (0..2 * KEPT).map(|_| take()).collect();
        buffers.into_iter().for_each(give_back);
        assert_eq!(POOL.with_borrow(Vec::len), KEPT);
    }
}

//! The last bytes of a direction: what a message may refer back to (RFC 7692 §7.1.1).

/// At most 2 to the power of some bits of bytes; nothing without context takeover.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Window {
    bytes: Vec<u8>,
    size: usize,
}

impl Window {
    pub(super) fn new(context_takeover: bool, bits: u8) -> Self {
        let size = if context_takeover {
            1_usize.checked_shl(u32::from(bits)).unwrap_or_default()
        } else {
            0
        };
        Self {
            bytes: Vec::new(),
            size,
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends a message; what no longer fits goes at the front.
    pub(super) fn push(&mut self, message: &[u8]) {
        let message = message
            .len()
            .checked_sub(self.size)
            .and_then(|surplus| message.get(surplus..))
            .unwrap_or(message);
        let kept = self.size.saturating_sub(message.len());
        let surplus = self.bytes.len().saturating_sub(kept);
        self.bytes.drain(..surplus);
        let length = self.bytes.len().saturating_add(message.len());
        if length > self.bytes.capacity() {
            // It grows by what has come, and never past its size.
            let wanted = length.max(self.bytes.capacity().saturating_mul(2));
            let wanted = wanted.min(self.size);
            self.bytes
                .reserve_exact(wanted.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(message);
    }
}

/// Its bytes are payloads, which are not for logs.
impl std::fmt::Debug for Window {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Window")
            .field("held", &self.bytes.len())
            .field("size", &self.size)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_the_last_bytes(messages: Vec<Vec<u8>>, bits in 0..9_u8) {
            let mut window = Window::new(true, bits);
            let mut all = Vec::new();
            for message in &messages {
                window.push(message);
                all.extend_from_slice(message);
                let from = all.len().saturating_sub(1 << bits);
                prop_assert_eq!(window.as_slice(), &all[from..]);
                prop_assert!(window.bytes.capacity() <= (1 << bits));
            }
        }
    }

    #[test]
    fn it_asks_for_no_more_than_comes() {
        let mut window = Window::new(true, 15);
        window.push(&[b'x'; 100]);
        window.push(b"");
        assert_eq!(window.bytes.capacity(), 100);
        assert_eq!(format!("{window:?}"), "Window { held: 100, size: 32768 }");
    }

    #[test]
    fn without_takeover_it_holds_nothing() {
        let mut window = Window::new(false, 15);
        window.push(b"message");
        assert_eq!(window.as_slice(), b"");
        assert_eq!(window.bytes.capacity(), 0);
    }
}

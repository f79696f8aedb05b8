//! A key of the user's, reduced to what can be compared under a lock without running code of the user's.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// 128 bits of a hash whose secret only this broadcaster knows: two keys that differ do not meet in it by chance, nor by
/// a peer's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64, u64);

impl Fingerprint {
    /// Runs the key's `Hash`: not to be called under a lock.
    pub(crate) fn new(key: &impl Hash, secret: &RandomState) -> Self {
        let mut first = secret.build_hasher();
        key.hash(&mut first);
        let mut second = first.clone();
        first.write_u8(1);
        second.write_u8(2);
        Self(first.finish(), second.finish())
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Passes on the hash that a [`Fingerprint`] or a topic's name brings.
#[derive(Default)]
pub(crate) struct Prehashed(u64);

impl Hasher for Prehashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not reached: both write their hash only. Any answer that depends on the bytes would be right.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_takes_the_hash_that_it_is_given() {
        let key = Fingerprint(0x1234, 0x5678);
        let mut hasher = Prehashed::default();
        key.hash(&mut hasher);
        assert_eq!(hasher.finish(), 0x1234);
        // All that was written counts.
        let hash = |bytes: &[u8]| {
            let mut hasher = Prehashed::default();
            hasher.write(bytes);
            hasher.finish()
        };
        assert_eq!(hash(&[1, 2]), 0x102);
        assert_eq!(hash(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), 0x0203_0405_0607_0808);
    }

    #[test]
    fn a_fingerprint_is_the_keys_and_the_secrets() {
        let (one, other) = (RandomState::new(), RandomState::new());
        assert_eq!(Fingerprint::new(&"a", &one), Fingerprint::new(&"a", &one));
        assert_ne!(Fingerprint::new(&"a", &one), Fingerprint::new(&"b", &one));
        assert_ne!(Fingerprint::new(&"a", &one), Fingerprint::new(&"a", &other));
        let Fingerprint(first, second) = Fingerprint::new(&"a", &one);
        assert_ne!(first, second, "two halves, not one twice");
    }
}

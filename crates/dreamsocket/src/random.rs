//! Where random numbers come from: connections' own numbers, a client's masking keys, the key of its handshake, and the
//! jitter of reconnecting.
//!
//! Apart, and all of them here, so that one place says which generator serves what, and a simulated world can put a seeded
//! one there (feature `simulation`).

use std::hash::{BuildHasher, Hasher, RandomState};

#[cfg(feature = "client")]
use dreamsocket_protocol::MaskKey;

/// What tells a connection from others: 64 bits of the standard library's randomness.
pub(crate) fn connection_number() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(seeded) = crate::simulation::draw() {
        return seeded;
    }
    RandomState::new().build_hasher().finish()
}

/// A fresh key from a generator that nobody can guess (RFC 6455 §5.3, §10.3): the thread's, which is cryptographic and
/// seeded by the system. Only clients are asked for keys.
#[cfg(feature = "client")]
pub(crate) fn mask_key() -> MaskKey {
    #[cfg(feature = "simulation")]
    if let Some([a, b, c, d, ..]) = crate::simulation::draw().map(u64::to_be_bytes) {
        return [a, b, c, d];
    }
    rand::random()
}

/// Without the feature `client` there is no client, and servers mask nothing.
#[cfg(not(feature = "client"))]
pub(crate) fn mask_key() -> dreamsocket_protocol::MaskKey {
    [0; 4]
}

/// The nonce of a client's handshake (RFC 6455 §4.1), from the same generator.
#[cfg(feature = "client")]
pub(crate) fn handshake_key() -> [u8; 16] {
    #[cfg(feature = "simulation")]
    if let Some(seeded) = crate::simulation::draw() {
        return u128::from(seeded).to_be_bytes();
    }
    rand::random()
}

/// From 0 up to 1.
#[cfg(feature = "client")]
pub(crate) fn fraction() -> f64 {
    #[cfg(feature = "simulation")]
    if let Some(seeded) =
        crate::simulation::draw().and_then(|seeded| u32::try_from(seeded >> 32).ok())
    {
        return f64::from(seeded) / (f64::from(u32::MAX) + 1.0);
    }
    rand::random()
}

#[cfg(all(test, feature = "client"))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_differ_and_use_all_their_bits() {
        let keys: HashSet<MaskKey> = (0..1_000).map(|_| mask_key()).collect();
        // Two of a thousand are the same once in 8,600 runs; three once in billions.
        assert!(keys.len() >= 998);
        let seen = keys
            .iter()
            .fold(0, |seen, key| seen | u32::from_be_bytes(*key));
        assert_eq!(seen, u32::MAX);
    }
}

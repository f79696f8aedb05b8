//! Where a client's masking keys come from. Apart, since it is the one place that draws random numbers for the wire.

use dreamsocket_protocol::MaskKey;

/// A fresh key from a generator that nobody can guess (RFC 6455 §5.3, §10.3): the thread's, which is cryptographic and
/// seeded by the system. Only clients are asked for keys.
#[cfg(feature = "client")]
pub(crate) fn mask_key() -> MaskKey {
    rand::random()
}

/// Without the feature `client` there is no client, and servers mask nothing.
#[cfg(not(feature = "client"))]
pub(crate) fn mask_key() -> MaskKey {
    [0; 4]
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

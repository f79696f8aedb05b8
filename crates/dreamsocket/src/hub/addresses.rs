//! How much one address has: TCP connections, WebSockets, and handshakes in a time. Plain data under the hub's lock; without
//! a bound that asks for it, nothing is kept.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::rate::Rate;

/// From how many addresses on those that hold nothing are forgotten.
const MANY: usize = 1024;

/// Who is counted together: an IPv4 address, or an IPv6 network of 64 bits, which one host usually has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(network))
            }
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Addresses {
    entries: HashMap<Address, Entry>,
    /// At how many entries those that hold nothing are forgotten next.
    prune_at: usize,
}

#[derive(Debug, Default)]
struct Entry {
    sockets: usize,
    connections: usize,
    handshakes: Option<Bucket>,
}

/// What an address has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMuch {
    #[error(
        "this address has as many TCP connections as it may (`Config::max_sockets_per_address`)"
    )]
    Sockets,
    #[error(
        "this address has as many WebSockets as it may (`Config::max_connections_per_address`)"
    )]
    Connections,
    #[error("this address opens WebSockets too often (`Config::handshakes_per_address`)")]
    Handshakes,
}

impl Addresses {
    /// Counts one more TCP connection, of so many at most.
    pub(super) fn open_socket(&mut self, limit: usize, address: Address) -> Result<(), TooMuch> {
        let entry = self.entry(address);
        if entry.sockets >= limit {
            return Err(TooMuch::Sockets);
        }
        entry.sockets += 1;
        Ok(())
    }

    /// Counts one more handshake, whatever becomes of it, of so many at most.
    pub(super) fn take_handshake(&mut self, rate: Rate, address: Address) -> Result<(), TooMuch> {
        let entry = self.entry(address);
        let bucket = entry.handshakes.get_or_insert_with(|| Bucket::new(rate));
        if bucket.try_take() {
            Ok(())
        } else {
            Err(TooMuch::Handshakes)
        }
    }

    /// Counts one more WebSocket, of so many at most.
    pub(super) fn open_connection(
        &mut self,
        limit: usize,
        address: Address,
    ) -> Result<(), TooMuch> {
        let entry = self.entry(address);
        if entry.connections >= limit {
            return Err(TooMuch::Connections);
        }
        entry.connections += 1;
        Ok(())
    }

    pub(super) fn close_socket(&mut self, address: Address) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.sockets = entry.sockets.saturating_sub(1);
        }
        self.forget(address);
    }

    pub(super) fn close_connection(&mut self, address: Address) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.connections = entry.connections.saturating_sub(1);
        }
        self.forget(address);
    }

    fn entry(&mut self, address: Address) -> &mut Entry {
        if self.entries.len() >= self.prune_at.max(MANY) {
            let now = Instant::now();
            self.entries.retain(|_, entry| !entry.is_empty(now));
            self.prune_at = self.entries.len().saturating_mul(2);
        }
        self.entries.entry(address).or_default()
    }

    /// An address that holds nothing and has earned all its handshakes is as one never seen.
    fn forget(&mut self, address: Address) {
        let now = Instant::now();
        if self
            .entries
            .get_mut(&address)
            .is_some_and(|entry| entry.is_empty(now))
        {
            self.entries.remove(&address);
        }
    }
}

impl Entry {
    fn is_empty(&mut self, now: Instant) -> bool {
        self.sockets == 0
            && self.connections == 0
            && self
                .handshakes
                .as_mut()
                .is_none_or(|bucket| bucket.is_full(now))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> Address {
        Address::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn networks_of_64_bits_count_together_and_mapped_addresses_are_ipv4() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn each_address_has_its_own_bounds_and_gives_back_what_it_had() {
        let mut addresses = Addresses::default();
        let (one, two) = (address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(addresses.open_socket(2, one), Ok(()));
        assert_eq!(addresses.open_socket(2, one), Ok(()));
        assert_eq!(addresses.open_socket(2, one), Err(TooMuch::Sockets));
        assert_eq!(addresses.open_socket(2, two), Ok(()));
        assert_eq!(addresses.open_connection(1, one), Ok(()));
        let refused = addresses.open_connection(1, one);
        assert_eq!(refused, Err(TooMuch::Connections));
        addresses.close_connection(one);
        assert_eq!(addresses.open_connection(1, one), Ok(()));
        addresses.close_connection(one);
        for address in [one, one, two] {
            addresses.close_socket(address);
        }
        assert!(addresses.entries.is_empty(), "nothing is kept for nobody");
    }

    #[tokio::test(start_paused = true)]
    async fn handshakes_are_earned_and_remembered_until_then() {
        let rate = Rate::per_second(NonZeroU32::MIN).with_burst(NonZeroU32::new(3).unwrap());
        let mut addresses = Addresses::default();
        let one = address("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(addresses.take_handshake(rate, one), Ok(()));
            assert_eq!(addresses.open_connection(1, one), Ok(()));
            addresses.close_connection(one);
        }
        let refused = addresses.take_handshake(rate, one);
        assert_eq!(refused, Err(TooMuch::Handshakes));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(addresses.take_handshake(rate, one), Ok(()));
        assert_eq!(addresses.open_connection(1, one), Ok(()));
        tokio::time::advance(Duration::from_secs(3)).await;
        addresses.close_connection(one);
        assert!(addresses.entries.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_come_once_are_forgotten() {
        let rate = Rate::per_second(NonZeroU32::MIN);
        let mut addresses = Addresses::default();
        for number in 0..100_000_u32 {
            let address = Address::from(IpAddr::from(number.to_be_bytes()));
            assert_eq!(addresses.take_handshake(rate, address), Ok(()));
            if number % 100 == 0 {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
        assert!(
            addresses.entries.len() <= 2 * MANY,
            "{}",
            addresses.entries.len()
        );
    }
}

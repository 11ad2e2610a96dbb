//! How many connections one peer has: those of one must not take the place of all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections by peer; as many entries as there are connections at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    peers: Peers,
    peer: IpAddr,
}

/// Whom an address belongs to, as far as an address tells: an IPv4 address to one peer, an IPv6 address to its /64. A host
/// gives itself as many addresses of its /64 as it likes (RFC 4291 section 2.5.1, RFC 8981).
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address @ IpAddr::V4(_) => address,
    }
}

impl Peers {
    /// A place, unless the peer has `most` already.
    pub(super) fn enter(&self, address: IpAddr, most: usize) -> Option<Place> {
        let peer = peer(address);
        let mut counts = self.lock();
        let count = counts.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.lock();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_given_back() {
        let peers = Peers::default();
        let enter = |address: &str| peers.enter(address.parse().unwrap(), 2);
        let first = enter("10.0.0.1").unwrap();
        let second = enter("::ffff:10.0.0.1").unwrap();
        assert!(enter("10.0.0.1").is_none());
        let other = enter("10.0.0.2").unwrap();
        drop(first);
        let third = enter("10.0.0.1").unwrap();
        drop((second, third, other));
        assert!(peers.lock().is_empty());
    }

    #[test]
    fn one_peer_of_many_addresses_is_one() {
        let check = |a: &str, b: &str, same: bool| {
            let [a, b] = [a, b].map(|address| peer(address.parse().unwrap()));
            assert_eq!(a == b, same, "{a} {b}");
        };
        check("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true);
        check("2001:db8:0:1::1", "2001:db8:0:2::1", false);
        check("fe80::1", "fe80::2", true);
        check("10.0.0.1", "::ffff:10.0.0.1", true);
        check("::ffff:10.0.0.1", "::ffff:10.0.0.2", false);
        check("::ffff:10.0.0.1", "::1", false);
    }
}

//! What makes two packets the same flow.

use std::net::{IpAddr, SocketAddr};

use crate::event::raw::Tuple;

/// A flow in either direction: two ends and a protocol, and the network namespace where the addresses mean something
/// in one namespace only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    scope: u32,
    protocol: u8,
    low: SocketAddr,
    high: SocketAddr,
}

impl FlowKey {
    /// The flow between two ends.
    pub fn new(netns: Option<u32>, protocol: u8, one: SocketAddr, other: SocketAddr) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self { scope: scope(netns, low.ip(), high.ip()), protocol, low, high }
    }

    /// The flow of a packet; `None` without ports.
    pub fn of(netns: Option<u32>, tuple: &Tuple) -> Option<Self> {
        let source = SocketAddr::new(tuple.source, tuple.source_port?);
        let destination = SocketAddr::new(tuple.destination, tuple.destination_port?);
        Some(Self::new(netns, tuple.protocol, source, destination))
    }
}

/// The namespace as part of a key: 0 unless an address is one that every namespace has. A flow is met in several
/// namespaces on its way (a pod's and the node's), so otherwise it must not be part of the key.
pub fn scope(netns: Option<u32>, one: IpAddr, other: IpAddr) -> u32 {
    let local = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    if local(one) || local(other) { netns.unwrap_or_default() } else { 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn key(netns: u32, one: &str, other: &str) -> FlowKey {
        FlowKey::new(Some(netns), 17, one.parse().unwrap(), other.parse().unwrap())
    }

    #[test]
    fn both_directions_are_one_flow() {
        assert_eq!(key(1, "10.0.0.1:40", "10.0.0.2:53"), key(1, "10.0.0.2:53", "10.0.0.1:40"));
        assert_ne!(key(1, "10.0.0.1:40", "10.0.0.2:53"), key(1, "10.0.0.1:53", "10.0.0.2:40"));
    }

    #[test]
    fn the_namespace_counts_for_addresses_that_every_namespace_has() {
        assert_eq!(key(1, "10.0.0.1:40", "10.0.0.2:53"), key(2, "10.0.0.1:40", "10.0.0.2:53"));
        assert_ne!(key(1, "127.0.0.1:40", "127.0.0.53:53"), key(2, "127.0.0.1:40", "127.0.0.53:53"));
        assert_ne!(key(1, "[fe80::1]:40", "[fe80::2]:53"), key(2, "[fe80::1]:40", "[fe80::2]:53"));
    }
}

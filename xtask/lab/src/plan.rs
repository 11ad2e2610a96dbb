//! Which addresses a lab uses: a pure function of its slot.
//!
//! Every lab has ranges of its own although its namespaces are isolated: the kernel's tracepoints are not per
//! namespace, so a daemon in one lab sees the packets of all of them, and equal addresses would mix their names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many labs can exist on one machine at the same time: 10.64.0.0/16 to 10.191.0.0/16.
pub const SLOTS: u8 = 128;

/// First second octet of the labs' IPv4 ranges.
const FIRST: u8 = 64;

/// The address ranges of one slot.
///
/// | what | IPv4 | IPv6 |
/// |---|---|---|
/// | pods of the node | `10.S.0.0/24` | `fd00:S::/64` |
/// | uplink (node `.2`, router `.1`) | `10.S.254.0/24` | `fd00:S:0:fe::/64` |
/// | the "internet" beyond the router | `10.S.253.0/24` | `fd00:S:0:fd::/64` |
/// | cluster services | `10.S.255.0/24` | `fd00:S:0:ff::/112` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPlan {
    slot: u8,
}

impl AddressPlan {
    /// The plan of a slot.
    ///
    /// # Panics
    /// If the slot is not below [`SLOTS`].
    pub const fn new(slot: u8) -> Self {
        assert!(slot < SLOTS, "there are only SLOTS slots");
        Self { slot }
    }

    /// The slot.
    pub const fn slot(self) -> u8 {
        self.slot
    }

    const fn v4(self, subnet: u8, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, FIRST + self.slot, subnet, host)
    }

    const fn v6(self, subnet: u16, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, (FIRST + self.slot) as u16, 0, subnet, 0, 0, 0, host)
    }

    /// Address of the bridge, the pods' gateway in [`Layout::Bridge`](crate::Layout::Bridge).
    pub const fn gateway(self) -> (Ipv4Addr, Ipv6Addr) {
        (self.v4(0, 1), self.v6(0, 1))
    }

    /// Address of the pod with this number; the first pod is 2.
    pub const fn pod(self, number: u8) -> (Ipv4Addr, Ipv6Addr) {
        (self.v4(0, number), self.v6(0, number as u16))
    }

    /// The node's own address, on its uplink.
    pub const fn node(self) -> (Ipv4Addr, Ipv6Addr) {
        (self.v4(254, 2), self.v6(0xfe, 2))
    }

    /// The router at the other end of the uplink.
    pub const fn router(self) -> (Ipv4Addr, Ipv6Addr) {
        (self.v4(254, 1), self.v6(0xfe, 1))
    }

    /// A host in the "internet", behind the router.
    pub const fn internet(self) -> (Ipv4Addr, Ipv6Addr) {
        (self.v4(253, 1), self.v6(0xfd, 1))
    }

    /// A host in the "internet" that does not exist.
    pub const fn beyond(self) -> (Ipv4Addr, Ipv6Addr) {
        (self.v4(253, 9), self.v6(0xfd, 9))
    }

    /// An address in the pod range that never belongs to a pod (numbers of pods end at 239).
    pub const fn no_such_pod(self) -> (Ipv4Addr, Ipv6Addr) {
        (self.v4(0, 250), self.v6(0, 250))
    }

    /// Cluster address of the service with this number; 10 is the DNS service's by convention.
    pub const fn service(self, number: u8) -> (Ipv4Addr, Ipv6Addr) {
        (self.v4(255, number), self.v6(0xff, number as u16))
    }

    /// The pod range in CIDR notation.
    pub fn pod_cidrs(self) -> (String, String) {
        (format!("{}/24", self.v4(0, 0)), format!("{}/64", self.v6(0, 0)))
    }

    /// The range of cluster services in CIDR notation.
    pub fn service_cidrs(self) -> (String, String) {
        (format!("{}/24", self.v4(255, 0)), format!("{}/112", self.v6(0xff, 0)))
    }

    /// Whether an address belongs to this lab.
    pub fn contains(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.octets()[..2] == [10, FIRST + self.slot],
            IpAddr::V6(v6) => v6.segments()[..2] == [0xfd00, u16::from(FIRST + self.slot)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_overlap() {
        for a in 0..SLOTS {
            let plan = AddressPlan::new(a);
            let (v4, v6) = plan.pod(7);
            for b in 0..SLOTS {
                let other = AddressPlan::new(b);
                assert_eq!(other.contains(v4.into()), a == b, "{a} {b}");
                assert_eq!(other.contains(v6.into()), a == b, "{a} {b}");
            }
        }
    }

    #[test]
    fn ranges_read_as_documented() {
        let plan = AddressPlan::new(0);
        assert_eq!(plan.pod_cidrs(), ("10.64.0.0/24".into(), "fd00:40::/64".into()));
        assert_eq!(plan.service_cidrs(), ("10.64.255.0/24".into(), "fd00:40:0:ff::/112".into()));
        assert_eq!(plan.service(10).0.to_string(), "10.64.255.10");
        assert_eq!(plan.internet().1.to_string(), "fd00:40:0:fd::1");
    }
}

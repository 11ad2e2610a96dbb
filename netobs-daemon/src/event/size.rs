//! Whether a dropped packet was too big for an interface.

use super::raw::RawDrop;

impl RawDrop {
    /// Bytes that have to fit: of the IP packet, or of one segment where the packet was still to be segmented. `None` when
    /// the headers do not say.
    pub fn segment_length(&self) -> Option<u32> {
        let size = self.size?;
        Some(match self.gso_size {
            // The GSO size is what a segment carries after its headers (`skb_gso_network_seglen`, net/core/gso.c). The last
            // one may carry less, and a packet of one such segment is not longer than itself.
            Some(segment) => (u32::from(segment) + size.headers).min(size.packet),
            None => size.packet,
        })
    }

    /// The smallest MTU that it does not fit: of its interface, of the one its route leaves by, or of the other end of a
    /// veth pair (`is_skb_forwardable`, include/linux/netdevice.h, compares with the receiver's).
    pub fn exceeded_mtu(&self) -> Option<u32> {
        let length = self.segment_length()?;
        [self.mtu, self.out_mtu, self.peer_mtu].into_iter().flatten().filter(|mtu| length > *mtu).min()
    }

    /// Whether it does not fit the interface that its route leaves by.
    pub fn exceeds_route(&self) -> bool {
        self.exceeds(self.out_mtu)
    }

    /// Whether it is certain that it does not fit.
    pub fn exceeds(&self, mtu: Option<u32>) -> bool {
        self.segment_length().zip(mtu).is_some_and(|(length, mtu)| length > mtu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::raw::{Context, Size};

    /// (packet, GSO size), (MTU, of the route, of the peer) and the MTU that it does not fit.
    fn check((packet, gso_size): (u32, Option<u16>), mtus: [Option<u32>; 3], expected: Option<u32>) {
        let [mtu, out_mtu, peer_mtu] = mtus;
        let context = Context { boot_ns: 0, packet: 0, digest: None, cgroup: None, netns: None, ifindex: None, cpu: 0 };
        let drop = RawDrop {
            context,
            location: 0,
            reason: 2,
            length: packet,
            mtu,
            out_ifindex: None,
            out_mtu,
            peer_mtu,
            gso_size,
            size: (packet > 0).then_some(Size { packet, headers: 52 }),
            fragment: None,
            hop_limit: None,
            ethertype: 0x0800,
            socket_family: None,
            device: None,
            tuple: None,
            tcp_flags: None,
            conntrack: None,
            points: Vec::new(),
        };
        assert_eq!(drop.exceeded_mtu(), expected, "{drop:?}");
    }

    #[test]
    fn the_smallest_that_it_does_not_fit() {
        check((1500, None), [Some(1500), None, None], None);
        check((1501, None), [Some(1500), None, None], Some(1500));
        check((1501, None), [Some(1500), Some(1400), Some(9000)], Some(1400));
        check((1450, None), [Some(1500), Some(1400), None], Some(1400));
        check((1450, None), [None, None, Some(1400)], Some(1400));
        check((9000, None), [None, None, None], None);
        check((0, None), [Some(1), Some(1), Some(1)], None);
    }

    #[test]
    fn of_what_is_still_to_be_segmented_a_segment() {
        check((60_000, Some(1448)), [Some(1500), None, None], None);
        check((60_000, Some(1449)), [Some(1500), None, None], Some(1500));
        // One segment, shorter than the GSO size says.
        check((1000, Some(1448)), [Some(1400), None, None], None);
        check((60_000, Some(u16::MAX)), [Some(1500), None, None], Some(1500));
    }
}

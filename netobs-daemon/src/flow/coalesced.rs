//! Bursts that the kernel programs counted instead of recording, as events.

use netobs_common::counters::family;
use netobs_common::record::{BucketKey, kind, left_out};

use super::reasons::DropReasons;
use crate::event::decode::address;
use crate::event::headers::protocol::has_ports;
use crate::event::joined::{Coalesced, Half, Joined, JoinedKind, StandsFor};
use crate::event::raw::{Side, SizeError, Tuple};

/// What a bucket has counted since it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What the packets have in common.
    pub key: BucketKey,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last one came, `CLOCK_BOOTTIME` nanoseconds.
    pub last_ns: u64,
}

/// Whether what was counted is told by other sums: ICMP errors that this node made are about drops, which are counted
/// themselves, under the reason that says what they are. On a kernel that lacks the reason, the errors are what tells it.
pub fn is_told_by_drops(key: &BucketKey, reasons: &DropReasons) -> bool {
    let has_reason = match size_error(key) {
        Some(SizeError::FragmentationNeeded | SizeError::PacketTooBig) => reasons.too_big.is_some(),
        Some(SizeError::ReassemblyTimeExceeded) => !reasons.reassembly.is_empty(),
        None => false,
    };
    key.kind == kind::MTU && key.response != 0 && has_reason
}

/// The event for what a bucket has counted since it was last read. `None` for a key whose kind is unknown.
pub fn joined(counted: &Counted) -> Option<Joined> {
    let Counted { key, bytes, .. } = *counted;
    let (family, coalesced) = match key.kind {
        kind::DROP => {
            let BucketKey { reason, location, segment, .. } = key;
            (family::DROP, Coalesced::Drops { reason, location: location.into(), segment, bytes })
        }
        kind::DNS => (family::DNS, Coalesced::Dns { response: key.response != 0, bytes }),
        kind::MTU => (family::MTU, Coalesced::Icmp { error: size_error(&key), bytes }),
        kind::RESET => (family::RESET, Coalesced::Resets { refused: key.response != 0, alone: false, bytes }),
        kind::SOCKET => (family::SOCKET, Coalesced::Resets { refused: key.response != 0, alone: true, bytes }),
        _ => return None,
    };
    // Other buckets are one for all ports.
    let port = (key.kind == kind::DROP && has_ports(key.protocol) && key.left_out & left_out::PORT == 0)
        .then_some(u16::from_be_bytes(key.destination_port))
        .filter(|port| *port != 0);
    // What is left out is unknown. Else 0.0.0.0 is an address like others: a client of DHCP has it.
    let end = |bytes, bit| address(bytes, key.ip_version).filter(|_| key.left_out & bit == 0);
    let (protocol, source_port) = (key.protocol, None);
    let (tuple, half) = match (end(key.source, left_out::SOURCE), end(key.destination, left_out::DESTINATION)) {
        (Some(source), Some(destination)) => {
            (Some(Tuple { protocol, source, destination, source_port, destination_port: port }), None)
        }
        (Some(ip), None) => (None, Some(Half { side: Side::Source, ip, port: None, protocol })),
        (None, Some(ip)) => (None, Some(Half { side: Side::Destination, ip, port, protocol })),
        (None, None) => (None, None),
    };
    Some(Joined {
        count: counted.count,
        netns: (key.netns != 0).then_some(key.netns),
        ifindex: (key.ifindex != 0).then_some(key.ifindex),
        tuple,
        half,
        ..Joined::new(StandsFor::Summary(family), counted.last_ns, JoinedKind::Coalesced(coalesced))
    })
}

/// What an ICMP error says, from its type and code: RFC 792; RFC 4443 sections 3.2, whose code is to be ignored, and 3.3.
fn size_error(key: &BucketKey) -> Option<SizeError> {
    match (key.ip_version, key.reason >> 8, key.reason & 0xff) {
        (4, 3, 4) => Some(SizeError::FragmentationNeeded),
        (6, 2, _) => Some(SizeError::PacketTooBig),
        (4, 11, 1) | (6, 3, 1) => Some(SizeError::ReassemblyTimeExceeded),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "10.0.0.1";
    const OTHER: &str = "10.0.0.2";

    fn bytes(ip: &str) -> ([u8; 16], u8) {
        let mut bytes = [0; 16];
        match ip.parse().unwrap() {
            std::net::IpAddr::V4(ip) => {
                bytes[..4].copy_from_slice(&ip.octets());
                (bytes, 4)
            }
            std::net::IpAddr::V6(ip) => (ip.octets(), 6),
        }
    }

    fn counted(kind: u8, (source, destination): (&str, &str), port: u16) -> Counted {
        let ((source, ip_version), (destination, _)) = (bytes(source), bytes(destination));
        let (destination_port, protocol) = (port.to_be_bytes(), 6);
        let of = |bytes, bit| if bytes == [0; 16] { bit } else { 0 };
        let left_out = of(source, left_out::SOURCE) | of(destination, left_out::DESTINATION);
        let key = BucketKey {
            source,
            destination,
            destination_port,
            kind,
            ip_version,
            protocol,
            left_out,
            ..Default::default()
        };
        Counted { key, count: 7, bytes: 0, last_ns: 1 }
    }

    const FAMILIES: [u8; 5] = [kind::DROP, kind::DNS, kind::MTU, kind::RESET, kind::SOCKET];

    #[test]
    fn an_end_without_address_is_unknown_in_a_bucket_for_many() {
        for kind in FAMILIES {
            for (any, one, other) in [("0.0.0.0", ONE, OTHER), ("::", "fd00::1", "fd00::2")] {
                let joined = joined(&counted(kind, (any, other), 0)).unwrap();
                assert_eq!((joined.tuple, joined.source(), joined.destination()), (None, None, other.parse().ok()));
                assert_eq!((joined.protocol(), joined.count), (Some(6), 7));
                let joined = super::joined(&counted(kind, (one, any), 0)).unwrap();
                assert_eq!((joined.tuple, joined.source(), joined.destination()), (None, one.parse().ok(), None));
                let joined = super::joined(&counted(kind, (any, any), 0)).unwrap();
                assert_eq!((joined.tuple, joined.half), (None, None));
                let joined = super::joined(&counted(kind, (one, other), 0)).unwrap();
                assert_eq!((joined.half, joined.destination()), (None, other.parse().ok()));
            }
        }
        let of_drops = joined(&counted(kind::DROP, ("0.0.0.0", OTHER), 80)).unwrap();
        assert_eq!(of_drops.half.unwrap().port, Some(80));
    }

    #[test]
    fn a_client_without_address_is_one_in_a_bucket_of_its_own() {
        for (source, destination) in [("0.0.0.0", "255.255.255.255"), ("::", "ff02::2")] {
            let mut own = counted(kind::DROP, (source, destination), 67);
            own.key.left_out = 0;
            let joined = joined(&own).unwrap();
            assert_eq!((joined.half, joined.source(), joined.protocol()), (None, source.parse().ok(), Some(6)));
        }
    }

    proptest! {
        /// Whatever a bucket for many has as its key, no event names an address that is none.
        #[test]
        fn no_address_is_made_up(
            source in any::<[u8; 16]>(), destination in any::<[u8; 16]>(), zero in 0u8..4, version in 0u8..8,
            kind in 0u8..8, response in 0u8..2, port in any::<[u8; 2]>(), protocol in any::<u8>(),
        ) {
            let blank = |bytes, bit| if zero & bit == 0 { bytes } else { [0; 16] };
            let key = BucketKey {
                source: blank(source, 1), destination: blank(destination, 2), ip_version: version, kind, response,
                destination_port: port, protocol, left_out: zero, ..Default::default()
            };
            let counted = Counted { key, count: 3, bytes: 9, last_ns: 1 };
            if let Some(joined) = joined(&counted) {
                let ends = [joined.source(), joined.destination()];
                prop_assert!(zero & 1 == 0 || ends[0].is_none(), "{joined:?}");
                prop_assert!(zero & 2 == 0 || ends[1].is_none(), "{joined:?}");
                prop_assert_eq!(joined.count, 3);
                prop_assert!(joined.tuple.is_none() || joined.half.is_none());
            }
        }
    }
}

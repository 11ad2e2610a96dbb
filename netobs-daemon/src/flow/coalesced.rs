//! Bursts that the kernel programs counted instead of recording, as events.

use netobs_common::counters::family;
use netobs_common::record::{BucketKey, kind};

use crate::event::decode::address;
use crate::event::headers::protocol::has_ports;
use crate::event::joined::{Coalesced, Joined, JoinedKind, StandsFor};
use crate::event::raw::{SizeError, Tuple};

/// The event for what a bucket has counted since it was last read. `None` for a key whose kind is unknown, and for ICMP errors
/// that this node made: the drops that they are about are counted, and told, themselves.
pub fn joined(key: &BucketKey, count: u64, bytes: u64, last_ns: u64) -> Option<Joined> {
    let (family, coalesced) = match key.kind {
        kind::DROP => (family::DROP, Coalesced::Drops { reason: key.reason, bytes }),
        kind::DNS => (family::DNS, Coalesced::Dns { response: key.response != 0, bytes }),
        kind::MTU if key.response == 0 => (family::MTU, Coalesced::Icmp { error: size_error(key), bytes }),
        kind::RESET => (family::RESET, Coalesced::Resets { refused: key.response != 0, alone: false, bytes }),
        kind::SOCKET => (family::SOCKET, Coalesced::Resets { refused: key.response != 0, alone: true, bytes }),
        _ => return None,
    };
    // Other buckets are one for all ports.
    let port = (key.kind == kind::DROP && has_ports(key.protocol))
        .then_some(u16::from_be_bytes(key.destination_port))
        .filter(|port| *port != 0);
    let ends = address(key.source, key.ip_version).zip(address(key.destination, key.ip_version));
    let tuple = ends.map(|(source, destination)| Tuple {
        protocol: key.protocol,
        source,
        destination,
        source_port: None,
        destination_port: port,
    });
    Some(Joined {
        stands_for: StandsFor::Summary(family),
        reference: 0,
        evidence: Vec::new(),
        boot_ns: last_ns,
        count,
        context: None,
        netns: (key.netns != 0).then_some(key.netns),
        ifindex: (key.ifindex != 0).then_some(key.ifindex),
        tuple,
        nat: None,
        points: Vec::new(),
        kind: JoinedKind::Coalesced(coalesced),
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

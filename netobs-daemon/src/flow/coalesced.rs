//! Bursts that the kernel programs counted instead of recording, as events.

use netobs_common::record::{BucketKey, kind};

use crate::event::decode::address;
use crate::event::headers::protocol::has_ports;
use crate::event::joined::{Coalesced, Joined, JoinedKind};
use crate::event::raw::Tuple;

/// The event for what a bucket has counted since it was last read. `None` for a key whose kind is unknown.
pub fn joined(key: &BucketKey, count: u64, bytes: u64, last_ns: u64) -> Option<Joined> {
    let coalesced = match key.kind {
        kind::DROP => Coalesced::Drops { reason: key.reason, bytes },
        kind::DNS => Coalesced::Dns { response: key.response != 0, bytes },
        _ => return None,
    };
    // A bucket of DNS messages is one for all ports.
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

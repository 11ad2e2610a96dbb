//! What users read of a packet that was too big, or whose fragments did not all come.

use super::claims::{Evidence, endpoint};
use super::ends::pod_behind;
use super::{IpOwner, Sources};
use crate::event::joined::{Joined, SizeFailure};
use crate::event::observation::{Endpoint, IcmpPath, MtuCause, MtuDetail};
use crate::event::raw::{RawDrop, RawIcmp, SizeError};

/// The reason of a drop that forwarding made, which is about the interface that the packet's route leaves by.
pub const FORWARDING: &str = "PKT_TOO_BIG";

/// What is told of it.
pub fn detail(failure: &SizeFailure, joined: &Joined, sources: &Sources<'_>) -> MtuDetail {
    let SizeFailure { cause, icmp, drop } = failure;
    let (icmp, drop) = (icmp.as_deref(), drop.as_deref());
    let reassembly = *cause == MtuCause::ReassemblyFailed;
    let quoted = icmp.and_then(|icmp| icmp.quoted);
    let fragment = drop.and_then(|drop| drop.fragment).or(quoted.and_then(|quoted| quoted.fragment));
    let length = drop.and_then(RawDrop::segment_length).or(quoted.and_then(|q| q.size).map(|size| size.packet));
    MtuDetail {
        cause: *cause,
        next_hop_mtu: icmp.and_then(|icmp| icmp.next_hop_mtu).or(drop.filter(|_| !reassembly).and_then(unfit)),
        packet_length: length,
        gso_size: drop.and_then(|drop| drop.gso_size),
        icmp: icmp.map(|icmp| path(icmp, joined.boot_ns, sources)),
        reported_by_ip: icmp.map(|icmp| icmp.source),
        reported_by: icmp.map(|icmp| reporter(icmp, joined.boot_ns, sources)),
        interface: drop.filter(|_| !reassembly).and_then(|drop| interface(drop, sources)),
        fragment_id: fragment.filter(|_| reassembly).map(|fragment| fragment.identification),
    }
}

/// What is told of ICMP errors that were counted; `source` sent them.
pub fn coalesced(error: SizeError, joined: &Joined, source: Option<&Endpoint>) -> MtuDetail {
    MtuDetail {
        cause: match error {
            SizeError::FragmentationNeeded => MtuCause::FragmentationNeeded,
            SizeError::PacketTooBig => MtuCause::PacketTooBig,
            SizeError::ReassemblyTimeExceeded => MtuCause::ReassemblyFailed,
        },
        next_hop_mtu: None,
        packet_length: None,
        gso_size: None,
        icmp: None,
        reported_by_ip: joined.source(),
        reported_by: source.cloned(),
        interface: None,
        fragment_id: None,
    }
}

/// What is told of packets that forwarding dropped for their size, and that were counted. It tells their sender of each, as far
/// as the kernel's limits for ICMP errors go.
pub fn coalesced_drops(joined: &Joined) -> MtuDetail {
    let ipv6 = joined.source().or(joined.destination()).is_some_and(|ip| ip.is_ipv6());
    let error = if ipv6 { SizeError::PacketTooBig } else { SizeError::FragmentationNeeded };
    MtuDetail { reported_by_ip: None, ..coalesced(error, joined, None) }
}

/// The MTU that a dropped packet did not fit. The route's own may be smaller than that of its interface; it is not known.
fn unfit(drop: &RawDrop) -> Option<u32> {
    drop.exceeded_mtu()
}

/// Name of the interface that it did not fit.
fn interface(drop: &RawDrop, sources: &Sources<'_>) -> Option<String> {
    let forwarding = drop.exceeds_route() || sources.naming.drop_reason(drop.reason) == FORWARDING;
    match drop.out_ifindex.filter(|_| forwarding) {
        // The names of interfaces in other namespaces are not known.
        Some(index) => {
            let here = drop.context.netns == Some(sources.places.own_netns());
            sources.places.interface(index).filter(|_| here).map(|interface| interface.name.to_string())
        }
        None => drop.device.clone(),
    }
}

fn path(icmp: &RawIcmp, boot_ns: u64, sources: &Sources<'_>) -> IcmpPath {
    match sources.directory.ip_owner(icmp.destination, boot_ns) {
        _ if icmp.arrival.is_none() => IcmpPath::Sent,
        IpOwner::Node(node) if &*node == sources.node => IcmpPath::Received,
        _ => IcmpPath::Forwarded,
    }
}

/// Who sent the error: this node, where it was made here; the pod behind the interface that it came in by; else by address.
fn reporter(icmp: &RawIcmp, boot_ns: u64, sources: &Sources<'_>) -> Endpoint {
    let netns = match icmp.arrival {
        None => icmp.context.netns,
        Some(index) => pod_behind(index, sources),
    };
    let protocol = joined_protocol(icmp);
    let evidence = Evidence { netns, address: Some((icmp.source, None)), protocol, ..Evidence::default() };
    endpoint(&evidence, boot_ns, sources)
}

fn joined_protocol(icmp: &RawIcmp) -> u8 {
    use crate::event::headers::protocol::{ICMP, ICMPV6};
    if icmp.source.is_ipv4() { ICMP } else { ICMPV6 }
}

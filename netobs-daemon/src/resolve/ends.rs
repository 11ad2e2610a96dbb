//! Which evidence belongs to which end of a flow. Where it is not certain, to neither.

use std::net::IpAddr;

use netobs_common::LOOPBACK;
use netobs_common::trail::hook;

use super::claims::Evidence;
use super::{InterfaceInfo, IpOwner, Sources};
use crate::event::joined::{DnsExchange, Half, Joined, JoinedKind, Reset};
use crate::event::observation::ResetCause;
use crate::event::raw::{RawDrop, Side};

/// netfilter's `LOCAL_IN`, where a packet is for a socket of this namespace.
const INPUT: u32 = hook::NETFILTER + 1;
/// netfilter's `FORWARD`. A routed packet has no socket there; one that a bridge forwards still has its sender's.
const FORWARD: u32 = hook::NETFILTER + 2;
/// netfilter's `LOCAL_OUT`, where a packet is from a socket of this namespace.
const OUTPUT: u32 = hook::NETFILTER + 3;
/// netfilter's `POST_ROUTING`.
const POSTROUTING: u32 = hook::NETFILTER + 4;

/// Drop reasons (`include/net/dropreason-core.h`) that are given only after a receiving socket was found.
const AT_RECEIVER: &[&str] =
    &["SOCKET_FILTER", "SOCKET_RCVBUFF", "SOCKET_BACKLOG", "PROTO_MEM", "UDP_CSUM", "BPF_CGROUP_INGRESS"];
/// Drop reasons that are given only on the way out.
const AT_SENDER: &[&str] = &[
    "BPF_CGROUP_EGRESS",
    "IP_OUTNOROUTES",
    "NEIGH_CREATEFAIL",
    "NEIGH_FAILED",
    "NEIGH_QUEUEFULL",
    "QDISC_DROP",
    "TC_EGRESS",
];

/// Evidence for both ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Of the sender; of a DNS exchange, of the client.
    pub source: Evidence,
    /// Of the receiver; of a DNS exchange, of the server.
    pub destination: Evidence,
}

/// Collects the evidence. `reason` is the name of a drop's reason.
pub fn ends(joined: &Joined, reason: Option<&str>, sources: &Sources<'_>) -> Ends {
    let mut ends = addresses(joined);
    match &joined.kind {
        JoinedKind::Drop(drop) => {
            dropped(drop, joined, reason.unwrap_or_default(), &mut ends, sources);
        }
        JoinedKind::Dns(exchange) => dns(exchange, joined, &mut ends, sources),
        JoinedKind::Mtu(failure) => {
            if let Some(drop) = &failure.drop {
                dropped(drop, joined, reason.unwrap_or_default(), &mut ends, sources);
            }
            // The error goes to who sent the packet.
            if let Some(icmp) = failure.icmp.as_ref().filter(|icmp| icmp.egress) {
                at_interface(&mut ends.source, icmp.context.ifindex, sources);
            }
        }
        JoinedKind::Reset(reset) => self::reset(reset, joined, &mut ends, sources),
        // Of what was counted, where is known, but not in which direction.
        JoinedKind::Flood(_) | JoinedKind::Coalesced(_) => loopback_addresses(joined, &mut ends),
    }
    ends
}

fn dropped(drop: &RawDrop, joined: &Joined, reason: &str, ends: &mut Ends, sources: &Sources<'_>) {
    if let Some(first) = joined.points.first().filter(|p| p.hook == hook::TCX_INGRESS) {
        at_interface(&mut ends.source, Some(first.ifindex), sources);
    }
    // A packet to a group is flooded to many pods: the last of them is not its destination.
    let to_group = ends.destination.address.is_some_and(|(ip, _)| ip.is_multicast());
    if let Some(last) = joined.points.last().filter(|p| p.hook == hook::TCX_EGRESS && !to_group) {
        at_interface(&mut ends.destination, Some(last.ifindex), sources);
    }
    if !to_group {
        at_interface(&mut ends.destination, bridged_to(drop, joined, sources), sources);
    }
    this_node(joined, ends, sources);
    dropped_inside(drop, joined, ends, sources);
    owning_socket(drop, joined, reason, ends, sources);
}

/// The sockets' own words are certain. Of the packet, the interface where it was first seen tells one end. A reset that a
/// rule made in the name of its source is nothing that its source sent.
fn reset(reset: &Reset, joined: &Joined, ends: &mut Ends, sources: &Sources<'_>) {
    let rejected = reset.cause == ResetCause::Rejected;
    if let Some(sender) = reset.sender.as_ref().filter(|_| !rejected) {
        (ends.source.cgroup, ends.source.netns) = (sender.context.cgroup, sender.context.netns);
    }
    if let Some(receiver) = &reset.receiver {
        (ends.destination.cgroup, ends.destination.netns) = (receiver.context.cgroup, receiver.context.netns);
    }
    at_loopback(joined, ends);
    let Some(packet) = &reset.packet else { return };
    if packet.egress {
        at_interface(&mut ends.destination, packet.context.ifindex, sources);
    } else if !rejected {
        at_interface(&mut ends.source, packet.context.ifindex, sources);
    }
    // A packet that answers for the lack of a socket has one of the kernel's own.
    let answers_for_nobody = reset.sender.as_ref().is_some_and(|sender| sender.state.is_none());
    if !rejected && !answers_for_nobody {
        ends.source.cgroup = ends.source.cgroup.or(packet.context.cgroup);
    }
    // The last interface it left by, where translation had changed it.
    if let Some(last) = joined.points.last().filter(|point| point.hook == hook::TCX_EGRESS) {
        at_interface(&mut ends.destination, Some(last.ifindex), sources);
    }
}

/// The port that a bridge was about to hand a packet to: in FORWARD and POSTROUTING a bridged packet's interface
/// (`skb->dev`) is already the port it leaves by (`br_forward`, `net/bridge/br_forward.c`), a routed one's still the one
/// it came in by, which the first point knows.
fn bridged_to(drop: &RawDrop, joined: &Joined, sources: &Sources<'_>) -> Option<u32> {
    let last = joined.points.last().filter(|p| matches!(p.hook, FORWARD | POSTROUTING))?;
    let first = joined.points.first().filter(|p| p.hook == hook::TCX_INGRESS)?;
    let here = drop.context.netns == Some(sources.places.own_netns());
    drop.context.ifindex.filter(|port| here && *port != first.ifindex && *port != last.ifindex)
}

/// The ends' addresses, before translation of the source and after translation of the destination.
fn addresses(joined: &Joined) -> Ends {
    if let Some(Half { side, ip, port, protocol }) = joined.half {
        let known = Evidence { address: Some((ip, port)), protocol, ..Evidence::default() };
        return match side {
            Side::Source => Ends { source: known, ..Ends::default() },
            Side::Destination => Ends { destination: known, ..Ends::default() },
        };
    }
    let Some(tuple) = &joined.tuple else { return Ends::default() };
    let (mut source, mut destination) =
        ((tuple.source, tuple.source_port), (tuple.destination, tuple.destination_port));
    if let Some(nat) = &joined.nat {
        let opener = (nat.original.source, nat.original.source_port);
        let server = nat.backend.unwrap_or((nat.original.destination, nat.original.destination_port));
        (source, destination) = if nat.reply { (server, opener) } else { (opener, server) };
    }
    let evidence = |address| Evidence { address: Some(address), protocol: tuple.protocol, ..Evidence::default() };
    Ends { source: evidence(source), destination: evidence(destination) }
}

/// An end is behind an interface of the daemon's own namespace (where all points are), unless its namespace is known
/// already.
fn at_interface(end: &mut Evidence, ifindex: Option<u32>, sources: &Sources<'_>) {
    let Some(ifindex) = ifindex.filter(|_| end.netns.is_none()) else { return };
    let interface = sources.places.interface(ifindex);
    end.netns = interface.as_ref().and_then(|interface| pods_namespace(interface, sources));
    // One that no look has found yet is newer than all that is known.
    let since = interface.map_or(Some(u64::MAX), |interface| interface.pod_side_since);
    end.behind_since = end.behind_since.max(since);
}

/// The pod's namespace behind an interface of the daemon's own namespace.
pub fn pod_behind(ifindex: u32, sources: &Sources<'_>) -> Option<u32> {
    pods_namespace(&sources.places.interface(ifindex)?, sources)
}

fn pods_namespace(interface: &InterfaceInfo, sources: &Sources<'_>) -> Option<u32> {
    interface.peer_netns.filter(|netns| *netns != sources.places.own_netns())
}

/// What was met in OUTPUT was sent by the daemon's own namespace, and what was met in INPUT is for it, also where the API
/// server does not know the address: the bridge's, from which the kubelet probes pods, is no address of the Node object.
fn this_node(joined: &Joined, ends: &mut Ends, sources: &Sources<'_>) {
    let met = |hook| joined.points.iter().any(|point| point.hook == hook);
    for (end, hook) in [(&mut ends.source, OUTPUT), (&mut ends.destination, INPUT)] {
        if end.netns.is_none() && met(hook) {
            end.netns = Some(sources.places.own_netns());
        }
    }
}

/// A drop inside a pod's namespace is of its sending or its receiving end: of the one whose address is the pod's.
fn dropped_inside(drop: &RawDrop, joined: &Joined, ends: &mut Ends, sources: &Sources<'_>) {
    let Some(netns) = drop.context.netns else { return };
    let uid = if netns == sources.places.own_netns() { None } else { sources.places.pod_uid_of_netns(netns) };
    loopback_addresses(joined, ends);
    for end in [&mut ends.source, &mut ends.destination] {
        let Some((ip, _)) = end.address else { continue };
        let pods_own = uid.as_deref().is_some_and(|uid| is_of(ip, uid, joined.boot_ns, sources));
        if end.netns.is_none() && pods_own {
            end.netns = Some(netns);
        }
    }
}

/// A loopback address is of the namespace that the packet is in, unless another interface has brought it: one from the wire
/// is spoofed, and nobody's.
fn loopback_addresses(joined: &Joined, ends: &mut Ends) {
    if joined.ifindex.is_some_and(|ifindex| ifindex != LOOPBACK) {
        return;
    }
    for end in [&mut ends.source, &mut ends.destination] {
        if end.netns.is_none() && end.address.is_some_and(|(ip, _)| ip.is_loopback()) {
            end.netns = joined.netns;
        }
    }
}

/// A reset at a namespace's `lo` is between two ends in it, whatever their addresses. Not so a drop: a packet without a route
/// has that of `lo` (`ip6_pkt_discard_out()`, `net/ipv6/route.c`).
fn at_loopback(joined: &Joined, ends: &mut Ends) {
    loopback_addresses(joined, ends);
    if joined.ifindex == Some(LOOPBACK) {
        for end in [&mut ends.source, &mut ends.destination] {
            end.netns = end.netns.or(joined.netns);
        }
    }
}

fn is_of(ip: IpAddr, uid: &str, boot_ns: u64, sources: &Sources<'_>) -> bool {
    match sources.directory.ip_owner(ip, boot_ns) {
        IpOwner::Pod(pod, _) => pod.uid.as_deref() == Some(uid),
        _ => false,
    }
}

/// The socket that owns a dropped packet is the sender's, also beyond a veth pair, until the receiving namespace's IP
/// layer takes the packet; from then on it is the receiver's, if one was found. The last hook in this namespace tells,
/// or the reason, else whose pod has the address of exactly one end.
fn owning_socket(drop: &RawDrop, joined: &Joined, reason: &str, ends: &mut Ends, sources: &Sources<'_>) {
    let Some(cgroup) = drop.context.cgroup else { return };
    let here = drop.context.netns == Some(sources.places.own_netns());
    let last = joined.points.last().map(|p| p.hook).filter(|_| here);
    let received = last == Some(INPUT) || AT_RECEIVER.contains(&reason);
    let sent = matches!(last, Some(FORWARD | OUTPUT | POSTROUTING | hook::TCX_EGRESS)) || AT_SENDER.contains(&reason);
    match (sent, received) {
        (true, false) => ends.source.cgroup = Some(cgroup),
        (false, true) => ends.destination.cgroup = Some(cgroup),
        (true, true) => {}
        (false, false) => {
            let Some(uid) = sources.places.pod_uid_of_cgroup(cgroup) else { return };
            let has = |end: &Evidence| end.address.is_some_and(|(ip, _)| is_of(ip, &uid, joined.boot_ns, sources));
            match (has(&ends.source), has(&ends.destination)) {
                (true, false) => ends.source.cgroup = Some(cgroup),
                (false, true) => ends.destination.cgroup = Some(cgroup),
                _ => {}
            }
        }
    }
}

/// The question is the client's packet, the answer the server's.
fn dns(exchange: &DnsExchange, joined: &Joined, ends: &mut Ends, sources: &Sources<'_>) {
    if exchange.attempts > 0 {
        ends.source.cgroup = joined.context.and_then(|context| context.cgroup);
        if let Some(first) = joined.points.first().filter(|p| p.hook == hook::TCX_INGRESS) {
            at_interface(&mut ends.source, Some(first.ifindex), sources);
        }
        if let Some(last) = joined.points.last().filter(|p| p.hook == hook::TCX_EGRESS) {
            at_interface(&mut ends.destination, Some(last.ifindex), sources);
        }
    }
    if let Some(answer) = &exchange.answer {
        ends.destination.cgroup = answer.context.cgroup;
        let end = if answer.egress { &mut ends.source } else { &mut ends.destination };
        at_interface(end, answer.context.ifindex, sources);
    }
}

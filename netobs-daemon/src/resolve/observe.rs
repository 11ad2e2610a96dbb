//! From a joined event to what users read.

use super::claims::endpoint;
use super::ends::ends;
use netobs_common::trail::TRAIL_POINTS;

use super::points::{describe, netfilter_hook};
use super::routine::is_routine;
use super::{Sources, summary};
use crate::event::dns_names;
use crate::event::headers::protocol;
use crate::event::joined::{Coalesced, DnsExchange, Joined, JoinedKind, Translation};
use crate::event::observation::{
    DnsDetail, DnsOutcome, DropDetail, Endpoint, Flow, Kind, Nat, Observation, ObservationPoint, Severity,
};
use crate::event::raw::{RawDrop, Tuple};

/// Names everything. The observation's `id`, `time` and `evidence` stay empty: the publisher, which gives out ids and
/// follows the wall clock, fills them, the last from the references that are returned beside it.
pub fn observe(joined: &Joined, sources: &Sources<'_>) -> (Observation, Vec<u64>) {
    let reason = match &joined.kind {
        JoinedKind::Drop(drop) => Some(drop.reason),
        JoinedKind::Coalesced(Coalesced::Drops { reason, .. }) => Some(*reason),
        _ => None,
    };
    let reason = reason.map(|number| sources.naming.drop_reason(number));
    let ends = ends(joined, reason.as_deref(), sources);
    let source = endpoint(&ends.source, joined.boot_ns, sources);
    let destination = endpoint(&ends.destination, joined.boot_ns, sources);
    let nat = joined.nat.as_ref().map(|nat| self::nat(nat, &source, &destination, sources));
    let interface = interface(joined, sources);
    let mut points: Vec<_> = joined.points.iter().filter_map(|p| describe(p, sources.places)).collect();
    if matches!(joined.kind, JoinedKind::Drop(_)) {
        points.push(ObservationPoint {
            at: "kfree_skb".to_owned(),
            hook: None,
            interface: interface.clone(),
            out_interface: None,
        });
    }
    let mut observation = Observation {
        id: String::new(),
        time: String::new(),
        boot_ns: joined.boot_ns,
        kind: kind(&joined.kind),
        severity: severity(joined, reason.as_deref()),
        node: sources.node.to_owned(),
        summary: String::new(),
        count: joined.count,
        coalesced: matches!(joined.kind, JoinedKind::Coalesced(_)),
        flow: joined.tuple.as_ref().map(flow),
        source: Some(source),
        destination: Some(destination),
        nat,
        netns: joined.netns,
        ifindex: joined.ifindex,
        interface,
        cgroup: joined.context.and_then(|context| context.cgroup),
        points,
        drop: None,
        dns: None,
        evidence: Vec::new(),
    };
    match &joined.kind {
        JoinedKind::Drop(drop) => observation.drop = Some(drop_detail(drop, joined, reason, sources)),
        JoinedKind::Dns(exchange) => observation.dns = Some(dns_detail(exchange)),
        JoinedKind::Coalesced(_) => observation.drop = reason.map(coalesced_detail),
    }
    observation.summary = summary::of(&observation);
    (observation, joined.evidence.clone())
}

fn kind(kind: &JoinedKind) -> Kind {
    match kind {
        JoinedKind::Drop(_) | JoinedKind::Coalesced(Coalesced::Drops { .. }) => Kind::Drop,
        JoinedKind::Dns(_) | JoinedKind::Coalesced(Coalesced::Dns { .. }) => Kind::Dns,
    }
}

/// A cut answer is none: the client asks again over TCP. What a coalesced DNS message said is not known.
fn severity(joined: &Joined, reason: Option<&str>) -> Severity {
    match &joined.kind {
        JoinedKind::Drop(_) | JoinedKind::Coalesced(Coalesced::Drops { .. }) => {
            let destination = joined.tuple.map(|tuple| tuple.destination);
            let protocol = joined.tuple.map(|tuple| tuple.protocol);
            if is_routine(reason.unwrap_or_default(), destination, protocol) {
                Severity::Info
            } else {
                Severity::Problem
            }
        }
        JoinedKind::Coalesced(Coalesced::Dns { .. }) => Severity::Info,
        JoinedKind::Dns(exchange) => match exchange.outcome {
            DnsOutcome::Answered | DnsOutcome::Empty | DnsOutcome::Truncated => Severity::Info,
            DnsOutcome::Unasked if exchange.rcode == Some(0) => Severity::Info,
            DnsOutcome::Failed | DnsOutcome::Unanswered | DnsOutcome::Unasked => Severity::Problem,
        },
    }
}

fn flow(tuple: &Tuple) -> Flow {
    let protocol = match tuple.protocol {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        other => other.to_string(),
    };
    Flow {
        protocol,
        source_ip: tuple.source,
        source_port: tuple.source_port,
        destination_ip: tuple.destination,
        destination_port: tuple.destination_port,
    }
}

fn nat(nat: &Translation, source: &Endpoint, destination: &Endpoint, sources: &Sources<'_>) -> Nat {
    let Tuple { destination: ip, protocol, destination_port, .. } = nat.original;
    let service = nat.backend.and_then(|_| sources.directory.service(ip, protocol, destination_port));
    let backend = nat.backend.map(|_| if nat.reply { source } else { destination });
    Nat { original: flow(&nat.original), service: service.map(|s| (*s).clone()), backend: backend.cloned() }
}

/// Name of the interface of the event itself: as the packet's own namespace knows it, else as the daemon's does.
fn interface(joined: &Joined, sources: &Sources<'_>) -> Option<String> {
    if let JoinedKind::Drop(drop) = &joined.kind
        && drop.device.is_some()
    {
        return drop.device.clone();
    }
    let index = joined.ifindex.filter(|_| joined.netns == Some(sources.places.own_netns()))?;
    sources.places.interface(index).map(|interface| interface.name.to_string())
}

fn drop_detail(drop: &RawDrop, joined: &Joined, reason: Option<String>, sources: &Sources<'_>) -> DropDetail {
    let reason = reason.unwrap_or_default();
    DropDetail {
        hook: hook(joined, &reason, sources).map(str::to_owned),
        reason,
        location: sources.naming.symbol(drop.location),
        length: Some(drop.length),
        mtu: drop.mtu,
        tcp_flags: drop.tcp_flags.map(tcp_flags),
    }
}

/// The netfilter hook that a packet was dropped in: the last one it was met in, if nothing else can have dropped it.
fn hook(joined: &Joined, reason: &str, sources: &Sources<'_>) -> Option<&'static str> {
    // Our programs see the hooks of the daemon's own namespace only.
    let here = joined.netns == Some(sources.places.own_netns());
    let last = joined.points.last().filter(|_| here && reason == "NETFILTER_DROP")?;
    let name = netfilter_hook(last)?;
    // A full trail keeps its oldest points: the last one is not known.
    if joined.points.len() >= TRAIL_POINTS {
        return None;
    }
    let ipv6 = joined.tuple.is_some_and(|tuple| tuple.source.is_ipv6());
    // Hooks that may come next (`enum nf_inet_hooks`: PREROUTING 0, INPUT 1, FORWARD 2, OUTPUT 3, POSTROUTING 4): where
    // somebody comes before our program, the packet may have died there, unseen by it.
    let next: &[u32] = match name {
        "PREROUTING" => &[1, 2],
        "FORWARD" | "OUTPUT" => &[4],
        _ => &[],
    };
    next.iter().all(|number| sources.naming.is_first_in_hook(ipv6, *number)).then_some(name)
}

fn coalesced_detail(reason: String) -> DropDetail {
    DropDetail { reason, location: None, hook: None, length: None, mtu: None, tcp_flags: None }
}

/// Names of the flags that are set, lowest bit last (RFC 9293 section 3.1).
fn tcp_flags(flags: u8) -> String {
    const NAMES: [(u8, &str); 8] = [
        (0x02, "SYN"),
        (0x10, "ACK"),
        (0x01, "FIN"),
        (0x04, "RST"),
        (0x08, "PSH"),
        (0x20, "URG"),
        (0x40, "ECE"),
        (0x80, "CWR"),
    ];
    let set: Vec<&str> = NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    set.join(",")
}

fn dns_detail(exchange: &DnsExchange) -> DnsDetail {
    let milliseconds = |ns: u64| ns as f64 / 1e6;
    DnsDetail {
        id: exchange.id,
        name: exchange.question.as_ref().map(|q| q.name.clone()),
        qtype: exchange.question.as_ref().map(|q| dns_names::qtype(q.qtype).into_owned()),
        outcome: exchange.outcome,
        rcode: exchange.rcode.map(|rcode| dns_names::rcode(rcode).into_owned()),
        answers: exchange.answers,
        latency_ms: exchange.latency_ns.map(milliseconds),
        waited_ms: exchange.waited_ns.map(milliseconds),
        attempts: Some(exchange.attempts).filter(|attempts| *attempts > 1),
    }
}

//! From a joined event to what users read.

use super::claims::endpoint;
use super::ends::ends;
use super::points::describe;
use super::severity::{kind, severity};
use super::{Sources, drops, resets, sizes, summary};
use crate::event::dns_names;
use crate::event::headers::protocol;
use crate::event::joined::{Coalesced, DnsExchange, Half, Joined, JoinedKind, Translation};
use crate::event::observation::{DnsDetail, Endpoint, Flow, Kind, Nat, Observation, ObservationPoint};
use crate::event::raw::{Side, Tuple};

/// Names everything. The observation's `id`, `time` and `evidence` stay empty: the publisher, which gives out ids and
/// follows the wall clock, fills them, the last from the references that are returned beside it.
pub fn observe(joined: &Joined, sources: &Sources<'_>) -> (Observation, Vec<u64>) {
    let reason = match &joined.kind {
        JoinedKind::Coalesced(Coalesced::Drops { reason, .. }) => Some(*reason),
        _ => joined.dropped().map(|drop| drop.reason),
    };
    let reason = reason.map(|number| sources.naming.drop_reason(number));
    let ends = ends(joined, reason.as_deref(), sources);
    let source = endpoint(&ends.source, joined.boot_ns, sources);
    let destination = endpoint(&ends.destination, joined.boot_ns, sources);
    let nat = joined.nat.as_ref().map(|nat| self::nat(nat, &source, &destination, sources));
    let interface = interface(joined, sources);
    let mut points: Vec<_> = joined.points.iter().filter_map(|p| describe(p, sources.places)).collect();
    if joined.dropped().is_some() {
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
        kind: kind(joined, reason.as_deref()),
        severity: severity(joined, reason.as_deref(), &destination, sources),
        node: sources.node.to_owned(),
        summary: String::new(),
        count: joined.count,
        coalesced: matches!(joined.kind, JoinedKind::Coalesced(_)),
        flow: joined.tuple.as_ref().map(flow).or(joined.half.as_ref().map(half_flow)),
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
        mtu: None,
        reset: None,
        flood: None,
        evidence: Vec::new(),
    };
    match &joined.kind {
        JoinedKind::Drop(drop) => observation.drop = Some(drops::detail(drop, joined, reason, sources)),
        JoinedKind::Dns(exchange) => observation.dns = Some(dns_detail(exchange)),
        JoinedKind::Mtu(failure) => {
            observation.mtu = Some(sizes::detail(failure, joined, sources));
            observation.drop = failure.drop.as_deref().map(|drop| drops::detail(drop, joined, reason, sources));
        }
        JoinedKind::Reset(reset) => observation.reset = Some(resets::detail(reset, joined, sources)),
        JoinedKind::Flood(flood) => observation.flood = Some(resets::flood(flood)),
        JoinedKind::Coalesced(Coalesced::Drops { location, .. }) => {
            if observation.kind == Kind::Mtu {
                observation.mtu = Some(sizes::coalesced_drops(joined));
            }
            observation.drop = reason.map(|reason| drops::coalesced(reason, *location, joined, sources));
        }
        JoinedKind::Coalesced(Coalesced::Dns { .. }) => {}
        JoinedKind::Coalesced(Coalesced::Icmp { error, .. }) => {
            observation.mtu = error.map(|error| sizes::coalesced(error, joined, observation.source.as_ref()));
        }
        JoinedKind::Coalesced(Coalesced::Resets { refused, .. }) => {
            observation.reset = Some(resets::coalesced(*refused));
        }
    }
    observation.summary = summary::of(&observation);
    (observation, joined.evidence.clone())
}

fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        other => other.to_string(),
    }
}

fn flow(tuple: &Tuple) -> Flow {
    Flow {
        protocol: protocol_name(tuple.protocol),
        source_ip: Some(tuple.source),
        source_port: tuple.source_port,
        destination_ip: Some(tuple.destination),
        destination_port: tuple.destination_port,
    }
}

fn half_flow(half: &Half) -> Flow {
    let of = |side| (half.side == side).then_some(half.ip);
    let port = |side| half.port.filter(|_| half.side == side);
    Flow {
        protocol: protocol_name(half.protocol),
        source_ip: of(Side::Source),
        source_port: port(Side::Source),
        destination_ip: of(Side::Destination),
        destination_port: port(Side::Destination),
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
    if let Some(device) = joined.dropped().and_then(|drop| drop.device.as_ref()) {
        return Some(device.clone());
    }
    let index = joined.ifindex.filter(|_| joined.netns == Some(sources.places.own_netns()))?;
    sources.places.interface(index).map(|interface| interface.name.to_string())
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

//! The DNS parser and the flow table against recordings of real resolvers and servers. What is to be found in each is
//! counted by tshark.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use netobs_daemon::event::dns::{self, DnsError};
use netobs_daemon::event::dns_names;
use netobs_daemon::event::joined::{DnsExchange, JoinedKind};
use netobs_daemon::event::observation::DnsOutcome;
use netobs_daemon::event::raw::{Context, DnsMessage, RawDns, RawEvent};
use netobs_daemon::flow::{DropReasons, FlowLimits, FlowTable};

/// A packet of a capture.
struct Packet<'a> {
    nanoseconds: u64,
    bytes: &'a [u8],
}

/// Reads a capture file in the classic format: little-endian, microseconds, Ethernet.
fn packets(file: &[u8]) -> Vec<Packet<'_>> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 1), "magic number, link type");
    let mut packets = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let nanoseconds = u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4)) * 1_000;
        let length = word(at + 8) as usize;
        packets.push(Packet { nanoseconds, bytes: &file[at + 16..at + 16 + length] });
        at += 16 + length;
    }
    packets
}

/// A DNS message of a capture.
struct Message {
    nanoseconds: u64,
    source: SocketAddr,
    destination: SocketAddr,
    tcp: bool,
    parsed: Result<DnsMessage, DnsError>,
}

fn messages(name: &str) -> Vec<Message> {
    let path = format!("{}/tests/fixtures/pcap/{name}.pcap", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(path).unwrap();
    let mut messages = Vec::new();
    for Packet { nanoseconds, bytes } in packets(&file) {
        let packet = LaxSlicedPacket::from_ethernet(bytes).unwrap();
        let (source, destination): (IpAddr, IpAddr) = match &packet.net {
            Some(LaxNetSlice::Ipv4(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            Some(LaxNetSlice::Ipv6(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            _ => continue,
        };
        let (tcp, ports, payload) = match &packet.transport {
            Some(TransportSlice::Udp(udp)) => (false, (udp.source_port(), udp.destination_port()), udp.payload()),
            // Each message is in one segment in these recordings, after its length (RFC 1035 section 4.2.2).
            Some(TransportSlice::Tcp(tcp)) if tcp.payload().len() > 2 => {
                (true, (tcp.source_port(), tcp.destination_port()), &tcp.payload()[2..])
            }
            _ => continue,
        };
        messages.push(Message {
            nanoseconds,
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
            tcp,
            parsed: dns::parse(payload),
        });
    }
    messages
}

/// What a reader finds: messages in all and by rcode, replies without answers and cut ones, messages over TCP.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    queries: usize,
    replies: usize,
    rcodes: BTreeMap<String, usize>,
    noerror_without_answers: usize,
    truncated: usize,
    over_tcp: usize,
}

fn find(name: &str) -> Found {
    let mut found = Found::default();
    for message in messages(name) {
        let parsed = message.parsed.expect(name);
        found.over_tcp += usize::from(message.tcp);
        if !parsed.response {
            found.queries += 1;
            continue;
        }
        found.replies += 1;
        *found.rcodes.entry(dns_names::rcode(parsed.rcode).into_owned()).or_default() += 1;
        found.noerror_without_answers += usize::from(parsed.rcode == 0 && parsed.answers == 0);
        found.truncated += usize::from(parsed.truncated);
    }
    found
}

fn rcodes(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// Feeds the messages over UDP to a flow table, as if each were met once; what became of the questions.
fn exchanges(name: &str) -> Vec<DnsExchange> {
    let mut table = FlowTable::new(FlowLimits::default(), DropReasons::default());
    let mut out = Vec::new();
    for (packet, message) in (1..).zip(messages(name).into_iter().filter(|m| !m.tcp)) {
        let context = Context {
            boot_ns: message.nanoseconds,
            packet,
            digest: Some(1),
            cgroup: None,
            netns: Some(1),
            ifindex: Some(1),
            cpu: 0,
        };
        let Message { source, destination, .. } = message;
        let parsed = message.parsed.unwrap();
        let dns = RawDns { context, source, destination, egress: parsed.response, message: parsed, message_length: 0 };
        table.ingest(RawEvent::Dns(Box::new(dns)), &mut out);
    }
    table.expire(u64::MAX, &mut out);
    let stats = table.stats();
    let [ingested, emitted, folded, ..] = stats.totals();
    assert_eq!(ingested, emitted + folded);
    let exchange = |kind| match kind {
        JoinedKind::Dns(exchange) => *exchange,
        other => panic!("{other:?}"),
    };
    out.into_iter().map(|joined| exchange(joined.kind)).collect()
}

fn count(exchanges: &[DnsExchange], outcome: DnsOutcome) -> usize {
    exchanges.iter().filter(|exchange| exchange.outcome == outcome).count()
}

#[test]
fn knot() {
    let expected = Found {
        queries: 18,
        replies: 18,
        rcodes: rcodes(&[("NOERROR", 14), ("NXDOMAIN", 2), ("SERVFAIL", 1), ("REFUSED", 1)]),
        noerror_without_answers: 5,
        truncated: 3,
        over_tcp: 12,
    };
    assert_eq!(find("dns-knot"), expected);
    let exchanges = exchanges("dns-knot");
    assert_eq!(exchanges.len(), 12);
    assert_eq!(count(&exchanges, DnsOutcome::Truncated), 3);
}

#[test]
fn coredns() {
    let found = find("dns-coredns");
    assert_eq!((found.queries, found.replies, found.over_tcp), (13, 13, 2));
    assert_eq!(found.rcodes, rcodes(&[("NOERROR", 11), ("NXDOMAIN", 1), ("SERVFAIL", 1)]));
    let mut types: Vec<_> = messages("dns-coredns")
        .into_iter()
        .map(|m| dns_names::qtype(m.parsed.unwrap().question.unwrap().qtype).into_owned())
        .collect();
    types.sort_unstable();
    types.dedup();
    for expected in ["A", "AAAA", "PTR", "SRV"] {
        assert!(types.iter().any(|t| t == expected), "{expected} in {types:?}");
    }
    let exchanges = exchanges("dns-coredns");
    assert_eq!((exchanges.len(), count(&exchanges, DnsOutcome::Failed)), (12, 2));
}

#[test]
fn a_storm_through_the_search_list() {
    let found = find("dns-ndots5-search-storm");
    assert_eq!((found.queries, found.replies, found.noerror_without_answers), (27, 27, 1));
    assert_eq!(found.rcodes, rcodes(&[("NOERROR", 7), ("NXDOMAIN", 20)]));
    // A and AAAA go from one socket at once, and each finds its own answer.
    let exchanges = exchanges("dns-ndots5-search-storm");
    assert_eq!((exchanges.len(), count(&exchanges, DnsOutcome::Failed)), (27, 20));
    assert_eq!((count(&exchanges, DnsOutcome::Answered), count(&exchanges, DnsOutcome::Empty)), (6, 1));
    assert!(exchanges.iter().all(|exchange| exchange.attempts == 1 && exchange.latency_ns.is_some()));
}

#[test]
fn packets_cut_at_96_bytes() {
    let messages = messages("dns-vcli-snap96");
    let names: Vec<_> = messages.iter().map(|m| m.parsed.as_ref().unwrap().question.clone().unwrap().name).collect();
    assert_eq!(names[0], "headless.shop.svc.cluster.local.");
    assert_eq!(names[2], "web.shop.svc.cluster.local.");
    assert_eq!((&names[0], &names[2], names.len()), (&names[1], &names[3], 4));
    let exchanges = exchanges("dns-vcli-snap96");
    assert_eq!(exchanges.iter().map(|e| e.answers).collect::<Vec<_>>(), [Some(2), Some(1)]);
}

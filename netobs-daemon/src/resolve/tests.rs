//! Tests of the resolver against a small cluster.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use netobs_common::trail::{Point, hook};

use super::*;
use crate::event::joined::{Coalesced, DnsExchange, Joined, JoinedKind, Sighting, StandsFor, Translation};
use crate::event::observation::{ClaimBy, DnsOutcome, Endpoint, Observation, Severity};
use crate::event::raw::{Context, DnsQuestion, RawDrop, Tuple};

pub const OWN: u32 = 1;
/// When interface 13 came: after the news of all pods.
pub const NEW_INTERFACE: u64 = 8;
/// Interfaces 11 and 12 are the node's side of the pods' with namespaces 101 and 102; their cgroups are 1001 and 1002.
const WEB: &str = "10.0.0.1";
const DB: &str = "10.0.0.2";
const NODE: &str = "192.0.2.1";
const SERVICE: &str = "10.96.0.10";

pub struct Cluster {
    pub empty: bool,
}

fn pod(name: &str, uid: &str) -> Arc<Pod> {
    Arc::new(Pod { namespace: "shop".into(), name: name.into(), uid: Some(uid.into()), node: None, workload: None })
}

impl Directory for Cluster {
    fn is_empty(&self) -> bool {
        self.empty
    }
    fn ip_owner(&self, ip: IpAddr, _: u64) -> IpOwner {
        match ip.to_string().as_str() {
            _ if self.empty => IpOwner::Unknown,
            WEB => IpOwner::Pod(pod("web-0", "uid-web"), 7),
            DB => IpOwner::Pod(pod("db-0", "uid-db"), 7),
            NODE => IpOwner::Node("node-a".into()),
            "10.0.0.77" => IpOwner::Ambiguous,
            _ => IpOwner::Unknown,
        }
    }
    fn pod_by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        let name = [("uid-web", "web-0"), ("uid-db", "db-0")].into_iter().find(|(known, _)| *known == uid);
        name.filter(|_| !self.empty).map(|(uid, name)| pod(name, uid))
    }
    fn service(&self, ip: IpAddr, _: u8, port: Option<u16>) -> Option<Arc<Service>> {
        let port_name = port.filter(|port| *port == 53).map(|_| "dns".to_owned());
        let known = !self.empty && ip.to_string() == SERVICE;
        known.then(|| Arc::new(Service { namespace: "shop".into(), name: "db".into(), port_name }))
    }
}

impl Places for Cluster {
    fn own_netns(&self) -> u32 {
        OWN
    }
    fn interface(&self, ifindex: u32) -> Option<InterfaceInfo> {
        let (name, peer_netns) = match ifindex {
            11 => ("veth-web", Some(101)),
            12 => ("veth-db", Some(102)),
            // Of a pod that is not known yet.
            13 => ("veth-new", None),
            5 => ("cni0", None),
            _ => return None,
        };
        let pod_side_since = (ifindex != 5).then_some(if ifindex == 13 { NEW_INTERFACE } else { 0 });
        Some(InterfaceInfo { name: name.into(), peer_netns, pod_side_since })
    }
    fn pod_uid_of_netns(&self, inode: u32) -> Option<Arc<str>> {
        self.pod_uid_of_cgroup(u64::from(inode) + 900)
    }
    fn pod_uid_of_cgroup(&self, id: u64) -> Option<Arc<str>> {
        match id {
            1001 => Some("uid-web".into()),
            1002 => Some("uid-db".into()),
            _ => None,
        }
    }
}

impl Naming for Cluster {
    fn drop_reason(&self, number: u32) -> String {
        match number {
            2 => "NOT_SPECIFIED".into(),
            3 => "NO_SOCKET".into(),
            8 => "NETFILTER_DROP".into(),
            6 => "SOCKET_RCVBUFF".into(),
            n => format!("REASON_{n}"),
        }
    }
    fn has_drop_reason(&self, name: &str) -> bool {
        name == "NETFILTER_DROP"
    }
    fn reset_reason(&self, number: u32) -> Option<String> {
        (number == 30).then(|| "TCP_ABORT_ON_CLOSE".into())
    }
    fn is_first_in_hook(&self, _: bool, _: u32) -> bool {
        true
    }

    fn symbol(&self, address: u64) -> Option<String> {
        match address {
            1 => Some("nft_do_chain".into()),
            2 => Some("tcp_v4_rcv".into()),
            _ => None,
        }
    }
}

pub fn observe_in(joined: &Joined, empty: bool) -> Observation {
    let cluster = Cluster { empty };
    let (directory, places, naming) = (&cluster as &dyn Directory, &cluster as &dyn Places, &cluster as &dyn Naming);
    let sources = Sources { directory, places, naming, node: "node-a" };
    let (observation, evidence) = observe(joined, &sources);
    assert_eq!(evidence, joined.evidence);
    observation
}

pub fn at(hook: u32, ifindex: u32, out_ifindex: u32) -> Point {
    Point { ifindex, out_ifindex, hook }
}

pub fn tuple(source: &str, destination: &str, protocol: u8) -> Tuple {
    let (source, destination): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
    Tuple {
        protocol,
        source: source.ip(),
        destination: destination.ip(),
        source_port: Some(source.port()),
        destination_port: Some(destination.port()),
    }
}

pub fn context(netns: u32, cgroup: Option<u64>) -> Context {
    Context { boot_ns: 1_500, packet: 1, digest: None, cgroup, netns: Some(netns), ifindex: Some(5), cpu: 0 }
}

/// A SYN that netfilter dropped.
pub fn dropped(source: &str, destination: &str, points: &[Point]) -> Joined {
    let context = context(OWN, None);
    let drop = RawDrop {
        context,
        location: 1,
        reason: 8,
        length: 60,
        mtu: Some(1500),
        out_ifindex: None,
        out_mtu: None,
        peer_mtu: None,
        gso_size: None,
        size: None,
        fragment: None,
        hop_limit: None,
        ethertype: 0x0800,
        socket_family: None,
        device: None,
        tuple: None,
        tcp_flags: Some(2),
        conntrack: None,
        points: Vec::new(),
    };
    Joined {
        reference: 1,
        tuple: Some(tuple(source, destination, 6)),
        points: points.to_vec(),
        ..Joined::of_record(StandsFor::Record(0), context, JoinedKind::Drop(Box::new(drop)))
    }
}

/// The drop, in another namespace, of a packet with an owning socket, for another reason.
pub fn with_socket(mut joined: Joined, netns: u32, cgroup: u64, reason: u32) -> Joined {
    if let JoinedKind::Drop(drop) = &mut joined.kind {
        drop.context = context(netns, Some(cgroup));
        drop.reason = reason;
    }
    (joined.context, joined.netns) = (Some(context(netns, Some(cgroup))), Some(netns));
    joined
}

pub fn name(endpoint: Option<&Endpoint>) -> String {
    let endpoint = endpoint.unwrap();
    let pod = endpoint.pod.as_ref().map(|pod| pod.name.clone());
    let service = endpoint.service.as_ref().map(|service| format!("service {}", service.name));
    let unknown = endpoint.unknown.as_ref().map(|why| format!("unknown: {why}"));
    let name = pod.or(service).or(endpoint.node.clone()).or(unknown).unwrap();
    let claims: Vec<_> = endpoint.claims.iter().map(|claim| format!(" {:?}", claim.by)).collect();
    format!("{name}{}{}", claims.concat(), if endpoint.ip_mismatch { " mismatch" } else { "" })
}

pub fn check(joined: &Joined, source: &str, destination: &str) {
    let observation = observe_in(joined, false);
    assert_eq!(
        (name(observation.source.as_ref()).as_str(), name(observation.destination.as_ref()).as_str()),
        (source, destination)
    );
}

#[test]
fn a_drop_in_full() {
    let points = [at(hook::TCX_INGRESS, 11, 0), at(hook::NETFILTER, 5, 0), at(hook::NETFILTER + 2, 5, 5)];
    let observation = observe_in(&dropped("10.0.0.1:4711", "10.0.0.2:5432", &points), false);
    assert_eq!(
        observation.summary,
        "shop/web-0 -> shop/db-0:5432 tcp SYN: dropped by netfilter in FORWARD (nft_do_chain) on cni0"
    );
    assert_eq!(
        (name(observation.source.as_ref()), name(observation.destination.as_ref())),
        ("web-0 Place Ip".into(), "db-0 Ip".into())
    );
    assert_eq!(observation.severity, Severity::Problem);
    let last = observation.points.last().unwrap();
    assert_eq!((last.at.as_str(), last.interface.as_deref()), ("kfree_skb", Some("cni0")));
    assert_eq!(observation.points[2].hook.as_deref(), Some("FORWARD"));
    assert_eq!(observation.drop.unwrap().hook.as_deref(), Some("FORWARD"));
}

#[test]
fn a_hook_is_named_for_netfilter_drops_only() {
    let joined = dropped("10.0.0.1:4711", "10.0.0.2:5432", &[at(hook::NETFILTER + 2, 5, 5)]);
    let observation = observe_in(&with_socket(joined, OWN, 0, 6), false);
    assert_eq!(observation.drop.unwrap().hook, None);
    assert!(observation.summary.contains(": dropped, SOCKET_RCVBUFF (nft_do_chain)"), "{}", observation.summary);
}

#[test]
fn by_ip() {
    check(&dropped("10.0.0.77:1", "192.0.2.1:80", &[]), "unknown: ambiguous", "node-a Ip");
    check(&dropped("8.8.8.8:1", "10.96.0.10:80", &[]), "unknown: unknown_ip", "service db Ip");
    let mut nowhere = dropped("8.8.8.8:1", "8.8.8.8:1", &[]);
    nowhere.tuple = None;
    check(&nowhere, "unknown: no_address", "unknown: no_address");
}

#[test]
fn by_socket() {
    let joined = |points: &[Point]| dropped("8.8.8.8:1", "9.9.9.9:80", points);
    let nobody = "unknown: unknown_ip";
    check(&with_socket(joined(&[at(hook::NETFILTER + 3, 0, 5)]), OWN, 1001, 8), "web-0 Socket Place", nobody);
    check(&with_socket(joined(&[at(hook::NETFILTER + 1, 5, 0)]), OWN, 1001, 8), nobody, "web-0 Socket Place");
    check(&with_socket(joined(&[]), 101, 1001, 6), nobody, "web-0 Socket");
    // Unclear which end: neither, unless an address tells.
    check(&with_socket(joined(&[]), OWN, 1001, 8), nobody, nobody);
    let addressed = with_socket(dropped("10.0.0.1:1", "9.9.9.9:80", &[]), 101, 1001, 8);
    check(&addressed, "web-0 Socket Place Ip", nobody);
    // A point of the node's namespace says nothing of where the packet was in the pod's.
    check(&with_socket(joined(&[at(hook::TCX_EGRESS, 5, 0)]), 102, 1002, 8), nobody, nobody);
    // A pod on the host's network has the node's address, which is no contradiction.
    let host = with_socket(dropped("192.0.2.1:1", "9.9.9.9:80", &[at(hook::NETFILTER + 3, 0, 5)]), OWN, 1001, 8);
    check(&host, "web-0 Socket Place Ip", nobody);
}

#[test]
fn without_metadata_the_uid_is_what_there_is() {
    let observation = observe_in(&dropped("10.0.0.1:1", "10.0.0.2:80", &[at(hook::TCX_INGRESS, 11, 0)]), true);
    let source = observation.source.unwrap();
    assert_eq!((source.claims[0].by, source.claims[0].names.as_str()), (ClaimBy::Place, "pod uid uid-web"));
    assert_eq!(source.unknown.as_deref(), Some("no_metadata"));
    assert!(observation.summary.starts_with("10.0.0.1 -> 10.0.0.2:80 tcp SYN: "), "{}", observation.summary);
}

#[test]
fn behind_a_service() {
    let original = tuple("10.0.0.1:4711", "10.96.0.10:53", 6);
    let backend = Some(("10.0.0.2".parse().unwrap(), Some(5353)));
    let with = |packet: (&str, &str), reply| {
        let nat = Some(Translation { original, backend, reply });
        observe_in(&Joined { nat, ..dropped(packet.0, packet.1, &[]) }, false)
    };
    // Before and after DNAT, and after masquerade.
    for packet in
        [("10.0.0.1:4711", "10.96.0.10:53"), ("10.0.0.1:4711", "10.0.0.2:5353"), ("192.0.2.1:9", "10.0.0.2:5353")]
    {
        let observation = with(packet, false);
        assert_eq!(
            (name(observation.source.as_ref()).as_str(), name(observation.destination.as_ref()).as_str()),
            ("web-0 Ip", "db-0 Ip")
        );
        let nat = observation.nat.unwrap();
        assert_eq!(nat.service.unwrap().port_name.as_deref(), Some("dns"));
        assert_eq!(nat.backend, observation.destination);
        assert!(observation.summary.contains("(service shop/db) tcp"), "{}", observation.summary);
    }
    let reply = with(("10.0.0.2:5353", "10.0.0.1:4711"), true);
    assert_eq!(
        (name(reply.source.as_ref()).as_str(), name(reply.destination.as_ref()).as_str()),
        ("db-0 Ip", "web-0 Ip")
    );
    assert_eq!(reply.nat.unwrap().backend, reply.source);
}

fn asked(change: impl FnOnce(&mut DnsExchange)) -> Joined {
    let mut exchange = DnsExchange {
        id: 7,
        question: Some(Arc::new(DnsQuestion { name: "nope.shop.svc.cluster.local.".into(), qtype: 1, qclass: 1 })),
        outcome: DnsOutcome::Failed,
        rcode: Some(3),
        answers: Some(0),
        latency_ns: Some(1_234_567),
        waited_ns: None,
        attempts: 1,
        answered_by: None,
        answer: Some(Sighting { context: Context { ifindex: Some(12), ..context(OWN, None) }, egress: false }),
    };
    change(&mut exchange);
    let original = tuple("10.0.0.1:4711", "10.96.0.10:53", 17);
    Joined {
        tuple: Some(original),
        nat: Some(Translation { original, backend: Some(("10.0.0.2".parse().unwrap(), Some(53))), reply: false }),
        points: vec![at(hook::TCX_INGRESS, 11, 0), at(hook::TCX_EGRESS, 5, 0)],
        kind: JoinedKind::Dns(Box::new(exchange)),
        ..dropped("10.0.0.1:4711", "10.96.0.10:53", &[])
    }
}

#[test]
fn dns_ends_and_sentences() {
    let said = |joined: &Joined| {
        let observation = observe_in(joined, false);
        (observation.summary, observation.severity)
    };
    check(&asked(|_| {}), "web-0 Place Ip", "db-0 Place Ip");
    let question = "dns: shop/web-0 asked shop/db (db-0) for A nope.shop.svc.cluster.local: ";
    let check = |change: fn(&mut DnsExchange), end: &str, severity| {
        assert_eq!(said(&asked(change)), (format!("{question}{end}"), severity));
    };
    check(|_| {}, "NXDOMAIN in 1.2 ms", Severity::Problem);
    check(|e| (e.outcome, e.rcode) = (DnsOutcome::Empty, Some(0)), "no records of this type in 1.2 ms", Severity::Info);
    check(|e| (e.outcome, e.answers) = (DnsOutcome::Answered, Some(2)), "2 answers in 1.2 ms", Severity::Info);
    check(|e| e.outcome = DnsOutcome::Truncated, "truncated answer in 1.2 ms", Severity::Info);
    let unanswered = |e: &mut DnsExchange| {
        (e.outcome, e.rcode, e.answer, e.attempts) = (DnsOutcome::Unanswered, None, None, 3);
        (e.latency_ns, e.waited_ns) = (None, Some(5_000_000_000));
    };
    check(unanswered, "no answer after 5.0 s, asked 3 times", Severity::Problem);
    let detail = observe_in(&asked(unanswered), false).dns.unwrap();
    assert_eq!((detail.attempts, detail.waited_ms, detail.rcode), (Some(3), Some(5000.0), None));
}

#[test]
fn an_unasked_answer() {
    let mut joined =
        asked(|e| (e.outcome, e.rcode, e.attempts, e.latency_ns) = (DnsOutcome::Unasked, Some(0), 0, None));
    joined.nat = None;
    joined.context = Some(context(OWN, Some(1001)));
    // The context is that of the answer: its socket is not the client's.
    check(&joined, "web-0 Ip", "db-0 Place Ip");
}

#[test]
fn a_coalesced_burst() {
    let mut joined = dropped("10.0.0.1:4711", "10.0.0.2:5432", &[]);
    joined.kind = JoinedKind::Coalesced(Coalesced::Drops { reason: 8, location: 0, segment: 0, bytes: 1 });
    (joined.context, joined.count) = (None, 12_345);
    let observation = observe_in(&joined, false);
    assert!(observation.coalesced && observation.points.is_empty());
    assert_eq!(
        observation.summary,
        "shop/web-0 -> shop/db-0:5432 tcp: dropped, NETFILTER_DROP: 12,345 more packets of this kind, counted"
    );
}

#[test]
fn a_drop_that_is_part_of_something_else_is_no_problem() {
    let judged = |change: &dyn Fn(&mut Joined, &mut RawDrop)| {
        let mut joined = dropped("10.0.0.1:4711", "10.0.0.2:5432", &[]);
        let JoinedKind::Drop(mut drop) = joined.kind.clone() else { unreachable!() };
        (drop.reason, drop.tcp_flags) = (3, Some(0x02));
        change(&mut joined, &mut drop);
        joined.kind = JoinedKind::Drop(drop);
        let observation = observe_in(&joined, false);
        (observation.severity, observation.drop.unwrap().answered, observation.summary)
    };
    let sentence = "shop/web-0 -> shop/db-0:5432 tcp SYN: dropped, NO_SOCKET (nft_do_chain) on cni0";
    assert_eq!(judged(&|_, _| {}), (Severity::Problem, false, sentence.into()));
    let answered = judged(&|joined, _| joined.answered = true);
    assert_eq!(answered, (Severity::Info, true, format!("{sentence}, answered with a reset")));
    // A reset that meets no socket; of another protocol these bits say nothing.
    assert_eq!(judged(&|_, drop| drop.tcp_flags = Some(0x04)).0, Severity::Info);
    let other = judged(&|joined, drop| {
        drop.tcp_flags = Some(0x04);
        joined.tuple.as_mut().unwrap().protocol = 17;
    });
    assert_eq!(other.0, Severity::Problem);
}

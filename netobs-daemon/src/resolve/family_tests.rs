//! Tests of the resolver: packets that were too big, resets and floods.
#![allow(clippy::unwrap_used)]
#![allow(clippy::unnecessary_wraps, reason = "so each case is one line")]

use netobs_common::trail::hook;

use super::tests::{OWN, at, check, context, dropped, observe_in, tuple};
use crate::event::joined::{Coalesced, Flood, Half, Joined, JoinedKind, LastPoint, Reset, SizeFailure, Translation};
use crate::event::observation::{
    FloodEnd, FloodPhase, IcmpPath, Kind, MtuCause, MtuDetail, Observation, ResetCause, ResetEnd, Severity,
};
use crate::event::raw::{Fragment, Quoted, RawDrop, RawIcmp, RawReset, RawSocket, Side, Size, SizeError, SocketSide};
use crate::event::tcp::flag::{ACK, FIN, RST, SYN};
use crate::event::tcp::state::{CLOSE, ESTABLISHED, SYN_SENT};

const WEB: &str = "10.0.0.1:40000";
const DB: &str = "10.0.0.2:5432";

fn observe(joined: &Joined) -> Observation {
    observe_in(joined, false)
}

/// The drop of a packet of 1500 bytes that forwarding could not send on to interface 12.
fn too_big(change: impl FnOnce(&mut RawDrop)) -> Box<RawDrop> {
    let JoinedKind::Drop(mut drop) = dropped(WEB, DB, &[]).kind else { unreachable!() };
    (drop.mtu, drop.out_ifindex, drop.out_mtu) = (Some(1500), Some(12), Some(1400));
    (drop.size, drop.device) = (Some(Size { packet: 1500, headers: 40 }), Some("cni0".into()));
    (drop.reason, drop.tuple) = (70, Some(tuple(WEB, DB, 6)));
    change(&mut drop);
    drop
}

/// The error about it, to the sender, made here and leaving by its interface.
fn error(change: impl FnOnce(&mut RawIcmp)) -> Box<RawIcmp> {
    let mut icmp = RawIcmp {
        context: crate::event::raw::Context { ifindex: Some(11), ..context(OWN, None) },
        source: "10.0.0.254".parse().unwrap(),
        destination: "10.0.0.1".parse().unwrap(),
        egress: true,
        translated: false,
        arrival: None,
        error: SizeError::FragmentationNeeded,
        next_hop_mtu: Some(1400),
        quoted: Some(Quoted {
            tuple: tuple(WEB, DB, 6),
            size: Some(Size { packet: 1500, headers: 40 }),
            fragment: None,
        }),
    };
    change(&mut icmp);
    Box::new(icmp)
}

fn failed(cause: MtuCause, icmp: Option<Box<RawIcmp>>, drop: Option<Box<RawDrop>>) -> Joined {
    let kind = JoinedKind::Mtu(Box::new(SizeFailure { cause, icmp, drop }));
    Joined { kind, ..dropped(WEB, DB, &[]) }
}

fn check_mtu(joined: &Joined, sentence: &str) -> MtuDetail {
    let observation = observe(joined);
    assert_eq!(observation.summary, format!("mtu: shop/web-0 -> shop/db-0:5432 tcp: {sentence}"));
    assert_eq!((observation.kind, observation.severity), (Kind::Mtu, Severity::Problem));
    observation.mtu.unwrap()
}

#[test]
fn a_packet_that_this_node_could_not_send_on() {
    use MtuCause::{ExceedsMtu, FragmentationNeeded};
    let both = failed(FragmentationNeeded, Some(error(|_| {})), Some(too_big(|_| {})));
    let detail = check_mtu(&both, "1500 bytes do not fit the MTU 1400 of veth-db, node node-a told the sender");
    assert_eq!(
        (detail.icmp, detail.next_hop_mtu, detail.packet_length),
        (Some(IcmpPath::Sent), Some(1400), Some(1500))
    );
    // The error's own way names the sender's pod.
    check(&both, "web-0 Place Ip", "db-0 Ip");
    let observation = observe(&both);
    assert_eq!(
        (observation.drop.unwrap().reason.as_str(), observation.interface.as_deref()),
        ("REASON_70", Some("cni0"))
    );
    assert_eq!(observation.points.last().unwrap().at, "kfree_skb");

    let silent = failed(ExceedsMtu, None, Some(too_big(|_| {})));
    let sentence = "1500 bytes do not fit the MTU 1400 of veth-db, dropped silently: no ICMP error was seen";
    assert_eq!(check_mtu(&silent, sentence).icmp, None);
    // A bridge's port, a veth pair's other end, a segment.
    let drop = too_big(|drop| (drop.out_ifindex, drop.out_mtu, drop.mtu) = (None, None, Some(1400)));
    check_mtu(&failed(ExceedsMtu, None, Some(drop)), &sentence.replace("veth-db", "cni0"));
    let drop = too_big(|drop| (drop.out_mtu, drop.out_ifindex, drop.peer_mtu) = (None, None, Some(1300)));
    let sentence = sentence.replace("veth-db", "cni0").replace("1400", "1300");
    check_mtu(&failed(ExceedsMtu, None, Some(drop)), &sentence);
    let drop = too_big(|drop| {
        (drop.gso_size, drop.size) = (Some(1460), Some(Size { packet: 9000, headers: 40 }));
        drop.context.netns = Some(102);
    });
    let detail = check_mtu(
        &failed(ExceedsMtu, None, Some(drop)),
        "1500 bytes do not fit an MTU of 1400, dropped silently: no ICMP error was seen",
    );
    assert_eq!((detail.gso_size, detail.interface), (Some(1460), None), "another namespace's interface has no name");
}

#[test]
fn a_router_elsewhere_could_not() {
    let remote = |destination: &str| {
        let icmp = error(|icmp| {
            (icmp.source, icmp.destination) = ("203.0.113.9".parse().unwrap(), destination.parse().unwrap());
            (icmp.egress, icmp.arrival, icmp.context.ifindex) = (false, Some(5), Some(5));
        });
        failed(MtuCause::FragmentationNeeded, Some(icmp), None)
    };
    let forwarded = "1500 bytes do not fit, MTU 1400 beyond 203.0.113.9 (ICMP fragmentation needed forwarded)";
    let detail = check_mtu(&remote("10.0.0.1"), forwarded);
    assert_eq!((detail.icmp, detail.interface), (Some(IcmpPath::Forwarded), None));
    check(&remote("10.0.0.1"), "web-0 Ip", "db-0 Ip");
    check_mtu(&remote("192.0.2.1"), &forwarded.replace("forwarded", "received"));
    // A pod that forwards is named by the interface that its error came in by.
    let pod = error(|icmp| (icmp.egress, icmp.arrival, icmp.next_hop_mtu) = (false, Some(12), None));
    let detail = check_mtu(
        &failed(MtuCause::FragmentationNeeded, Some(pod), None),
        "1500 bytes do not fit beyond shop/db-0 (ICMP fragmentation needed forwarded)",
    );
    assert_eq!(detail.reported_by.unwrap().pod.unwrap().name, "db-0");
}

#[test]
fn fragments() {
    let fragment = Some(Fragment { identification: 77, offset: 0, more: true });
    let drop = || too_big(|drop| drop.fragment = fragment);
    let given_up = |icmp, drop| Joined { count: 3, ..failed(MtuCause::ReassemblyFailed, icmp, drop) };
    let detail = check_mtu(&given_up(None, Some(drop())), "3 fragments were given up before all had come");
    assert_eq!((detail.fragment_id, detail.next_hop_mtu, detail.interface), (Some(77), None, None));
    let icmp = || Some(error(|icmp| (icmp.error, icmp.next_hop_mtu) = (SizeError::ReassemblyTimeExceeded, None)));
    let told = "fragments were given up before all had come, node node-a told the sender";
    check_mtu(&given_up(icmp(), Some(drop())), &format!("3 {told}"));
    check_mtu(&given_up(icmp(), None), told);
}

/// A reset `source>destination` that came in by the source's interface.
fn packet(flags: u8, sequence: u32) -> Option<Box<RawReset>> {
    Some(Box::new(RawReset {
        context: crate::event::raw::Context { ifindex: Some(12), ..context(OWN, None) },
        source: DB.parse().unwrap(),
        destination: WEB.parse().unwrap(),
        egress: false,
        translated: false,
        arrival: Some(12),
        sequence,
        acknowledgment: 1,
        tcp_flags: RST | flags,
        hop_limit: 64,
        opener: None,
        opened_ns: None,
    }))
}

fn socket(side: SocketSide, state: Option<u8>, change: impl FnOnce(&mut RawSocket)) -> Option<Box<RawSocket>> {
    let (netns, cgroup) = if side == SocketSide::Received { (101, 1001) } else { (102, 1002) };
    let mut socket = RawSocket {
        context: context(netns, Some(cgroup).filter(|_| state.is_some())),
        source: DB.parse().unwrap(),
        destination: WEB.parse().unwrap(),
        side,
        reason: None,
        state,
        trigger_flags: None,
        trigger_sequence: 0,
        alone: false,
        opener: Some(Side::Destination),
        opened_ns: None,
    };
    change(&mut socket);
    Some(Box::new(socket))
}

/// Packet, sender and receiver.
type Parts = (Option<Box<RawReset>>, Option<Box<RawSocket>>, Option<Box<RawSocket>>);

fn reset(cause: ResetCause, parts: Parts) -> Joined {
    let (packet, sender, receiver) = parts;
    let points = [at(hook::TCX_INGRESS, 12, 0)];
    let kind = JoinedKind::Reset(Box::new(Reset { cause, packet, sender, receiver, rejected_at: None }));
    Joined { kind, ..dropped(DB, WEB, &points) }
}

fn check_reset(joined: &Joined, sentence: &str, severity: Severity) {
    let observation = observe(joined);
    assert_eq!((observation.summary.as_str(), observation.severity), (sentence, severity), "{joined:?}");
    assert_eq!(observation.kind, Kind::Reset);
}

#[test]
fn who_reset_whom() {
    use ResetCause::{Aborted, NoConnection, Refused, Rejected, Unknown};
    use Severity::{Info, Problem};
    use SocketSide::{Answered, Received, Sent};
    let refused = reset(
        Refused,
        (
            packet(ACK, 0),
            socket(Answered, None, |s| s.trigger_flags = Some(SYN)),
            socket(Received, Some(SYN_SENT), |_| {}),
        ),
    );
    check_reset(&refused, "reset: shop/db-0:5432 refused shop/web-0: nothing listens there", Problem);
    check(&refused, "db-0 Place Ip", "web-0 Socket Place Ip");
    let detail = observe(&refused).reset.unwrap();
    assert_eq!((detail.opener, detail.tcp_flags.as_deref()), (Some(ResetEnd::Destination), Some("RST,ACK")));
    assert_eq!((detail.source_state, detail.destination_state.as_deref()), (None, Some("SYN_SENT")));

    // CLOSE is what giving up makes of the sender's state, so it says nothing.
    let sender = |state| socket(Sent, Some(state), |s| (s.reason, s.opened_ns) = (Some(30), Some(500)));
    let mut aborted = reset(Aborted, (packet(ACK, 5), sender(CLOSE), socket(Received, Some(ESTABLISHED), |_| {})));
    aborted.boot_ns = 2_100_000_500;
    let sentence =
        "reset: shop/db-0:5432 reset the connection of shop/web-0 (TCP_ABORT_ON_CLOSE, 2.1 s after it was opened)";
    check_reset(&aborted, sentence, Problem);
    assert_eq!(observe(&aborted).reset.unwrap().source_state, None);
    check(&aborted, "db-0 Socket Place Ip", "web-0 Socket Place Ip");
    let closed = "reset: shop/db-0:5432 reset the connection of shop/web-0";
    // FIN_WAIT2, CLOSE_WAIT, …: an end had closed it already.
    for state in [4, 5, 6, 7, 8, 9, 11] {
        check_reset(&reset(Aborted, (packet(ACK, 5), None, socket(Received, Some(state), |_| {}))), closed, Info);
    }
    check_reset(&reset(Aborted, (packet(0, 5), socket(Answered, Some(5), |_| {}), None)), closed, Info);
    check_reset(&reset(Aborted, (packet(ACK, 5), None, socket(Received, Some(3), |_| {}))), closed, Problem);

    let stray = |flags: u8, receiver| {
        reset(NoConnection, (packet(0, 5), socket(Answered, None, |s| s.trigger_flags = Some(flags)), receiver))
    };
    let sentence = "reset: shop/db-0:5432 knows no connection with shop/web-0";
    check_reset(&stray(ACK, socket(Received, Some(ESTABLISHED), |_| {})), sentence, Problem);
    check_reset(&stray(ACK, None), sentence, Problem);
    check_reset(&stray(ACK | FIN, None), sentence, Info);

    let unknown = reset(Unknown, (packet(0, 5), None, None));
    check_reset(&unknown, "reset: shop/db-0:5432 reset shop/web-0:40000, nothing more is known", Problem);
    let mut rejected = reset(Rejected, (packet(ACK, 0), None, socket(Received, Some(SYN_SENT), |_| {})));
    let sentence = "reset: a packet filter rule rejected shop/web-0 -> shop/db-0:5432";
    check_reset(&rejected, sentence, Problem);
    // Nobody sent it: whose interface it came by says nothing of its source, neither does a socket.
    check(&rejected, "db-0 Ip", "web-0 Socket Place Ip");
    let backend = Some(("10.0.0.2".parse().unwrap(), Some(5432)));
    rejected.nat = Some(Translation { original: tuple(WEB, "10.96.0.10:53", 6), backend, reply: true });
    check_reset(&rejected, &format!("{sentence} (service shop/db)"), Problem);
    // The drop says in which hook, where that is certain.
    let JoinedKind::Reset(parts) = &mut rejected.kind else { unreachable!() };
    let point = at(hook::NETFILTER + 2, 12, 11);
    parts.rejected_at = Some(LastPoint { point, netns: Some(OWN), ipv6: false });
    let sentence = sentence.replace("rule", "rule in FORWARD");
    check_reset(&rejected, &format!("{sentence} (service shop/db)"), Problem);
    assert_eq!(observe(&rejected).reset.unwrap().hook.as_deref(), Some("FORWARD"));
    let JoinedKind::Reset(parts) = &mut rejected.kind else { unreachable!() };
    parts.rejected_at = Some(LastPoint { point, netns: Some(102), ipv6: false });
    assert_eq!(observe(&rejected).reset.unwrap().hook, None, "hooks of another namespace are not seen");
}

#[test]
fn a_reset_at_the_loopback_is_between_two_ends_there() {
    let on = |ifindex| {
        let looped = reset(ResetCause::Refused, (None, None, None));
        Joined { ifindex, netns: Some(101), tuple: Some(tuple("10.0.0.99:80", "10.0.0.1:40000", 6)), ..looped }
    };
    check(&on(Some(netobs_common::LOOPBACK)), "web-0 Place", "web-0 Place Ip");
    check(&on(Some(5)), "unknown: unknown_ip", "web-0 Ip");
}

#[test]
fn late_segments_to_a_node_that_knows_no_connection_either() {
    // The node's own address, and no socket there received it.
    let mut joined = reset(
        ResetCause::NoConnection,
        (packet(0, 5), socket(SocketSide::Answered, None, |s| s.trigger_flags = Some(ACK)), None),
    );
    joined.tuple = Some(tuple(DB, "192.0.2.1:40000", 6));
    check_reset(&joined, "reset: shop/db-0:5432 knows no connection with node node-a", Severity::Info);
}

#[test]
fn a_reset_that_the_node_made_goes_to_the_pod_behind_the_interface() {
    let mut made = packet(ACK, 5).unwrap();
    (made.egress, made.arrival, made.context.ifindex) = (true, None, Some(11));
    let mut joined = reset(ResetCause::Aborted, (Some(made), None, None));
    joined.points = vec![at(hook::TCX_EGRESS, 11, 0)];
    check(&joined, "db-0 Ip", "web-0 Place Ip");
    joined.tuple = Some(tuple("[fd00::2]:80", "[fd00::1]:40000", 6));
    assert_eq!(observe(&joined).summary, "reset: [fd00::2]:80 reset the connection of shop/web-0:40000");
}

#[test]
fn floods() {
    let flood = |phase| {
        let flood = Flood {
            phase,
            end_cause: None,
            since_ns: 500,
            duration_ns: 12_000_000_000,
            packets: 1_234_567,
            rate: 85_000.4,
            baseline: 0.2,
            threshold: 100.0,
            destinations: 3,
            to_main: Some(1_000_000),
        };
        Joined { context: None, kind: JoinedKind::Flood(Box::new(flood)), ..dropped(DB, WEB, &[]) }
    };
    let check_flood = |phase, sentence: &str| {
        let mut joined = flood(phase);
        let tuple = joined.tuple.as_mut().unwrap();
        (tuple.source_port, tuple.destination_port) = (None, None);
        let observation = observe(&joined);
        assert_eq!(observation.summary, sentence);
        assert_eq!((observation.kind, observation.severity), (Kind::Flood, Severity::Problem));
        observation.flood.unwrap()
    };
    let onset = "flood: shop/db-0 sends 85,000 resets per second, mostly to shop/web-0 (before: 0.2 per second)";
    let detail = check_flood(FloodPhase::Onset, onset);
    assert_eq!((detail.since_boot_ns, detail.packets), (500, 1_234_567));
    let end = "flood: the one from shop/db-0 is over: 1,234,567 resets in 12.0 s, mostly to shop/web-0";
    check_flood(FloodPhase::End, end);
    let mut stopped = flood(FloodPhase::End);
    if let JoinedKind::Flood(flood) = &mut stopped.kind {
        flood.end_cause = Some(FloodEnd::ObserverStops);
    }
    let sentence = "flood: netobs stops during the one from shop/db-0, of which it saw 1,234,567 resets in 12.0 s, \
                    mostly to shop/web-0";
    assert_eq!(observe(&stopped).summary, sentence);
    // How much of it went there is not known, or not even where.
    let said = |to_main| {
        let mut joined = flood(FloodPhase::Onset);
        if let JoinedKind::Flood(flood) = &mut joined.kind {
            flood.to_main = to_main;
        }
        if to_main.is_none() {
            let half = Half { side: Side::Source, ip: "10.0.0.2".parse().unwrap(), port: None, protocol: 6 };
            (joined.tuple, joined.half) = (None, Some(half));
        }
        observe(&joined)
    };
    let onset = "flood: shop/db-0 sends 85,000 resets per second";
    for (to_main, to) in [(1_234_567, "to"), (617_284, "mostly to"), (617_283, "among others to")] {
        assert_eq!(said(Some(to_main)).summary, format!("{onset}, {to} shop/web-0 (before: 0.2 per second)"));
    }
    let nowhere = said(None);
    assert_eq!(nowhere.summary, format!("{onset} (before: 0.2 per second)"));
    assert_eq!(nowhere.flow.unwrap().destination_ip, None);
    assert_eq!(nowhere.destination.unwrap().unknown.as_deref(), Some("no_address"));
}

#[test]
fn counted_for_many_an_end_is_unknown() {
    let mut joined = dropped(DB, WEB, &[]);
    let resets = Coalesced::Resets { refused: false, alone: false, bytes: 1 };
    (joined.kind, joined.context, joined.count) = (JoinedKind::Coalesced(resets), None, 1_234);
    let half = Half { side: Side::Source, ip: "10.0.0.2".parse().unwrap(), port: None, protocol: 6 };
    (joined.tuple, joined.half) = (None, Some(half));
    let observation = observe(&joined);
    let sentence = "reset: shop/db-0 -> unknown tcp: 1,234 more packets of this kind, counted";
    assert_eq!(observation.summary, sentence);
    let json = serde_json::to_value(&observation).unwrap();
    assert_eq!(json["flow"], serde_json::json!({"protocol": "tcp", "source_ip": "10.0.0.2"}));
    check(&joined, "db-0 Ip", "unknown: no_address");

    joined.kind = JoinedKind::Coalesced(Coalesced::Drops { reason: 2, location: 0, segment: 0, bytes: 1 });
    let group = Half { side: Side::Destination, ip: "ff02::2".parse().unwrap(), port: Some(80), protocol: 17 };
    joined.half = Some(group);
    let observation = observe(&joined);
    assert_eq!(observation.severity, Severity::Info, "nobody had joined the group");
    let sentence = "unknown -> [ff02::2]:80 udp: dropped, NOT_SPECIFIED: 1,234 more packets of this kind, counted";
    assert_eq!(observation.summary, sentence);
}

#[test]
fn counted() {
    let check = |kind, sentence: &str| {
        let mut joined = dropped(DB, WEB, &[]);
        (joined.kind, joined.context, joined.count) = (JoinedKind::Coalesced(kind), None, 1_234);
        let tuple = joined.tuple.as_mut().unwrap();
        (tuple.source_port, tuple.destination_port) = (None, None);
        let observation = observe(&joined);
        assert_eq!(observation.summary, format!("{sentence}: 1,234 more packets of this kind, counted"));
        assert!(observation.coalesced && observation.severity == Severity::Problem);
        observation
    };
    let resets = |refused| Coalesced::Resets { refused, alone: false, bytes: 1 };
    let refused = check(resets(true), "reset: shop/db-0 -> shop/web-0 tcp: connections refused");
    assert_eq!(refused.reset.unwrap().cause, ResetCause::Refused);
    check(resets(false), "reset: shop/db-0 -> shop/web-0 tcp");
    let errors = Coalesced::Icmp { error: Some(SizeError::PacketTooBig), bytes: 1 };
    let counted = check(errors, "mtu: shop/db-0 -> shop/web-0 tcp: ICMPv6 packet too big");
    assert_eq!(counted.mtu.unwrap().reported_by.unwrap().pod.unwrap().name, "db-0");
    check(Coalesced::Icmp { error: None, bytes: 1 }, "mtu: shop/db-0 -> shop/web-0 tcp");
}

//! Tests of packets that were too big, and of fragments that were given up.
#![allow(clippy::unwrap_used)]

use netobs_common::record::{BucketKey, kind};
use netobs_common::trail::{Point, hook};

use super::bench::{Bench, REASSEMBLY, TOO_BIG, UNSPECIFIED, context, dropped, one, reasons};
use super::held::{FRAGMENTS_HOLD_NS, HOLD_NS};
use super::*;
use crate::event::joined::{Coalesced, SizeFailure};
use crate::event::observation::MtuCause;
use crate::event::raw::{Conntrack, Fragment, Quoted, Size};

const CLIENT: &str = "10.0.0.1:40000";
const SERVICE: &str = "10.96.0.10:80";
const BACKEND: &str = "10.0.0.9:8080";
const ROUTER: &str = "192.0.2.1";
fn tuple((source, destination): (&str, &str)) -> Tuple {
    translation::tcp((source.parse().unwrap(), destination.parse().unwrap()))
}

/// The error about a packet `source>destination`, seen at an interface: `+3` on its way out, made here; `-3` on its way in.
pub fn icmp(ends: (&str, &str), at: i32, packet: u64, boot_ns: u64) -> RawIcmp {
    RawIcmp {
        context: context(packet, at.unsigned_abs(), boot_ns),
        source: ROUTER.parse().unwrap(),
        destination: tuple(ends).source,
        egress: at > 0,
        translated: false,
        arrival: (at < 0).then_some(at.unsigned_abs()),
        error: SizeError::FragmentationNeeded,
        next_hop_mtu: Some(1400),
        quoted: Some(Quoted { tuple: tuple(ends), size: Some(Size { packet: 1500, headers: 40 }), fragment: None }),
    }
}

/// The drop of a packet of 1500 bytes on its way to an interface of 1400.
pub fn too_big(ends: (&str, &str), reason: u32, packet: u64, boot_ns: u64) -> RawDrop {
    RawDrop {
        reason,
        mtu: Some(1500),
        out_mtu: Some(1400),
        size: Some(Size { packet: 1500, headers: 40 }),
        tuple: Some(tuple(ends)),
        ..dropped(ends, packet, 1, boot_ns)
    }
}

impl Bench {
    fn holding(held: usize) -> Self {
        Self::with(FlowLimits { held, ..FlowLimits::default() })
    }

    fn icmp(&mut self, icmp: RawIcmp) -> Vec<Joined> {
        self.ingest(RawEvent::Icmp(Box::new(icmp)))
    }
}

fn failure(joined: &Joined) -> &SizeFailure {
    let JoinedKind::Mtu(failure) = &joined.kind else { panic!("{joined:?}") };
    failure
}

/// Both halves in both orders: the event comes with the second, at once.
fn check_joins(error: &RawIcmp, drop: &RawDrop, expected: bool) {
    for error_first in [true, false] {
        let mut bench = Bench::new();
        let (first, second) = if error_first {
            (bench.icmp(error.clone()), bench.dropped(drop.clone()))
        } else {
            (bench.dropped(drop.clone()), bench.icmp(error.clone()))
        };
        assert!(first.is_empty(), "{first:?}");
        assert_eq!(second.len(), usize::from(expected), "{error:?} {drop:?}");
        if let [joined] = &second[..] {
            let SizeFailure { cause, icmp, drop } = failure(joined);
            assert_eq!((*cause, icmp.is_some(), drop.is_some()), (MtuCause::FragmentationNeeded, true, true));
            assert_eq!(
                (joined.stands_for, joined.tuple),
                (StandsFor::Record(family::MTU), drop.as_ref().unwrap().tuple)
            );
            assert_eq!(joined.points, [Point { ifindex: 3, out_ifindex: 0, hook: 1 }]);
            assert_eq!(bench.table.next_deadline(), None);
        } else {
            assert_eq!(bench.expire(u64::MAX).len(), 2);
        }
    }
}

#[test]
fn the_error_and_the_drop_are_one() {
    let plain = || too_big((CLIENT, BACKEND), TOO_BIG, 0x100, 1_000);
    check_joins(&icmp((CLIENT, BACKEND), 3, 0x200, 0), &plain(), true);
    // The sender knows the Service; the packet that was dropped goes to the backend.
    let mut translated = plain();
    translated.conntrack =
        Some(Conntrack { original: tuple((CLIENT, SERVICE)), reply: tuple((BACKEND, CLIENT)), status: 0 });
    check_joins(&icmp((CLIENT, SERVICE), 3, 0x200, 0), &translated, true);
    check_joins(&icmp((CLIENT, SERVICE), 3, 0x200, 0), &plain(), false);
    // An answer that the backend sent, dropped after its source became the Service's.
    let answer = RawDrop { conntrack: translated.conntrack, ..too_big((SERVICE, CLIENT), TOO_BIG, 0x100, 0) };
    check_joins(&icmp((BACKEND, CLIENT), 3, 0x200, 0), &answer, true);
    // What fragmentation drops has no reason of its own; a fragment's quote has no ports.
    let mut portless = icmp((CLIENT, BACKEND), 3, 0x200, 0);
    let quoted = portless.quoted.as_mut().unwrap();
    (quoted.tuple.source_port, quoted.tuple.destination_port) = (None, None);
    check_joins(&portless, &too_big((CLIENT, BACKEND), UNSPECIFIED, 0x100, 0), true);

    check_joins(&icmp((CLIENT, "10.0.0.9:8081"), 3, 0x200, 0), &plain(), false);
    check_joins(&icmp((BACKEND, CLIENT), 3, 0x200, 0), &plain(), false);
    check_joins(&icmp((CLIENT, BACKEND), 3, 0x200, 1_001 + HOLD_NS), &plain(), false);
    check_joins(&RawIcmp { quoted: None, ..icmp((CLIENT, BACKEND), 3, 0x200, 0) }, &plain(), false);
}

#[test]
fn one_error_for_one_drop_the_oldest_first() {
    let mut bench = Bench::new();
    bench.icmp(RawIcmp { next_hop_mtu: Some(1), ..icmp((CLIENT, BACKEND), 3, 0x200, 0) });
    bench.icmp(RawIcmp { next_hop_mtu: Some(2), ..icmp((CLIENT, BACKEND), 3, 0x300, 1) });
    let mtu = |joined: &[Joined]| failure(one(joined)).icmp.as_ref().unwrap().next_hop_mtu;
    assert_eq!(mtu(&bench.dropped(too_big((CLIENT, BACKEND), TOO_BIG, 0x100, 2))), Some(1));
    assert_eq!(mtu(&bench.dropped(too_big((CLIENT, BACKEND), TOO_BIG, 0x100, 3))), Some(2));
    assert!(bench.dropped(too_big((CLIENT, BACKEND), TOO_BIG, 0x100, 4)).is_empty());
    assert_eq!(failure(one(&bench.expire(4 + HOLD_NS))).cause, MtuCause::ExceedsMtu);
    assert_eq!(bench.table.stats().totals(), [5, 3, 2, 0, 0]);
}

#[test]
fn alone_they_are_told_when_their_time_is_up() {
    let mut bench = Bench::new();
    bench.icmp(icmp((CLIENT, BACKEND), -3, 0x200, 5));
    assert_eq!(bench.table.next_deadline(), Some(5 + HOLD_NS));
    assert!(bench.expire(4 + HOLD_NS).is_empty());
    let out = bench.expire(5 + HOLD_NS);
    let joined = one(&out);
    assert_eq!((joined.tuple, joined.boot_ns, joined.nat), (Some(tuple((CLIENT, BACKEND))), 5, None));
    assert_eq!(joined.points, [Point { ifindex: 3, out_ifindex: 0, hook: 1 }]);

    bench.dropped(too_big((CLIENT, BACKEND), UNSPECIFIED, 0x100, 9));
    let out = bench.expire(9 + HOLD_NS);
    assert_eq!((failure(one(&out)).cause, out[0].stands_for), (MtuCause::ExceedsMtu, StandsFor::Record(family::DROP)));
}

#[test]
fn what_says_that_it_was_too_big() {
    let check = |change: &dyn Fn(&mut RawDrop), expected: bool| {
        let mut drop = too_big((CLIENT, BACKEND), UNSPECIFIED, 0x100, 0);
        change(&mut drop);
        let mut bench = Bench::new();
        let mut out = bench.dropped(drop);
        out.extend(bench.expire(HOLD_NS));
        assert_eq!(matches!(one(&out).kind, JoinedKind::Mtu(_)), expected, "{out:?}");
    };
    check(&|_| {}, true);
    check(&|drop| drop.out_mtu = Some(1500), false);
    check(&|drop| (drop.out_mtu, drop.mtu, drop.points) = (None, Some(1499), vec![]), true);
    check(&|drop| (drop.out_mtu, drop.peer_mtu, drop.points) = (None, Some(1400), vec![]), true);
    check(&|drop| drop.size = None, false);
    check(&|drop| (drop.size, drop.reason) = (None, TOO_BIG), true);
    check(&|drop| drop.reason = 8, false);
    // Where it is still at the interface that it came in by, only what lies ahead counts: its fragments were put together.
    let came_in = |ifindex, hook| vec![Point { ifindex, out_ifindex: 0, hook }];
    let only_own = |drop: &mut RawDrop| (drop.out_mtu, drop.mtu, drop.peer_mtu) = (None, Some(1400), Some(1400));
    check(&|drop| only_own(drop), false);
    check(&|drop| (only_own(drop), drop.points = came_in(4, hook::TCX_INGRESS)).1, true);
    check(&|drop| (only_own(drop), drop.points.clear()).1, true);
    check(&|drop| drop.points = came_in(3, hook::TCX_INGRESS), true);
    // It had arrived.
    check(&|drop| drop.points.extend(came_in(3, hook::NETFILTER + 1)), false);
    check(&|drop| drop.points.extend(came_in(3, hook::NETFILTER + 2)), true);
    // Nobody had joined the group, so nobody says why; but where the kernel says it, it was too big.
    let to = |ip: &str, drop: &mut RawDrop| drop.tuple.as_mut().unwrap().destination = ip.parse().unwrap();
    for ip in ["224.0.0.251", "ff02::fb", "255.255.255.255"] {
        check(&|drop| to(ip, drop), false);
        check(&|drop| (to(ip, drop), drop.reason = TOO_BIG).1, true);
    }
    // Still to be segmented: a segment has to fit.
    check(&|drop| (drop.size, drop.gso_size) = (Some(Size { packet: 9000, headers: 40 }), Some(1360)), false);
    check(&|drop| (drop.size, drop.gso_size) = (Some(Size { packet: 9000, headers: 40 }), Some(1361)), true);
}

#[test]
fn an_error_at_several_places_is_one() {
    const NODE: &str = "192.0.2.1:50000";
    let mut bench = Bench::new();
    bench.icmp(icmp((CLIENT, BACKEND), -3, 0x200, 0));
    bench.icmp(RawIcmp { translated: true, ..icmp((NODE, BACKEND), 4, 0x200, 10) });
    assert_eq!(bench.table.stats().folded[family::MTU], 1);
    // The memory was used again, by another packet that is alike.
    bench.icmp(icmp((CLIENT, BACKEND), -3, 0x200, 20));
    let out = bench.expire(u64::MAX);
    let sources: Vec<_> = out.iter().map(|joined| joined.tuple.unwrap().source).collect();
    // As its sender is known beyond the translation.
    assert_eq!(sources, [tuple((NODE, BACKEND)).source, tuple((CLIENT, BACKEND)).source]);
}

/// A fragment of UDP that was given up.
fn fragment(offset: u16, identification: u32, packet: u64, boot_ns: u64) -> RawDrop {
    let mut drop = dropped((CLIENT, BACKEND), packet, 1, boot_ns);
    drop.reason = REASSEMBLY;
    drop.fragment = Some(Fragment { identification, offset, more: true });
    if offset != 0 {
        let tuple = drop.tuple.as_mut().unwrap();
        (tuple.source_port, tuple.destination_port) = (None, None);
    }
    drop
}

#[test]
fn the_fragments_of_a_packet_are_one() {
    let mut bench = Bench::new();
    // The timer may be interrupted between them, for longer than the halves of another event would be waited for.
    for (at, offset) in [1480, 0, 2960].into_iter().enumerate() {
        let packet = 0x100 * (1 + at as u64);
        assert!(bench.dropped(fragment(offset, 7, packet, at as u64 * 2 * HOLD_NS)).is_empty());
    }
    bench.dropped(fragment(1480, 8, 0x900, 5));
    let quoted = Quoted {
        tuple: fragment(0, 7, 0, 0).tuple.unwrap(),
        size: None,
        fragment: Some(Fragment { identification: 7, offset: 0, more: true }),
    };
    let error = RawIcmp {
        error: SizeError::ReassemblyTimeExceeded,
        next_hop_mtu: None,
        quoted: Some(quoted),
        ..icmp((CLIENT, BACKEND), 3, 0x500, 3)
    };
    assert!(bench.icmp(error.clone()).is_empty());
    assert!(bench.expire(FRAGMENTS_HOLD_NS - 1).is_empty());
    let out = bench.expire(5 + FRAGMENTS_HOLD_NS);
    assert_eq!(out.len(), 2);
    assert_eq!((out[0].count, out[0].tuple, out[0].boot_ns), (3, fragment(0, 7, 0, 0).tuple, 2 * HOLD_NS));
    let SizeFailure { cause, icmp, drop } = failure(&out[0]);
    assert_eq!((*cause, icmp.is_some()), (MtuCause::ReassemblyFailed, true));
    assert_eq!(drop.as_ref().unwrap().fragment.unwrap().offset, 0);
    assert_eq!((out[1].count, out[1].stands_for), (1, StandsFor::Record(family::DROP)));
    // Alone, the error is one as well.
    bench.icmp(RawIcmp { context: context(0x700, 3, 3 * FRAGMENTS_HOLD_NS), ..error });
    assert_eq!(failure(one(&bench.expire(u64::MAX))).cause, MtuCause::ReassemblyFailed);
    assert_eq!(bench.table.stats().totals(), [6, 3, 3, 0, 0]);
}

#[test]
fn without_room_the_oldest_is_told_early() {
    let mut bench = Bench::holding(2);
    for n in 0..5u64 {
        let out = bench.dropped(too_big((CLIENT, BACKEND), TOO_BIG, 0x100 * (n + 1), n));
        assert_eq!(out.len(), usize::from(n >= 2));
        let out = bench.dropped(fragment(1480, n as u32, 0x1000 * (n + 1), n));
        assert_eq!(out.len(), usize::from(n >= 2));
    }
    let stats = bench.table.stats();
    assert_eq!((stats.told_early, stats.pending[family::DROP]), (6, 4));
}

#[test]
fn counted_errors_of_this_node_are_told_or_counted() {
    let check = |ip_version, reason, reasons: DropReasons, told: bool| {
        let key = BucketKey { kind: kind::MTU, ip_version, reason, protocol: 1, response: 1, ..BucketKey::default() };
        let mut table = FlowTable::new(FlowLimits::default(), reasons);
        let joined = table.coalesced(&Counted { key, count: 5, bytes: 100, last_ns: 9 });
        assert_eq!(joined.map(|joined| joined.count), told.then_some(5));
        assert_eq!(table.stats().own_icmp_packets, if told { 0 } else { 5 });
    };
    let (needed, too_big, exceeded) = ((4, 0x0304), (6, 0x0200), (4, 0x0b01));
    let none = || DropReasons { too_big: None, ..reasons() };
    let no_reassembly = || DropReasons { reassembly: vec![], ..reasons() };
    check(needed.0, needed.1, reasons(), false);
    check(too_big.0, too_big.1, reasons(), false);
    check(exceeded.0, exceeded.1, reasons(), false);
    check(needed.0, needed.1, none(), true);
    check(too_big.0, too_big.1, none(), true);
    check(exceeded.0, exceeded.1, none(), false);
    check(exceeded.0, exceeded.1, no_reassembly(), true);
    check(needed.0, needed.1, no_reassembly(), false);
    check(4, 0x0200, reasons(), true);
}

#[test]
fn counted_errors() {
    let check = |ip_version, reason, expected| {
        let key = BucketKey { kind: kind::MTU, ip_version, reason, protocol: 1, netns: 1, ..BucketKey::default() };
        let mut table = FlowTable::new(FlowLimits::default(), reasons());
        let joined = table.coalesced(&Counted { key, count: 5, bytes: 100, last_ns: 9 }).unwrap();
        assert_eq!(joined.kind, JoinedKind::Coalesced(Coalesced::Icmp { error: expected, bytes: 100 }));
        assert_eq!((joined.stands_for, joined.count), (StandsFor::Summary(family::MTU), 5));
    };
    check(4, 0x0304, Some(SizeError::FragmentationNeeded));
    check(4, 0x0b01, Some(SizeError::ReassemblyTimeExceeded));
    check(4, 0x0200, None);
    check(6, 0x0200, Some(SizeError::PacketTooBig));
    check(6, 0x0301, Some(SizeError::ReassemblyTimeExceeded));
    check(6, 0x0300, None);
}

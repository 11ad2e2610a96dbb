//! Tests of resets: the packet and what sockets say are one event, whatever the order; and the ledger of all families.
#![allow(clippy::unwrap_used)]

use netobs_common::record::{BucketKey, kind};
use proptest::prelude::*;

use super::bench::{Bench, NO_SOCKET, context, dropped, of_drop, one, reasons};
use super::held::HOLD_NS;
use super::mtu_tests::{icmp, too_big};
use super::*;
use crate::event::joined::{Coalesced, Reset};
use crate::event::observation::ResetCause;
use crate::event::raw::{Conntrack, Context, RawReset, RawSocket, Side, SocketSide};
use crate::event::tcp::flag::{ACK, RST, SYN};
use crate::event::tcp::state::{ESTABLISHED, SYN_SENT};

const CLIENT: &str = "10.0.0.1:40000";
const SERVICE: &str = "10.96.0.10:80";
const BACKEND: &str = "10.0.0.9:8080";
const NODE: &str = "192.0.2.1:50000";

/// A reset `source>destination`, seen at an interface: `+3` on its way out, made here; `-3` on its way in.
pub fn reset(ends: (&str, &str), at: i32, packet: u64, boot_ns: u64) -> RawReset {
    RawReset {
        context: context(packet, at.unsigned_abs(), boot_ns),
        source: ends.0.parse().unwrap(),
        destination: ends.1.parse().unwrap(),
        egress: at > 0,
        translated: false,
        arrival: (at < 0).then_some(at.unsigned_abs()),
        sequence: 1,
        acknowledgment: 1,
        tcp_flags: RST | ACK,
        hop_limit: 64,
        opener: None,
        opened_ns: None,
    }
}

/// What a socket says of it, in the namespace of a pod.
pub fn socket(ends: (&str, &str), side: SocketSide, boot_ns: u64) -> RawSocket {
    RawSocket {
        context: Context { digest: None, netns: Some(2), ..context(0, 1, boot_ns) },
        source: ends.0.parse().unwrap(),
        destination: ends.1.parse().unwrap(),
        side,
        reason: None,
        state: (side != SocketSide::Answered).then_some(ESTABLISHED),
        trigger_flags: (side == SocketSide::Answered).then_some(SYN),
        trigger_sequence: 0,
        alone: false,
        opener: None,
        opened_ns: None,
    }
}

pub fn of_packet(reset: RawReset) -> RawEvent {
    RawEvent::Reset(Box::new(reset))
}

pub fn of_socket(socket: RawSocket) -> RawEvent {
    RawEvent::Socket(Box::new(socket))
}

pub fn parts(joined: &Joined) -> &Reset {
    let JoinedKind::Reset(reset) = &joined.kind else { panic!("{joined:?}") };
    reset
}

/// The resets that come of some records, in every order of these but of packets' among themselves: those come by one ring.
pub fn in_every_order(events: &[RawEvent], check: impl Fn(&[Joined])) {
    let mut order: Vec<usize> = (0..events.len()).collect();
    permute(&mut order, 0, &mut |order| {
        let packets: Vec<_> = order.iter().filter(|at| matches!(events[**at], RawEvent::Reset(_))).collect();
        if !packets.is_sorted() {
            return;
        }
        let mut bench = Bench::new();
        let mut out: Vec<Joined> = order.iter().flat_map(|at| bench.ingest(events[*at].clone())).collect();
        out.extend(bench.expire(u64::MAX));
        assert!(bench.table.resets.is_empty());
        assert_eq!(bench.table.stats().pending, Records::default());
        out.retain(|joined| matches!(joined.kind, JoinedKind::Reset(_)));
        check(&out);
    });
}

pub fn permute(order: &mut [usize], from: usize, run: &mut impl FnMut(&[usize])) {
    if from == order.len() {
        run(order);
    }
    for at in from..order.len() {
        order.swap(from, at);
        permute(order, from + 1, run);
        order.swap(from, at);
    }
}

#[test]
fn the_packet_and_both_sockets_are_one() {
    let ends = (BACKEND, CLIENT);
    let events = [
        of_packet(RawReset { sequence: 0, ..reset(ends, -3, 0x100, 10) }),
        of_socket(socket(ends, SocketSide::Answered, 5)),
        of_socket(RawSocket { state: Some(SYN_SENT), ..socket(ends, SocketSide::Received, 20) }),
    ];
    in_every_order(&events, |out| {
        let joined = one(out);
        let Reset { cause, packet, sender, receiver, .. } = parts(joined);
        assert_eq!(
            (*cause, packet.is_some(), sender.is_some(), receiver.is_some()),
            (ResetCause::Refused, true, true, true)
        );
        assert_eq!((joined.stands_for, joined.boot_ns), (StandsFor::Record(family::RESET), 10));
        assert_eq!((parts(joined).opener(), joined.nat), (Some(Side::Destination), None));
    });
    // With both sides heard there is nothing to wait for but the segment that is answered, where it met no socket.
    let mut bench = Bench::new();
    let out: Vec<_> = events.into_iter().flat_map(|event| bench.ingest(event)).collect();
    assert!(out.is_empty());
    let mut bench = Bench::new();
    bench.ingest(of_packet(reset(ends, -3, 0x100, 10)));
    bench.ingest(of_socket(socket(ends, SocketSide::Sent, 5)));
    let out = bench.ingest(of_socket(socket(ends, SocketSide::Received, 20)));
    assert_eq!(parts(one(&out)).cause, ResetCause::Aborted);
}

#[test]
fn translated_on_its_way_it_is_one_that_names_both() {
    let mut second = reset((SERVICE, CLIENT), 4, 0x100, 15);
    (second.arrival, second.translated) = (Some(3), true);
    let events = [
        of_packet(reset((BACKEND, CLIENT), -3, 0x100, 10)),
        of_packet(second),
        of_socket(socket((BACKEND, CLIENT), SocketSide::Sent, 5)),
        of_socket(socket((SERVICE, CLIENT), SocketSide::Received, 20)),
    ];
    in_every_order(&events, |out| {
        let nat = one(out).nat.unwrap();
        let original = translation::tcp((CLIENT.parse().unwrap(), SERVICE.parse().unwrap()));
        let backend = Some(("10.0.0.9".parse().unwrap(), Some(8080)));
        assert_eq!((nat.original, nat.backend, nat.reply), (original, backend, true));
        assert!(parts(&out[0]).sender.is_some() && parts(&out[0]).receiver.is_some());
    });
}

#[test]
fn a_socket_of_the_node_that_knows_the_service_is_found_by_the_clients_end() {
    // Translation came before the first interface; the client gives up.
    let events = [
        of_packet(reset((NODE, BACKEND), 3, 0x100, 10)),
        of_socket(socket((NODE, SERVICE), SocketSide::Sent, 5)),
        of_socket(socket((NODE, BACKEND), SocketSide::Received, 20)),
    ];
    in_every_order(&events, |out| {
        let nat = one(out).nat.unwrap();
        assert_eq!((nat.original.destination_port, nat.reply), (Some(80), false));
        assert_eq!(parts(&out[0]).cause, ResetCause::Aborted);
    });
    // Where two would fit, neither is taken.
    let mut bench = Bench::new();
    bench.ingest(of_packet(reset((NODE, BACKEND), 3, 0x100, 10)));
    bench.ingest(of_packet(reset((NODE, "10.0.0.8:8080"), 3, 0x200, 11)));
    bench.ingest(of_socket(socket((NODE, SERVICE), SocketSide::Sent, 5)));
    let out = bench.expire(u64::MAX);
    assert_eq!(out.len(), 2);
    assert!(out.iter().all(|joined| parts(joined).sender.is_none()));
    assert_eq!(bench.table.stats().unseen_resets, 1);
}

#[test]
fn two_resets_of_one_connection_are_two() {
    let ends = (BACKEND, CLIENT);
    let events = [
        of_packet(reset(ends, -3, 0x100, 10)),
        of_packet(reset(ends, -3, 0x100, 12)),
        of_socket(socket(ends, SocketSide::Sent, 9)),
        of_socket(socket(ends, SocketSide::Sent, 11)),
    ];
    in_every_order(&events, |out| {
        assert_eq!(out.len(), 2);
        assert!(out.iter().all(|joined| parts(joined).sender.is_some()));
    });
}

#[test]
fn what_is_of_another_reset_stays_apart() {
    let packet = || of_packet(reset((BACKEND, CLIENT), -3, 0x100, 2 * HOLD_NS));
    let check = |socket: RawSocket| {
        in_every_order(&[packet(), of_socket(socket.clone())], |out| {
            assert!(parts(one(out)).sender.is_none(), "{socket:?}");
        });
    };
    check(socket((CLIENT, BACKEND), SocketSide::Sent, 2 * HOLD_NS));
    check(socket((BACKEND, "10.0.0.1:40001"), SocketSide::Sent, 2 * HOLD_NS));
    check(socket((BACKEND, CLIENT), SocketSide::Sent, HOLD_NS - 1));
    check(socket((BACKEND, CLIENT), SocketSide::Sent, 3 * HOLD_NS + 1));
}

#[test]
fn a_reset_that_no_interface_shows_is_none() {
    let mut bench = Bench::new();
    bench.ingest(of_socket(socket((BACKEND, CLIENT), SocketSide::Sent, 0)));
    bench.ingest(of_socket(socket((BACKEND, CLIENT), SocketSide::Received, 1)));
    assert!(bench.expire(u64::MAX).is_empty());
    let stats = bench.table.stats();
    assert_eq!((stats.unseen_resets, stats.folded[family::SOCKET]), (2, 2));
}

#[test]
fn in_a_pods_own_loopback_sockets_are_all_there_is() {
    let ends = ("127.0.0.1:80", "127.0.0.1:40000");
    let alone = |side, netns| RawSocket {
        alone: side != SocketSide::Received,
        context: Context { netns: Some(netns), ..socket(ends, side, 0).context },
        ..socket(ends, side, 0)
    };
    in_every_order(&[of_socket(alone(SocketSide::Answered, 2)), of_socket(alone(SocketSide::Received, 2))], |out| {
        let Reset { cause, packet, sender, receiver, .. } = parts(one(out));
        assert_eq!(
            (*cause, packet.is_none(), sender.is_some(), receiver.is_some()),
            (ResetCause::Refused, true, true, true)
        );
        assert_eq!((out[0].stands_for, out[0].netns), (StandsFor::Record(family::SOCKET), Some(2)));
    });
    // Another pod's loopback is another place.
    in_every_order(&[of_socket(alone(SocketSide::Answered, 2)), of_socket(alone(SocketSide::Received, 3))], |out| {
        assert!(parts(one(out)).receiver.is_none());
    });
    // Where the kernel does not tell of senders, the receiver has to do.
    let lone = RawSocket { alone: true, ..alone(SocketSide::Received, 2) };
    in_every_order(&[of_socket(lone)], |out| assert_eq!(parts(one(out)).cause, ResetCause::Aborted));
}

/// The drop by netfilter of a TCP packet.
fn ruled_out(ends: (&str, &str), netns: u32, boot_ns: u64) -> RawDrop {
    let mut drop = dropped(ends, 0x900, 1, boot_ns);
    drop.context.netns = Some(netns);
    drop.tuple.as_mut().unwrap().protocol = 6;
    drop
}

/// `rule`: whether the reset is taken for one that a rule made.
fn check_rejected(events: &[RawEvent], rule: bool) {
    in_every_order(events, |out| {
        let joined = one(out);
        assert_eq!(parts(joined).cause == ResetCause::Rejected, rule, "{out:#?}");
        assert_eq!(joined.evidence.len(), usize::from(rule));
    });
}

#[test]
fn a_rules_reset_names_the_drop() {
    let syn = || ruled_out((CLIENT, BACKEND), 1, 10);
    let made = |packet| RawReset { sequence: 0, ..packet };
    let here = || of_packet(made(reset((BACKEND, CLIENT), 3, 0x100, 5)));
    check_rejected(&[here(), of_drop(syn())], true);
    let received = RawSocket { state: Some(SYN_SENT), ..socket((BACKEND, CLIENT), SocketSide::Received, 8) };
    check_rejected(&[here(), of_drop(syn()), of_socket(received)], true);
    // Where the packet had been met last says in which hook the rule is.
    for events in [[here(), of_drop(syn())], [of_drop(syn()), here()]] {
        in_every_order(&events, |out| {
            let at = parts(one(out)).rejected_at.unwrap();
            assert_eq!((at.point.ifindex, at.point.hook, at.netns, at.ipv6), (3, 1, Some(1), false));
        });
    }
    // Known by its conntrack entry: the reset has the Service's address already.
    let mut translated = syn();
    let both = |ends: (&str, &str)| translation::tcp((ends.0.parse().unwrap(), ends.1.parse().unwrap()));
    translated.conntrack =
        Some(Conntrack { original: both((CLIENT, SERVICE)), reply: both((BACKEND, CLIENT)), status: 0 });
    let service = of_packet(made(reset((SERVICE, CLIENT), 3, 0x100, 5)));
    in_every_order(&[service.clone(), of_drop(translated.clone())], |out| {
        let nat = one(out).nat.unwrap();
        assert_eq!((nat.original, nat.backend.unwrap().1, nat.reply), (both((CLIENT, SERVICE)), Some(8080), true));
    });
    check_rejected(&[service.clone(), of_drop(translated)], true);
    check_rejected(&[service, of_drop(syn())], false);
    // In a pod: the reset comes in by the pod's interface.
    let from_pod = || of_packet(made(reset((BACKEND, CLIENT), -3, 0x100, 5)));
    check_rejected(&[from_pod(), of_drop(ruled_out((CLIENT, BACKEND), 2, 10))], true);
    check_rejected(&[from_pod(), of_drop(syn())], false);
    // Somebody sent it; the drop is the reset's own, of another reason, or long ago.
    check_rejected(&[here(), of_drop(syn()), of_socket(socket((BACKEND, CLIENT), SocketSide::Answered, 5))], false);
    check_rejected(&[here(), of_drop(ruled_out((BACKEND, CLIENT), 1, 10))], false);
    check_rejected(&[here(), of_drop(RawDrop { reason: 3, ..syn() })], false);
    check_rejected(&[here(), of_drop(ruled_out((CLIENT, BACKEND), 1, 6 + HOLD_NS))], false);
}

#[test]
fn a_copy_that_a_bridge_made_is_no_other_reset() {
    let mut bench = Bench::new();
    bench.ingest(of_packet(reset((NODE, CLIENT), 3, 0x100, 0)));
    bench.ingest(of_packet(reset((NODE, CLIENT), 4, 0x200, 1)));
    assert_eq!(bench.table.stats().folded[family::RESET], 1);
    assert_eq!(one(&bench.expire(u64::MAX)).points.len(), 2);
}

#[test]
fn without_room_the_oldest_is_told_early() {
    let mut bench = Bench::with(FlowLimits { held: 2, ..FlowLimits::default() });
    for n in 0..5u64 {
        let ends = format!("10.0.0.1:{}", 40_000 + n);
        let out = bench.ingest(of_packet(reset((BACKEND, &ends), -3, 0x100 * (n + 1), n)));
        assert_eq!(out.len(), usize::from(n >= 2));
    }
    assert_eq!((bench.table.stats().told_early, bench.table.stats().pending[family::RESET]), (3, 2));
}

#[test]
fn counted_resets() {
    let mut table = FlowTable::new(FlowLimits::default(), reasons());
    for (kind, family, alone) in [(kind::RESET, family::RESET, false), (kind::SOCKET, family::SOCKET, true)] {
        for refused in [true, false] {
            let response = u8::from(refused);
            let key = BucketKey {
                kind,
                ip_version: 4,
                protocol: 6,
                response,
                destination_port: [1, 1],
                ..Default::default()
            };
            let counted = Counted { key, count: 9, bytes: 0, last_ns: 1 };
            let joined = table.coalesced(&counted).unwrap();
            assert_eq!(joined.kind, JoinedKind::Coalesced(Coalesced::Resets { refused, alone, bytes: 0 }));
            assert_eq!((joined.stands_for, joined.tuple.unwrap().destination_port), (StandsFor::Summary(family), None));
        }
    }
}

proptest! {
    /// Few values, so that records meet; small bounds, so that they overflow.
    #[test]
    fn the_ledger_of_every_family_balances(
        records in prop::collection::vec((0u8..12, 0usize..4, 0usize..4, 0u64..5, 0u64..2 * HOLD_NS, any::<u8>()), 0..300)
    ) {
        let limits = FlowLimits { questions: 3, packets: 4, references: 5, held: 3, ..FlowLimits::default() };
        let mut bench = Bench::with(limits);
        let clients = [CLIENT, NODE, "127.0.0.1:40000", "[fe80::1]:40000"];
        let servers = [SERVICE, BACKEND, "127.0.0.1:80", "[fe80::2]:80"];
        let (mut now, mut emitted, mut last, mut resets) = (0, 0, 0, 0);
        for (what, client, server, packet, step, bits) in records {
            now = if bits & 1 == 0 { now + step / 16 } else { now / 2 + step };
            let ends = (clients[client], servers[server]);
            let ends = if bits & 2 == 0 { ends } else { (ends.1, ends.0) };
            let at = if bits & 4 == 0 { -3 } else { 4 };
            let side = [SocketSide::Sent, SocketSide::Answered, SocketSide::Received][usize::from(bits) % 3];
            let event = match what {
                0 | 1 => of_packet(reset(ends, at, packet, now)),
                2..=4 => of_socket(RawSocket { alone: bits & 8 != 0, ..socket(ends, side, now) }),
                5 => of_drop(ruled_out(ends, u32::from(bits & 16), now)),
                6 => of_drop(too_big(ends, if bits & 8 == 0 { 70 } else { 71 }, packet, now)),
                7 => RawEvent::Icmp(Box::new(icmp(ends, at, packet, now))),
                8 => {
                    let icmp = icmp(ends, at, packet, now);
                    RawEvent::Icmp(Box::new(RawIcmp { error: SizeError::ReassemblyTimeExceeded, ..icmp }))
                }
                9 | 10 => {
                    let flags = if bits & 32 == 0 { SYN } else { ACK };
                    let drop = ruled_out(ends, u32::from(bits & 16), now);
                    of_drop(RawDrop { reason: NO_SOCKET, tcp_flags: Some(flags), ..drop })
                }
                _ => {
                    emitted += bench.expire(now).len() as u64;
                    continue;
                }
            };
            resets += u64::from(matches!(event, RawEvent::Reset(_)));
            let out = bench.ingest(event);
            emitted += out.len() as u64;
            for joined in &out {
                prop_assert!(joined.reference > last && joined.evidence.iter().all(|e| *e < joined.reference));
                last = joined.reference;
            }
            let stats = bench.table.stats();
            prop_assert_eq!(stats.totals()[1], emitted);
            // At most three of each kind wait; a packet may have some fragments, a reset two sockets' words.
            prop_assert!(stats.pending[family::RESET] <= 3 && stats.pending[family::MTU] <= 300);
        }
        bench.expire(u64::MAX);
        let stats = bench.table.stats();
        prop_assert_eq!(stats.pending, Records::default());
        prop_assert!(bench.table.resets.is_empty());
        prop_assert_eq!(stats.emitted[family::RESET] + stats.folded[family::RESET], resets);
    }
}

//! Tests of segments that met no socket: the drop is evidence of the reset that answers it, whatever comes first.
#![allow(clippy::unwrap_used)]

use netobs_common::record::{BucketKey, kind, left_out};

use super::bench::{Bench, FLAGS, NO_SOCKET, dropped, of_drop, one};
use super::held::HOLD_NS;
use super::reset_tests::{of_packet, of_socket, parts, permute, reset, socket};
use super::*;
use crate::event::observation::ResetCause;
use crate::event::raw::{RawReset, RawSocket, SocketSide};
use crate::event::tcp::flag::{ACK, RST, SYN};
use crate::event::tcp::state::{LISTEN, SYN_SENT};

const CLIENT: &str = "10.0.0.1:40000";
const BACKEND: &str = "10.0.0.9:8080";
const LOOPED: (&str, &str) = ("127.0.0.1:40000", "127.0.0.1:80");

/// The drop of a segment that met no socket, in the namespace of a pod.
fn unmet(ends: (&str, &str), flags: u8, boot_ns: u64) -> RawDrop {
    let mut drop = RawDrop { reason: NO_SOCKET, tcp_flags: Some(flags), ..dropped(ends, 0x900, 1, boot_ns) };
    drop.context.netns = Some(2);
    drop.tuple.as_mut().unwrap().protocol = TCP;
    drop
}

fn answer(ends: (&str, &str)) -> RawReset {
    RawReset { sequence: 0, ..reset((ends.1, ends.0), -3, 0x100, 10) }
}

/// All that comes of some records, in every order of them.
fn in_every_order(events: &[RawEvent], check: impl Fn(Vec<Joined>)) {
    let mut order: Vec<usize> = (0..events.len()).collect();
    permute(&mut order, 0, &mut |order| {
        let mut bench = Bench::new();
        let mut out: Vec<Joined> = order.iter().flat_map(|at| bench.ingest(events[*at].clone())).collect();
        out.extend(bench.expire(u64::MAX));
        assert!(bench.table.resets.is_empty());
        assert_eq!(bench.table.stats().pending, Records::default());
        check(out);
    });
}

/// The drop, and the reset that names it.
fn pair_of(out: &[Joined]) -> (&Joined, &Joined) {
    let [drop, reset] = out else { panic!("{out:#?}") };
    assert!(matches!(drop.kind, JoinedKind::Drop(_)) && drop.answered, "{drop:?}");
    assert_eq!((drop.stands_for, reset.evidence.as_slice()), (StandsFor::Record(family::DROP), &[drop.reference][..]));
    (drop, reset)
}

#[test]
fn a_refused_connection_is_one_failure() {
    let syn = || of_drop(unmet((CLIENT, BACKEND), SYN, 12));
    let refuser = || of_socket(socket((BACKEND, CLIENT), SocketSide::Answered, 9));
    let receiver = RawSocket { state: Some(SYN_SENT), ..socket((BACKEND, CLIENT), SocketSide::Received, 20) };
    let packet = || of_packet(answer((CLIENT, BACKEND)));
    for events in
        [vec![packet(), syn()], vec![packet(), syn(), refuser()], vec![packet(), syn(), refuser(), of_socket(receiver)]]
    {
        in_every_order(&events, |out| {
            let (_, reset) = pair_of(&out);
            assert_eq!(parts(reset).cause, ResetCause::Refused);
        });
    }
}

#[test]
fn a_segment_that_met_a_listener_only_too() {
    let drop = RawDrop { reason: FLAGS, ..unmet((CLIENT, BACKEND), ACK, 12) };
    let heard = socket((BACKEND, CLIENT), SocketSide::Answered, 9);
    let listener = RawSocket { state: Some(LISTEN), trigger_flags: Some(ACK), ..heard };
    let events =
        [of_packet(RawReset { tcp_flags: RST, ..answer((CLIENT, BACKEND)) }), of_drop(drop), of_socket(listener)];
    in_every_order(&events, |out| assert_eq!(parts(pair_of(&out).1).cause, ResetCause::NoConnection));
}

#[test]
fn in_a_pods_own_loopback_too() {
    let alone = |side| RawSocket { alone: side == SocketSide::Answered, ..socket((LOOPED.1, LOOPED.0), side, 10) };
    let syn = unmet(LOOPED, SYN, 12);
    let events = [of_socket(alone(SocketSide::Answered)), of_socket(alone(SocketSide::Received)), of_drop(syn.clone())];
    in_every_order(&events, |out| {
        let (_, reset) = pair_of(&out);
        assert_eq!((reset.stands_for, parts(reset).cause), (StandsFor::Record(family::SOCKET), ResetCause::Refused));
    });
    // Another pod has the same addresses.
    let mut elsewhere = syn;
    elsewhere.context.netns = Some(3);
    in_every_order(&[of_socket(alone(SocketSide::Answered)), of_drop(elsewhere)], |out| {
        assert!(out.len() == 2 && out.iter().all(|joined| !joined.answered && joined.evidence.is_empty()), "{out:?}");
    });
}

#[test]
fn what_is_not_answered_is_told_as_before() {
    let check = |drop: RawDrop, held: bool| {
        let mut bench = Bench::new();
        assert_eq!(bench.dropped(drop.clone()).len(), usize::from(!held));
        // The reset is another's: other port, other way round, too early.
        bench.ingest(of_packet(answer(("10.0.0.1:40001", BACKEND))));
        bench.ingest(of_packet(answer((BACKEND, CLIENT))));
        bench.ingest(of_socket(socket((BACKEND, CLIENT), SocketSide::Sent, 12)));
        let out = bench.expire(12 + HOLD_NS);
        let drops: Vec<_> = out.iter().filter(|joined| joined.dropped().is_some()).collect();
        assert_eq!(drops.len(), usize::from(held));
        assert!(out.iter().all(|joined| joined.evidence.is_empty()), "{out:?}");
    };
    check(unmet((CLIENT, BACKEND), SYN, 12), true);
    check(unmet((CLIENT, BACKEND), RST, 12), false);
    check(RawDrop { tcp_flags: None, ..unmet((CLIENT, BACKEND), SYN, 12) }, false);
    check(RawDrop { reason: 99, ..unmet((CLIENT, BACKEND), SYN, 12) }, false);
    let mut udp = unmet((CLIENT, BACKEND), SYN, 12);
    udp.tuple.as_mut().unwrap().protocol = UDP;
    check(udp, false);
    // Alone: no reset at all.
    let mut bench = Bench::new();
    bench.dropped(unmet((CLIENT, BACKEND), SYN, 12));
    assert_eq!(bench.table.next_deadline(), Some(12 + HOLD_NS));
    assert!(!one(&bench.expire(12 + HOLD_NS)).answered);
    // What only a socket told of the reset is no event, so the drop is.
    let events =
        [of_drop(unmet((CLIENT, BACKEND), SYN, 12)), of_socket(socket((BACKEND, CLIENT), SocketSide::Answered, 9))];
    in_every_order(&events, |out| assert!(!one(&out).answered && out[0].dropped().is_some()));
}

#[test]
fn a_reset_that_a_socket_sent_answers_nobody() {
    // Data that met no socket any more, because that had given the connection up: two resets, one of them an answer.
    let second = RawReset { sequence: 7, tcp_flags: RST, ..reset((BACKEND, CLIENT), -3, 0x200, 11) };
    let packets = [of_packet(RawReset { sequence: 5, ..answer((CLIENT, BACKEND)) }), of_packet(second)];
    let sent = of_socket(socket((BACKEND, CLIENT), SocketSide::Sent, 9));
    let data = of_drop(unmet((CLIENT, BACKEND), ACK, 12));
    for order in [
        [&packets[0], &packets[1], &sent, &data],
        [&data, &packets[0], &packets[1], &sent],
        [&packets[0], &data, &sent, &packets[1]],
    ] {
        let mut bench = Bench::new();
        let mut out: Vec<_> = order.into_iter().flat_map(|event| bench.ingest(event.clone())).collect();
        out.extend(bench.expire(u64::MAX));
        let drop = out.iter().find(|joined| joined.dropped().is_some()).unwrap();
        let explained: Vec<_> = out.iter().filter(|joined| joined.evidence == [drop.reference]).collect();
        assert_eq!((out.len(), explained.len(), drop.answered), (3, 1, true), "{out:#?}");
        assert!(parts(explained[0]).sender.is_none());
    }
}

#[test]
fn two_refusals_have_a_drop_each() {
    let mut other = unmet((CLIENT, BACKEND), SYN, 14);
    other.context.packet = 0x901;
    let second = RawReset { sequence: 0, ..reset((BACKEND, CLIENT), -3, 0x101, 13) };
    let events = [
        of_packet(answer((CLIENT, BACKEND))),
        of_packet(second),
        of_drop(unmet((CLIENT, BACKEND), SYN, 12)),
        of_drop(other),
        of_socket(socket((BACKEND, CLIENT), SocketSide::Answered, 9)),
        of_socket(socket((BACKEND, CLIENT), SocketSide::Answered, 11)),
    ];
    in_every_order(&events, |out| {
        assert_eq!(out.len(), 4, "{out:#?}");
        let named: Vec<u64> = out.iter().flat_map(|joined| joined.evidence.iter().copied()).collect();
        let drops: Vec<u64> = out.iter().filter(|joined| joined.answered).map(|joined| joined.reference).collect();
        assert_eq!((named, drops.len()), (drops.clone(), 2));
    });
}

/// What a bucket counted of drops to a port of 10.0.0.9.
fn sum(table: &mut FlowTable, client: [u8; 4], last_ns: u64) -> Joined {
    let sixteen = |ip: [u8; 4]| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&ip);
        bytes
    };
    let key = BucketKey {
        source: sixteen(client),
        destination: sixteen([10, 0, 0, 9]),
        kind: kind::DROP,
        ip_version: 4,
        protocol: TCP,
        reason: NO_SOCKET,
        left_out: if client == [0; 4] { left_out::SOURCE } else { 0 },
        ..BucketKey::default()
    };
    table.coalesced(&Counted { key, count: 9, bytes: 1, last_ns }).unwrap()
}

#[test]
fn in_a_storm_what_was_counted_is_answered_as_what_was_told() {
    const SECOND: u64 = 1_000_000_000;
    let mut bench = Bench::new();
    let client = [10, 0, 0, 1];
    assert!(!sum(&mut bench.table, client, SECOND).answered);
    bench.ingest(of_packet(answer((CLIENT, BACKEND))));
    bench.expire(SECOND);
    let answered = sum(&mut bench.table, client, SECOND);
    assert_eq!((answered.answered, answered.count), (true, 9));
    assert!(sum(&mut bench.table, [0; 4], SECOND).answered, "of whomever");
    assert!(!sum(&mut bench.table, [10, 0, 0, 2], SECOND).answered, "another client");
    assert!(!sum(&mut bench.table, client, 3 * SECOND).answered, "long ago");
    // A drop that is told whole, to another port, whose own reset was counted.
    bench.dropped(unmet((CLIENT, "10.0.0.9:8081"), SYN, SECOND));
    assert!(one(&bench.expire(2 * SECOND)).answered);
}

#[test]
fn without_room_the_oldest_is_told_early() {
    let mut bench = Bench::with(FlowLimits { held: 2, ..FlowLimits::default() });
    for n in 0..5u64 {
        let mut drop = unmet((&format!("10.0.0.1:{}", 40_000 + n), BACKEND), SYN, n);
        drop.context.packet += n;
        assert_eq!(bench.dropped(drop).len(), usize::from(n >= 2));
    }
    assert_eq!((bench.table.stats().told_early, bench.table.stats().pending[family::DROP]), (3, 2));
}

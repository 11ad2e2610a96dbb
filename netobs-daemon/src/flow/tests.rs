//! Tests of the table: what becomes of sequences of records, and the ledger.
#![allow(clippy::unwrap_used)]

use netobs_common::record::{BucketKey, kind};
use proptest::prelude::*;

use super::bench::{Bench, context, dropped, one, reasons, udp};
use super::*;
use crate::event::joined::{Coalesced, DnsExchange};
use crate::event::observation::DnsOutcome;
use crate::event::raw::{Conntrack, DnsMessage, DnsQuestion, RawDns};
use crate::event::tcp::segment;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const CLIENT: &str = "10.0.0.1:40000";
const SERVICE: &str = "10.96.0.10:53";
const BACKEND: &str = "10.0.0.9:53";
const NODE: &str = "192.0.2.1:61000";

/// A DNS message `source>destination`, seen at an interface: `+3` on its way out, `-3` on its way in.
fn dns(ends: (&str, &str), at: i32, packet: u64, boot_ns: u64) -> RawDns {
    RawDns {
        context: context(packet, at.unsigned_abs(), boot_ns),
        source: ends.0.parse().unwrap(),
        destination: ends.1.parse().unwrap(),
        egress: at > 0,
        message: DnsMessage {
            id: 1,
            response: ends.0.ends_with(":53"),
            truncated: false,
            opcode: 0,
            rcode: 0,
            answers: 1,
            question: Some(DnsQuestion { name: "web.shop.".into(), qtype: 1, qclass: 1 }),
        },
        message_length: 30,
    }
}

fn exchange(joined: &Joined) -> &DnsExchange {
    let JoinedKind::Dns(exchange) = &joined.kind else { panic!("{joined:?}") };
    exchange
}

impl Bench {
    fn dns(&mut self, dns: RawDns) -> Vec<Joined> {
        self.ingest(RawEvent::Dns(Box::new(dns)))
    }
}

#[test]
fn an_answer_finds_its_question() {
    let mut bench = Bench::new();
    assert!(bench.dns(dns((CLIENT, BACKEND), -3, 0x100, SECOND)).is_empty());
    assert_eq!(bench.table.next_deadline(), Some(6 * SECOND));
    let out = bench.dns(dns((BACKEND, CLIENT), -4, 0x200, SECOND + 2 * MS));
    let joined = one(&out);
    assert_eq!((joined.reference, joined.boot_ns, joined.nat), (1, SECOND + 2 * MS, None));
    assert_eq!(joined.tuple, Some(udp((CLIENT, BACKEND))));
    let exchange = exchange(joined);
    assert_eq!((exchange.outcome, exchange.latency_ns, exchange.attempts), (DnsOutcome::Answered, Some(2 * MS), 1));
    assert_eq!(bench.table.next_deadline(), None);
    let stats = bench.table.stats();
    assert_eq!(stats.totals()[..3], [2, 1, 1]);
}

#[test]
fn outcomes() {
    let check = |change: fn(&mut DnsMessage), expected| {
        let mut bench = Bench::new();
        bench.dns(dns((CLIENT, BACKEND), -3, 0x100, 0));
        let mut answer = dns((BACKEND, CLIENT), -4, 0x200, MS);
        change(&mut answer.message);
        assert_eq!(exchange(one(&bench.dns(answer))).outcome, expected);
    };
    check(|_| {}, DnsOutcome::Answered);
    check(|m| m.answers = 0, DnsOutcome::Empty);
    check(|m| m.rcode = 3, DnsOutcome::Failed);
    check(|m| m.truncated = true, DnsOutcome::Truncated);
    check(|m| (m.truncated, m.rcode) = (true, 2), DnsOutcome::Failed);
}

#[test]
fn translated_both_ways_it_is_one_event() {
    let mut bench = Bench::new();
    assert!(bench.dns(dns((CLIENT, SERVICE), -3, 0x100, 0)).is_empty());
    assert!(bench.dns(dns((CLIENT, BACKEND), 9, 0x100, 1000)).is_empty());
    assert!(bench.dns(dns((NODE, BACKEND), 2, 0x100, 2000)).is_empty());
    let out = bench.dns(dns((BACKEND, NODE), -2, 0x200, MS));
    let joined = one(&out);
    let nat = joined.nat.unwrap();
    assert_eq!(nat.original, udp((CLIENT, SERVICE)));
    assert_eq!(nat.backend, Some(("10.0.0.9".parse().unwrap(), Some(53))));
    assert_eq!(joined.points.iter().map(|p| p.ifindex).collect::<Vec<_>>(), [3, 9, 2]);
    // The answer at the next interface, translated back.
    assert!(bench.dns(dns((SERVICE, CLIENT), 3, 0x200, MS + 1000)).is_empty());
    assert_eq!(bench.table.stats().folded[family::DNS], 4);
}

#[test]
fn a_repetition_counts_and_a_second_server_is_no_translation() {
    let mut bench = Bench::new();
    bench.dns(dns((CLIENT, SERVICE), -3, 0x100, 0));
    // musl asks all servers at once; the kernel uses the same memory again, and the packets are equal in size.
    assert!(bench.dns(dns((CLIENT, "8.8.8.8:53"), -3, 0x100, 1000)).is_empty());
    assert!(bench.dns(dns((CLIENT, SERVICE), -3, 0x300, SECOND)).is_empty());
    let out = bench.dns(dns(("8.8.8.8:53", CLIENT), -2, 0x200, SECOND + MS));
    assert_eq!(exchange(one(&out)).attempts, 3);
    assert_eq!((out[0].nat, out[0].tuple), (None, Some(udp((CLIENT, "8.8.8.8:53")))));
}

#[test]
fn no_answer_in_time_with_the_drop_that_explains_it() {
    let mut bench = Bench::new();
    // Too early, another flow, and the right one, known by its conntrack entry only.
    bench.dropped(dropped((CLIENT, SERVICE), 0x10, 1, SECOND - 1));
    bench.dns(dns((CLIENT, SERVICE), -3, 0x100, SECOND));
    bench.dropped(dropped(("10.0.0.7:40000", SERVICE), 0x20, 1, SECOND + 1000));
    let mut translated = dropped((NODE, BACKEND), 0x100, 1, SECOND + 2000);
    translated.conntrack = Some(Conntrack { original: udp((CLIENT, SERVICE)), reply: udp((BACKEND, NODE)), status: 0 });
    let out = bench.dropped(translated);
    let reference = one(&out).reference;
    assert_eq!(out[0].nat.unwrap().backend, Some(("10.0.0.9".parse().unwrap(), Some(53))));
    assert!(bench.expire(6 * SECOND - 1).is_empty());
    let out = bench.expire(7 * SECOND);
    let joined = one(&out);
    assert_eq!((joined.boot_ns, &joined.evidence[..]), (6 * SECOND, &[reference][..]));
    assert_eq!(exchange(joined).outcome, DnsOutcome::Unanswered);
    assert_eq!(exchange(joined).waited_ns, Some(5 * SECOND));
    // An answer that comes too late is part of it.
    assert!(bench.dns(dns((SERVICE, CLIENT), -2, 0x200, 7 * SECOND)).is_empty());
    assert_eq!(bench.table.stats().folded[family::DNS], 1);
}

#[test]
fn a_drop_on_the_way_back_explains_too() {
    let mut bench = Bench::new();
    bench.dns(dns((CLIENT, BACKEND), -3, 0x100, 0));
    bench.dropped(dropped((BACKEND, CLIENT), 0x200, 1, MS));
    assert_eq!(one(&bench.expire(5 * SECOND)).evidence, [1]);
}

#[test]
fn the_records_own_time_decides_what_is_late() {
    let mut bench = Bench::new();
    bench.dns(dns((CLIENT, BACKEND), -3, 0x100, 0));
    let out = bench.dns(dns((BACKEND, CLIENT), -4, 0x200, 5 * SECOND + 1));
    assert_eq!(exchange(one(&out)).outcome, DnsOutcome::Unanswered);
}

#[test]
fn what_differs_does_not_answer() {
    let check = |change: fn(&mut RawDns)| {
        let mut bench = Bench::new();
        bench.dns(dns((CLIENT, BACKEND), -3, 0x100, 0));
        let mut answer = dns((BACKEND, CLIENT), -4, 0x200, MS);
        change(&mut answer);
        assert_eq!(exchange(one(&bench.dns(answer))).outcome, DnsOutcome::Unasked);
        assert_eq!(bench.table.stats().pending[family::DNS], 1);
    };
    check(|d| d.message.id = 2);
    check(|d| d.message.question.as_mut().unwrap().name = "evil.example.".into());
    check(|d| d.message.question.as_mut().unwrap().qtype = 28);
    check(|d| d.destination = "10.0.0.1:40001".parse().unwrap());
    check(|d| d.destination = "10.0.0.2:40000".parse().unwrap());
    check(|d| d.message.question = None);
}

#[test]
fn an_unasked_answer_is_told_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.dns(dns((BACKEND, NODE), -2, 0x200, 0)).len(), 1);
    assert!(bench.dns(dns((BACKEND, CLIENT), 3, 0x200, 1000)).is_empty(), "translated back");
    assert_eq!(bench.dns(dns((BACKEND, NODE), -2, 0x300, 2000)).len(), 1, "another packet");
}

#[test]
fn a_question_without_question_is_kept_out() {
    let mut bench = Bench::new();
    let mut question = dns((CLIENT, BACKEND), -3, 0x100, 0);
    question.message.question = None;
    assert!(bench.dns(question).is_empty());
    let stats = bench.table.stats();
    assert_eq!((stats.folded[family::DNS], stats.no_question, stats.pending), (1, 1, Records::default()));
}

#[test]
fn asked_again_after_the_answer() {
    let mut bench = Bench::new();
    bench.dns(dns((CLIENT, BACKEND), -3, 0x100, 0));
    bench.dns(dns((BACKEND, CLIENT), -4, 0x200, MS));
    // A late sighting of the question, then a new packet.
    assert!(bench.dns(dns((CLIENT, BACKEND), 4, 0x100, 2 * MS)).is_empty());
    assert_eq!(bench.table.stats().pending[family::DNS], 0);
    bench.dns(dns((CLIENT, BACKEND), -3, 0x300, SECOND));
    assert_eq!(bench.table.stats().pending[family::DNS], 1);
    assert_eq!(exchange(one(&bench.dns(dns((BACKEND, CLIENT), -4, 0x400, SECOND + MS)))).latency_ns, Some(MS));
}

#[test]
fn one_dropped_packet_is_one_event() {
    let mut bench = Bench::new();
    let ends = (CLIENT, "10.0.0.2:80");
    let out = bench.dropped(dropped(ends, 0x100, 1, 0));
    assert_eq!((one(&out).points.len(), out[0].reference), (1, 1));
    assert!(bench.dropped(dropped(ends, 0x100, 2, MS)).is_empty(), "the same packet elsewhere");
    assert_eq!(bench.dropped(dropped(ends, 0x100, 1, 2 * MS)).len(), 1, "the memory was used again");
    assert_eq!(bench.dropped(dropped((CLIENT, "10.0.0.2:81"), 0x100, 2, 3 * MS)).len(), 1, "another flow");
    assert_eq!(bench.dropped(dropped(ends, 0x100, 2, 60 * MS)).len(), 1, "too late");
    let mut unknown = dropped(ends, 0x500, 1, 0);
    unknown.context.digest = None;
    assert_eq!(bench.dropped(unknown.clone()).len(), 1);
    unknown.location = 2;
    assert_eq!(bench.dropped(unknown).len(), 1, "without identity nothing is folded");
}

#[test]
fn the_oldest_question_gives_way_and_is_counted() {
    let mut bench = Bench::with(FlowLimits { questions: 2, ..FlowLimits::default() });
    for n in 0..4u16 {
        let mut question = dns((CLIENT, BACKEND), -3, 0x100, u64::from(n));
        question.message.id = n;
        bench.dns(question);
    }
    let stats = bench.table.stats();
    assert_eq!((stats.pending[family::DNS], stats.evicted[family::DNS]), (2, 2));
    assert_eq!(bench.expire(10 * SECOND).iter().map(|j| exchange(j).id).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_coalesced_burst() {
    let mut table = FlowTable::new(FlowLimits::default(), reasons());
    let mut key = BucketKey { kind: kind::DROP, ip_version: 4, protocol: 6, reason: 8, netns: 1, ..Default::default() };
    (key.location, key.segment) = (0xffff, segment::FIN);
    key.destination_port = 80u16.to_be_bytes();
    let counted = |key, count| Counted { key, count, bytes: 700, last_ns: 9 };
    let joined = table.coalesced(&counted(key, 12_345)).unwrap();
    assert_eq!((joined.count, joined.boot_ns, joined.reference, joined.netns), (12_345, 9, 1, Some(1)));
    assert_eq!(joined.tuple.unwrap().destination_port, Some(80));
    let drops = Coalesced::Drops { reason: 8, location: 0xffff, segment: segment::FIN, bytes: 700 };
    assert_eq!(joined.kind, JoinedKind::Coalesced(drops));
    key.ip_version = 0;
    assert_eq!(table.coalesced(&counted(key, 1)).unwrap().tuple, None);
    key.kind = 99;
    assert_eq!(table.coalesced(&counted(key, 1)), None);
    assert_eq!((table.stats().summaries, table.stats().totals()[0]), (2, 0));
}

proptest! {
    /// Few values, so that records meet; small bounds, so that they overflow.
    #[test]
    fn the_ledger_balances(
        records in prop::collection::vec((0u8..8, 0usize..4, 0usize..4, 0u64..6, 0u64..3 * SECOND, 0u16..3), 0..300)
    ) {
        let limits = FlowLimits { questions: 3, packets: 4, references: 5, ..FlowLimits::default() };
        let mut bench = Bench::with(limits);
        let clients = [CLIENT, NODE, "10.0.0.2:40000", "127.0.0.1:40000"];
        let servers = [SERVICE, BACKEND, "8.8.8.8:53", "127.0.0.53:53"];
        let (mut now, mut emitted, mut last) = (0, 0, 0);
        for (what, client, server, packet, step, id) in records {
            let (client, server) = (clients[client], servers[server]);
            // Mostly short steps, some backwards.
            now = if what == 6 { now / 2 } else { now + step / (1 + packet * packet * 1_000) };
            let at = if id % 2 == 0 { -3 } else { 4 };
            let ends = if what % 2 == 0 { (client, server) } else { (server, client) };
            let out = match what {
                0..=4 => {
                    let mut message = dns(ends, at, packet, now);
                    message.message.id = id / 2;
                    if step % 7 == 0 { message.message.question = None }
                    bench.dns(message)
                }
                5 | 6 => bench.dropped(dropped(ends, packet, id.into(), now)),
                _ => bench.expire(now),
            };
            emitted += out.len() as u64;
            for joined in &out {
                prop_assert!(joined.reference > last && joined.evidence.iter().all(|e| *e < joined.reference));
                last = joined.reference;
            }
            prop_assert_eq!(bench.table.stats().totals()[1], emitted);
            prop_assert!(bench.table.stats().pending[family::DNS] <= 3);
        }
        bench.expire(u64::MAX);
        prop_assert_eq!(bench.table.stats().pending[family::DNS], 0);
        prop_assert!(bench.table.questions.is_empty());
    }
}

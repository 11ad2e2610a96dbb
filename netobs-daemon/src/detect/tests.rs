//! Tests of the flood detector: when it speaks, and that its counts are exact.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use proptest::prelude::*;

use super::flood::{FloodDetector, FloodLimits};
use crate::event::headers::protocol::TCP;
use crate::event::joined::{Coalesced, Flood, Half, Joined, JoinedKind, StandsFor};
use crate::event::observation::{FloodEnd, FloodPhase};
use crate::event::raw::{Side, Tuple};

const SECOND: u64 = 1_000_000_000;

/// A count of resets.
fn resets(source: &str, destination: &str, count: u64, boot_ns: u64) -> Joined {
    let kind = JoinedKind::Coalesced(Coalesced::Resets { refused: false, alone: false, bytes: 0 });
    Joined {
        count,
        netns: Some(7),
        ifindex: Some(3),
        tuple: Some(Tuple {
            protocol: TCP,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            source_port: None,
            destination_port: None,
        }),
        ..Joined::new(StandsFor::Summary(3), boot_ns, kind)
    }
}

fn flood(joined: &Joined) -> &Flood {
    let JoinedKind::Flood(flood) = &joined.kind else { panic!("{joined:?}") };
    flood
}

struct Bench {
    detector: FloodDetector,
    now: u64,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { detector: FloodDetector::new(FloodLimits::default()), now: 10 * SECOND };
        bench.detector.tick(bench.now, &mut Vec::new());
        bench
    }

    fn send(&mut self, source: &str, destination: &str, count: u64) {
        // In the middle of the window.
        self.detector.observe(&resets(source, destination, count, self.now + SECOND / 2));
    }

    /// A second in which one source sends.
    fn second(&mut self, count: u64) -> Vec<Joined> {
        if count > 0 {
            self.send("10.0.0.1", "10.0.0.2", count);
        }
        self.tick()
    }

    fn tick(&mut self) -> Vec<Joined> {
        self.now += SECOND;
        let mut out = Vec::new();
        self.detector.tick(self.now, &mut out);
        out
    }
}

#[test]
fn onset_and_end() {
    let mut bench = Bench::new();
    assert!(bench.second(0).is_empty());
    let out = bench.second(50_000);
    let onset = flood(&out[0]);
    assert_eq!((out.len(), onset.phase, onset.packets, onset.rate), (1, FloodPhase::Onset, 50_000, 50_000.0));
    assert_eq!((onset.threshold, onset.baseline, onset.destinations), (100.0, 0.0, 1));
    assert_eq!((onset.since_ns, onset.duration_ns), (bench.now - SECOND / 2, SECOND / 2));
    let Joined { stands_for, reference, tuple, netns, .. } = &out[0];
    assert_eq!((*stands_for, *reference, *netns), (StandsFor::Others, 0, Some(7)));
    assert_eq!(tuple.unwrap().destination, "10.0.0.2".parse::<IpAddr>().unwrap());
    assert!(bench.second(60_000).is_empty(), "told once");
    let (since, onset_cause) = (onset.since_ns, onset.end_cause);
    for _ in 0..4 {
        assert!(bench.second(1).is_empty());
    }
    let last = bench.now - SECOND / 2;
    let out = bench.second(0);
    let end = flood(&out[0]);
    assert_eq!((end.phase, end.packets, end.since_ns), (FloodPhase::End, 110_004, since));
    assert_eq!((onset_cause, end.end_cause), (None, Some(FloodEnd::Calm)));
    assert_eq!(end.duration_ns, last - since);
    assert!((end.rate * (last - since) as f64 / 1e9 - 110_004.0).abs() < 1e-6, "{end:?}");
    assert!(bench.second(0).is_empty());
}

#[test]
fn told_within_two_seconds_wherever_it_begins() {
    for begin_ms in (0..1000).step_by(50) {
        let mut bench = Bench::new();
        let begin = bench.now + begin_ms * 1_000_000;
        // 200 in a second, one every 5 ms.
        let mut sent = 0;
        let told = loop {
            let mut next = begin + sent * 5_000_000;
            while next < bench.now + SECOND {
                bench.detector.observe(&resets("10.0.0.1", "10.0.0.2", 1, next));
                sent += 1;
                next = begin + sent * 5_000_000;
            }
            let out = bench.tick();
            if let [joined] = &out[..] {
                assert_eq!((flood(joined).packets, flood(joined).since_ns), (sent, begin), "begun {begin_ms} ms in");
                break bench.now;
            }
        };
        assert!(told - begin <= 2 * SECOND, "begun {begin_ms} ms in, told after {} ns", told - begin);
    }
}

#[test]
fn the_floor_and_the_sources_own_usual_rate() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        assert!(bench.second(99).is_empty(), "below the floor");
    }
    // Its usual rate is near 99 by now, so ten times as much is what it takes.
    assert!(bench.second(600).is_empty());
    let out = bench.second(990);
    let onset = flood(&out[0]);
    assert!((70.0..99.0).contains(&onset.baseline) && (700.0..990.0).contains(&onset.threshold), "{onset:?}");
    // The window before was more than usual as well: the flood began in it.
    assert_eq!(onset.packets, 1_590);
    // Floods are not usual: the rate before is what it was.
    for _ in 0..60 {
        assert!(bench.second(5_000).is_empty());
    }
    let mut out = Vec::new();
    while out.is_empty() {
        out = bench.second(50);
    }
    assert_eq!((flood(&out[0]).phase, flood(&out[0]).baseline), (FloodPhase::End, onset.baseline));
    assert_eq!(flood(&out[0]).packets, 1_590 + 60 * 5_000 + 5 * 50);
}

#[test]
fn a_pause_does_not_end_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.second(1_000).len(), 1);
    for _ in 0..5 {
        for count in [0, 0, 0, 0, 1_000] {
            assert!(bench.second(count).is_empty());
        }
    }
}

#[test]
fn the_destination_with_the_most_is_named_and_the_rest_is_bounded() {
    let mut bench = Bench::new();
    for n in 0..200u32 {
        bench.send("10.0.0.1", &format!("10.1.0.{n}"), if n == 20 { 50 } else { 1 });
    }
    let out = bench.tick();
    assert_eq!(out[0].tuple.unwrap().destination, "10.1.0.20".parse::<IpAddr>().unwrap());
    assert_eq!((flood(&out[0]).destinations, flood(&out[0]).packets), (64, 249));
}

/// Counted for many: only one end is known.
fn half(side: Side, ip: &str, count: u64, boot_ns: u64) -> Joined {
    let half = Half { side, ip: ip.parse().unwrap(), port: None, protocol: TCP };
    Joined { tuple: None, half: Some(half), ..resets("10.0.0.1", "10.0.0.2", count, boot_ns) }
}

#[test]
fn resets_to_unknown_destinations_count_for_their_source() {
    let mut bench = Bench::new();
    bench.detector.observe(&half(Side::Source, "10.0.0.1", 300, bench.now));
    let out = bench.tick();
    assert_eq!((flood(&out[0]).packets, flood(&out[0]).destinations, flood(&out[0]).to_main), (300, 0, None));
    assert_eq!((out[0].tuple, out[0].source()), (None, Some("10.0.0.1".parse().unwrap())));
    bench.send("10.0.0.1", "10.0.0.2", 30);
    assert!(bench.tick().is_empty());
    let out: Vec<_> = (0..5).flat_map(|_| bench.tick()).collect();
    assert_eq!((flood(&out[0]).phase, flood(&out[0]).packets), (FloodPhase::End, 330));
    assert_eq!((flood(&out[0]).destinations, flood(&out[0]).to_main), (1, Some(30)));
    assert_eq!(out[0].destination(), Some("10.0.0.2".parse().unwrap()));
}

#[test]
fn resets_of_unknown_sources_are_nobodys() {
    let mut bench = Bench::new();
    bench.detector.observe(&half(Side::Destination, "10.0.0.2", 5_000, bench.now));
    bench.detector.observe(&Joined { half: None, ..half(Side::Source, "10.0.0.1", 7_000, bench.now) });
    assert!(bench.tick().is_empty());
    let stats = bench.detector.stats();
    assert_eq!((stats.sources, stats.unwatched_packets), (0, 12_000));
}

#[test]
fn sources_are_bounded_and_the_heavy_ones_stay() {
    let limits = FloodLimits { sources: 3, ..FloodLimits::default() };
    let mut bench = Bench { detector: FloodDetector::new(limits), ..Bench::new() };
    bench.detector.tick(bench.now, &mut Vec::new());
    for (source, count) in [("10.0.0.1", 5), ("10.0.0.2", 3), ("10.0.0.3", 9), ("10.0.0.4", 2), ("10.0.0.5", 1_000)] {
        bench.send(source, "10.0.0.9", count);
    }
    let stats = bench.detector.stats();
    // The fourth had no room, and the fifth took that of the second.
    assert_eq!((stats.sources, stats.replaced, stats.unwatched_packets), (3, 1, 5));
    assert_eq!(flood(&bench.tick()[0]).packets, 1_000);
    // A flood is not given up, however much others send.
    for source in ["10.0.1.1", "10.0.1.2", "10.0.1.3"] {
        bench.send(source, "10.0.0.9", 5_000);
    }
    assert_eq!((bench.tick().len(), bench.detector.stats().flooding), (2, 3));
    bench.send("10.0.1.9", "10.0.0.9", u64::MAX / 4);
    assert!(bench.tick().is_empty());
}

#[test]
fn the_silent_are_forgotten() {
    let mut bench = Bench::new();
    bench.second(10);
    for _ in 0..302 {
        bench.tick();
    }
    assert_eq!(bench.detector.stats().sources, 0);
}

#[test]
fn loopbacks_are_told_apart() {
    let mut bench = Bench::new();
    for netns in [7, 8] {
        let joined = Joined { netns: Some(netns), ..resets("127.0.0.1", "127.0.0.1", 80, bench.now) };
        bench.detector.observe(&joined);
    }
    assert!(bench.tick().is_empty());
    assert_eq!(bench.detector.stats().sources, 2);
}

#[test]
fn at_the_observers_end_the_total_is_told() {
    let mut bench = Bench::new();
    assert_eq!(bench.second(1_000).len(), 1);
    bench.send("10.0.0.1", "10.0.0.2", 500);
    bench.send("10.0.0.7", "10.0.0.2", 50);
    let mut out = Vec::new();
    bench.detector.finish(bench.now + SECOND, &mut out);
    let end = flood(&out[0]);
    assert_eq!((out.len(), end.phase, end.packets), (1, FloodPhase::End, 1_500));
    assert_eq!((end.end_cause, end.to_main), (Some(FloodEnd::ObserverStops), Some(1_500)));
    assert_eq!(bench.detector.stats().flooding, 0);
    out.clear();
    bench.detector.finish(bench.now + SECOND, &mut out);
    assert!(out.is_empty(), "told once");
}

proptest! {
    /// Every packet is in one place: told in a flood that is over, usual, unwatched, or not decided yet.
    #[test]
    fn every_packet_is_counted_once(
        steps in prop::collection::vec((0u8..5, 0u8..6, 0u8..5, 0u64..400, 1u64..3 * SECOND), 0..300)
    ) {
        let limits = FloodLimits { sources: 4, destinations: 2, ..FloodLimits::default() };
        let mut detector = FloodDetector::new(limits);
        let (mut now, mut seen, mut told) = (SECOND, 0, 0);
        let mut open = std::collections::HashSet::new();
        for (what, source, destination, count, step) in steps {
            if what > 1 {
                detector.observe(&resets(&format!("10.0.0.{source}"), &format!("10.0.1.{destination}"), count, now));
                seen += count;
            } else {
                now += step;
                let mut out = Vec::new();
                // Rarely, and also in the middle of it all: what comes later begins anew.
                if what == 1 && count % 16 == 0 {
                    detector.finish(now, &mut out);
                } else {
                    detector.tick(now, &mut out);
                }
                for joined in out {
                    let flood = flood(&joined);
                    let source = joined.tuple.unwrap().source;
                    prop_assert!(flood.rate.is_finite() && flood.destinations <= 2);
                    match flood.phase {
                        FloodPhase::Onset => prop_assert!(open.insert(source), "two onsets"),
                        FloodPhase::End => {
                            prop_assert!(open.remove(&source), "an end without onset");
                            told += flood.packets;
                        }
                    }
                }
            }
            let stats = detector.stats();
            prop_assert!(stats.sources <= 4);
            prop_assert_eq!(stats.flooding, open.len() as u64);
            prop_assert_eq!(seen, told + detector.usual + detector.untold() + stats.unwatched_packets);
        }
    }
}

//! Floods of resets: counted to the last packet, announced within two seconds, and their end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::connection::refuse;
use super::refused::CLOSED;
use super::want::{any_port, reset};
use crate::packet::{self, RST, Segment};
use crate::slow::patience;
use crate::suite::json::{contains, must, number, pod, text};
use crate::suite::traffic::both;
use crate::suite::{Context, Outcome, Stage};
use crate::{Lines, Pod};

/// Resets of the storm.
const STORM: u64 = 300_000;
/// Port that the storm goes to.
const TARGET: u16 = 7000;
/// How soon a flood must be told of.
const ONSET: Duration = Duration::from_secs(2);
/// How soon its end must be told of once it is over.
const END: Duration = Duration::from_secs(30);
/// Resets per second that are far from a flood, and for how long.
const FEW: (u64, u32) = (10, 3);

/// Resets from a pod to an address, with different ports and sequence numbers.
pub fn resets(from: &Pod, to: SocketAddr) -> Result<Vec<Vec<u8>>> {
    let own = from.ips()[usize::from(to.is_ipv6())];
    let packets = (0..64_u32).map(|number| {
        let port = 40_000 + number as u16;
        packet::tcp(
            SocketAddr::new(own, port),
            to,
            Segment { sequence: 1 + number * 1000, acknowledgment: 0, flags: RST },
        )
    });
    packets.collect::<Option<_>>().context("packets")
}

/// That the storm's packets come to nothing is no news: conntrack knows no connection, or the receiver no socket.
fn come_to_nothing(stage: &Stage, to: SocketAddr) {
    stage.caused(json!({"kind": "drop", "flow": {"protocol": "tcp", "destination_ip": to.ip()}}));
}

/// The flood of a source: its beginning or its end.
fn flood(phase: &str, from: &Pod) -> Value {
    json!({"kind": "flood", "flood": {"phase": phase}, "source": pod(from)})
}

/// Waits for a flood's beginning in the stream; how long after `begin` its line came.
fn onset(lines: &Lines, begin: Instant, from: &Pod) -> Result<(Duration, Value)> {
    let wanted = flood("onset", from);
    let (line, event) = lines.find(ONSET * 4, |event| contains(event, &wanted))?;
    let after = line.at - begin;
    ensure!(after <= patience(ONSET), "told {after:?} after the first packet: {event}");
    Ok((after, event))
}

/// The storm's whole account: sums, beginning, end.
fn account(stage: &Stage, lines: &Lines, begin: Instant, (from, to): (&Pod, &Pod), packets: u64) -> Result<String> {
    let (after, event) = onset(lines, begin, from)?;
    must(&event, &json!({"severity": "problem", "source": pod(from), "destination": pod(to)}))?;
    let index = usize::from(text(&event, "/flow/source_ip").contains(':'));
    let told = stage.told(&reset(any_port(from.ips()[index]), any_port(to.ips()[index])), packets)?;
    for event in &told {
        must(event, &json!({"source": pod(from), "destination": pod(to)}))?;
    }
    ensure!(told.len() < 1_000, "{} events for {packets} packets", told.len());
    let end = Instant::now() + END;
    let over = flood("end", from);
    while stage.events(&over)?.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    let over = stage.one(&over)?;
    must(&over, &json!({"destination": pod(to), "flood": {"packets": packets, "destinations": 1}}))?;
    stage.expect(1, &flood("onset", from))?;
    let rate = over.pointer("/flood/rate_per_second").and_then(Value::as_f64).unwrap_or_default();
    ensure!(rate > 0.0, "no rate in {over}");
    Ok(format!("onset after {} ms, {packets} counted", after.as_millis()))
}

/// As fast as one thread can send them, over both protocols: exact sums, beginning and end, an exact ledger.
pub fn storm_counts_exactly(context: &Context) -> Result<Outcome> {
    let mut detail = Vec::new();
    let mut outcomes = Vec::new();
    for ipv6 in [false, true] {
        let stage = Stage::start(context)?;
        let lines = stage.client().stream("/v1/events/stream?kind=flood")?;
        let to = both(&stage.db, TARGET)[usize::from(ipv6)];
        come_to_nothing(&stage, to);
        let packets = resets(&stage.web[0], to)?;
        let sender = stage.web[0].raw_sender(to)?;
        let begin = Instant::now();
        sender.flood(&packets, STORM)?;
        let took = begin.elapsed();
        detail.push(account(&stage, &lines, begin, (&stage.web[0], &stage.db), STORM)?);
        outcomes.push(stage.finish_settled(format!("{:.0}/s", STORM as f64 / took.as_secs_f64()))?);
    }
    let rates: Vec<_> = outcomes.iter().map(|outcome| outcome.detail.as_str()).collect();
    let detail = format!("IPv4 at {}: {}; IPv6 at {}: {}", rates[0], detail[0], rates[1], detail[1]);
    Ok(Outcome { detail, false_alarms: outcomes.into_iter().flat_map(|outcome| outcome.false_alarms).collect() })
}

/// A client that is refused again and again: the flood's source is who refuses.
pub fn storm_of_refusals(context: &Context) -> Result<Outcome> {
    const CONNECTIONS: u64 = 3_000;
    let stage = Stage::start(context)?;
    let lines = stage.client().stream("/v1/events/stream?kind=flood")?;
    let to = stage.db.at(CLOSED);
    // One socket for all: making one takes longer than being refused.
    let socket = stage.client.socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)?;
    let begin = Instant::now();
    for _ in 0..CONNECTIONS {
        let refused = rustix::net::connect(&socket, &to);
        ensure!(refused == Err(rustix::io::Errno::CONNREFUSED), "{refused:?} instead of a refusal");
    }
    let detail = account(&stage, &lines, begin, (&stage.db, &stage.client), CONNECTIONS)?;
    stage.finish_settled(detail)
}

/// Ordinary resets of somebody else are told whole while a storm rages.
pub fn others_are_told_beside_a_storm(context: &Context) -> Result<Outcome> {
    const OTHERS: usize = 5;
    /// Resets that the storm sends at a time.
    const PART: u64 = 10_000;
    let stage = Stage::start(context)?;
    let lines = stage.client().stream("/v1/events/stream?kind=flood")?;
    let to = stage.db.at(TARGET);
    come_to_nothing(&stage, to);
    let packets = resets(&stage.web[0], to)?;
    let sender = stage.web[0].raw_sender(to)?;
    let begin = Instant::now();
    let closed = stage.web[1].at(CLOSED);
    // It rages until the others are done, however fast this machine sends.
    let raging = AtomicBool::new(true);
    let sent = std::thread::scope(|scope| {
        let storm = scope.spawn(|| -> Result<u64> {
            let mut sent = 0;
            while raging.load(Ordering::Acquire) {
                sender.flood(&packets, PART)?;
                sent += PART;
            }
            Ok(sent)
        });
        let told = onset(&lines, begin, &stage.web[0]).and_then(|_| {
            (0..OTHERS).try_for_each(|_| {
                std::thread::sleep(Duration::from_millis(20));
                refuse(&stage.client, closed)
            })
        });
        raging.store(false, Ordering::Release);
        let sent = storm.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        told.map(|()| sent)
    })?;
    for event in stage.expect(OTHERS, &reset(closed, any_port(stage.client.ipv4())))? {
        must(
            &event,
            &json!({
                "count": 1, "coalesced": null, "source": pod(&stage.web[1]), "destination": pod(&stage.client),
                "reset": {"cause": "refused", "opener": "destination"},
            }),
        )?;
    }
    stage.told(&reset(any_port(stage.web[0].ipv4()), any_port(stage.db.ipv4())), sent)?;
    let floods = stage.events(&json!({"kind": "flood"}))?;
    let other = floods.iter().find(|event| event["source"]["pod"]["name"] != stage.web[0].name());
    ensure!(other.is_none(), "a flood of somebody else: {other:?}");
    stage.caused(json!({"kind": "flood", "source": pod(&stage.web[0])}));
    stage.finish_settled(format!("{OTHERS} of {OTHERS} told whole beside {sent}"))
}

/// A few resets every second are no flood.
pub fn below_the_floor(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let (rate, seconds) = FEW;
    let mut sent = 0;
    for to in both(&stage.db, TARGET) {
        come_to_nothing(&stage, to);
        let packets = resets(&stage.web[0], to)?;
        let sender = stage.web[0].raw_sender(to)?;
        for _ in 0..seconds {
            sender.flood(&packets, rate)?;
            std::thread::sleep(Duration::from_secs(1));
        }
        sent = rate * u64::from(seconds);
        stage.told(&reset(any_port(stage.web[0].ips()[usize::from(to.is_ipv6())]), any_port(to.ip())), sent)?;
    }
    let floods = stage.events(&json!({"kind": "flood"}))?;
    ensure!(
        floods.is_empty(),
        "{} resets in {seconds} s are called a flood: {floods:?}",
        number(&floods[0], "/flood/packets")
    );
    stage.finish_settled(format!("{sent} resets in {seconds} s over each protocol: no flood"))
}

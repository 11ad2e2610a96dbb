//! From the packet to the stream within 20 ms, when there is much to do and after a silence alike.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::dns::kube_dns;
use crate::Lines;
use crate::slow::patience;
use crate::suite::json::{contains, drop_to};
use crate::suite::traffic::{BLOCKED, forbid, question, socket};
use crate::suite::{Context, Outcome, Stage};

/// What the product promises.
const GOAL: Duration = Duration::from_millis(20);
/// Measurements of each family.
const ROUNDS: u16 = 50;

/// Drops: from before the packet is sent to the arrival of the line.
fn of_drop(stage: &Stage, lines: &Lines, port: u16) -> Result<Duration> {
    let to = stage.db.at(port);
    let sender = socket(&stage.client, to)?;
    let start = Instant::now();
    sender.send(b"netobs lab")?;
    let wanted = drop_to("udp", to);
    let (line, _) = lines.find(Duration::from_secs(2), |event| contains(event, &wanted))?;
    Ok(line.at - start)
}

/// DNS: from before the question is sent, so with the server's own time.
fn of_dns(stage: &Stage, lines: &Lines, id: u16) -> Result<Duration> {
    let client = socket(&stage.client, kube_dns(stage)?[0])?;
    let question = question(id, "web.shop.svc.cluster.local", 1);
    let start = Instant::now();
    client.send(&question)?;
    let (line, _) = lines.find(Duration::from_secs(2), |event| event["dns"]["id"] == json!(id))?;
    Ok(line.at - start)
}

/// Measures both families.
fn measure(stage: &Stage, lines: &Lines, first: u16, rounds: u16) -> Result<[Vec<Duration>; 2]> {
    let (mut drops, mut names) = (Vec::new(), Vec::new());
    for round in first..first + rounds {
        drops.push(of_drop(stage, lines, BLOCKED + round)?);
        names.push(of_dns(stage, lines, round)?);
        std::thread::sleep(Duration::from_millis(10));
    }
    drops.sort_unstable();
    names.sort_unstable();
    Ok([drops, names])
}

/// Median and 99th percentile (nearest rank) of sorted values, in words, and the latter.
fn figures(name: &str, sorted: &[Duration]) -> (String, Duration) {
    let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    (format!("{name} p50 {:.2} p99 {:.2} ms", ms(at(50)), ms(at(99))), at(99))
}

/// A stage where datagrams to ports from 9000 on are dropped, each an event.
fn dropping(context: &Context) -> Result<Stage> {
    let stage = Stage::with(context, |daemon| daemon.arg("--drop-burst").arg("1000000"))?;
    forbid(&stage.node, "forward", "filter", "udp dport 9000-11000")?;
    stage.caused(json!({"kind": "drop", "drop": {"reason": "NETFILTER_DROP"}}));
    Ok(stage)
}

/// Measures both families while a thousand other packets a second are dropped.
fn while_busy(stage: &Stage) -> Result<[Vec<Duration>; 2]> {
    let lines = stage.client().stream("/v1/events/stream")?;
    let busy = AtomicBool::new(true);
    let socket = socket(&stage.client, stage.web[0].at(9000))?;
    std::thread::scope(|scope| {
        let noise = scope.spawn(|| -> Result<()> {
            while busy.load(Ordering::Acquire) {
                socket.send(b"busy")?;
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let measured = measure(stage, &lines, 1, ROUNDS);
        busy.store(false, Ordering::Release);
        noise.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        measured
    })
}

/// Busy (a thousand other drops a second) and after a silence, on a node of its own for each family.
pub fn latency_busy_and_silent(context: &Context) -> Result<Outcome> {
    let (stage, other) = (dropping(context)?, dropping(context)?);
    let mut detail = Vec::new();
    let mut worst = Duration::ZERO;
    for (name, sorted) in ["busy: drop", "DNS"].iter().zip(&while_busy(&stage)?) {
        let (text, p99) = figures(name, sorted);
        detail.push(text);
        worst = worst.max(p99);
    }
    let lines = [stage.client().stream("/v1/events/stream")?, other.client().stream("/v1/events/stream")?];
    std::thread::sleep(context.silence);
    let silent = [of_drop(&stage, &lines[0], BLOCKED + 500)?, of_dns(&other, &lines[1], 500)?];
    let [drop, dns] = silent.map(|time| time.as_secs_f64() * 1000.0);
    detail.push(format!("after {} s of silence: drop {drop:.2}, DNS {dns:.2} ms", context.silence.as_secs()));
    let worst = silent.into_iter().fold(worst, Duration::max);
    let goal = patience(GOAL);
    ensure!(worst <= goal, "more than {} ms: {}", goal.as_millis(), detail.join("; "));
    let mut outcome = stage.finish(detail.join("; "))?;
    outcome.false_alarms.extend(other.finish("")?.false_alarms);
    Ok(outcome)
}

//! Cost of a record on its way from the ring to the stream, stage by stage, in one thread: nanoseconds and allocations
//! per record, and how many records a second a core can take.
//!
//! Records are as the kernel programs write them; names come from an index of 5,000 pods and 500 Services, reasons and
//! functions from the running kernel. Stages are measured in turn, round after round, in CPU time of the thread, and the
//! smallest mean counts: a neighbour on the machine makes a round slower, never faster.

#[path = "pipeline/allocations.rs"]
mod allocations;
#[path = "pipeline/cluster.rs"]
mod cluster;
#[path = "pipeline/records.rs"]
mod records;

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use netobs_daemon::event::decode::decode;
use netobs_daemon::event::observation::Observation;
use netobs_daemon::flow::{DropReasons, FlowLimits, FlowTable};
use netobs_daemon::pipeline::{Filter, Frame, HistoryLimits, Ledger, Origin, Publisher, Reader, Store};
use netobs_daemon::resolve::{Sources, observe};
use rustix::time::{ClockId, clock_gettime};

use cluster::Cluster;
use records::Records;

const ROUNDS: usize = 15;
/// Records in a round: more than the flow table and the history hold between them, so that both are at their bounds.
const RECORDS: usize = 20_000;

/// A stage, and what it took at best.
struct Stage {
    name: &'static str,
    nanoseconds: f64,
    allocations: f64,
}

fn main() -> Result<()> {
    let cluster = Cluster::new().context("reading the kernel's names")?;
    for (kind, records) in [("drop", Records::drops(RECORDS)), ("dns", Records::exchanges(RECORDS / 2))] {
        let stages = measure(&cluster, &records)?;
        println!("\n| {kind}: up to this stage | ns per record | of which this stage | allocations per record |");
        println!("|---|---:|---:|---:|");
        let mut before = 0.0;
        for Stage { name, nanoseconds, allocations } in &stages {
            println!("| {name} | {nanoseconds:.0} | {:.0} | {allocations:.1} |", nanoseconds - before);
            before = *nanoseconds;
        }
        // 1.5 million a second.
        println!(
            "bench pipeline.{kind}: ratio {:.2} goal 1.00 ({:.0} records/s)",
            before / (1e9 / 1.5e6),
            1e9 / before
        );
        json(&cluster, &records, kind)?;
    }
    Ok(())
}

/// Each stage includes those before it, as no stage can be fed without them.
fn measure(cluster: &Cluster, records: &Records) -> Result<Vec<Stage>> {
    let mut stages = ["decode", "and flow table", "and names (observe)", "and publish", "and read by one client"]
        .map(|name| Stage { name, nanoseconds: f64::INFINITY, allocations: f64::INFINITY });
    for round in 0..ROUNDS {
        let records = records.of_round(round as u64);
        for (index, stage) in stages.iter_mut().enumerate() {
            let publisher = publisher();
            let mut reader = Reader::live(Arc::clone(publisher.store()), Filter::default());
            let mut flow = FlowTable::new(FlowLimits::default(), DropReasons::default());
            let mut out = Vec::new();
            let allocations = allocations::count();
            let start = thread_cpu_ns();
            let mut since_read = 0;
            for record in &records {
                let event = decode(record)?;
                if index == 0 {
                    black_box(event);
                    continue;
                }
                flow.ingest(event, &mut out);
                for joined in out.drain(..) {
                    if index == 1 {
                        black_box(joined);
                        continue;
                    }
                    let (observation, evidence) = observe(&joined, &cluster.sources());
                    if index == 2 {
                        black_box((observation, evidence));
                        continue;
                    }
                    publisher.publish(observation, joined.stands_for, Some(joined.reference), &evidence);
                }
                since_read += 1;
                if index == 4 && since_read == 64 {
                    since_read = 0;
                    black_box(reader.read());
                }
            }
            let nanoseconds = (thread_cpu_ns() - start) as f64 / records.len() as f64;
            let allocations = (allocations::count() - allocations) as f64 / records.len() as f64;
            stage.nanoseconds = stage.nanoseconds.min(nanoseconds);
            stage.allocations = stage.allocations.min(allocations);
        }
    }
    Ok(stages.into())
}

/// CPU time of this thread.
fn thread_cpu_ns() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn publisher() -> Publisher {
    let origin = Origin { node: "node-a".into(), boot: 1, epoch: 1 };
    Publisher::new(origin, Arc::new(Store::new(HistoryLimits::default())), Arc::new(Ledger::new()))
}

/// Rendering an event once for all clients, against `serde_json` into a new `Vec` and into one that is used again.
fn json(cluster: &Cluster, records: &Records, kind: &str) -> Result<()> {
    let mut flow = FlowTable::new(FlowLimits::default(), DropReasons::default());
    let mut out = Vec::new();
    for record in &records.of_round(0) {
        flow.ingest(decode(record)?, &mut out);
    }
    let sources: Sources<'_> = cluster.sources();
    let observations: Vec<Observation> = out.iter().take(2_000).map(|joined| observe(joined, &sources).0).collect();
    let mut best = [f64::INFINITY; 3];
    let mut scratch = Vec::new();
    let mut buffer = Vec::with_capacity(4096);
    let mut bytes = 0;
    for _ in 0..ROUNDS * 2 {
        for (index, best) in best.iter_mut().enumerate() {
            let start = thread_cpu_ns();
            for observation in &observations {
                match index {
                    0 => drop(black_box(Frame::render(1, Timestamp::UNIX_EPOCH, observation, &mut scratch)?)),
                    1 => drop(black_box(serde_json::to_vec(observation)?)),
                    _ => {
                        buffer.clear();
                        serde_json::to_writer(&mut buffer, observation)?;
                        bytes = black_box(&buffer).len();
                    }
                }
            }
            *best = best.min((thread_cpu_ns() - start) as f64 / observations.len() as f64);
        }
    }
    let [frame, serde, reused] = best;
    println!(
        "JSON of {bytes} B: frame {frame:.0} ns, serde_json::to_vec {serde:.0} ns, into a used buffer {reused:.0} ns"
    );
    println!("bench pipeline.{kind}_json: ratio {:.2} goal 0.50", frame / serde);
    Ok(())
}

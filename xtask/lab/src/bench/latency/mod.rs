//! `latency`: from the system call that sends a packet to the line of its event in a client of the unix socket.
//!
//! For a drop: the packet that is dropped. For DNS: the answer, which is what completes the event; it is sent by a
//! responder of the lab, so both ends of the time are read from one clock. Beside them: how long it takes in the same
//! run until a thread that sleeps in `recv` has a byte that another sends it, which no observer could beat.

mod background;
mod floor;
mod probes;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::scene::Scene;
use super::stats::Sample;
use super::table::{self, ms};
use super::verdict::Verdicts;
use crate::{Daemon, PodSpec};
use background::Background;
use probes::{Probes, Times};

/// What is to be reached.
const GOAL_MS: f64 = 20.0;

/// How many probes.
#[derive(Args, Debug)]
pub struct LatencyArgs {
    /// Packets of each kind, idle and busy.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2000))]
    probes: u16,
    /// Seconds of silence before the first one.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=600))]
    silence: u64,
    /// Dropped packets a second in the background of the busy part.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(..=100_000))]
    drops: u32,
    /// DNS questions a second in the background of the busy part.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(..=100_000))]
    questions: u32,
}

/// Runs it.
pub fn run(netobs: &Path, args: &LatencyArgs, verdicts: &mut Verdicts) -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.node.add_pod(PodSpec::new("bench", "dns"))?;
    let crowd = scene.node.add_pod(PodSpec::new("bench", "crowd"))?;
    let daemon = Daemon::builder(netobs).metadata_file(scene.node.write_metadata()?).start(&scene.node)?;
    let mut probes = Probes::start(&scene, &server, &daemon)?;

    let mut rows = Vec::new();
    anstream::eprintln!("{} s of silence", args.silence);
    std::thread::sleep(Duration::from_secs(args.silence));
    let first = probes.run(1)?;
    row(&mut rows, &format!("after {} s of silence, drop", args.silence), &first.drops, None);
    row(&mut rows, &format!("after {} s of silence, DNS", args.silence), &first.answers, None);
    row(&mut rows, "idle, thread to thread", &floor::measure(args.probes)?, None);
    part("idle", &probes.run(args.probes)?, &mut rows, verdicts);

    let background = Background::start(&scene, &crowd, &server, args.drops, args.questions)?;
    std::thread::sleep(Duration::from_secs(2));
    row(&mut rows, "busy, thread to thread", &floor::measure(args.probes)?, None);
    part("busy", &probes.run(args.probes)?, &mut rows, verdicts);
    let sent = background.finish()?;

    table::print(
        &format!(
            "Packet to stream, milliseconds; busy: {:.0} drops and {:.0} questions a second in the background",
            sent.drops_per_second, sent.questions_per_second
        ),
        &["", "events", "lost", "p50", "p99", "max"],
        &rows,
    );
    Ok(())
}

fn part(name: &str, times: &Times, rows: &mut Vec<Vec<String>>, verdicts: &mut Verdicts) {
    for (kind, sample) in [("drop", &times.drops), ("DNS", &times.answers)] {
        let lost = times.sent - sample.len();
        row(rows, &format!("{name}, {kind}"), sample, Some(lost));
        // A lost event is later than any.
        let p99 = if lost * 100 > times.sent { f64::INFINITY } else { sample.quantile(0.99) };
        verdicts.at_most(format!("latency.{name}.{}", kind.to_lowercase()), p99 / GOAL_MS, 1.0);
    }
}

fn row(rows: &mut Vec<Vec<String>>, name: &str, sample: &Sample, lost: Option<usize>) {
    rows.push(vec![
        name.to_owned(),
        sample.len().to_string(),
        lost.map_or_else(|| "-".to_owned(), |lost| lost.to_string()),
        ms(sample.quantile(0.5)),
        ms(sample.quantile(0.99)),
        ms(sample.max()),
    ]);
}

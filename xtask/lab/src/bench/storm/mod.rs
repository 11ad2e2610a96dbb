//! `storm drop`: what it costs the sender of a flood that the node drops, and what each drop costs its observer.
//!
//! Rounds of short batches; every round measures all arms, in reversed order each second time. An arm is the same load
//! beside another observer, or none; "nobody" is measured twice, and how far those two are apart is the noise.

mod arm;
mod bpftrace;
mod capture;
mod netobs;
mod perf;
mod report;
mod tool;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::scene::{DROPPED, Scene, flood};
use super::verdict::Verdicts;
use arm::{Arm, Counted};

/// The port that the flood goes to.
const PORT: u16 = *DROPPED.start();
/// Packets sent before an arm's first batch is measured, so that caches are as warm as they will be.
const WARM_UP: u64 = 2_000;
/// Between two batches.
const PAUSE: Duration = Duration::from_millis(20);

/// How much load.
#[derive(Args, Debug)]
pub struct StormArgs {
    /// Rounds.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Batches of an arm in a round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    batches: u64,
    /// Packets in a batch.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    packets: u64,
}

/// What was measured of an arm, over all rounds.
#[derive(Debug, Default)]
struct Measured {
    /// The sender's CPU nanoseconds per packet, of each batch.
    sender_ns: Vec<f64>,
    /// Packets sent while it observed.
    sent: u64,
    /// The observer's CPU time.
    observer: Duration,
    /// What became of the packets.
    counted: Counted,
}

/// Runs it.
pub fn run(netobs: &Path, args: &StormArgs, verdicts: &mut Verdicts) -> Result<()> {
    let scene = Scene::new()?;
    let mut arms = Vec::new();
    for arm in Arm::ALL {
        match arm.unavailable() {
            None => arms.push((arm, Measured::default())),
            Some(reason) => anstream::println!("without {}: {reason}", arm.name()),
        }
    }
    for round in 0..args.rounds {
        anstream::eprintln!("round {} of {}", round + 1, args.rounds);
        let count = arms.len();
        for index in 0..count {
            let index = if round % 2 == 0 { index } else { count - 1 - index };
            let (arm, measured) = &mut arms[index];
            measure(*arm, netobs, &scene, args, measured)?;
        }
    }
    report::print(&arms, verdicts);
    Ok(())
}

fn measure(arm: Arm, netobs: &Path, scene: &Scene, args: &StormArgs, measured: &mut Measured) -> Result<()> {
    let socket = scene.socket()?;
    socket.connect(scene.outside(PORT))?;
    let mut observer = arm.start(netobs, scene)?;
    // Whoever tells of a packet is attached. Those packets count like all others.
    let mut probes = 0;
    observer.wait_attached(&mut || {
        probes += 1;
        flood(&socket, 1).map(drop)
    })?;
    let before = observer.cpu()?;
    flood(&socket, WARM_UP)?;
    for _ in 0..args.batches {
        let time = flood(&socket, args.packets)?;
        measured.sender_ns.push(time.as_nanos() as f64 / args.packets as f64);
        std::thread::sleep(PAUSE);
    }
    let (counted, after) = observer.finish()?;
    measured.sent += probes + WARM_UP + args.batches * args.packets;
    measured.observer += after.saturating_sub(before);
    measured.counted += counted;
    Ok(())
}

//! `storm drop` and `storm rst`: what it costs the sender of a flood of packets that fail, what each of them costs its
//! observer, and whether each was told or counted.
//!
//! Rounds of short batches; every round measures all arms, in reversed order each second time. An arm is the same load
//! beside another observer, or none; "nobody" is measured twice, and how far those two are apart is the noise.

mod arm;
mod bpftrace;
mod capture;
mod load;
mod netobs;
mod perf;
mod report;
mod tool;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use super::verdict::Verdicts;
use arm::{Arm, Counted};
pub use load::Load;
use load::Target;

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

/// Resets per second of the paced storm.
const PACE: u64 = 100_000;

/// What was measured of an arm, over all rounds.
#[derive(Debug, Default)]
struct Measured {
    /// The sender's CPU nanoseconds per packet, of each batch.
    sender_ns: Vec<f64>,
    /// Packets per second, of each batch.
    rates: Vec<f64>,
    /// Packets sent while it observed.
    sent: u64,
    /// The observer's CPU time.
    observer: Duration,
    /// What became of the packets.
    counted: Counted,
}

/// Runs it: drops as fast as they can be sent, resets at a given rate and as fast as they can be sent.
pub fn run(netobs: &Path, load: Load, args: &StormArgs, verdicts: &mut Verdicts) -> Result<()> {
    let target = Target::new(load)?;
    let rates: &[Option<u64>] = match load {
        Load::Drops => &[None],
        Load::Resets => &[Some(PACE), None],
    };
    for rate in rates {
        let mut arms = Vec::new();
        for arm in load.arms() {
            match arm.unavailable() {
                None => arms.push((*arm, Measured::default())),
                Some(reason) => anstream::println!("without {}: {reason}", arm.name()),
            }
        }
        for round in 0..args.rounds {
            anstream::eprintln!("round {} of {}", round + 1, args.rounds);
            let count = arms.len();
            for index in 0..count {
                let index = if round % 2 == 0 { index } else { count - 1 - index };
                let (arm, measured) = &mut arms[index];
                measure(*arm, netobs, &target, *rate, args, measured)?;
            }
        }
        report::print(load, *rate, &arms, verdicts);
    }
    Ok(())
}

fn measure(
    arm: Arm,
    netobs: &Path,
    target: &Target,
    rate: Option<u64>,
    args: &StormArgs,
    measured: &mut Measured,
) -> Result<()> {
    let source = target.source()?;
    let mut observer = arm.start(netobs, target)?;
    // Whoever tells of a packet is attached. Those packets count like all others.
    let mut probes = 0;
    observer.wait_attached(&mut || {
        probes += 1;
        source.send(1, None).map(drop)
    })?;
    let before = observer.cpu()?;
    source.send(WARM_UP, None)?;
    for _ in 0..args.batches {
        let begin = Instant::now();
        let time = source.send(args.packets, rate)?;
        measured.rates.push(args.packets as f64 / begin.elapsed().as_secs_f64());
        measured.sender_ns.push(time.as_nanos() as f64 / args.packets as f64);
        std::thread::sleep(PAUSE);
    }
    let (counted, after) = observer.finish()?;
    measured.sent += probes + WARM_UP + args.batches * args.packets;
    measured.observer += after.saturating_sub(before);
    measured.counted += counted;
    Ok(())
}

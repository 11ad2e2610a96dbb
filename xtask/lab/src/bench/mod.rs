//! The benches: what netobs costs, measured from outside on a lab node.
//!
//! The machine may be busy with other things, so every figure that is judged is a ratio within one run, and the same
//! arm measured twice (A/A) stands beside it. Load is bounded in count and time and stays inside the lab's namespaces.

mod clocks;
mod latency;
mod memory;
mod proc;
mod scene;
mod start;
mod stats;
mod storm;
mod table;
mod verdict;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use verdict::Verdicts;

/// Which bench, and how long.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand, Debug)]
enum Bench {
    /// What a flood costs those who send it, and those who watch it.
    #[command(subcommand)]
    Storm(Storm),
    /// From a packet's system call to its line in the stream, idle and busy.
    Latency(latency::LatencyArgs),
    /// From the process's start to ready, with an API server of 50 pods.
    Start(start::StartArgs),
    /// Memory by consumer against a budget; CPU and wake-ups when idle.
    Memory(memory::MemoryArgs),
}

#[derive(Subcommand, Debug)]
enum Storm {
    /// UDP packets that an nft rule of the node drops, watched by netobs, bpftrace, perf trace and tcpdump in turn.
    Drop(storm::StormArgs),
    /// TCP resets from pod to pod at 100,000 a second and as fast as they can be sent, watched by netobs, bpftrace and
    /// tcpdump in turn: told or counted to the last packet.
    Rst(storm::StormArgs),
}

/// Runs the bench. The exit code tells whether every goal was met.
pub fn run(netobs: &Path, args: &BenchArgs) -> Result<ExitCode> {
    if let Some(reason) = crate::unavailable() {
        bail!("no bench here: {reason}");
    }
    let netobs = &netobs.canonicalize().map_err(|error| anyhow::anyhow!("{}: {error}", netobs.display()))?;
    let mut verdicts = Verdicts::default();
    match &args.bench {
        Bench::Storm(Storm::Drop(args)) => storm::run(netobs, storm::Load::Drops, args, &mut verdicts)?,
        Bench::Storm(Storm::Rst(args)) => storm::run(netobs, storm::Load::Resets, args, &mut verdicts)?,
        Bench::Latency(args) => latency::run(netobs, args, &mut verdicts)?,
        Bench::Start(args) => start::run(netobs, args, &mut verdicts)?,
        Bench::Memory(args) => memory::run(netobs, args, &mut verdicts)?,
    }
    Ok(verdicts.print())
}

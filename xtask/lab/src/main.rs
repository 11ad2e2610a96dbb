//! `netobs-lab`: the demo, the lab suites and the benches. `cargo xtask demo|lab|bench` prepares the machine, builds and
//! runs it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netobs_lab::{bench, demo, hold, suite};

/// Runs netobs on a Kubernetes node made of network namespaces.
#[derive(Parser)]
struct Cli {
    /// The daemon's binary.
    #[arg(long, global = true, env = "NETOBS_BINARY", default_value = "target/debug/netobs")]
    netobs: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make faults happen one after another and show what netobs says.
    Demo(demo::DemoArgs),
    /// Run a suite of cases and print a table of them.
    Lab(suite::SuiteArgs),
    /// Build a node with a small application and leave it until Ctrl-C, for looking around.
    Hold(hold::HoldArgs),
    /// Measure, each bench ending in a line `bench NAME: ratio R goal G`.
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Demo(args) => demo::run(&cli.netobs, &args),
        Command::Lab(args) => suite::run(&cli.netobs, &args),
        Command::Hold(args) => hold::run(&args),
        Command::Bench(args) => bench::run(&cli.netobs, &args),
    };
    result.unwrap_or_else(|error| {
        anstream::eprintln!("netobs-lab: {error:#}");
        ExitCode::FAILURE
    })
}

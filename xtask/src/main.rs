//! netobs's own commands: set-up, build, gate, and the runs of the lab. `cargo xtask --help` lists them.

mod build;
mod cross;
mod deny;
mod deploy;
mod elf;
mod gate;
mod launch;
mod progress;
mod setup;
mod tidy;
mod tool;
mod vm;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::launch::LabRun;
use crate::progress::Progress;
use crate::setup::packages::Purpose;
use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "netobs's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show netobs at work on a node made of network namespaces, with faults that happen one after another
    Demo {
        /// End by itself; exit code 0 only if each fault was seen with the right pods
        #[arg(long)]
        once: bool,
        /// Further arguments of `netobs-lab demo`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Run netobs on this machine itself, with names from a kubeconfig or from inside a cluster where there is one
    Run {
        /// Arguments of `netobs run`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// The gate: format, rules, lints, dependencies, all tests, documentation
    Test(gate::Options),
    /// Run a suite of the lab and print the table of its cases
    Lab {
        /// Name of the suite, and further arguments of `netobs-lab lab`
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        suite: Vec<OsString>,
    },
    /// Run a suite of the lab, or any command, on other kernels, in emulated machines
    Vm(vm::Options),
    /// Run a bench, which ends in lines `bench NAME: ratio R goal G`
    Bench {
        /// Name of the bench, and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        bench: Vec<OsString>,
    },
    /// Build the kernel object, the daemon and the lab
    Build {
        /// Build the daemon and the lab optimised
        #[arg(long)]
        release: bool,
        /// Build the kernel object and the daemon alone, optimised and static, into `target/image`
        #[arg(long, conflicts_with = "release")]
        image: bool,
    },
    /// Build the kernel object and the daemon for aarch64, to see that they still do
    Cross,
    /// Render the plain manifests of `deploy/` from the chart
    Manifests {
        /// Write nothing; run the gate's checks of `deploy/`
        #[arg(long)]
        check: bool,
    },
    /// Install what is missing on this machine; the other commands do so by themselves
    Setup {
        /// What the machine is to be able to do
        #[arg(long = "for", value_enum, default_value = "check")]
        purpose: Purpose,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<()> {
    let workspace = Workspace::find()?;
    let mut progress = Progress::new();
    match action {
        Action::Demo { once, mut arguments } => {
            if once {
                arguments.insert(0, "--once".into());
            }
            let demo = LabRun { command: "demo", purpose: Purpose::Lab, release: false, arguments };
            launch::lab(&workspace, &mut progress, &demo)
        }
        Action::Run { arguments } => launch::daemon(&workspace, &mut progress, &arguments),
        Action::Test(options) => gate::run(&workspace, &mut progress, &options),
        Action::Lab { suite } => {
            let run = LabRun { command: "lab", purpose: Purpose::Lab, release: false, arguments: suite };
            launch::lab(&workspace, &mut progress, &run)
        }
        Action::Vm(options) => vm::run(&workspace, &mut progress, &options),
        Action::Bench { bench } => launch::bench(&workspace, &mut progress, bench),
        Action::Cross => cross::run(&workspace, &mut progress),
        Action::Build { release, image } => {
            let toolchain = setup::prepare(&workspace, &mut progress, Purpose::Build)?;
            build::kernel_object(&workspace, &mut progress, &toolchain)?;
            if image {
                build::image(&workspace, &mut progress)
            } else {
                build::user_side(&workspace, &mut progress, release)
            }
        }
        Action::Manifests { check: false } => deploy::bless(&workspace, &mut progress),
        Action::Manifests { check: true } => {
            deploy::prepare(&workspace, &mut progress)?;
            deploy::check(&workspace, &mut progress)
        }
        Action::Setup { purpose } => {
            let toolchain = setup::prepare(&workspace, &mut progress, purpose)?;
            println!("ready; kernel side: {} with {}", toolchain.rustc.display(), toolchain.linker.display());
            Ok(())
        }
    }
}

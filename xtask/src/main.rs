//! netobs's own commands: set-up, build, gate, and the runs of the lab. `cargo xtask --help` lists them.

mod build;
mod elf;
mod progress;
mod setup;
mod tool;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

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
    /// Install what is missing on this machine; the other commands do so by themselves
    Setup {
        /// What the machine is to be able to do
        #[arg(long = "for", value_enum, default_value = "check")]
        purpose: Purpose,
    },
    /// Build the kernel object, the daemon and the lab
    Build {
        /// Build the daemon and the lab optimised
        #[arg(long)]
        release: bool,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: &Action) -> Result<()> {
    let workspace = Workspace::find()?;
    let mut progress = Progress::new();
    match action {
        Action::Setup { purpose } => {
            let toolchain = setup::prepare(&workspace, &mut progress, *purpose)?;
            println!("ready; kernel side: {} with {}", toolchain.rustc.display(), toolchain.linker.display());
            Ok(())
        }
        Action::Build { release } => {
            let toolchain = setup::prepare(&workspace, &mut progress, Purpose::Build)?;
            build::kernel_object(&workspace, &mut progress, &toolchain)?;
            build::user_side(&workspace, &mut progress, *release)
        }
    }
}

//! (being built)

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct BenchArgs {}

/// Runs.
pub fn run(_netobs: &Path, _args: &BenchArgs) -> Result<ExitCode> {
    bail!("being built")
}

//! (being built)

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct SuiteArgs {}

/// Runs.
pub fn run(_netobs: &Path, _args: &SuiteArgs) -> Result<ExitCode> {
    bail!("being built")
}

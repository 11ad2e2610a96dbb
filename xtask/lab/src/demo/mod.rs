//! (being built)

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {}

/// Runs.
pub fn run(_netobs: &Path, _args: &DemoArgs) -> Result<ExitCode> {
    bail!("being built")
}

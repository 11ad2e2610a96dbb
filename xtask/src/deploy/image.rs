//! The image's build file: linted, and of the same Rust as the workspace.

use std::path::Path;

use anyhow::{Result, ensure};

use super::{Deploy, output};

/// Checks it.
pub fn check(deploy: &Deploy<'_>) -> Result<()> {
    lint(deploy, Path::new("Dockerfile"))?;
    let from = format!("FROM rust:{}-slim", env!("CARGO_PKG_RUST_VERSION"));
    ensure!(deploy.read("Dockerfile")?.contains(&from), "deploy/Dockerfile does not build with `{from}…`");
    Ok(())
}

/// hadolint.
pub fn lint(deploy: &Deploy<'_>, file: &Path) -> Result<()> {
    output(deploy.tool("hadolint").arg("--no-color").arg(file)).map(drop)
}

//! `deploy/netobs.yaml`: what the chart renders with default values and its namespace, for those without helm.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{Deploy, chart};

const FILE: &str = "netobs.yaml";
const HEADER: &str = "# Rendered from deploy/chart by `cargo xtask manifests`; change the chart instead.\n";

fn wanted(deploy: &Deploy<'_>) -> Result<String> {
    Ok(format!("{HEADER}{}", chart::render(deploy, &["--set", "namespace.create=true"])?))
}

/// Writes it.
pub fn write(deploy: &Deploy<'_>) -> Result<()> {
    let path = deploy.folder.join(FILE);
    fs::write(&path, wanted(deploy)?).with_context(|| format!("could not write {}", path.display()))
}

/// Whether it is what the chart renders.
pub fn check(deploy: &Deploy<'_>) -> Result<()> {
    let (wanted, there) = (wanted(deploy)?, deploy.read(FILE)?);
    let first = wanted.lines().zip(there.lines()).position(|(wanted, there)| wanted != there);
    let line = first.unwrap_or_else(|| wanted.lines().count().min(there.lines().count())) + 1;
    ensure!(wanted == there, "deploy/{FILE}:{line} is not what the chart renders: run `cargo xtask manifests`");
    Ok(())
}

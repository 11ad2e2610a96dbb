//! The plain manifests: what the chart renders with its namespace, for those without helm.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{Deploy, chart};

/// Files, and the values they are rendered with.
const FILES: [(&str, &str); 2] = [
    ("netobs.yaml", "namespace.create=true"),
    ("netobs-metrics.yaml", "namespace.create=true,metrics.network.enabled=true"),
];
const HEADER: &str = "# Rendered from deploy/chart by `cargo xtask manifests`; change the chart instead.\n";

/// Names of the files.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(file, _)| *file)
}

fn wanted(deploy: &Deploy<'_>, values: &str) -> Result<String> {
    Ok(format!("{HEADER}{}", chart::render(deploy, &["--set", values])?))
}

/// Writes them.
pub fn write(deploy: &Deploy<'_>) -> Result<()> {
    FILES.iter().try_for_each(|(file, values)| {
        let path = deploy.folder.join(file);
        fs::write(&path, wanted(deploy, values)?).with_context(|| format!("could not write {}", path.display()))
    })
}

/// Whether they are what the chart renders.
pub fn check(deploy: &Deploy<'_>) -> Result<()> {
    FILES.iter().try_for_each(|(file, values)| {
        let (wanted, there) = (wanted(deploy, values)?, deploy.read(file)?);
        let first = wanted.lines().zip(there.lines()).position(|(wanted, there)| wanted != there);
        let line = first.unwrap_or_else(|| wanted.lines().count().min(there.lines().count())) + 1;
        ensure!(wanted == there, "deploy/{file}:{line} is not what the chart renders: run `cargo xtask manifests`");
        Ok(())
    })
}

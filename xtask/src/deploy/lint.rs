//! Helm's linter, yamllint, and the schemas of the oldest and newest supported Kubernetes.

use std::path::Path;

use anyhow::{Result, ensure};

use super::chart::{Rendered, VARIANTS};
use super::{Deploy, checkov, output};

/// Oldest and newest Kubernetes that the manifests are for. The oldest is `kubeVersion` in `Chart.yaml`, and the oldest
/// whose schemas the validator has.
pub const KUBERNETES: [&str; 2] = ["1.25", "1.37"];

/// The chart itself, with the values of each variant.
pub fn chart(deploy: &Deploy<'_>) -> Result<()> {
    for variant in VARIANTS {
        output(deploy.tool("helm").args(["lint", "chart", "--strict", "--quiet"]).args(variant.arguments))?;
    }
    let files = ["chart/Chart.yaml", "chart/values.yaml", "chart/values-microk8s.yaml", checkov::ACCEPTED];
    yaml(deploy, &files.map(Path::new))
}

/// What the chart renders.
pub fn rendered(deploy: &Deploy<'_>, rendered: &[Rendered]) -> Result<()> {
    let files: Vec<&Path> = rendered.iter().map(|variant| variant.path.as_path()).collect();
    yaml(deploy, &files)?;
    for version in KUBERNETES {
        let said = kubernetes(deploy, version, &files)?;
        let unknown = said.lines().filter(|line| line.starts_with("WARN") && !line.contains("PodMonitor"));
        let unknown: Vec<&str> = unknown.collect();
        // The Prometheus operator's kind is the only one that Kubernetes itself does not know.
        ensure!(unknown.is_empty(), "Kubernetes {version} has no schema:\n{}", unknown.join("\n"));
        ensure!(said.matches("resource daemonset/netobs ").count() == files.len(), "not all were checked:\n{said}");
    }
    Ok(())
}

/// yamllint.
pub fn yaml(deploy: &Deploy<'_>, files: &[&Path]) -> Result<()> {
    output(deploy.tool("yamllint").args(["--strict", "--config-file", "chart/.yamllint"]).args(files)).map(drop)
}

/// Validates against the schemas of a version; unknown fields are errors.
pub fn kubernetes(deploy: &Deploy<'_>, version: &str, files: &[&Path]) -> Result<String> {
    output(deploy.tool("kubernetes-validate").args(["--strict", "--kubernetes-version", version]).args(files))
}

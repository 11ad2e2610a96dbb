//! That chart, unit, documentation and workspace say the same: capabilities, access rights, versions. Text in, findings
//! out.

use anyhow::{Context as _, Result, ensure};

use super::chart::Rendered;
use super::{Deploy, unit};

/// Compares.
pub fn check(deploy: &Deploy<'_>, rendered: &[Rendered]) -> Result<()> {
    let text = |name: &str| {
        let variant = rendered.iter().find(|variant| variant.name == name);
        variant.map(|variant| variant.text.as_str()).with_context(|| format!("no variant {name}"))
    };
    let capabilities = capabilities(text("default")?)?;
    ensure!(!capabilities.contains(&"SYS_ADMIN"), "SYS_ADMIN is in the default profile");
    let extended = self::capabilities(text("extended")?)?;
    ensure!(extended == [&capabilities[..], &["SYS_ADMIN"]].concat(), "the extended profile has {extended:?}");

    let unit = deploy.read(unit::FILE)?;
    for directive in ["CapabilityBoundingSet=", "AmbientCapabilities="] {
        let there = of_unit(&unit, directive);
        ensure!(there == capabilities, "{}: {directive} has {there:?}, the DaemonSet {capabilities:?}", unit::FILE);
    }
    let readme = deploy.read("README.md")?;
    for capability in &extended {
        let row = format!("| `{capability}` |");
        ensure!(readme.contains(&row), "deploy/README.md has no line for the capability {capability}");
    }

    // What is watched does not change the kinds of requests, and so not the rights.
    let role = cluster_role(text("default")?)?;
    ensure!(cluster_role(text("all-pods")?)? == role, "the ClusterRole differs with watchAllPods");
    ensure!(cluster_role(text("metrics")?)?.starts_with(role.trim_end()), "metrics take rights away");

    // Who scrapes believes any certificate only where that was asked for.
    for variant in rendered {
        let unverified = variant.text.contains("insecureSkipVerify: true");
        ensure!(
            unverified == (variant.name == "metrics-unverified"),
            "insecureSkipVerify with `{}`: {unverified}",
            variant.name
        );
    }

    let chart = deploy.read("chart/Chart.yaml")?;
    let version = format!("appVersion: \"{}\"", env!("CARGO_PKG_VERSION"));
    ensure!(chart.contains(&version), "deploy/chart/Chart.yaml: should have {version}");
    Ok(())
}

/// The capabilities that a `DaemonSet` adds; each has to have a comment above it that says why.
fn capabilities(manifest: &str) -> Result<Vec<&str>> {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "add:").skip(1).peekable();
    let mut found = Vec::new();
    let mut reason = false;
    while let Some(line) = lines.next_if(|line| line.starts_with("# ") || line.starts_with("- ")) {
        if let Some(capability) = line.strip_prefix("- ") {
            ensure!(reason, "the capability {capability} has no comment that says why");
            found.push(capability);
        }
        reason = line.starts_with("# ");
    }
    ensure!(!found.is_empty(), "the DaemonSet adds no capabilities");
    Ok(found)
}

fn of_unit<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    let line = unit.lines().find_map(|line| line.strip_prefix(directive)).unwrap_or_default();
    line.split_whitespace().filter_map(|name| name.strip_prefix("CAP_")).collect()
}

/// The daemon's own `ClusterRole`, from its rules on.
fn cluster_role(manifest: &str) -> Result<&str> {
    let documents = manifest.split("\n---");
    let role = documents.filter(|document| document.contains("kind: ClusterRole\n")).find_map(|document| {
        let (_, rules) = document.split_once("\nrules:\n")?;
        (!rules.contains("nonResourceURLs")).then_some(rules)
    });
    role.context("no ClusterRole")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn capabilities_need_their_reasons() {
        let manifest =
            "x:\n  add:\n    # Why,\n    # at length.\n    - BPF\n    # Because.\n    - SYSLOG\n  y: 1\n    - Z\n";
        assert_eq!(capabilities(manifest).unwrap(), ["BPF", "SYSLOG"]);
        assert!(capabilities("add:\n# Why.\n- BPF\n- SYSLOG\n").unwrap_err().to_string().contains("SYSLOG"));
        assert!(capabilities("add:\nx: y\n").is_err());
    }

    #[test]
    fn the_units_capabilities_are_named_as_the_daemonsets() {
        let unit = "[Service]\nCapabilityBoundingSet=CAP_BPF CAP_SYSLOG\n";
        assert_eq!(of_unit(unit, "CapabilityBoundingSet="), ["BPF", "SYSLOG"]);
        assert!(of_unit(unit, "AmbientCapabilities=").is_empty());
    }

    #[test]
    fn the_role_is_the_daemons() {
        let role = |rules: &str| format!("---\nkind: ClusterRole\nmetadata:\nrules:\n{rules}");
        let manifest = format!("{}\n{}", role("- nonResourceURLs: [/metrics]\n"), role("- mine\n"));
        assert_eq!(cluster_role(&manifest).unwrap(), "- mine\n");
        assert!(cluster_role("kind: Role\n").is_err());
    }
}

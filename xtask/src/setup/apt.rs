//! The distribution's packages: only what is missing, without recommendations and without questions.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::progress::Progress;
use crate::setup::packages::Package;
use crate::tool;
use crate::workspace::{Workspace, find_in, program_folders};

/// Installs the packages whose programs are missing.
pub fn ensure(workspace: &Workspace, progress: &mut Progress, packages: Vec<Package>) -> Result<()> {
    let folders = program_folders();
    let missing: Vec<String> = packages
        .into_iter()
        .filter(|package| find_in(&folders, package.program).is_none())
        .map(|package| package.name.to_owned())
        .collect();
    install(workspace, progress, &missing)
}

/// Whether this machine has apt at all.
pub fn present() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

/// Installs packages by name; nothing to do for an empty list.
pub fn install(workspace: &Workspace, progress: &mut Progress, packages: &[String]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if !present() {
        bail!("this machine has no apt: install what your distribution calls {names}, then run the command again");
    }
    if !tool::is_root() {
        bail!(
            "packages are missing: run `sudo apt-get install --no-install-recommends {names}`, then the command again"
        );
    }
    if packages.iter().any(|package| candidate(package).is_none()) {
        update(workspace, progress)?;
    }
    if let Some(unknown) = packages.iter().find(|package| candidate(package).is_none()) {
        bail!(
            "this distribution has no package {unknown}; ARCHITECTURE.md, \"Building\", lists what is needed and why"
        );
    }
    progress.step(&format!("set-up: install {names}"), false, || {
        // Lists that are older than the archive name files that are gone: refresh them and try once more.
        tool::quiet(workspace, "apt-install", &mut install_command(packages)).or_else(|_| {
            tool::quiet(workspace, "apt-update", apt_get().args(["update"]))?;
            tool::quiet(workspace, "apt-install", &mut install_command(packages))
        })
    })
}

/// Refreshes the package lists.
pub fn update(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    progress.step("set-up: read the package lists", false, || {
        tool::quiet(workspace, "apt-update", apt_get().args(["update"]))
    })
}

/// Version of a package that apt would install.
pub fn candidate(package: &str) -> Option<String> {
    let policy = tool::output(Command::new("apt-cache").args(["policy", package]))?;
    parse_candidate(&policy)
}

/// Those of the packages that are not installed.
pub fn not_installed(packages: &[String]) -> Vec<String> {
    // dpkg-query fails when it knows none of one name, yet prints the others.
    let known = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    packages
        .iter()
        .filter(|package| !known.lines().any(|line| line.strip_prefix(package.as_str()) == Some(" installed")))
        .cloned()
        .collect()
}

fn parse_candidate(policy: &str) -> Option<String> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn install_command(packages: &[String]) -> Command {
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"]).args(packages);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_read_from_the_policy() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n";
        assert_eq!(parse_candidate(policy).as_deref(), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(parse_candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }
}

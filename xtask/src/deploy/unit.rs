//! The systemd unit: systemd itself reads it, and judges how far it is locked up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Deploy, output};
use crate::tool;

/// The unit.
pub const FILE: &str = "systemd/netobs.service";
/// Highest exposure that `systemd-analyze security` may find, in tenths: it finds 3.2, most of it the five capabilities,
/// root, and the node's own network.
const EXPOSURE: &str = "35";

/// Checks it.
pub fn check(deploy: &Deploy<'_>) -> Result<()> {
    let copy = write(deploy, "netobs.service", &deploy.read(FILE)?)?;
    verify(&copy)?;
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE]).arg(copy);
    output(&mut security).map(drop)
}

/// Writes a unit where it can be verified: with a program that exists on this machine.
pub fn write(deploy: &Deploy<'_>, name: &str, text: &str) -> Result<PathBuf> {
    let folder = deploy.rendered.join("systemd");
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    let text = text.replace("ExecStart=/usr/local/bin/netobs", "ExecStart=/bin/true");
    fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}

/// `systemd-analyze verify`, which only warns of a line that it does not understand: any word of it is a finding.
pub fn verify(unit: &Path) -> Result<()> {
    let mut command = Command::new("systemd-analyze");
    let result = command.args(["verify", "--man=no"]).arg(unit).env("LC_ALL", "C").output();
    let result = result.with_context(|| format!("could not start {}", tool::shown(&command)))?;
    let name = unit.file_name().unwrap_or_default().to_string_lossy();
    let said = String::from_utf8_lossy(&result.stderr);
    // It also looks at the units of this machine that ours refers to.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains(&*name)).collect();
    ensure!(result.status.success() && ours.is_empty(), "systemd does not accept {name}:\n{said}");
    Ok(())
}

//! Prometheus's own checker of metrics, `promtool`, out of the distribution's package and without the rest of it.
//!
//! Installing the package would start a Prometheus server on machines with systemd, make a user for it and bring a dozen
//! web libraries. So the archive is downloaded, checked by apt, and only the program is unpacked. That needs no root.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::progress::Progress;
use crate::setup::apt;
use crate::tool;
use crate::workspace::{Workspace, find_in, program_folders};

/// The program, and the package that holds it.
const PROGRAM: &str = "promtool";
const PACKAGE: &str = "prometheus";

/// Puts it beside the other tools unless there is one.
pub fn ensure(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let mut folders = program_folders();
    folders.push(workspace.tools_bin());
    if find_in(&folders, PROGRAM).is_some() {
        return Ok(());
    }
    if !apt::present() {
        bail!("this machine has no apt: install {PROGRAM}, which comes with Prometheus, then run the command again");
    }
    if apt::candidate(PACKAGE).is_none() && tool::is_root() {
        apt::update(workspace, progress)?;
    }
    progress
        .step(&format!("set-up: unpack {PROGRAM} of the package {PACKAGE}"), false, || unpack(workspace))
        .with_context(|| format!("could not get {PROGRAM}"))
}

fn unpack(workspace: &Workspace) -> Result<()> {
    let folder = workspace.tools.join("promtool.unpack");
    // What an interrupted run left.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    tool::quiet(workspace, "promtool", Command::new("apt-get").args(["download", PACKAGE]).current_dir(&folder))?;
    let mut files = std::fs::read_dir(&folder)?.filter_map(Result::ok).map(|entry| entry.path());
    let archive = files.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let archive = archive.context("apt-get download left no archive")?;
    let tree = folder.join("tree");
    tool::quiet(workspace, "promtool", Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&tree))?;
    std::fs::create_dir_all(workspace.tools_bin())?;
    // Moved, so that whoever looks finds the whole program or none.
    std::fs::rename(tree.join("usr/bin").join(PROGRAM), workspace.tools_bin().join(PROGRAM))
        .with_context(|| format!("{} holds no {PROGRAM}", archive.display()))?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("{}", folder.display()))
}

//! `demo`, `lab`, `bench` and `run`: set-up and build, then the program itself in our place, so that signals and the
//! exit code are its own.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Result, bail};

use crate::progress::Progress;
use crate::setup::packages::Purpose;
use crate::workspace::Workspace;
use crate::{build, setup, tool};

/// A run of the lab.
#[derive(Debug)]
pub struct LabRun {
    /// Subcommand of `netobs-lab`.
    pub command: &'static str,
    /// What the machine has to be able to do.
    pub purpose: Purpose,
    /// Optimised, for figures.
    pub release: bool,
    /// Further arguments.
    pub arguments: Vec<OsString>,
}

/// Runs a command of the lab.
pub fn lab(workspace: &Workspace, progress: &mut Progress, run: &LabRun) -> Result<()> {
    need_root(run.command, "makes network namespaces and loads BPF programs")?;
    prepare(workspace, progress, run.purpose, run.release)?;
    let mut command = Command::new(workspace.lab(run.release));
    command.arg(run.command).arg("--netobs").arg(workspace.daemon(run.release)).args(&run.arguments);
    tool::replace(with_path(workspace, &mut command)?)
}

/// Runs the daemon on this machine itself.
pub fn daemon(workspace: &Workspace, progress: &mut Progress, arguments: &[OsString]) -> Result<()> {
    need_root("run", "loads BPF programs")?;
    prepare(workspace, progress, Purpose::Build, false)?;
    let mut command = Command::new(workspace.daemon(false));
    tool::replace(with_path(workspace, command.arg("run").args(arguments))?)
}

fn prepare(workspace: &Workspace, progress: &mut Progress, purpose: Purpose, release: bool) -> Result<()> {
    let toolchain = setup::prepare(workspace, progress, purpose)?;
    build::kernel_object(workspace, progress, &toolchain)?;
    build::user_side(workspace, progress, release)
}

/// The programs of the lab are partly in root's folders, which not every `PATH` has.
fn with_path<'a>(workspace: &Workspace, command: &'a mut Command) -> Result<&'a mut Command> {
    let mut path = workspace.path()?;
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    Ok(command.env("PATH", path).env_remove("LD_LIBRARY_PATH"))
}

fn need_root(command: &str, why: &str) -> Result<()> {
    if !tool::is_root() {
        bail!(
            "`cargo xtask {command}` needs root, because it {why}: run `sudo -E env PATH=\"$PATH\" cargo xtask {command}`"
        );
    }
    Ok(())
}

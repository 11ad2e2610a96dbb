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

/// Runs a bench: one of the daemon's crate where it has one of that name (what is measured inside a process), else one of
/// the lab (what is measured from outside).
pub fn bench(workspace: &Workspace, progress: &mut Progress, mut arguments: Vec<OsString>) -> Result<()> {
    let name = arguments.first().cloned().unwrap_or_default();
    let source = workspace.root.join("netobs-daemon/benches").join(&name).with_extension("rs");
    if !source.is_file() {
        return lab(
            workspace,
            progress,
            &LabRun { command: "bench", purpose: Purpose::Bench, release: true, arguments },
        );
    }
    need_root("bench", "loads BPF programs")?;
    let toolchain = setup::prepare(workspace, progress, Purpose::Build)?;
    build::kernel_object(workspace, progress, &toolchain)?;
    let mut cargo = tool::cargo(workspace)?;
    cargo.arg("bench").args(build::USER_SIDE).arg("--bench").arg(name).arg("--").args(arguments.drain(1..));
    tool::replace(&mut cargo)
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

fn with_path<'a>(workspace: &Workspace, command: &'a mut Command) -> Result<&'a mut Command> {
    Ok(command.env("PATH", workspace.path()?).env_remove("LD_LIBRARY_PATH"))
}

fn need_root(command: &str, why: &str) -> Result<()> {
    if !tool::is_root() {
        bail!(
            "`cargo xtask {command}` needs root, because it {why}: run `sudo -E env PATH=\"$PATH\" cargo xtask {command}`"
        );
    }
    Ok(())
}

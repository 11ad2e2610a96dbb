//! `cargo xtask vm`: the lab, or any command, on other kernels, in virtual machines that need no rights and no hardware
//! support.
//!
//! Kernels are Debian's, of several releases; the root file system is one for all. Both are made once and lie in the cache.
//! A machine has three disks that are only read (root, the kernel's modules, programs and command of this run) and two
//! serial lines (the kernel's console, the command's output).

mod archive;
mod choice;
mod command;
mod cpio;
mod disk;
mod features;
mod index;
mod kernel;
mod modules;
mod prepare;
mod qemu;
mod report;
mod root;
mod sources;
mod verdict;
mod version;
mod watch;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::progress::Progress;
use crate::setup::packages::Purpose;
use crate::vm::choice::Wanted;
use crate::vm::kernel::Ready;
use crate::vm::prepare::Prepared;
use crate::vm::qemu::Machine;
use crate::vm::report::Report;
use crate::vm::root::Root;
use crate::vm::watch::Limits;
use crate::workspace::Workspace;
use crate::{build, setup};

/// The kernels of `--all`: those of Debian's releases that are still run, the last long-term one, and the newest.
const ALL: [Wanted; 5] =
    [Wanted::Line(5, 10), Wanted::Line(6, 1), Wanted::Line(6, 12), Wanted::Line(6, 18), Wanted::Newest];

/// What to run, and on what.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// A kernel: 6.1 stands for the newest 6.1 that Debian has, `newest` for the newest of all; may be given more than once
    #[arg(long, value_name = "K", required_unless_present = "all")]
    kernel: Vec<Wanted>,
    /// The kernels 5.10, 6.1, 6.12, 6.18 and the newest
    #[arg(long, conflicts_with = "kernel")]
    all: bool,
    /// Look for newer kernels than those in the cache, and make the root file system anew
    #[arg(long)]
    update: bool,
    /// Build the daemon and the lab optimised
    #[arg(long)]
    release: bool,
    /// How much longer than on a real machine the lab waits for anything, in times
    #[arg(long, value_name = "TIMES", default_value_t = 10)]
    slow: u32,
    /// A machine that says nothing for so many seconds hangs
    #[arg(long, value_name = "SECONDS", default_value_t = 400)]
    hang: u64,
    /// Most minutes that a machine may take
    #[arg(long, value_name = "MINUTES", default_value_t = 90)]
    deadline: u64,
    /// Its memory in mebibytes
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    memory: u32,
    /// Its processors
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    processors: u32,
    /// Debian's archive, where the machine's own apt sources do not name it: the address above `dists`
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// The same of its security updates
    #[arg(long, value_name = "URL", requires = "mirror")]
    security_mirror: Option<String>,
    /// `lab SUITE`, with further arguments of `netobs-lab lab`; `features`: what works on the kernel (with `--all` written into
    /// docs/kernels.md); or `exec PROGRAM ARGUMENTS`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs the command on all kernels, one after another, and then reports. An error unless all went well.
pub fn run(workspace: &Workspace, progress: &mut Progress, options: &Options) -> Result<()> {
    let script = command::script(&options.command, options.slow)?;
    let toolchain = setup::prepare(workspace, progress, Purpose::Vm)?;
    let wanted = if options.all { &ALL[..] } else { &options.kernel };
    let (root, kernels) = {
        let mut prepared = Prepared::new(workspace, progress, options)?;
        let kernels: Vec<_> = wanted.iter().map(|wanted| (wanted, prepared.kernel(progress, wanted))).collect();
        (prepared.root().clone(), kernels)
    };
    build::kernel_object(workspace, progress, &toolchain)?;
    build::user_side(workspace, progress, options.release)?;
    let folder = workspace.target.join("vm");
    let disk = command::disk(workspace, &folder, &script, options.release)?;
    let mut reports = Vec::new();
    let mut seen = Vec::new();
    for (wanted, kernel) in kernels {
        // One kernel that cannot be had or started must not hide what the others say.
        let report = kernel
            .and_then(|kernel| one(workspace, options, &root, (wanted, &kernel), disk.clone()))
            .unwrap_or_else(|error| Report::not_run(wanted, &format!("{error:#}")));
        println!("{}", report.line());
        seen.extend(report.features().map(|features| (report.name().to_owned(), features)));
        reports.push(report);
    }
    if options.all && options.command == [command::FEATURES] && seen.len() == reports.len() {
        features::write(workspace, &seen)?;
    }
    let count = report::print(&reports);
    if count.failed == 0 && count.false_alarms == 0 {
        return Ok(());
    }
    bail!("the command did not go well on every kernel; consoles and outputs are in {}", workspace.shown(&folder))
}

fn one(
    workspace: &Workspace,
    options: &Options,
    root: &Root,
    (wanted, kernel): (&Wanted, &Ready),
    disk: PathBuf,
) -> Result<Report> {
    let logs = workspace.target.join("vm").join(wanted.to_string());
    fs::create_dir_all(&logs).with_context(|| format!("could not make {}", logs.display()))?;
    println!("\n== {wanted}: {} ==", kernel.release);
    let initrd = logs.join("initrd");
    kernel::with_init(kernel, &initrd)?;
    let machine = Machine {
        kernel,
        initrd,
        root: &root.image,
        run: disk,
        console: logs.join("console.log"),
        output: logs.join("output.log"),
        memory: options.memory,
        processors: options.processors,
    };
    let limits = Limits {
        silence: Duration::from_secs(options.hang),
        whole: Duration::from_secs(options.deadline.saturating_mul(60)),
    };
    let ran = watch::run(workspace, &machine, limits, |line| println!("{line}"))?;
    Ok(Report::of(wanted, kernel, &ran, &workspace.shown(&logs)))
}

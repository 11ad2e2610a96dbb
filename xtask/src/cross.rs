//! `cargo xtask cross`: the kernel object and the daemon for aarch64, built on another machine, to see that they still do.
//!
//! rustup may have no standard library for that target here, so it is built as well, by the kernel side's compiler, which has
//! its source.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use crate::progress::Progress;
use crate::setup::packages::Purpose;
use crate::workspace::Workspace;
use crate::{build, elf, setup, tool};

/// Architecture, as Rust names it.
const ARCHITECTURE: &str = "aarch64";
const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Debian's cross compiler: it compiles the C of some dependencies, and links.
const COMPILER: &str = "aarch64-linux-gnu-gcc";
const PACKAGES: [&str; 2] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];

/// Builds both.
pub fn run(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    if std::env::consts::ARCH == ARCHITECTURE {
        bail!("this machine is an {ARCHITECTURE} itself: `cargo xtask build`");
    }
    let toolchain = setup::prepare(workspace, progress, Purpose::Build)?;
    setup::apt::install(workspace, progress, &setup::apt::not_installed(&PACKAGES.map(str::to_owned)))?;
    let folder = workspace.target.join("cross");
    let object = folder.join("netobs-ebpf.o");
    build::kernel_object_for(workspace, progress, &toolchain, (ARCHITECTURE, &object))?;
    progress.step(&format!("build the daemon for {ARCHITECTURE}"), false, || {
        let mut cargo = tool::cargo(workspace)?;
        build::with_compiler(&mut cargo, &toolchain)
            .args(["build", "--package", "netobs-daemon", "--bin", "netobs", "--target", TARGET])
            .args(["-Z", "build-std=std,panic_unwind", "--target-dir"])
            .arg(&folder)
            .env("NETOBS_BPF_OBJECT", &object)
            .env("CC_aarch64_unknown_linux_gnu", COMPILER)
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", COMPILER);
        tool::quiet(workspace, "cross", &mut cargo)
    })?;
    let daemon = folder.join(TARGET).join("debug/netobs");
    let machine = elf::machine(&fs::read(&daemon).with_context(|| format!("could not read {}", daemon.display()))?)?;
    ensure!(machine == elf::EM_AARCH64, "{} is for ELF machine {machine}", daemon.display());
    println!("xtask cross: {} is built for {ARCHITECTURE}", workspace.shown(&daemon));
    Ok(())
}

//! `cargo xtask build`: the kernel object, then the daemon, which embeds it, and the lab.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::elf;
use crate::progress::Progress;
use crate::setup::choice::Toolchain;
use crate::tool;
use crate::workspace::Workspace;

/// rustc's name of little-endian BPF.
const TARGET: &str = "bpfel-unknown-none";

/// What every build, test and lint of the user side selects. Always the same: another selection is another set of
/// features, and the dependencies would be built once more.
pub const USER_SIDE: [&str; 3] = ["--workspace", "--exclude", "netobs-ebpf"];

/// Builds the kernel object and copies it to where the daemon's build script takes it from.
pub fn kernel_object(workspace: &Workspace, progress: &mut Progress, toolchain: &Toolchain) -> Result<()> {
    ensure!(cfg!(target_endian = "little"), "the kernel side is built for little-endian machines only");
    let here = (std::env::consts::ARCH, workspace.kernel_object());
    kernel_object_for(workspace, progress, toolchain, (here.0, &here.1))
}

/// Builds the kernel object for machines of an architecture and copies it to a place.
pub fn kernel_object_for(
    workspace: &Workspace,
    progress: &mut Progress,
    toolchain: &Toolchain,
    (architecture, path): (&str, &Path),
) -> Result<()> {
    let folder = workspace.target.join("bpf-build");
    progress.step("build the kernel object", false, || {
        let mut cargo = tool::cargo(workspace)?;
        with_compiler(&mut cargo, toolchain)
            .args(["build", "--release", "--package", "netobs-ebpf", "--target", TARGET, "-Z", "build-std=core"])
            .arg("--target-dir")
            .arg(&folder)
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", kernel_flags(architecture).join("\x1f"));
        tool::quiet(workspace, "kernel-object", &mut cargo)?;
        publish(path, &fs::read(folder.join(TARGET).join("release").join("netobs-ebpf"))?)
    })
}

/// Lets cargo use the kernel side's compiler, with options that are not stable.
pub fn with_compiler<'a>(cargo: &'a mut Command, toolchain: &Toolchain) -> &'a mut Command {
    cargo
        .env("RUSTC", &toolchain.rustc)
        // The distribution's compiler is a release; -Z options need its leave. A nightly ignores this.
        .env("RUSTC_BOOTSTRAP", "1")
        // Empty: none, whatever cargo's configuration says. A compiler cache knows rustup's compilers only.
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
}

/// BTF is made from debug information; `bpf_target_arch` chooses the layout of registers in `aya-ebpf`.
fn kernel_flags(architecture: &str) -> [String; 3] {
    ["-Cdebuginfo=2".to_owned(), "-Clink-arg=--btf".to_owned(), format!("--cfg=bpf_target_arch=\"{architecture}\"")]
}

fn publish(path: &Path, object: &[u8]) -> Result<()> {
    elf::check_bpf_object(object)?;
    // An unchanged file keeps its time, so the daemon is not built again.
    if fs::read(path).is_ok_and(|old| old == object) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().context("no folder")?)?;
    fs::write(path, object).with_context(|| format!("could not write {}", path.display()))
}

/// Builds the daemon and the lab.
pub fn user_side(workspace: &Workspace, progress: &mut Progress, release: bool) -> Result<()> {
    progress.step("build the daemon and the lab", false, || {
        let mut cargo = tool::cargo(workspace)?;
        cargo.arg("build").args(USER_SIDE);
        if release {
            cargo.arg("--release");
        }
        tool::quiet(workspace, "build", &mut cargo)
    })
}

/// Builds the daemon as a static program without debug information, for an image that holds nothing else.
pub fn image(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let variable = target.replace('-', "_").to_uppercase();
    progress.step("build the static daemon", false, || {
        let mut cargo = tool::cargo(workspace)?;
        cargo
            .args(["build", "--release", "--package", "netobs-daemon", "--bin", "netobs", "--target", &target])
            // A target that is named, even the host's own: build scripts and macros are then built without these flags.
            // These would win over what follows.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), "-Ctarget-feature=+crt-static")
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
        tool::quiet(workspace, "build-image", &mut cargo)?;
        let (from, folder) = (workspace.target.join(&target).join("release/netobs"), workspace.target.join("image"));
        fs::create_dir_all(&folder)?;
        let to = folder.join("netobs");
        fs::copy(&from, &to).with_context(|| format!("could not copy {} to {}", from.display(), to.display()))?;
        Ok(())
    })
}

/// The lints' pass over the kernel side. Clippy belongs to rustup's stable compiler, which has no `core` for BPF, and the
/// compiler that can build one often comes without clippy; so the pass checks the crate for the host. What differs
/// between the two targets is checked by the build itself.
pub fn kernel_clippy(workspace: &Workspace) -> Result<Command> {
    let mut cargo = tool::cargo(workspace)?;
    cargo
        .args(["clippy", "--package", "netobs-ebpf", "--target-dir"])
        .arg(workspace.target.join("bpf-clippy"))
        // As on BPF: a `no_std` program has nothing to unwind with.
        .env("CARGO_PROFILE_DEV_PANIC", "abort")
        .args(["--", "-Dwarnings"]);
    Ok(cargo)
}

//! Carries out what [`super::choice`] decides, until the kernel side's toolchain is complete.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::progress::Progress;
use crate::setup::choice::{Facts, Next, Toolchain, next};
use crate::setup::{apt, probe};
use crate::tool;
use crate::workspace::Workspace;

/// Version of bpf-linker that is installed where there is none.
const BPF_LINKER: &str = "0.13.0";
/// Compiler, libraries, linker, and apt asked twice: more steps than this mean that one of them has no effect.
const STEPS: usize = 6;

/// Installs what is missing; returns compiler and linker.
pub fn ensure(workspace: &Workspace, progress: &mut Progress) -> Result<Toolchain> {
    let mut facts = probe::facts(workspace);
    for _ in 0..STEPS {
        match next(&facts) {
            Next::Ready(toolchain) => return Ok(toolchain),
            Next::Impossible(sentence) => bail!(sentence),
            Next::AskApt => {
                facts.offers = probe::offers();
                let served = facts.offers.iter().any(|offer| offer.release >= facts.minimum);
                if !served && tool::is_root() && apt::present() {
                    apt::update(workspace, progress)?;
                    facts.offers = probe::offers();
                }
                facts.asked_apt = true;
            }
            Next::InstallCompiler(packages) => {
                apt::install(workspace, progress, &packages)?;
                facts = Facts { offers: facts.offers, asked_apt: true, ..probe::facts(workspace) };
            }
            Next::InstallLinker(llvm) => {
                install_linker(workspace, progress, llvm)?;
                facts = probe::facts(workspace);
            }
        }
    }
    bail!(
        "the kernel side's toolchain is still incomplete after all steps; the logs are in {}",
        workspace.logs().display()
    )
}

fn install_linker(workspace: &Workspace, progress: &mut Progress, llvm: u32) -> Result<()> {
    let packages =
        [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"), "zlib1g-dev".to_owned(), "libzstd-dev".to_owned()];
    apt::install(workspace, progress, &apt::not_installed(&packages))?;
    progress.step(&format!("set-up: build bpf-linker {BPF_LINKER} (a minute or two)"), false, || {
        let mut cargo = tool::cargo(workspace)?;
        cargo
            .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--no-default-features", "--force"])
            .args(["--features", &format!("llvm-{llvm}")])
            .arg("--root")
            .arg(&workspace.tools)
            .env("LLVM_PREFIX", PathBuf::from(format!("/usr/lib/llvm-{llvm}")));
        tool::quiet(workspace, "bpf-linker", &mut cargo)
    })
}

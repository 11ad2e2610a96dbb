//! Bringing a machine that has only Rust, a C compiler and apt to where the commands work. Each step first looks
//! whether its result is there, so the second time nothing is done.

pub mod apt;
pub mod cargo_tools;
pub mod choice;
pub mod packages;
pub mod probe;
pub mod promtool;
pub mod python_tools;
pub mod toolchain;

use anyhow::Result;

use crate::progress::Progress;
use crate::setup::choice::Toolchain;
use crate::setup::packages::Purpose;
use crate::workspace::Workspace;

/// Does what is missing for a purpose; returns the compiler and linker for the kernel side.
pub fn prepare(workspace: &Workspace, progress: &mut Progress, purpose: Purpose) -> Result<Toolchain> {
    apt::ensure(workspace, progress, packages::for_purpose(purpose))?;
    let toolchain = toolchain::ensure(workspace, progress)?;
    if purpose == Purpose::Check {
        cargo_tools::ensure(workspace, progress)?;
        promtool::ensure(workspace, progress)?;
        python_tools::ensure_linters(workspace, progress)?;
        python_tools::ensure_checkov(workspace, progress)?;
    }
    Ok(toolchain)
}

//! cargo's extra commands that the gate uses, built into a cache of their own where the user has none.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::progress::Progress;
use crate::tool;
use crate::workspace::{Workspace, find_in, search_path};

/// A tool, the version that is installed where there is none (pinned, so that a release which wants a newer compiler does
/// not break set-up), and how far it is optimised: they run for seconds, so a long compilation never pays.
const TOOLS: [(&str, &str, &str); 3] =
    [("cargo-nextest", "0.9.143", "0"), ("cargo-deny", "0.20.2", "1"), ("cargo-machete", "0.9.2", "1")];

/// Installs what is missing.
pub fn ensure(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    ensure_components(workspace, progress)?;
    let mut folders = search_path();
    folders.push(workspace.tools_bin());
    for (name, version, optimise) in TOOLS {
        if find_in(&folders, name).is_none() {
            install(workspace, progress, name, version, optimise)?;
        }
    }
    Ok(())
}

/// rustup's minimal profile leaves out the formatter and the linter.
fn ensure_components(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    // Cargo says where it is: the toolchain's own folder, in which its components are, too.
    let Some(toolchain) = std::env::var_os("CARGO").and_then(|cargo| Path::new(&cargo).parent().map(Path::to_owned))
    else {
        return Ok(());
    };
    let missing: Vec<&str> = [("rustfmt", "rustfmt"), ("clippy-driver", "clippy")]
        .into_iter()
        .filter_map(|(program, component)| (!toolchain.join(program).is_file()).then_some(component))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    progress.step(&format!("set-up: rustup component add {}", missing.join(" ")), false, || {
        tool::quiet(workspace, "rustup", Command::new("rustup").args(["component", "add"]).args(&missing))
    })
}

fn install(workspace: &Workspace, progress: &mut Progress, name: &str, version: &str, optimise: &str) -> Result<()> {
    progress
        .step(&format!("set-up: build {name} {version} (some minutes)"), false, || {
            let mut cargo = tool::cargo(workspace)?;
            cargo
                .args(["install", name, "--version", version, "--locked", "--root"])
                .arg(&workspace.tools)
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", optimise)
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
            if name == "cargo-nextest" {
                // Without the feature that lets it replace itself.
                cargo.args(["--no-default-features", "--features", "default-no-update"]);
            }
            tool::quiet(workspace, name, &mut cargo)
        })
        .with_context(|| format!("could not install {name}"))
}

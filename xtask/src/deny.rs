//! Licences, sources and duplicates of the dependencies; known vulnerabilities where their database is at hand.

use anyhow::Result;

use crate::progress::Progress;
use crate::tool;
use crate::workspace::Workspace;

/// Runs `cargo deny`.
pub fn run(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    progress.step("dependencies: licences, sources, bans", false, || {
        let mut cargo = tool::cargo(workspace)?;
        cargo.args(["deny", "--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
        tool::quiet(workspace, "deny", &mut cargo)
    })?;
    if !has_advisories() {
        eprintln!("dependencies: advisories not checked: their database is not here (`cargo deny fetch db` gets it)");
        return Ok(());
    }
    progress.step("dependencies: advisories", false, || {
        let mut cargo = tool::cargo(workspace)?;
        // Offline: a gate that fetches would pass or fail without a change of ours.
        cargo.args(["deny", "--all-features", "--offline", "check", "--hide-inclusion-graph", "advisories"]);
        tool::quiet(workspace, "deny-advisories", &mut cargo)
    })
}

/// Whether cargo-deny has fetched the database once (`cargo deny fetch db`).
fn has_advisories() -> bool {
    let home = std::env::var_os("CARGO_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let Some(entries) = home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok()) else { return false };
    // A lock file alone is left behind by an attempt without a network.
    entries.flatten().any(|entry| entry.path().is_dir())
}

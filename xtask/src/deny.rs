//! Licences, sources and duplicates of the dependencies; known vulnerabilities where their database is at hand.

use anyhow::Result;

use crate::progress::Progress;
use crate::tool;
use crate::workspace::Workspace;

/// Runs `cargo deny`.
pub fn run(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let checks: &[&str] = if has_advisories() {
        &["bans", "licenses", "sources", "advisories"]
    } else {
        &["bans", "licenses", "sources"]
    };
    let name = format!("dependencies: {}", checks.join(", "));
    progress.step(&name, false, || {
        let mut cargo = tool::cargo(workspace)?;
        cargo.args(["deny", "--all-features", "check", "--hide-inclusion-graph"]);
        if has_advisories() {
            // As old as it is: a gate that fetches would pass and fail without a change of ours.
            cargo.arg("--disable-fetch");
        }
        tool::quiet(workspace, "deny", cargo.args(checks))
    })
}

/// Whether cargo-deny has fetched the database once (`cargo deny fetch db`).
fn has_advisories() -> bool {
    let home = std::env::var_os("CARGO_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok())
        .is_some_and(|mut entries| entries.next().is_some())
}

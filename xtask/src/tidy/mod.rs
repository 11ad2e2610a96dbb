//! Rules of this repository that no linter knows, checked by a program instead of by review.

mod links;
mod rules;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::tool;
use crate::workspace::Workspace;

/// Checks every file that git knows or would add.
pub fn run(workspace: &Workspace) -> Result<()> {
    let listing = tool::output(Command::new("git").current_dir(&workspace.root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
        "-z",
    ]))
    .context("the rules are checked in a git clone; `git ls-files` failed here")?;
    let mut findings = Vec::new();
    for path in listing.split_terminator('\0') {
        // Binary files have no lines to check, and a file may be deleted and not yet committed.
        let Ok(text) = fs::read_to_string(workspace.root.join(path)) else { continue };
        findings.extend(rules::check(path, &text));
        if has_extension(path, "md") {
            findings.extend(links::check(path, &text, |target| workspace.root.join(target).exists()));
        }
    }
    if findings.is_empty() { Ok(()) } else { bail!("{} broken:\n{}", findings.len(), findings.join("\n")) }
}

/// Whether a path ends in this extension.
fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension() == Some(OsStr::new(extension))
}

//! `vm … features`: what `netobs check` says on each kernel, as a page for users.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// What stands before the page's table.
const HEAD: &str = "# Kernels\n\nWhat works on which kernel, as `netobs check` said on it: written by `cargo xtask vm --all features`, which boots \
    Debian's kernels in emulated machines, loads and attaches everything there and detaches it again. netobs looks for what a kernel can \
    do, not for its version, so another kernel of the same age may have more or less: run `netobs check` on it.\n\n";
/// And between the table and what is lost.
const BETWEEN: &str = "\nWhat is lost where a feature does not fully work:\n\n";

/// A feature on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    name: String,
    /// `works`, `DEGRADED` or `MISSING`.
    state: String,
    /// Means of the kernel's; may be empty.
    by: String,
    /// May be empty.
    lost: String,
}

/// Reads what `netobs check` prints; `None`: it says nothing of features.
pub fn read(text: &str) -> Option<Vec<Seen>> {
    let mut lines = text.lines().skip_while(|line| *line != "Features").skip(1);
    let header = lines.next()?;
    let (state, by) = (header.find("STATE")?, header.find(" BY")? + 1);
    let column = |line: &str, from: usize, to: usize| {
        let cell = line.get(from..to.min(line.len())).unwrap_or_default();
        cell.trim().to_owned()
    };
    let mut seen: Vec<Seen> = lines
        .by_ref()
        .take_while(|line| !line.trim().is_empty())
        .map(|line| Seen {
            name: column(line, 0, state),
            state: column(line, state, by),
            by: column(line, by, line.len()),
            lost: String::new(),
        })
        .collect();
    for line in lines {
        if let Some((name, lost)) = line.split_once(": ")
            && let Some(feature) = seen.iter_mut().find(|feature| feature.name == name)
        {
            lost.clone_into(&mut feature.lost);
        }
    }
    (!seen.is_empty()).then_some(seen)
}

/// The page for these kernels.
pub fn page(kernels: &[(String, Vec<Seen>)]) -> String {
    let mut page = HEAD.to_owned();
    let names: Vec<&str> = kernels.iter().map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(page, "| feature | {} |", names.join(" | "));
    let _ = writeln!(page, "|---|{}", "---|".repeat(kernels.len()));
    let mut features: Vec<&str> = Vec::new();
    for feature in kernels.iter().flat_map(|(_, seen)| seen) {
        if !features.contains(&feature.name.as_str()) {
            features.push(&feature.name);
        }
    }
    let on = |name: &str, seen: &[Seen]| seen.iter().find(|feature| feature.name == name).cloned();
    for name in &features {
        let _ = write!(page, "| {name} |");
        for (_, seen) in kernels {
            let cell = on(name, seen).map_or_else(|| "not known".to_owned(), |feature| cell(&feature));
            let _ = write!(page, " {cell} |");
        }
        page.push('\n');
    }
    page.push_str(BETWEEN);
    for name in features {
        let mut told: Vec<String> = Vec::new();
        for (_, seen) in kernels {
            if let Some(feature) =
                on(name, seen).filter(|feature| !feature.lost.is_empty() && !told.contains(&feature.lost))
            {
                let _ = writeln!(page, "- {name}, {}: {}.", feature.state.to_lowercase(), feature.lost);
                told.push(feature.lost);
            }
        }
    }
    page
}

fn cell(feature: &Seen) -> String {
    let state =
        if feature.state == "works" { "works".to_owned() } else { format!("**{}**", feature.state.to_lowercase()) };
    if feature.by.is_empty() { state } else { format!("{state}: {}", feature.by) }
}

/// Writes the page.
pub fn write(workspace: &Workspace, kernels: &[(String, Vec<Seen>)]) -> Result<()> {
    let path = workspace.root.join("docs/kernels.md");
    fs::write(&path, page(kernels)).with_context(|| format!("could not write {}", path.display()))?;
    println!("vm: wrote {}", workspace.shown(&path));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OLD: &str = "netobs 0.1.0 on kernel 5.10.0\n\nFeatures\n FEATURE          STATE     BY\n drops            works     BTF tracepoint\n \
        drop reasons     DEGRADED\n netfilter hooks  MISSING\n\ndrop reasons: concluded: often\n  what would bring it: Linux 5.17\n\n\
        netfilter hooks: no hook\n\n1 of 3 work as they should, 1 lose something, 1 are missing\n";
    const NEW: &str = "Features\n FEATURE          STATE  BY\n drops            works  BTF tracepoint\n drop reasons     works\n \
        netfilter hooks  works  netfilter links\n\n3 of 3 work\n";

    #[test]
    fn the_table_is_read() {
        let seen = read(OLD).unwrap();
        let seen: Vec<_> = seen.iter().map(|one| [&one.name[..], &one.state, &one.by, &one.lost]).collect();
        let expected = [
            ["drops", "works", "BTF tracepoint", ""],
            ["drop reasons", "DEGRADED", "", "concluded: often"],
            ["netfilter hooks", "MISSING", "", "no hook"],
        ];
        assert_eq!(seen, expected);
        assert_eq!(read("netobs cannot run here: no BTF.\n"), None);
        assert_eq!(read("Features\n"), None);
    }

    #[test]
    fn a_column_for_each_kernel() {
        let kernels = [("5.10".to_owned(), read(OLD).unwrap()), ("7.3".to_owned(), read(NEW).unwrap())];
        let page = page(&kernels);
        let table: Vec<&str> = page.lines().filter(|line| line.starts_with(['|', '-'])).collect();
        let expected = [
            "| feature | 5.10 | 7.3 |",
            "|---|---|---|",
            "| drops | works: BTF tracepoint | works: BTF tracepoint |",
            "| drop reasons | **degraded** | works |",
            "| netfilter hooks | **missing** | works: netfilter links |",
            "- drop reasons, degraded: concluded: often.",
            "- netfilter hooks, missing: no hook.",
        ];
        assert_eq!(table, expected);
    }
}

//! checkov: what it finds in the manifests and the image's build file is what `deploy/checkov.yaml` accepts with a
//! reason, no more and no less. So neither a new weakness nor a reason that is no longer needed goes unnoticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::chart::Rendered;
use super::{Deploy, manifest};
use crate::setup::python_tools;
use crate::tool;

/// What is accepted, and why.
pub const ACCEPTED: &str = "checkov.yaml";
const DOCKERFILE: &str = "Dockerfile";

/// Failed checks of a file: what each demands, by its id.
pub type Failed = BTreeMap<String, String>;
/// Failed checks by file.
pub type Findings = BTreeMap<String, Failed>;

/// A check that may fail.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    id: &'a str,
    /// The files in which it does; none: all manifests.
    only: Vec<&'a str>,
}

impl Accepted<'_> {
    fn covers(&self, file: &str) -> bool {
        if self.only.is_empty() { !file.starts_with(DOCKERFILE) } else { self.only.contains(&file) }
    }
}

/// The files that are checked for what they are.
pub fn files(deploy: &Deploy<'_>, rendered: &[Rendered]) -> Vec<PathBuf> {
    let plain = manifest::names().chain([DOCKERFILE]).map(|name| deploy.folder.join(name));
    plain.chain(rendered.iter().map(|variant| variant.path.clone())).collect()
}

/// Runs it once over all files: most of its five seconds are its start.
pub fn run(deploy: &Deploy<'_>, files: &[PathBuf]) -> Result<Findings> {
    let mut checkov = Command::new(python_tools::checkov(deploy.workspace));
    // Its options can come from the environment and the home directory, too; and it asks PyPI for a newer version.
    checkov.env_clear().env("PATH", deploy.workspace.path()?).env("HOME", &deploy.rendered);
    checkov.env("LC_ALL", "C.UTF-8").env("CKV_SKIP_PACKAGE_UPDATE_CHECK", "true").current_dir(&deploy.folder);
    checkov.args(["--framework", "kubernetes", "dockerfile", "--skip-download", "--compact", "--quiet", "--file"]);
    let output = checkov.args(files).output().context("could not start checkov")?;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 1: some check failed.
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "{} ended with {}:\n{said}{errors}",
        tool::shown(&checkov),
        output.status
    );
    Ok(findings(&said))
}

/// Compares what was found in the files with what is accepted.
pub fn check(accepted: &[Accepted<'_>], findings: &Findings, files: &[PathBuf]) -> Result<()> {
    let names: Vec<&str> = files.iter().map(|path| name(path)).collect();
    for Accepted { id, only } in accepted {
        let unknown = only.iter().find(|file| !names.contains(file));
        ensure!(unknown.is_none(), "deploy/{ACCEPTED}: {id} is for {}, which is not checked", unknown.unwrap_or(&""));
    }
    names.into_iter().try_for_each(|file| judge(accepted, findings, file))
}

/// Compares what was found in one file with what is accepted there.
pub fn judge(accepted: &[Accepted<'_>], findings: &Findings, file: &str) -> Result<()> {
    let none = Failed::new();
    let failed = findings.get(file).unwrap_or(&none);
    let here: Vec<&str> =
        accepted.iter().filter(|accepted| accepted.covers(file)).map(|accepted| accepted.id).collect();
    let new: Vec<String> = failed
        .iter()
        .filter(|(id, _)| !here.contains(&id.as_str()))
        .map(|(id, demand)| format!("{id} ({demand})"))
        .collect();
    ensure!(
        new.is_empty(),
        "checkov finds in {file} what deploy/{ACCEPTED} gives no reason for there: {}",
        new.join(", ")
    );
    let stale = here.iter().find(|id| !failed.contains_key(**id));
    ensure!(
        stale.is_none(),
        "deploy/{ACCEPTED} accepts {} in {file}, where checkov does not find it",
        stale.unwrap_or(&"")
    );
    Ok(())
}

/// The list `skip-check`, each entry with a comment above it that says why: `- ID`, or `- ID # only FILE…`.
pub fn accepted(config: &str) -> Result<Vec<Accepted<'_>>> {
    let mut found = Vec::new();
    let mut reason = false;
    for line in config.lines().skip_while(|line| *line != "skip-check:").skip(1).map(str::trim) {
        if let Some(entry) = line.strip_prefix("- ") {
            let (id, only) = entry.split_once(" # only ").unwrap_or((entry, ""));
            ensure!(reason, "deploy/{ACCEPTED}: {id} has no comment that says why");
            ensure!(id.starts_with("CKV") && !id.contains(' '), "deploy/{ACCEPTED}: {id:?} is not the id of a check");
            found.push(Accepted { id, only: only.split_whitespace().collect() });
        }
        reason = line.starts_with("# ");
    }
    ensure!(!found.is_empty(), "deploy/{ACCEPTED} has no list skip-check");
    Ok(found)
}

/// Reads checkov's output for people, of which each finding has three lines: check, resource, file.
fn findings(said: &str) -> Findings {
    let mut found = Findings::new();
    let mut check = None;
    for line in said.lines().map(str::trim) {
        if let Some(failed) = line.strip_prefix("Check: ") {
            check = failed.split_once(": ");
        } else if let (Some(path), Some((id, demand))) = (line.strip_prefix("File: "), check) {
            let path = path.rsplit_once(':').map_or(path, |(path, _lines)| path);
            let failed = found.entry(name(Path::new(path)).to_owned()).or_default();
            failed.insert(id.to_owned(), demand.trim_matches('"').to_owned());
        }
    }
    found
}

/// A file's name in findings and in `only`.
fn name(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_suffix(".yaml").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SAID: &str = "dockerfile scan results:\n\nPassed checks: 63, Failed checks: 1, Skipped checks: 0\n\n\
        Check: CKV_DOCKER_2: \"Ensure HEALTHCHECK\"\n\tFAILED for resource: /Dockerfile.\n\tFile: Dockerfile:1-34\n\
        kubernetes scan results:\n\nPassed checks: 2, Failed checks: 3, Skipped checks: 0\n\n\
        Check: CKV_K8S_19: \"Not: the host's\"\n\tFAILED for resource: DaemonSet.a\n\tFile: /netobs.yaml:79-216\n\
        Check: CKV_K8S_26: \"No hostPort\"\n\tFAILED for resource: DaemonSet.a\n\tFile: /../target/metrics.yaml:1-2\n\
        Check: CKV_K8S_19: \"Not: the host's\"\n\tFAILED for resource: DaemonSet.a\n\tFile: /../target/metrics.yaml:1-2\n";
    const CONFIG: &str = "quiet: true\nskip-check:\n  # Why,\n  # at length.\n  - CKV_K8S_19\n  # Why.\n  - CKV_K8S_26 # only \
        metrics\n  # Why.\n  - CKV_DOCKER_2 # only Dockerfile\n";

    fn files(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    /// What is said about findings, a list of what is accepted, and files.
    fn complaint(said: &str, config: &str, names: &[&str]) -> Option<String> {
        check(&accepted(config).unwrap(), &findings(said), &files(names)).err().map(|error| error.to_string())
    }

    #[test]
    fn findings_are_read_from_the_output() {
        let found = findings(SAID);
        assert_eq!(found["metrics"].keys().collect::<Vec<_>>(), ["CKV_K8S_19", "CKV_K8S_26"]);
        assert_eq!(found["netobs"]["CKV_K8S_19"], "Not: the host's");
        assert_eq!(found["Dockerfile"].len(), 1);
        assert!(findings("").is_empty());
    }

    #[test]
    fn accepted_checks_need_their_reasons() {
        let list = accepted(CONFIG).unwrap();
        assert_eq!(list[1], Accepted { id: "CKV_K8S_26", only: vec!["metrics"] });
        assert_eq!(list.len(), 3);
        let none = accepted("skip-check:\n  # Why.\n  - CKV_K8S_1\n  - CKV_K8S_2\n").unwrap_err().to_string();
        assert!(none.contains("CKV_K8S_2 has no comment"), "{none}");
        assert!(accepted("skip-check:\n  # Why.\n  - CKV_K8S_1 # metrics\n").is_err());
        assert!(accepted("skip-check: [CKV_K8S_1]\n").is_err());
    }

    #[test]
    fn findings_are_exactly_those_that_are_accepted() {
        let all = ["netobs.yaml", "a/metrics.yaml", "Dockerfile"];
        assert_eq!(complaint(SAID, CONFIG, &all), None);
        let check = |said: &str, config: &str, names: &[&str], part: &str| {
            let complaint = complaint(said, config, names).unwrap();
            assert!(complaint.contains(part), "{complaint}");
        };
        // Found and not accepted: at all, or not in this file.
        check(&SAID.replace("CKV_K8S_26", "CKV_K8S_16"), CONFIG, &all, "in metrics what deploy/checkov.yaml gives no");
        check(&SAID.replace("CKV_K8S_19", "CKV_K8S_26"), CONFIG, &all, "in netobs what");
        // Accepted and not found: the file was put right, or not read.
        check(&SAID.replace("CKV_DOCKER_2", "CKV_DOCKER_2X"), CONFIG, &all, "CKV_DOCKER_2X (Ensure HEALTHCHECK)");
        check("", CONFIG, &all, "accepts CKV_K8S_19 in netobs");
        // A file that is not there any more.
        check(SAID, CONFIG, &["netobs.yaml", "Dockerfile"], "CKV_K8S_26 is for metrics");
    }
}

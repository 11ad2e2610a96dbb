//! Where things lie: the workspace, its target folder, the cache of tools.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Folders this program works in.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Top of the repository.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// `cargo install --root` of the tools that set-up builds; shared by all clones of one user.
    pub tools: PathBuf,
    /// Kernels and the root file system of virtual machines; shared likewise.
    pub vm: PathBuf,
}

impl Workspace {
    /// Finds the folders from where this crate was compiled and from the environment.
    pub fn find() -> Result<Self> {
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = manifest.parent().context("the xtask crate has no parent folder")?.to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
            .or_else(|| env::home_dir().map(|home| home.join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME is set: no place for the tools")?;
        let cache = cache.join("netobs");
        Ok(Self { root, target, tools: cache.join("tools"), vm: cache.join("vm") })
    }

    /// Folder of the tools' binaries.
    pub fn tools_bin(&self) -> PathBuf {
        self.tools.join("bin")
    }

    /// `PATH` with root's folders, which not every `PATH` has, and the tools' folder last, so that what the user installed
    /// goes first.
    pub fn path(&self) -> Result<std::ffi::OsString> {
        let mut folders = program_folders();
        folders.push(self.tools_bin());
        env::join_paths(folders).context("PATH")
    }

    /// The kernel object, where the daemon's build script takes it from.
    pub fn kernel_object(&self) -> PathBuf {
        self.target.join("bpf").join("netobs-ebpf.o")
    }

    /// The daemon.
    pub fn daemon(&self, release: bool) -> PathBuf {
        self.target.join(profile_folder(release)).join("netobs")
    }

    /// The lab runner.
    pub fn lab(&self, release: bool) -> PathBuf {
        self.target.join(profile_folder(release)).join("netobs-lab")
    }

    /// Where the output of tools is kept.
    pub fn logs(&self) -> PathBuf {
        self.target.join("xtask-logs")
    }

    /// A path for people: relative to the root where it lies below.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

fn profile_folder(release: bool) -> &'static str {
    if release { "release" } else { "debug" }
}

/// `PATH` and the folders for root's programs.
pub fn program_folders() -> Vec<PathBuf> {
    let mut folders = search_path();
    for folder in ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// Folders of `PATH`.
pub fn search_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// First file of this name in the folders.
pub fn find_in(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

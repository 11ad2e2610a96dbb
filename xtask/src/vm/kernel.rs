//! Kernels in the cache: fetched, unpacked, and made into what qemu starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::progress::Progress;
use crate::tool;
use crate::vm::archive::Archive;
use crate::vm::choice::{Kernel, Wanted};
use crate::vm::{cpio, disk, modules};
use crate::workspace::Workspace;

/// The first process, before the disks are there.
const FIRST: &str = include_str!("guest/first.sh");
/// End of the names of the files that say which kernel was taken for a line.
const CHOSEN: &str = ".chosen";
/// Files that one call of a tool is given.
const AT_ONCE: usize = 200;

/// A kernel that can be started.
#[derive(Clone, Debug)]
pub struct Ready {
    /// What `uname -r` says on it.
    pub release: String,
    /// The kernel.
    pub image: PathBuf,
    /// Its first root without the first process, see [`with_init`].
    pub initrd: PathBuf,
    /// An ext4 file system with its modules.
    pub modules: PathBuf,
}

/// The kernel that was taken for this line the last time.
pub fn cached(folder: &Path, wanted: &Wanted) -> Option<Ready> {
    let release = fs::read_to_string(folder.join(format!("{wanted}{CHOSEN}"))).ok()?;
    let ready = paths(folder, release.trim());
    ready.initrd.is_file().then_some(ready)
}

fn paths(folder: &Path, release: &str) -> Ready {
    let own = folder.join(release);
    Ready {
        release: release.to_owned(),
        image: own.join("vmlinuz"),
        initrd: own.join("initrd"),
        modules: own.join("modules.ext4"),
    }
}

/// Fetches a kernel unless it is there, and remembers that it is the one of its line.
pub fn fetch(
    workspace: &Workspace,
    progress: &mut Progress,
    folder: &Path,
    archive: &Archive,
    (wanted, kernel): (&Wanted, &Kernel),
    busybox: &Path,
) -> Result<Ready> {
    let ready = paths(folder, &kernel.release);
    if !ready.initrd.is_file() {
        progress.step(&format!("vm: the kernel {}", kernel.release), false, || {
            let work = folder.join(format!("{}.unpack", kernel.release));
            // What an interrupted run left.
            let _ = fs::remove_dir_all(&work);
            let packages: Vec<_> = kernel.packages.iter().map(|name| format!("{name}={}", kernel.version)).collect();
            for package in archive.download(workspace, &packages, &work)? {
                disk::unpack(&package, &work)?;
            }
            fs::create_dir_all(folder.join(&kernel.release))?;
            make(workspace, &work, &ready, busybox).with_context(|| format!("the packages {}", packages.join(", ")))?;
            fs::remove_dir_all(&work).with_context(|| format!("{}", work.display()))
        })?;
    }
    fs::write(folder.join(format!("{wanted}{CHOSEN}")), &kernel.release)?;
    forget_others(folder)?;
    Ok(ready)
}

/// Removes the kernels that no line has any more. A machine that runs has its files open.
fn forget_others(folder: &Path) -> Result<()> {
    let (mut kept, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        } else if path.to_string_lossy().ends_with(CHOSEN) {
            kept.push(folder.join(fs::read_to_string(&path)?.trim()));
        }
    }
    for path in folders.iter().filter(|path| !kept.contains(path)) {
        fs::remove_dir_all(path).with_context(|| format!("could not remove {}", path.display()))?;
    }
    Ok(())
}

/// Writes a kernel's first root with the first process, which is of this version of the program, not of the cache. The
/// kernel unpacks archives that follow each other over each other.
pub fn with_init(kernel: &Ready, to: &Path) -> Result<()> {
    let mut bytes = fs::read(&kernel.initrd).with_context(|| format!("reading {}", kernel.initrd.display()))?;
    let mut archive = cpio::Archive::default();
    archive.file("init", FIRST.as_bytes());
    bytes.extend(archive.finish());
    fs::write(to, bytes).with_context(|| format!("could not write {}", to.display()))
}

/// The three files out of an unpacked package. The first root is written last: without it the rest does not count.
fn make(workspace: &Workspace, tree: &Path, ready: &Ready, busybox: &Path) -> Result<()> {
    let base = if tree.join("usr/lib/modules").is_dir() { tree.join("usr") } else { tree.to_owned() };
    let folder = base.join("lib/modules").join(&ready.release);
    ensure!(folder.is_dir(), "there are no modules in {}", folder.display());
    // Where Debian keeps it, and from 6.19 on.
    let places = [tree.join("boot").join(format!("vmlinuz-{}", ready.release)), folder.join("vmlinuz")];
    let image = places.iter().find(|place| place.is_file()).context("there is no kernel in them")?;
    fs::copy(image, &ready.image).with_context(|| format!("{}", image.display()))?;
    decompress(workspace, &folder)?;
    let mut depmod = Command::new("depmod");
    depmod.arg("--basedir").arg(&base).arg(&ready.release).env("PATH", workspace.path()?);
    tool::quiet(workspace, "vm-depmod", &mut depmod)?;
    disk::from_folder(workspace, &base.join("lib/modules"), &ready.modules)?;
    let next = ready.initrd.with_extension("next");
    fs::write(&next, first_root(&folder, busybox)?)?;
    fs::rename(&next, &ready.initrd).with_context(|| format!("{}", ready.initrd.display()))
}

/// Modules are loaded by an emulated processor, often: what is compressed is unpacked here once.
fn decompress(workspace: &Workspace, folder: &Path) -> Result<()> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    for (extension, program) in [("xz", "xz"), ("zst", "zstd")] {
        let packed: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
        for some in packed.chunks(AT_ONCE) {
            let mut unpack = Command::new(program);
            unpack.args(["--decompress", "--quiet"]).args((program == "zstd").then_some("--rm")).args(some);
            tool::quiet(workspace, "vm-modules", &mut unpack)?;
        }
    }
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn first_root(modules_folder: &Path, busybox: &Path) -> Result<Vec<u8>> {
    let dependencies = fs::read_to_string(modules_folder.join("modules.dep")).context("modules.dep")?;
    let order = modules::load_order(&dependencies, &modules::FOR_THE_ROOT);
    if order.is_empty() && !modules_folder.join("modules.builtin").is_file() {
        bail!("{} lists no modules", modules_folder.display());
    }
    let mut archive = cpio::Archive::default();
    for folder in ["bin", "dev", "disk", "modules"] {
        archive.folder(folder);
    }
    archive.file("bin/busybox", &fs::read(busybox).context("busybox")?);
    for (number, file) in order.iter().enumerate() {
        let name = file.rsplit('/').next().unwrap_or(file);
        archive.file(&format!("modules/{number:02}-{name}"), &fs::read(modules_folder.join(file))?);
    }
    Ok(archive.finish())
}

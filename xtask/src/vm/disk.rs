//! Makes file systems out of folders and folders out of packages, without root.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::tool;
use crate::workspace::Workspace;

/// Block size of the file systems, in bytes.
const BLOCK: u64 = 4096;
/// Room for what is not content: groups, bitmaps, the table of inodes.
const OVERHEAD: u64 = 8 * 1024 * 1024;

/// Unpacks a package over a folder. (`dpkg-deb --extract` would put folders in the place of the links that join `/bin` with
/// `/usr/bin`.)
pub fn unpack(package: &Path, folder: &Path) -> Result<()> {
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start dpkg-deb")?;
    let content = dpkg.stdout.take().context("dpkg-deb without output")?;
    let status = Command::new("tar")
        .args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--file", "-", "--directory"])
        .arg(folder)
        .stdin(content)
        .status()
        .context("could not start tar");
    ensure!(dpkg.wait()?.success() && status?.success(), "could not unpack {}", package.display());
    Ok(())
}

/// Makes an ext4 file system that is only read and holds a folder's content.
pub fn from_folder(workspace: &Workspace, folder: &Path, image: &Path) -> Result<()> {
    let (blocks, files) = extent(folder)?;
    let size = blocks * BLOCK + files * BLOCK / 8 + OVERHEAD;
    let _ = fs::remove_file(image);
    let mut make = Command::new("mkfs.ext4");
    make.args(["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "root_owner=0:0", "-b", &BLOCK.to_string()])
        .args(["-N", &(files + files / 8 + 64).to_string(), "-d"])
        .arg(folder)
        .arg(image)
        .arg(format!("{}k", size.div_ceil(1024)))
        .env("PATH", workspace.path()?);
    tool::quiet(workspace, "vm-disk", &mut make)
}

/// Blocks that a folder's content takes, and the number of files in it.
fn extent(folder: &Path) -> Result<(u64, u64)> {
    let (mut blocks, mut files) = (1, 1);
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let below = extent(&entry.path())?;
            blocks += below.0;
            files += below.1;
        } else {
            files += 1;
            blocks += if kind.is_file() { entry.metadata()?.len().div_ceil(BLOCK) } else { 1 };
        }
    }
    Ok((blocks, files))
}

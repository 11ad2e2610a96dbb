//! The root file system that all virtual machines share: a small Debian out of the machine's own release, so that programs
//! which were built here run there, with the lab's tools. Packages are unpacked, not installed: no script of theirs runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::progress::Progress;
use crate::vm::archive::Archive;
use crate::vm::disk;
use crate::workspace::Workspace;

/// What is in it, with what that depends on.
const PACKAGES: [&str; 21] = [
    "base-files",
    "bash",
    "bind9-dnsutils",
    "bpftool",
    "busybox-static",
    "ca-certificates",
    "coreutils",
    "dash",
    "grep",
    "hostname",
    "ipset",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "knot",
    "mount",
    "nftables",
    "procps",
    "sed",
    "socat",
];
/// Folders at the top that are links into `/usr`, which Debian's packages presuppose.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// Mount points.
const MOUNTS: [&str; 8] = ["dev", "proc", "sys", "run", "tmp", "opt/netobs", "usr/lib/modules", "var/tmp"];
/// What `update-alternatives` would link: the tools of iptables are those for `nf_tables`.
const TOOLS: [&str; 6] =
    ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"];
/// What nobody reads there.
const LEFT_OUT: [&str; 5] =
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"];
/// Files that the packages' scripts would have written.
const FILES: [(&str, &str); 5] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/run:/bin/sh\nknot:x:100:100::/run:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nknot:x:100:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost netobs-vm\n::1 localhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/resolv.conf", "nameserver 127.0.0.1\n"),
];

/// The image, and the static shell that is in it.
#[derive(Clone, Debug)]
pub struct Root {
    /// An ext4 file system.
    pub image: PathBuf,
    /// busybox, linked statically.
    pub busybox: PathBuf,
}

/// Builds it unless it is there already. `release`: for messages and as part of what it was made of.
pub fn ensure(
    workspace: &Workspace,
    progress: &mut Progress,
    folder: &Path,
    release: &str,
    archive: impl FnOnce() -> Result<Archive>,
    again: bool,
) -> Result<Root> {
    let root = Root { image: folder.join("root.ext4"), busybox: folder.join("busybox") };
    let stamp = folder.join("root.made-of");
    let files: Vec<&str> = FILES.iter().flat_map(|(path, content)| [*path, *content]).collect();
    let made_of = [&[release][..], &PACKAGES, &TOOLS, &MOUNTS, &files].concat().join("\n");
    if !again && fs::read_to_string(&stamp).is_ok_and(|found| found == made_of) {
        return Ok(root);
    }
    progress.step(&format!("vm: the root file system, Debian {release}"), false, || {
        fs::create_dir_all(folder)?;
        let archive = archive()?;
        archive.update(workspace)?;
        archive.clean(workspace)?;
        let tree = folder.join("root.tree");
        // What an interrupted run left.
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(&tree)?;
        skeleton(&tree)?;
        for package in archive.download_closure(workspace, &PACKAGES)? {
            disk::unpack(&package, &tree)?;
        }
        finish(&tree)?;
        fs::copy(tree.join("bin/busybox"), &root.busybox).context("busybox")?;
        let next = root.image.with_extension("next");
        disk::from_folder(workspace, &tree, &next)?;
        // A machine that runs keeps the file that it has open.
        fs::rename(&next, &root.image)?;
        fs::remove_dir_all(&tree)?;
        archive.clean(workspace)?;
        // Written last: a root that is not complete has none.
        fs::write(&stamp, made_of).with_context(|| format!("could not write {}", stamp.display()))
    })?;
    Ok(root)
}

fn skeleton(tree: &Path) -> Result<()> {
    for name in MERGED {
        fs::create_dir_all(tree.join("usr").join(name))?;
        symlink(format!("usr/{name}"), tree.join(name))?;
    }
    Ok(())
}

fn finish(tree: &Path) -> Result<()> {
    for name in LEFT_OUT {
        let _ = fs::remove_dir_all(tree.join(name));
    }
    for name in MOUNTS {
        fs::create_dir_all(tree.join(name))?;
    }
    for (path, content) in FILES {
        fs::create_dir_all(tree.join(path).parent().unwrap_or(tree))?;
        fs::write(tree.join(path), content)?;
    }
    for tool in TOOLS {
        symlink("xtables-nft-multi", tree.join("usr/sbin").join(tool))?;
    }
    bundle(tree)?;
    if !tree.join("usr/bin/sh").exists() {
        symlink("dash", tree.join("usr/bin/sh"))?;
    }
    Ok(())
}

/// One file of all certificates, as `update-ca-certificates` writes it: a TLS client that finds none does not start.
fn bundle(tree: &Path) -> Result<()> {
    let mut all = Vec::new();
    for file in fs::read_dir(tree.join("usr/share/ca-certificates/mozilla")).context("ca-certificates")? {
        all.extend(fs::read(file?.path())?);
    }
    fs::create_dir_all(tree.join("etc/ssl/certs"))?;
    Ok(fs::write(tree.join("etc/ssl/certs/ca-certificates.crt"), all)?)
}

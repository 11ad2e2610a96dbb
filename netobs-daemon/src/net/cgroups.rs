//! cgroup v2 directories that belong to pods: the inode of such a directory is the cgroup's id in the kernel.

use std::collections::HashMap;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pod_uid;

/// Most directories visited in one walk; a full node has a few hundred.
const MAX_DIRECTORIES: usize = 20_000;
/// Deeper directories are not followed.
const MAX_DEPTH: usize = 16;
/// Mounts of cgroup2 that are looked at.
const MAX_MOUNTS: usize = 4;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct CgroupScan {
    /// Pod by cgroup id.
    pub pods: HashMap<u64, Arc<str>>,
    /// Where cgroup2 is mounted; empty if nowhere.
    pub mounts: Vec<PathBuf>,
    /// The walk ended at its bound.
    pub cut_short: bool,
}

/// Walks every cgroup2 mount of this process's mount namespace.
pub(super) fn scan() -> CgroupScan {
    let mounts = cgroup2_mounts(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let mut found = CgroupScan::default();
    let mut budget = MAX_DIRECTORIES;
    for mount in &mounts {
        walk(mount, &mut found, &mut budget);
    }
    found.cut_short = budget == 0;
    found.mounts = mounts;
    found
}

fn walk(root: &Path, found: &mut CgroupScan, budget: &mut usize) {
    let mut pending = vec![(root.to_path_buf(), None::<Arc<str>>, 0)];
    while let Some((directory, pod, depth)) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if *budget == 0 {
                return;
            }
            *budget -= 1;
            let name = entry.file_name();
            let pod = match &pod {
                Some(pod) => Some(Arc::clone(pod)),
                None => pod_uid::of_directory(&name.to_string_lossy()).map(Arc::from),
            };
            if let Some(pod) = &pod {
                found.pods.insert(entry.ino(), Arc::clone(pod));
            }
            if depth < MAX_DEPTH {
                pending.push((directory.join(name), pod, depth + 1));
            }
        }
    }
}

/// Mount points of file system type cgroup2 (`proc_pid_mountinfo(5)`).
fn cgroup2_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let mut mounts: Vec<PathBuf> = mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            (after.split(' ').next()? == "cgroup2").then(|| before.split(' ').nth(4).map(unescape))?
        })
        .collect();
    mounts.dedup();
    mounts.truncate(MAX_MOUNTS);
    mounts
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(path: &str) -> PathBuf {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(u8::is_ascii);
        if let Some(byte) = code {
            out.push(char::from(byte));
            rest = &rest[at + 4..];
        } else {
            out.push('\\');
            rest = &rest[at + 1..];
        }
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn mounts_are_found() {
        let text = "25 1 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                    26 25 0:23 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n\
                    27 25 0:24 / /sys/fs/cgroup/memory rw shared:5 master:1 - cgroup cgroup rw,memory\n\
                    28 25 0:23 / /host/a\\040b rw - cgroup2 none rw\nnonsense\n";
        assert_eq!(cgroup2_mounts(text), [PathBuf::from("/sys/fs/cgroup/unified"), PathBuf::from("/host/a b")]);
        assert_eq!(unescape(r"a\134b\9é\04"), PathBuf::from(r"a\b\9é\04"));
    }

    #[test]
    fn a_pods_directories_and_those_below_carry_its_uid() {
        let root = tempfile::tempdir().unwrap();
        let uid = "d8dfcecb-417c-4c71-a841-1c83b0fb2e62";
        let container = root.path().join(format!("kubepods/burstable/pod{uid}/03ab/nested"));
        std::fs::create_dir_all(&container).unwrap();
        std::fs::create_dir_all(root.path().join("system.slice/x.service")).unwrap();
        let mut found = CgroupScan::default();
        walk(root.path(), &mut found, &mut 100);
        assert_eq!(found.pods.len(), 3);
        let inode = std::fs::metadata(&container).unwrap().ino();
        assert_eq!(found.pods[&inode].as_ref(), uid);

        let mut budget = 2;
        let mut cut = CgroupScan::default();
        walk(root.path(), &mut cut, &mut budget);
        assert_eq!(budget, 0);
    }
}

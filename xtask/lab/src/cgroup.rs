//! The lab's part of the cgroup v2 tree, laid out as kubelet's cgroupfs driver does it.

use std::fs::{self, File, OpenOptions};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A cgroup v2 directory; its processes are killed and it is removed on drop.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    processes: Arc<File>,
    id: u64,
}

impl Cgroup {
    /// Makes the directory and those above it.
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("creating cgroup {}", path.display()))?;
        let file = path.join("cgroup.procs");
        let processes =
            OpenOptions::new().write(true).open(&file).with_context(|| format!("opening {}", file.display()))?;
        let id = fs::metadata(&path)?.ino();
        Ok(Self { path, processes: Arc::new(processes), id })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id, which is the directory's inode (as `bpf_get_current_cgroup_id` returns it).
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Write end of `cgroup.procs`.
    pub(crate) fn processes(&self) -> Arc<File> {
        Arc::clone(&self.processes)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        destroy(&self.path);
    }
}

/// Moves the calling process into a cgroup. One system call, no allocation: may be used between `fork` and `exec`.
pub(crate) fn join(processes: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::io::write(processes, b"0").map(drop)
}

/// Kills all processes in a cgroup and below, waits for their end and removes the directories.
pub(crate) fn destroy(path: &Path) {
    // cgroup.kill exists since Linux 5.14; before, processes are killed one by one.
    if fs::write(path.join("cgroup.kill"), "1").is_err() {
        kill_one_by_one(path);
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    while populated(path) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    remove(path);
}

fn populated(path: &Path) -> bool {
    fs::read_to_string(path.join("cgroup.events")).is_ok_and(|text| text.contains("populated 1"))
}

fn kill_one_by_one(path: &Path) {
    for line in fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
        let pid = line.parse().ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    for child in children(path) {
        kill_one_by_one(&child);
    }
}

fn remove(path: &Path) {
    for child in children(path) {
        remove(&child);
    }
    let _ = fs::remove_dir(path);
}

fn children(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect()
}

/// Where cgroup v2 is mounted. Where it is not mounted at all, it is mounted at `/run/netobs-lab/cgroup`.
pub(crate) fn mount() -> Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    if let Some(path) = find_cgroup2(&table) {
        return Ok(path);
    }
    let path = PathBuf::from("/run/netobs-lab/cgroup");
    fs::create_dir_all(&path)?;
    mount_at(&path).with_context(|| format!("mounting cgroup2 at {}", path.display()))?;
    Ok(path)
}

fn mount_at(path: &Path) -> std::io::Result<()> {
    let status = std::process::Command::new("mount").args(["-t", "cgroup2", "none"]).arg(path).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("mount: {status}"))) }
}

/// First cgroup2 mount in the text of mountinfo (`proc_pid_mountinfo(5)`) that shows the tree's root.
fn find_cgroup2(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (after.split(' ').next() == Some("cgroup2") && root == "/").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_unified_tree_of_a_hybrid_machine() {
        let text = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:7 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_cgroup2(text), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(find_cgroup2(text.lines().next().unwrap_or_default()), None);
    }
}

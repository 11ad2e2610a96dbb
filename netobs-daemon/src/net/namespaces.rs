//! Network namespaces of this node, from its processes and from the files that hold them open.
//!
//! A process's namespace can be looked at only with `CAP_SYS_PTRACE` over it (`proc_ns_readlink`, `fs/proc/namespaces.c`);
//! files below `/run/netns`, where container runtimes bind them, need no right but to see that directory.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::pod_uid;

/// Most namespaces kept.
const MAX_NAMESPACES: usize = 4096;
/// Most processes of one namespace whose cgroup is read.
const MAX_PROCESSES: usize = 64;
/// Most processes looked at in one scan.
const MAX_SCANNED: usize = 65_536;
/// Where container runtimes and ip-netns(8) bind namespaces.
const HELD: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// One namespace that is not the daemon's own.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    /// Where it can be opened.
    paths: Vec<PathBuf>,
    processes: usize,
    pod: PodClaim,
}

/// Whose namespace it is, by its processes' cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum PodClaim {
    #[default]
    None,
    One(Arc<str>),
    /// Processes of different pods: hostNetwork pods of a node that is itself in a namespace.
    Several,
}

impl Namespace {
    /// The pod, if it is one and only one.
    pub(super) fn pod(&self) -> Option<&Arc<str>> {
        match &self.pod {
            PodClaim::One(pod) => Some(pod),
            PodClaim::None | PodClaim::Several => None,
        }
    }

    fn claim(&mut self, uid: String) {
        self.pod = match std::mem::take(&mut self.pod) {
            PodClaim::None => PodClaim::One(uid.into()),
            PodClaim::One(known) if *known == *uid => PodClaim::One(known),
            _ => PodClaim::Several,
        };
    }

    /// Opens it, checking that what is opened is still the same one.
    pub(super) fn open(&self, inode: u32) -> Option<OwnedFd> {
        self.paths.iter().find_map(|path| {
            let file =
                rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
            (rustix::fs::fstat(&file).ok()?.st_ino == u64::from(inode)).then_some(file)
        })
    }
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct NamespaceScan {
    /// By inode.
    pub found: HashMap<u32, Namespace>,
    /// Processes whose namespace may not be looked at.
    pub denied: usize,
    /// Namespaces or processes past the bound.
    pub left_out: usize,
}

/// Looks at every process and every held namespace.
pub(super) fn scan(own: u32) -> NamespaceScan {
    let mut scan = NamespaceScan::default();
    for directory in HELD {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            // A name that nothing is bound to is an ordinary file.
            let Some(inode) = namespace_inode(&path).filter(|&inode| inode != own) else { continue };
            if let Some(namespace) = scan.entry(inode) {
                namespace.paths.push(path);
            }
        }
    }
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for (count, pid) in processes.enumerate() {
        if count >= MAX_SCANNED {
            scan.left_out += 1;
            break;
        }
        scan.process(pid, own);
    }
    scan
}

impl NamespaceScan {
    fn entry(&mut self, inode: u32) -> Option<&mut Namespace> {
        if self.found.len() >= MAX_NAMESPACES && !self.found.contains_key(&inode) {
            self.left_out += 1;
            return None;
        }
        Some(self.found.entry(inode).or_default())
    }

    fn process(&mut self, pid: u32, own: u32) {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let inode = match std::fs::read_link(&path) {
            Ok(target) => target.to_str().and_then(parse_link),
            Err(error) => {
                self.denied += usize::from(error.kind() == std::io::ErrorKind::PermissionDenied);
                return;
            }
        };
        let Some(inode) = inode.filter(|&inode| inode != own) else { return };
        let Some(namespace) = self.entry(inode) else { return };
        if namespace.paths.len() < 2 {
            namespace.paths.push(path);
        }
        namespace.processes += 1;
        if namespace.processes > MAX_PROCESSES {
            return;
        }
        let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if let Some(uid) = pod_of_process(&cgroups) {
            namespace.claim(uid);
        }
    }
}

/// Inode of a bound namespace; `None` for a file that is no namespace.
fn namespace_inode(path: &std::path::Path) -> Option<u32> {
    /// `NSFS_MAGIC` (`include/uapi/linux/magic.h`).
    const NSFS: u32 = 0x6e73_6673;
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    if kind.cast_unsigned() as u32 != NSFS {
        return None;
    }
    u32::try_from(rustix::fs::stat(path).ok()?.st_ino).ok()
}

/// Inode in the target of `/proc/PID/ns/net`: `net:[4026532177]`.
fn parse_link(target: &str) -> Option<u32> {
    target.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Pod UID in `/proc/PID/cgroup`: lines of `hierarchy:controllers:path`, any of which may name it.
fn pod_of_process(cgroups: &str) -> Option<String> {
    cgroups.lines().find_map(|line| pod_uid::of_path(line.splitn(3, ':').nth(2)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn links_and_cgroups_are_read() {
        assert_eq!(parse_link("net:[4026532177]"), Some(4_026_532_177));
        for bad in ["", "net:[]", "net:[99999999999]", "mnt:[1]", "net:[1"] {
            assert_eq!(parse_link(bad), None, "{bad}");
        }
        let uid = "d8dfcecb-417c-4c71-a841-1c83b0fb2e62";
        let text = format!("9:name=systemd:/system.slice\n0::/kubepods/pod{uid}/x\n");
        assert_eq!(pod_of_process(&text).as_deref(), Some(uid));
        assert_eq!(pod_of_process("0::/user.slice\nnonsense\n"), None);
    }

    #[test]
    fn processes_of_different_pods_name_none() {
        let mut namespace = Namespace::default();
        assert_eq!(namespace.pod(), None);
        namespace.claim("a".to_owned());
        namespace.claim("a".to_owned());
        assert_eq!(namespace.pod().unwrap().as_ref(), "a");
        namespace.claim("b".to_owned());
        namespace.claim("b".to_owned());
        assert_eq!(namespace.pod(), None);
    }
}

//! Which network namespace the daemon itself is in.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A sysctl that only the initial namespace has (`net_core_table` against `netns_core_table`,
/// `net/core/sysctl_net_core.c`), and the directory that every namespace has. Needs no right over another process, as
/// comparing with `/proc/1/ns/net` would.
const INITIAL_ONLY: &str = "netdev_max_backlog";
const CORE_SYSCTLS: &str = "/proc/sys/net/core";

/// Whether the calling thread is in the machine's initial network namespace; `None` if `/proc/sys` cannot tell.
pub fn in_initial_netns() -> Option<bool> {
    initial(Path::new(CORE_SYSCTLS))
}

fn initial(core: &Path) -> Option<bool> {
    // `somaxconn` is in every namespace: without it this is no view of the sysctls at all.
    if !core.join("somaxconn").exists() {
        return None;
    }
    Some(core.join(INITIAL_ONLY).exists())
}

/// Inode of the calling thread's network namespace.
pub fn own_netns() -> std::io::Result<u32> {
    let inode = std::fs::metadata("/proc/thread-self/ns/net")?.ino();
    // Namespace inodes come from a 32-bit allocator (proc_alloc_inum, fs/proc/generic.c).
    u32::try_from(inode).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_initial_namespace_has_one_more_sysctl() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(initial(directory.path()), None);
        std::fs::write(directory.path().join("somaxconn"), "").unwrap();
        assert_eq!(initial(directory.path()), Some(false));
        std::fs::write(directory.path().join(INITIAL_ONLY), "").unwrap();
        assert_eq!(initial(directory.path()), Some(true));
    }

    #[test]
    fn a_new_namespace_is_not_initial() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root to make a network namespace");
            return;
        }
        let before = own_netns().unwrap();
        let inside = std::thread::spawn(|| {
            // SAFETY: unshare of the network namespace alone; nothing else of this thread depends on it.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
            (own_netns().unwrap(), in_initial_netns())
        });
        let (inode, initial) = inside.join().unwrap();
        assert_ne!(inode, before);
        assert_eq!(initial, Some(false));
    }
}

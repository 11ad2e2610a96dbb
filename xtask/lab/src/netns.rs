//! A network namespace: made with a name under `/run/netns` (so that `ip netns exec` and `nsenter` can look into it),
//! held by file descriptor.
//!
//! `/run/netns` is a shared mount once `ip netns` has been used; it is never unmounted here. `setns` is per thread:
//! [`Netns::run`] enters in a thread of its own, so the caller's thread never changes its namespace.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::slow::patience;

const DIRECTORY: &str = "/run/netns";

/// A named network namespace; deleted on drop.
///
/// The kernel frees the namespace itself when the last process, socket and file descriptor in it is gone.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: Arc<File>,
    inode: u32,
}

impl Netns {
    /// Makes a new one with loopback down, as the kernel does.
    pub(crate) fn create(name: String) -> Result<Self> {
        let output = Command::new("ip").args(["netns", "add", &name]).output().context("running ip (iproute2)")?;
        if !output.status.success() {
            bail!("ip netns add {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let path = PathBuf::from(DIRECTORY).join(&name);
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        // Namespace inodes are 32 bits wide (`ns_common.inum`, include/linux/ns_common.h).
        let inode = u32::try_from(file.metadata()?.ino()).context("inode of a namespace")?;
        Ok(Self { name, file: Arc::new(file), inode })
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its inode, by which the kernel's records name it.
    pub const fn inode(&self) -> u32 {
        self.inode
    }

    /// The namespace's file, for one who enters later.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Deletes the name; the namespace lives on as long as somebody holds it.
    pub(crate) fn forget_name(&self) {
        delete(&self.name);
    }

    /// Runs a closure in a thread inside the namespace and returns its result.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(self.file.as_fd()).with_context(|| format!("entering network namespace {}", self.name))?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Waits until IPv6 works on an interface. The kernel starts it some time after the link has come up (its link
    /// watch is asynchronous); the sign is the interface's link-local address.
    pub(crate) fn wait_for_ipv6(&self, interface: &str) -> Result<()> {
        let end = Instant::now() + patience(Duration::from_secs(5));
        self.run(|| {
            while Instant::now() < end {
                let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
                if ipv6_is_ready(&table, interface) {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            bail!("IPv6 has not come up on {interface} in {}", self.name)
        })?
    }

    /// Writes a sysctl of this namespace: `net.ipv4.ip_forward` or, for names with dots in them, with slashes.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = sysctl_path(key);
        self.run(|| std::fs::write(&path, value))?.with_context(|| format!("writing {value} to {}", path.display()))
    }

    /// Reads a sysctl of this namespace.
    pub fn read_sysctl(&self, key: &str) -> Result<String> {
        let path = sysctl_path(key);
        let text = self.run(|| std::fs::read_to_string(&path))?;
        Ok(text.with_context(|| format!("reading {}", path.display()))?.trim().to_owned())
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Moves the calling thread into a network namespace. Makes one system call and allocates nothing, so it may be used
/// between `fork` and `exec`.
pub(crate) fn enter(namespace: BorrowedFd<'_>) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
}

/// Deletes all namespaces whose name begins with `prefix`.
pub(crate) fn delete_with_prefix(prefix: &str) {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else { return };
    for entry in entries.flatten() {
        if let Some(name) = entry.file_name().to_str().filter(|name| name.starts_with(prefix)) {
            delete(name);
        }
    }
}

/// Unmounts and unlinks the name, as `ip netns delete` does, without starting a process.
fn delete(name: &str) {
    let path = PathBuf::from(DIRECTORY).join(name);
    let Ok(text) = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()) else { return };
    // SAFETY: `text` is a nul-terminated string that lives across the call; umount2 has no other memory effect.
    unsafe { libc::umount2(text.as_ptr(), libc::MNT_DETACH) };
    let _ = std::fs::remove_file(path);
}

/// Whether a table in the form of `/proc/net/if_inet6` (address, index, prefix length, scope, flags, name; numbers in
/// hexadecimal) has a link-local address of the interface that is not tentative.
fn ipv6_is_ready(table: &str, interface: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, _, _, "20", flags, name] = fields[..] else { return false };
        name == interface && u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & libc::IFA_F_TENTATIVE == 0)
    })
}

fn sysctl_path(key: &str) -> PathBuf {
    let key = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    PathBuf::from("/proc/sys").join(key)
}

#[cfg(test)]
mod tests {
    use super::ipv6_is_ready;

    #[test]
    fn a_tentative_address_is_not_ready() {
        let table = "fe80000000000000085858fffe400001 04 40 20 c0     eth0\n\
                     fd000040000000000000000000000001 04 40 00 80     cni0\n";
        assert!(!ipv6_is_ready(table, "eth0"));
        assert!(!ipv6_is_ready(table, "cni0"));
        assert!(ipv6_is_ready(&table.replace("20 c0", "20 80"), "eth0"));
    }
}

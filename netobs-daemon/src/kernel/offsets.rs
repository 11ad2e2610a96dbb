//! Offsets for the kernel programs, from the running kernel's BTF.

use std::sync::Arc;

use netobs_common::offsets::{ABSENT, Offsets};

use super::btf::{Btf, BtfError};

/// The module that describes conntrack where it is not built in.
const CONNTRACK: &str = "nf_conntrack";

/// What [`running`] found.
#[derive(Debug)]
pub struct Found {
    /// Values for the programs.
    pub offsets: Offsets,
    /// Fields that this kernel lacks, as `structure.member`, in the order of [`Offsets`].
    pub absent: Vec<String>,
}

/// Reads the running kernel's offsets. The BTF (5 to 10 MB) is freed before this returns.
///
/// Where conntrack is a module that is not loaded, its fields are absent: load it and start again to have them.
pub fn running() -> Result<Found, BtfError> {
    with_conntrack(&Arc::new(Btf::running()?))
}

/// Reads the offsets from the kernel's BTF and, where conntrack is a module, the module's.
pub fn with_conntrack(base: &Arc<Btf>) -> Result<Found, BtfError> {
    let offsets = match Btf::module(base, CONNTRACK)? {
        // A split BTF answers for its base, too.
        Some(conntrack) => read(&conntrack),
        None => read(base),
    };
    Ok(Found { offsets, absent: absent(&offsets) })
}

/// Looks every field up in one BTF (and its base).
pub fn read(btf: &Btf) -> Offsets {
    let mut offsets = Offsets::fill(|structure, member| btf.member_offset(structure, member));
    if offsets.dev_priv == ABSENT {
        offsets.dev_priv = private_data(btf).unwrap_or(ABSENT);
    }
    offsets
}

/// Where an interface's own data lies on kernels where no member says it (before 6.10): right behind `struct net_device`,
/// aligned (`netdev_priv`, `include/linux/netdevice.h`).
fn private_data(btf: &Btf) -> Option<u32> {
    /// `NETDEV_ALIGN`.
    const ALIGN: u32 = 32;
    btf.structure_size("net_device")?.checked_next_multiple_of(ALIGN)
}

/// Names of the fields that were not found.
pub fn absent(offsets: &Offsets) -> Vec<String> {
    let mut names = Vec::new();
    offsets.for_each(|structure, member, offset| {
        if offset == ABSENT {
            names.push(format!("{structure}.{member}"));
        }
    });
    names
}

#[cfg(test)]
mod tests;

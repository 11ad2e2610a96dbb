//! The tracepoint that sees drops.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::Btf;
use aya::programs::tp_btf::BtfTracePointLink;

use super::load::{Loaded, ProgramError};
use super::sys;

/// Attached `skb:kfree_skb`. Detaches when dropped, or with the process.
pub struct KfreeSkb {
    descriptor: OwnedFd,
    _link: BtfTracePointLink,
}

impl KfreeSkb {
    /// Loads and attaches the program.
    pub fn attach(loaded: &mut Loaded) -> Result<Self, ProgramError> {
        let btf = Btf::from_sys_fs().map_err(aya::programs::ProgramError::from)?;
        let program = loaded.tracepoint("kfree_skb", "kfree_skb", &btf)?;
        let link = program.attach()?;
        let link = program.take_link(link)?;
        let descriptor = program.fd()?.as_fd().try_clone_to_owned().map_err(aya::programs::ProgramError::IOError)?;
        Ok(Self { descriptor, _link: link })
    }

    /// Times the kernel skipped the program because it was already running on that CPU; `None`: it does not say.
    pub fn recursion_misses(&self) -> Option<u64> {
        sys::recursion_misses(self.descriptor.as_fd())
    }
}

//! The tracepoint that sees drops.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::Btf;

use super::load::{Loaded, ProgramError};
use super::sys;

/// Attached `skb:kfree_skb`. Detaches when aya's object goes, or with the process.
#[derive(Debug)]
pub struct KfreeSkb {
    descriptor: OwnedFd,
}

impl KfreeSkb {
    /// Loads and attaches the program.
    pub fn attach(loaded: &mut Loaded) -> Result<Self, ProgramError> {
        let btf = Btf::from_sys_fs().map_err(aya::programs::ProgramError::from)?;
        let program = loaded.tracepoint("kfree_skb", "kfree_skb", &btf)?;
        program.attach()?;
        let descriptor = program.fd()?.as_fd().try_clone_to_owned().map_err(aya::programs::ProgramError::IOError)?;
        Ok(Self { descriptor })
    }

    /// Times the kernel skipped the program because it was already running on that CPU.
    pub fn recursion_misses(&self) -> u64 {
        sys::recursion_misses(self.descriptor.as_fd()).unwrap_or(0)
    }
}

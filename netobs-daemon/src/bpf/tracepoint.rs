//! Programs at tracepoints of the kernel.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::Btf;
use aya::programs::tp_btf::BtfTracePointLink;

use super::load::{Loaded, ProgramError};
use super::sys;

/// An attached program. Detaches when dropped, or with the process.
pub struct Tracepoint {
    descriptor: OwnedFd,
    _link: BtfTracePointLink,
}

impl Tracepoint {
    /// Loads the program that has the tracepoint's name, and attaches it.
    pub fn attach(loaded: &mut Loaded, name: &'static str, btf: &Btf) -> Result<Self, ProgramError> {
        let program = loaded.tracepoint(name, name, btf)?;
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

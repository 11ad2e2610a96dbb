//! A program that is attached to the kernel itself, whatever its kind.

use std::any::Any;
use std::fmt;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::programs::ProgramFd;

use super::load::ProgramError;
use super::sys;

/// An attached program. Detaches when dropped, or with the process.
pub struct Attached {
    descriptor: OwnedFd,
    _link: Box<dyn Any + Send>,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

impl Attached {
    /// Keeps a program's link, and a descriptor of the program to ask it by.
    pub fn new(program: &ProgramFd, link: impl Any + Send) -> Result<Self, ProgramError> {
        let descriptor = program.as_fd().try_clone_to_owned().map_err(aya::programs::ProgramError::IOError)?;
        Ok(Self { descriptor, _link: Box::new(link) })
    }

    /// Times the kernel skipped the program because it was already running on that CPU; `None`: it does not say.
    pub fn recursion_misses(&self) -> Option<u64> {
        sys::recursion_misses(self.descriptor.as_fd())
    }
}

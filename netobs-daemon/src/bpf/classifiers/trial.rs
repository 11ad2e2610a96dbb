//! Measures classifiers without an interface: one of ours, and an empty one to compare with.

use std::io;
use std::os::fd::AsFd as _;

use super::{Program, program};
use crate::bpf::load::{Loaded, ProgramError};
use crate::bpf::sys;

/// The two.
#[derive(Debug)]
pub struct Trial {
    ours: Program,
    empty: Program,
}

impl Trial {
    /// Loads the ingress classifier of ports, and the empty one.
    pub fn load(loaded: &mut Loaded) -> Result<Self, ProgramError> {
        Ok(Self { ours: program(loaded, "tcx_ingress")?, empty: program(loaded, "empty")? })
    }

    /// Mean nanoseconds of a run over `frame`: the empty program's and ours. Both must leave the verdict to others.
    pub fn run(&self, frame: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
        let mut means = [0; 2];
        for (mean, program) in means.iter_mut().zip([&self.empty, &self.ours]) {
            let (duration, verdict) = sys::test_run(program.descriptor.as_fd(), frame, repeat)?;
            // TCX_NEXT, -1.
            if verdict != u32::MAX {
                return Err(io::Error::other(format!("a classifier returned {verdict}, not TCX_NEXT")));
            }
            *mean = duration;
        }
        Ok((means[0], means[1]))
    }
}

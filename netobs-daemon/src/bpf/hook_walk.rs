//! Netfilter hooks of kernels without netfilter links: a program where the kernel begins to walk through a hook
//! (`nf_hook_slow`, `net/netfilter/core.c`), by fentry, or by a kprobe where that is refused.

use aya::Btf;
use aya::programs::{FEntry, KProbe};

use super::attached::Attached;
use super::load::{Loaded, ProgramError};

/// The kernel's function; also the name of the program for fentry.
const FUNCTION: &str = "nf_hook_slow";
/// The program for a kprobe.
const PROBE: &str = "nf_hook_slow_probe";

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// fentry (Linux 5.5; on arm64 6.0).
    Entry,
    /// A kprobe.
    Probe,
}

/// The attached program.
#[derive(Debug)]
pub struct HookWalk {
    /// The program.
    pub program: Attached,
    /// How.
    pub by: Means,
}

impl HookWalk {
    /// Tries `means` one after another. `btf` is the running kernel's, or why there is none to use.
    pub fn attach(loaded: &mut Loaded, means: &[Means], btf: Result<&Btf, &str>) -> Result<Self, String> {
        let mut refusals = Vec::new();
        for &by in means {
            let attached = match (by, btf) {
                (Means::Entry, Ok(btf)) => entry(loaded, btf).map_err(|error| error.to_string()),
                (Means::Entry, Err(why)) => Err(why.to_owned()),
                (Means::Probe, _) => probe(loaded).map_err(|error| error.to_string()),
            };
            match attached {
                Ok(program) => return Ok(Self { program, by }),
                Err(error) => refusals.push(format!("{}: {error}", by.name())),
            }
        }
        Err(refusals.join("; "))
    }
}

impl Means {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entry => "fentry",
            Self::Probe => "kprobe",
        }
    }
}

fn entry(loaded: &mut Loaded, btf: &Btf) -> Result<Attached, ProgramError> {
    let program: &mut FEntry = loaded.program(FUNCTION)?;
    program.load(FUNCTION, btf)?;
    let link = program.attach()?;
    let link = program.take_link(link)?;
    Attached::new(program.fd()?, link)
}

fn probe(loaded: &mut Loaded) -> Result<Attached, ProgramError> {
    let program: &mut KProbe = loaded.program(PROBE)?;
    program.load()?;
    let link = program.attach(FUNCTION, 0)?;
    let link = program.take_link(link)?;
    Attached::new(program.fd()?, link)
}

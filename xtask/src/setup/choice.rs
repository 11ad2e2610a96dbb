//! Which compiler and linker build the kernel side: decided from probed facts alone, so that machines one does not
//! have can be tested.
//!
//! `core` has to be built for the BPF target, so the compiler needs its own source beside it, and bpf-linker has to
//! read the compiler's bitcode, so its LLVM must be of the compiler's major version. Two kinds of machine have that:
//! one with rustup's nightly and `rust-src`, and one whose distribution packages a new enough rustc with its source.

use std::path::PathBuf;

/// Major versions of LLVM that the bpf-linker we install can be built with.
pub const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// The distribution's compilers and their sources, the preferred ones first. Debian's stable releases carry a newer
/// compiler as `rustc-web` (it exists to build web browsers); its testing release and others have it as `rustc`.
pub const COMPILER_PACKAGES: [[&str; 2]; 2] = [["rustc-web", "rust-web-src"], ["rustc", "rust-src"]];

/// Major and minor version of a Rust compiler.
pub type Release = (u32, u32);

/// An installed compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// Program.
    pub rustc: PathBuf,
    /// Version.
    pub release: Release,
    /// Major version of its LLVM.
    pub llvm: u32,
    /// Whether the source of its standard library is beside it.
    pub source: bool,
}

/// A bpf-linker that starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linker {
    /// Program.
    pub path: PathBuf,
    /// Major version of its LLVM; `None` when it is linked in and cannot be told from outside.
    pub llvm: Option<u32>,
}

/// A compiler and its source that apt would install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Both packages.
    pub packages: [String; 2],
    /// Version.
    pub release: Release,
}

/// What was found on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Oldest compiler that the workspace builds with (`rust-version`).
    pub minimum: Release,
    /// rustup's nightly toolchains that have the source.
    pub nightlies: Vec<Compiler>,
    /// `/usr/bin/rustc`.
    pub system: Option<Compiler>,
    /// Linkers in `PATH`, then in the cache.
    pub linkers: Vec<Linker>,
    /// What apt offers; empty until it was asked, which takes longer than all other probes.
    pub offers: Vec<Candidate>,
    /// Whether apt was asked.
    pub asked_apt: bool,
}

/// A compiler and a linker that fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Compiler.
    pub rustc: PathBuf,
    /// bpf-linker.
    pub linker: PathBuf,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: build with these.
    Ready(Toolchain),
    /// Ask apt what it offers and decide again.
    AskApt,
    /// Install a compiler and its source, then decide again.
    InstallCompiler([String; 2]),
    /// Build a linker with this major version of LLVM, then decide again.
    InstallLinker(u32),
    /// One sentence: what is missing and how to get it.
    Impossible(String),
}

/// Decides the next step.
pub fn next(facts: &Facts) -> Next {
    let usable = |compiler: &&Compiler| compiler.source && compiler.release >= facts.minimum;
    let compilers: Vec<&Compiler> = facts.nightlies.iter().chain(&facts.system).filter(usable).collect();
    for compiler in &compilers {
        let fits = |linker: &&Linker| linker.llvm.is_none_or(|llvm| llvm == compiler.llvm);
        if let Some(linker) = facts.linkers.iter().find(fits) {
            return Next::Ready(Toolchain { rustc: compiler.rustc.clone(), linker: linker.path.clone() });
        }
    }
    // A linker is built against the distribution's LLVM libraries; the distribution has those of its own compiler.
    if let Some(compiler) = compilers.iter().rev().find(|compiler| LINKER_LLVM.contains(&compiler.llvm)) {
        return Next::InstallLinker(compiler.llvm);
    }
    if !facts.asked_apt {
        return Next::AskApt;
    }
    let (major, minor) = facts.minimum;
    match facts.offers.iter().find(|offer| offer.release >= facts.minimum) {
        // apt has put the packages in place and yet the compiler is of no use: another one hides it.
        Some(offer) if facts.system.as_ref().is_some_and(|system| system.source && system.release >= offer.release) => {
            Next::Impossible(format!(
                "/usr/bin/rustc uses LLVM {}, but bpf-linker can be built with LLVM {} to {} only: install a bpf-linker for it by hand",
                facts.system.as_ref().map_or(0, |system| system.llvm),
                LINKER_LLVM.start(),
                LINKER_LLVM.end()
            ))
        }
        Some(offer) => Next::InstallCompiler(offer.packages.clone()),
        None => Next::Impossible(format!(
            "no compiler for the kernel side: run `rustup toolchain install nightly --component rust-src` and `cargo install bpf-linker`, or use a distribution that packages rustc {major}.{minor} or later with its source"
        )),
    }
}

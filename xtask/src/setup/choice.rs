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

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(rustc: &str, release: Release, llvm: u32) -> Compiler {
        Compiler { rustc: rustc.into(), release, llvm, source: true }
    }

    fn linker(path: &str, llvm: Option<u32>) -> Linker {
        Linker { path: path.into(), llvm }
    }

    fn offer(name: &str, release: Release) -> Candidate {
        Candidate { packages: [name.to_owned(), format!("{name}-src")], release }
    }

    /// A machine with nothing, of which apt was asked.
    fn bare() -> Facts {
        Facts { minimum: (1, 95), asked_apt: true, ..Facts::default() }
    }

    fn ready(rustc: &str, linker: &str) -> Next {
        Next::Ready(Toolchain { rustc: rustc.into(), linker: linker.into() })
    }

    #[track_caller]
    fn check(facts: &Facts, expected: &Next) {
        assert_eq!(next(facts), *expected, "{facts:#?}");
    }

    #[test]
    fn a_developers_nightly_with_source_and_linker_is_used_as_it_is() {
        let facts = Facts {
            nightlies: vec![compiler("nightly", (1, 97), 22)],
            system: Some(compiler("/usr/bin/rustc", (1, 96), 22)),
            linkers: vec![linker("bpf-linker", Some(22))],
            ..bare()
        };
        check(&facts, &ready("nightly", "bpf-linker"));
        let static_linker = Facts { linkers: vec![linker("bpf-linker", None)], ..facts };
        check(&static_linker, &ready("nightly", "bpf-linker"));
    }

    #[test]
    fn the_distributions_compiler_is_used_where_no_linker_fits_the_nightly() {
        let facts = Facts {
            nightlies: vec![compiler("nightly", (1, 99), 23)],
            system: Some(compiler("/usr/bin/rustc", (1, 96), 22)),
            linkers: vec![linker("old", Some(21)), linker("cached", Some(22))],
            ..bare()
        };
        check(&facts, &ready("/usr/bin/rustc", "cached"));
    }

    #[test]
    fn a_compiler_without_source_or_too_old_does_not_count() {
        let offers = vec![offer("rustc-web", (1, 96))];
        let install = Next::InstallCompiler(["rustc-web".to_owned(), "rustc-web-src".to_owned()]);
        let no_source = Compiler { source: false, ..compiler("/usr/bin/rustc", (1, 96), 22) };
        let linkers = vec![linker("cached", Some(22))];
        check(&Facts { system: Some(no_source), offers: offers.clone(), linkers: linkers.clone(), ..bare() }, &install);
        let too_old = compiler("/usr/bin/rustc", (1, 63), 14);
        check(&Facts { system: Some(too_old), offers, linkers, ..bare() }, &install);
    }

    #[test]
    fn a_bare_machine_goes_from_apt_to_ready_step_by_step() {
        let mut facts = Facts { asked_apt: false, ..bare() };
        check(&facts, &Next::AskApt);
        facts.asked_apt = true;
        facts.offers = vec![offer("rustc-web", (1, 96)), offer("rustc", (1, 63))];
        check(&facts, &Next::InstallCompiler(["rustc-web".to_owned(), "rustc-web-src".to_owned()]));
        facts.system = Some(compiler("/usr/bin/rustc", (1, 96), 22));
        check(&facts, &Next::InstallLinker(22));
        facts.linkers = vec![linker("cached", Some(22))];
        check(&facts, &ready("/usr/bin/rustc", "cached"));
    }

    #[test]
    fn the_first_offer_that_is_new_enough_is_taken() {
        let facts = Facts { offers: vec![offer("rustc-web", (1, 85)), offer("rustc", (1, 97))], ..bare() };
        check(&facts, &Next::InstallCompiler(["rustc".to_owned(), "rustc-src".to_owned()]));
    }

    #[test]
    fn a_linker_is_built_for_the_distributions_compiler_first() {
        let nightly = compiler("nightly", (1, 99), 23);
        let both =
            Facts { nightlies: vec![nightly.clone()], system: Some(compiler("/usr/bin/rustc", (1, 96), 22)), ..bare() };
        check(&both, &Next::InstallLinker(22));
        check(&Facts { nightlies: vec![nightly], ..bare() }, &Next::InstallLinker(23));
    }

    #[test]
    fn what_cannot_be_had_is_said_in_one_sentence() {
        let old_only = Facts { offers: vec![offer("rustc", (1, 63))], ..bare() };
        let Next::Impossible(sentence) = next(&old_only) else { panic!("{:?}", next(&old_only)) };
        assert!(sentence.contains("rustup toolchain install nightly") && sentence.contains("1.95"), "{sentence}");

        let too_new = Facts {
            system: Some(compiler("/usr/bin/rustc", (2, 0), 40)),
            offers: vec![offer("rustc", (2, 0))],
            ..bare()
        };
        let Next::Impossible(sentence) = next(&too_new) else { panic!("{:?}", next(&too_new)) };
        assert!(sentence.contains("LLVM 40"), "{sentence}");
    }
}

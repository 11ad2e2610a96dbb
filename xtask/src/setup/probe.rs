//! What compilers and linkers this machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::apt;
use crate::setup::choice::{COMPILER_PACKAGES, Candidate, Compiler, Facts, Linker, Release};
use crate::tool;
use crate::workspace::{Workspace, search_path};

/// Source of the standard library, relative to a sysroot; `-Z build-std` reads this very file.
const SOURCE: &str = "lib/rustlib/src/rust/library/Cargo.lock";

/// Looks at everything but apt.
pub fn facts(workspace: &Workspace) -> Facts {
    let mut folders = search_path();
    folders.push(workspace.tools_bin());
    Facts {
        minimum: release(env!("CARGO_PKG_RUST_VERSION")).unwrap_or_default(),
        nightlies: nightlies(),
        system: compiler(Path::new("/usr")),
        linkers: folders.iter().filter_map(|folder| linker(&folder.join("bpf-linker"))).collect(),
        offers: Vec::new(),
        asked_apt: false,
    }
}

/// What apt would install.
pub fn offers() -> Vec<Candidate> {
    COMPILER_PACKAGES
        .iter()
        .filter_map(|packages| {
            let release = release(&apt::candidate(packages[0])?)?;
            apt::candidate(packages[1])?;
            Some(Candidate { packages: packages.map(str::to_owned), release })
        })
        .collect()
}

/// rustup's nightly toolchains, read from its folder: asking rustup itself takes longer than all the rest.
fn nightlies() -> Vec<Compiler> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".rustup")));
    let Some(entries) = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"nightly"))
        .map(|entry| entry.path())
        .filter(|sysroot| sysroot.join(SOURCE).is_file())
        .filter_map(|sysroot| compiler(&sysroot))
        .collect()
}

fn compiler(sysroot: &Path) -> Option<Compiler> {
    let rustc = sysroot.join("bin/rustc");
    if !rustc.is_file() {
        return None;
    }
    let version = tool::output(Command::new(&rustc).arg("-vV").env_remove("LD_LIBRARY_PATH"))?;
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name));
    Some(Compiler {
        release: release(field("release: ")?)?,
        llvm: release(field("LLVM version: ")?)?.0,
        source: sysroot.join(SOURCE).is_file(),
        rustc,
    })
}

fn linker(path: &Path) -> Option<Linker> {
    let binary = fs::read(path).ok()?;
    // Also finds out whether the libraries it wants are there.
    tool::output(Command::new(path).arg("--version").env_remove("LD_LIBRARY_PATH"))?;
    Some(Linker { path: path.to_owned(), llvm: llvm_of(&binary) })
}

/// LLVM's major version in the name of the shared library that a program asks for: `libLLVM.so.22.1` or
/// `libLLVM-22.so`.
fn llvm_of(binary: &[u8]) -> Option<u32> {
    let mut rest = binary;
    while let Some(at) = rest.windows(7).position(|window| window == b"libLLVM") {
        rest = &rest[at + 7..];
        let name = rest.strip_prefix(b".so.").or_else(|| rest.strip_prefix(b"-")).unwrap_or_default();
        let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if let Some(major) = std::str::from_utf8(&name[..digits]).ok().and_then(|digits| digits.parse().ok()) {
            return Some(major);
        }
    }
    None
}

/// The first two numbers of a version, whatever follows them.
fn release(version: &str) -> Option<Release> {
    let mut numbers = version.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_whatever_follows() {
        assert_eq!(release("1.96.0+dfsg1-1~deb12u2"), Some((1, 96)));
        assert_eq!(release("1.97.0-nightly"), Some((1, 97)));
        assert_eq!(release("22.1.8"), Some((22, 1)));
        assert_eq!(release("1.95"), Some((1, 95)));
        assert_eq!(release("(none)"), None);
    }

    #[test]
    fn the_minimum_is_the_manifests() {
        assert!(release(env!("CARGO_PKG_RUST_VERSION")).is_some());
    }

    #[test]
    fn llvm_is_read_from_either_form_of_the_name() {
        assert_eq!(llvm_of(b"\0libc.so.6\0libLLVM.so.22.1\0"), Some(22));
        assert_eq!(llvm_of(b"\0libLLVM-21.so\0"), Some(21));
        assert_eq!(llvm_of(b"\0libLLVMSupport\0libLLVM-21.so.1\0"), Some(21));
        assert_eq!(llvm_of(b"statically linked libLLVM"), None);
    }
}

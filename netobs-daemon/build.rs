//! Hands the kernel object to the daemon, which embeds it: a daemon without its programs is not built.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

/// `EM_BPF` of elf.h, at offset 18 of a little-endian ELF header.
const EM_BPF: [u8; 2] = 247_u16.to_le_bytes();

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=NETOBS_BPF_OBJECT");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let object = object_path()?;
    println!("cargo::rerun-if-changed={}", object.display());
    let Ok(bytes) = fs::read(&object) else {
        println!(
            "cargo::error=the kernel programs are not built ({} is missing): run `cargo xtask build`",
            object.display()
        );
        return Ok(());
    };
    if !bytes.starts_with(b"\x7fELF") || bytes.get(18..20) != Some(&EM_BPF) {
        println!("cargo::error={} is not a BPF object: run `cargo xtask build`", object.display());
        return Ok(());
    }
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("netobs-ebpf.o"), bytes)?;
    Ok(())
}

/// `NETOBS_BPF_OBJECT`, else where `cargo xtask build` puts it.
fn object_path() -> Result<PathBuf, Box<dyn Error>> {
    if let Some(path) = env::var_os("NETOBS_BPF_OBJECT") {
        return Ok(path.into());
    }
    let mut root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    root.pop();
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target));
    Ok(target.join("bpf").join("netobs-ebpf.o"))
}

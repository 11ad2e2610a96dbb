//! The kernel object's ELF file, as far as the build checks it: machine and section names.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};

/// `EM_BPF` of elf.h.
const EM_BPF: u16 = 247;
/// `EM_AARCH64`.
pub const EM_AARCH64: u16 = 183;

/// Checks that this is a BPF object with type information, maps and a licence; returns the names of its sections.
pub fn check_bpf_object(object: &[u8]) -> Result<BTreeSet<String>> {
    let sections = sections(object)?;
    for wanted in [".BTF", ".BTF.ext", "license", "maps"] {
        ensure!(
            sections.contains(wanted),
            "the kernel object has no section {wanted}: the kernel or aya would refuse it"
        );
    }
    Ok(sections)
}

/// The machine that a little-endian 64-bit ELF file is for (`e_machine`, at 18).
pub fn machine(object: &[u8]) -> Result<u16> {
    let identity = object.get(..6).context("shorter than an ELF header")?;
    ensure!(identity == b"\x7fELF\x02\x01", "not a little-endian 64-bit ELF file");
    u16_at(object, 18)
}

fn sections(object: &[u8]) -> Result<BTreeSet<String>> {
    // Elf64_Ehdr, little endian: e_shoff 40, e_shentsize 58, e_shnum 60, e_shstrndx 62.
    let machine = machine(object)?;
    if machine != EM_BPF {
        bail!("ELF machine {machine}, not {EM_BPF} (BPF)");
    }
    let table = usize::try_from(u64_at(object, 40)?)?;
    let entry_size = usize::from(u16_at(object, 58)?);
    let header = |index: u16| table.checked_add(usize::from(index) * entry_size).context("section table");
    // Elf64_Shdr: sh_name 0, sh_offset 24.
    let names = usize::try_from(u64_at(object, header(u16_at(object, 62)?)? + 24)?)?;
    (0..u16_at(object, 60)?)
        .map(|index| {
            let offset = usize::try_from(u32_at(object, header(index)?)?)?;
            let name = names.checked_add(offset).and_then(|start| object.get(start..)).context("section name")?;
            let end = name.iter().position(|byte| *byte == 0).context("section name without an end")?;
            Ok(String::from_utf8_lossy(&name[..end]).into_owned())
        })
        .collect()
}

fn bytes_at<const N: usize>(object: &[u8], offset: usize) -> Result<[u8; N]> {
    offset
        .checked_add(N)
        .and_then(|end| object.get(offset..end))
        .and_then(|bytes| bytes.try_into().ok())
        .context("ELF file is cut")
}

fn u16_at(object: &[u8], offset: usize) -> Result<u16> {
    bytes_at(object, offset).map(u16::from_le_bytes)
}

fn u32_at(object: &[u8], offset: usize) -> Result<u32> {
    bytes_at(object, offset).map(u32::from_le_bytes)
}

fn u64_at(object: &[u8], offset: usize) -> Result<u64> {
    bytes_at(object, offset).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An ELF file of these sections, the last one being the names.
    fn object(machine: u16, names: &[&str]) -> Vec<u8> {
        let mut strings = Vec::new();
        let offsets: Vec<usize> = names
            .iter()
            .map(|name| {
                let offset = strings.len();
                strings.extend(name.bytes().chain([0]));
                offset
            })
            .collect();
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[40..48].copy_from_slice(&(64 + strings.len() as u64).to_le_bytes());
        file[58..60].copy_from_slice(&64_u16.to_le_bytes());
        file[60..62].copy_from_slice(&(names.len() as u16).to_le_bytes());
        file[62..64].copy_from_slice(&(names.len() as u16 - 1).to_le_bytes());
        file.extend(strings);
        for offset in offsets {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&(offset as u32).to_le_bytes());
            header[24..32].copy_from_slice(&64_u64.to_le_bytes());
            file.extend(header);
        }
        file
    }

    #[test]
    fn a_whole_object_passes() {
        let file = object(EM_BPF, &["", ".BTF", ".BTF.ext", "license", "maps", "classifier", ".strtab"]);
        assert!(check_bpf_object(&file).unwrap().contains("classifier"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let without_maps = object(EM_BPF, &["", ".BTF", ".BTF.ext", "license", ".strtab"]);
        assert!(check_bpf_object(&without_maps).unwrap_err().to_string().contains("maps"));
        let for_the_host = object(62, &["", ".BTF", ".BTF.ext", "license", "maps", ".strtab"]);
        assert!(check_bpf_object(&for_the_host).unwrap_err().to_string().contains("62"));
    }

    #[test]
    fn a_cut_object_is_an_error_at_every_length() {
        let file = object(EM_BPF, &["", ".BTF", ".BTF.ext", "license", "maps", ".strtab"]);
        for length in 0..file.len() - 60 {
            assert!(check_bpf_object(&file[..length]).is_err(), "cut at {length}");
        }
    }
}

//! The running kernel's offsets against what a C compiler makes of the same kernel's types.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use super::*;

#[test]
fn absent_fields_are_named() {
    let mut offsets = Offsets::fill(|_, _| Some(8));
    assert!(absent(&offsets).is_empty());
    offsets.ct_reply = ABSENT;
    assert_eq!(absent(&offsets), ["nf_conn.tuplehash[1].tuple"]);
    assert_eq!(Offsets::fill(|_, _| None), Offsets::ABSENT);
}

#[test]
fn offsets_agree_with_a_c_compiler() {
    if !std::path::Path::new(crate::kernel::btf::VMLINUX).exists() {
        eprintln!("skipped: this kernel has no BTF");
        return;
    }
    let found = running().unwrap();
    println!("absent here: {:?}", found.absent);
    assert_ne!(found.offsets.skb_dev, ABSENT, "{:?}", found.absent);
    assert_ne!(found.offsets.net_inum, ABSENT, "{:?}", found.absent);

    let dump =
        Command::new("bpftool").args(["btf", "dump", "file", crate::kernel::btf::VMLINUX, "format", "c"]).output();
    let Ok(dump) = dump else {
        eprintln!("skipped: no bpftool to write the types as C");
        return;
    };
    if !dump.status.success() || Command::new("cc").arg("--version").output().is_err() {
        eprintln!("skipped: bpftool failed or there is no C compiler");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("offsets.c");
    let mut code = String::from_utf8(dump.stdout).unwrap();
    code.push_str("\nextern int printf(const char *, ...);\nint main(void) {\n");
    let mut ours = BTreeMap::new();
    found.offsets.for_each(|structure, member, offset| {
        // conntrack's types are in a BTF of their own where it is a module.
        // Before Linux 6.10 it is no member, but where the structure ends.
        let is_member = member != "priv" || code.contains(" priv[0];");
        if offset != ABSENT && is_member && code.contains(&format!("struct {structure} {{")) {
            let name = format!("{structure}.{member}");
            let _ = writeln!(code, r#"printf("{name} %lu\n", __builtin_offsetof(struct {structure}, {member}));"#);
            ours.insert(name, offset.to_string());
        }
    });
    code.push_str("return 0; }\n");
    std::fs::write(&source, code).unwrap();
    let program = directory.path().join("offsets");
    let compiled = Command::new("cc").args(["-w", "-std=gnu11", "-o"]).arg(&program).arg(&source).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let theirs = Command::new(&program).output().unwrap();
    let theirs: BTreeMap<String, String> = String::from_utf8(theirs.stdout)
        .unwrap()
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, offset)| (name.to_owned(), offset.to_owned()))
        .collect();
    assert!(ours.len() > 15, "{ours:?}");
    assert_eq!(ours, theirs);
}

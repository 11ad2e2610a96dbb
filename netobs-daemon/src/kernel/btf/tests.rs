//! Offsets and enum values on small files, split files and hostile bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::synthetic::{Writer, sample};
use super::*;

fn check(btf: &Btf, structure: &str, path: &str, expected: Option<u32>) {
    assert_eq!(btf.member_offset(structure, path), expected, "{structure}.{path}");
}

#[test]
fn members() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    check(&btf, "outer", "first", Some(0));
    check(&btf, "outer", "y", Some(12));
    check(&btf, "outer", "headers.y", Some(12));
    check(&btf, "outer", "pair", Some(16));
    check(&btf, "outer", "pair[1]", Some(24));
    check(&btf, "outer", "pair[1].b", Some(28));
    check(&btf, "outer", "konst.b", Some(36));
    check(&btf, "outer", "last", Some(44));
    check(&btf, "outer_t", "last", Some(44));
    check(&btf, "grid", "cells[2][1].b", Some(44));
    assert_eq!((btf.structure_size("grid"), btf.structure_size("none")), (Some(48), None));
    for (structure, path) in [
        ("outer", "bit"),
        ("outer", "none"),
        ("outer", "pair[2]"),
        ("outer", "last[0]"),
        ("outer", "first.a"),
        ("outer", "pair.a"),
        ("outer", ""),
        ("none", "a"),
        ("", "x1"),
        ("unsigned int", "a"),
        ("grid", "odd"),
        ("old", "narrow"),
    ] {
        check(&btf, structure, path, None);
    }
}

#[test]
fn enums() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    assert_eq!(btf.enum_values("colour").unwrap(), [("RED".to_owned(), 0), ("BLUE".to_owned(), 7)]);
    assert_eq!(btf.enum_values("signed").unwrap(), [("NEG".to_owned(), -1)]);
    assert_eq!(btf.enum_values("wide").unwrap(), [("BIG".to_owned(), (2 << 32) | 1)]);
    assert_eq!(btf.enum_values("inner"), None);
}

#[test]
fn a_split_file_continues_its_base() {
    let base = sample();
    let mut module = Writer::split(&base);
    module.composite(4, false, "conn", 24, &[("head", 1, 0), ("body", 3, 64), ("own", 19, 128)]); // 18
    module.composite(4, false, "tail", 4, &[("z", 1, 0)]); // 19
    let base = Arc::new(Btf::parse(base.bytes()).unwrap());
    let module = Arc::new(Btf::parse_split(&base, module.bytes()).unwrap());
    check(&module, "conn", "body.b", Some(12));
    check(&module, "conn", "own.z", Some(16));
    check(&module, "outer", "last", Some(44));
    check(&base, "conn", "head", None);
    assert!(matches!(Btf::parse_split(&module, sample().bytes()), Err(BtfError::NestedSplit)));
}

#[test]
fn a_structure_that_contains_itself_ends_the_search() {
    let mut w = Writer::new();
    w.composite(4, false, "loop", 8, &[("", 1, 0), ("", 2, 0)]); // 1
    w.record(8, false, 0, "turn", 2, &[]); // 2: typedef of itself
    w.array(3, 3, 4); // 3: array of itself
    w.composite(4, false, "s", 8, &[("a", 3, 0)]); // 4
    let btf = Btf::parse(w.bytes()).unwrap();
    check(&btf, "loop", "x", None);
    check(&btf, "turn", "x", None);
    check(&btf, "s", "a[1]", None);
}

#[test]
fn what_is_not_btf_is_refused() {
    let good = sample().bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Btf::parse(bytes)
    };
    assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::Header(_))));
    assert!(matches!(with(0, 0), Err(BtfError::Header(_))));
    assert!(matches!(with(2, 2), Err(BtfError::Header(_))));
    assert!(matches!(with(4, 23), Err(BtfError::Header(_))));
    assert!(matches!(with(14, 0xff), Err(BtfError::Header(_))));
    assert!(matches!(with(24 + 7, 31), Err(BtfError::Record { at: 0, .. })));
    assert!(matches!(Btf::from_file(Path::new("/nonexistent")), Err(BtfError::Read { .. })));
}

fn exercise(bytes: Vec<u8>) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for structure in ["outer", "inner", "grid", "outer_t", "old", ""] {
        for path in ["y", "pair[1].b", "cells[2][1].b", "konst.b", "headers.y", "bit", "last"] {
            let _ = btf.member_offset(structure, path);
        }
    }
    for name in ["colour", "signed", "wide", ""] {
        let _ = btf.enum_values(name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_files_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
                                 cut in any::<prop::sample::Index>(), whole in any::<bool>()) {
        let mut bytes = sample().bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        exercise(bytes);
    }

    #[test]
    fn random_records_never_panic(words in prop::collection::vec(0u32..40, 0..60)) {
        // Small numbers make ids and string offsets that are often valid.
        let mut w = Writer::new();
        for chunk in words.chunks(5) {
            let word = |index: usize| chunk.get(index).copied().unwrap_or(1);
            w.record(word(0) % 20, word(1) % 2 == 1, word(2) % 2, "outer", word(3), &[word(4), word(0), word(1)]);
        }
        exercise(w.bytes());
    }

    #[test]
    fn random_paths_never_panic(path in r"[a-z\[\].0-9]{0,20}") {
        let _ = path::steps(&path);
    }
}

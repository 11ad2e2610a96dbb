//! A writer of small BTF files for tests.

use super::header::MAGIC;

/// A file under construction. Type ids count from 1 (or from where the base ends) in the order of the calls.
pub(super) struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    string_base: u32,
}

impl Writer {
    pub fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], string_base: 0 }
    }

    /// A split file's strings continue those of its base.
    pub fn split(base: &Writer) -> Self {
        Self { types: Vec::new(), strings: Vec::new(), string_base: base.strings.len() as u32 }
    }

    pub fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32 + self.string_base;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    /// A record and its trailer of 32-bit words.
    pub fn record(&mut self, kind: u32, flag: bool, count: u32, name: &str, size_or_type: u32, trailer: &[u32]) {
        let name = self.name(name);
        for word in [name, (u32::from(flag) << 31) | (kind << 24) | count, size_or_type].iter().chain(trailer) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
    }

    pub fn int(&mut self, name: &str, size: u32, bits: u32) {
        self.record(1, false, 0, name, size, &[bits]);
    }

    pub fn array(&mut self, element: u32, index: u32, count: u32) {
        self.record(3, false, 0, "", 0, &[element, index, count]);
    }

    /// `kind` 4 is a struct, 5 a union; members are (name, type, offset as encoded).
    pub fn composite(&mut self, kind: u32, flag: bool, name: &str, size: u32, members: &[(&str, u32, u32)]) {
        let trailer: Vec<u32> =
            members.iter().flat_map(|&(name, type_id, offset)| [self.name(name), type_id, offset]).collect();
        self.record(kind, flag, members.len() as u32, name, size, &trailer);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend_from_slice(&MAGIC.to_ne_bytes());
        file.extend_from_slice(&[1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            file.extend_from_slice(&u32::to_ne_bytes(word));
        }
        file.extend_from_slice(&self.types);
        file.extend_from_slice(&self.strings);
        file
    }
}

/// A file with one of everything that the walk has to understand.
pub(super) fn sample() -> Writer {
    let mut w = Writer::new();
    w.int("unsigned int", 4, 32); // 1
    w.record(2, false, 0, "", 1, &[]); // 2: pointer to 1
    w.composite(4, false, "inner", 8, &[("a", 1, 0), ("b", 1, 32)]); // 3
    w.array(3, 1, 2); // 4: struct inner[2]
    w.record(8, false, 0, "inner_t", 3, &[]); // 5
    w.record(10, false, 0, "", 5, &[]); // 6: const inner_t
    w.composite(4, false, "", 8, &[("x", 1, 0), ("y", 1, 32)]); // 7
    w.composite(5, false, "", 8, &[("", 7, 0), ("headers", 7, 0)]); // 8
    w.composite(
        4,
        true,
        "outer",
        64,
        &[
            ("first", 2, 0),
            ("", 8, 64),
            ("pair", 4, 128),
            ("konst", 6, 256),
            ("bit", 1, (3 << 24) | 0x140),
            ("last", 1, 352),
        ],
    ); // 9
    w.record(8, false, 0, "outer_t", 9, &[]); // 10
    w.array(4, 1, 3); // 11: struct inner[3][2]
    w.composite(4, false, "grid", 48, &[("cells", 11, 0), ("odd", 1, 3)]); // 12
    let values = [w.name("RED"), 0, w.name("BLUE"), 7];
    w.record(6, false, 2, "colour", 4, &values); // 13
    let values = [w.name("NEG"), u32::MAX];
    w.record(6, true, 1, "signed", 4, &values); // 14
    let values = [w.name("BIG"), 1, 2];
    w.record(19, false, 1, "wide", 8, &values); // 15
    w.int("old_bits", 4, 5); // 16: an integer of 5 bits
    w.composite(4, false, "old", 4, &[("narrow", 16, 0)]); // 17
    w
}

//! The header of a BTF file: where types and strings lie.

use std::ops::Range;

use super::BtfError;

/// `BTF_MAGIC` (include/uapi/linux/btf.h), in the machine's byte order.
pub(super) const MAGIC: u16 = 0xeb9f;

/// `struct btf_header`, with its sections checked against the file's length.
#[derive(Debug)]
pub(super) struct Header {
    /// Type section, as a range of the file.
    pub types: Range<usize>,
    /// String section, as a range of the file.
    pub strings: Range<usize>,
}

impl Header {
    pub(super) fn parse(data: &[u8]) -> Result<Self, BtfError> {
        let bad = BtfError::Header;
        let magic = data.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes)).ok_or(bad("too short"))?;
        if magic != MAGIC {
            return Err(bad(if magic == MAGIC.swap_bytes() { "other byte order" } else { "no BTF magic" }));
        }
        if data.get(2) != Some(&1) {
            return Err(bad("unknown version"));
        }
        let field = |at| u32_at(data, at).ok_or(bad("too short"));
        let length = field(4)? as usize;
        if length < 24 {
            return Err(bad("header too short"));
        }
        let section = |offset: u32, size: u32| {
            let start = length.checked_add(offset as usize)?;
            let end = start.checked_add(size as usize)?;
            // Record offsets are kept as u32.
            (end <= data.len() && u32::try_from(end).is_ok()).then_some(start..end)
        };
        let types = section(field(8)?, field(12)?).ok_or(bad("types lie outside of the file"))?;
        let strings = section(field(16)?, field(20)?).ok_or(bad("strings lie outside of the file"))?;
        Ok(Self { types, strings })
    }
}

/// A `u32` in the machine's byte order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

//! Where a member lies: the walk through nested, anonymous, qualified and array types.

use super::Btf;
use super::header::u32_at;
use super::path::{Step, steps};
use super::types::{Kind, Record};

/// Longest chain of typedefs and qualifiers followed. The kernel's longest is below 10.
const MAX_CHAIN: usize = 32;
/// Most anonymous structs and unions searched for one name. `sk_buff` has about 10.
const MAX_ANONYMOUS: usize = 256;

/// A member found: where it lies in the structure that was searched, and its type.
struct Found {
    bits: u32,
    type_id: u32,
    bitfield: bool,
}

impl Btf {
    /// Byte offset of a member within the structure (or union, or typedef of one) `structure`.
    ///
    /// `path` joins members of members by dots and indexes arrays: `tuplehash[0].tuple`, `__sk_common.skc_net.net`.
    /// Members of anonymous members are found as in C. `None` if there is no such structure or member, and for
    /// bitfields, which have no byte offset. Where several types share a name, the first that has the member counts.
    pub fn member_offset(&self, structure: &str, path: &str) -> Option<u32> {
        let steps = steps(path)?;
        self.find(structure, |kind| matches!(kind, Kind::Struct | Kind::Union | Kind::Typedef)).find_map(
            |(owner, record)| {
                let (owner, record) =
                    if record.kind == Kind::Typedef { self.resolve(record.size_or_type)? } else { (owner, record) };
                self.walk(owner, record, &steps)
            },
        )
    }

    /// Bytes of a structure; `None` if there is none of that name.
    pub fn structure_size(&self, structure: &str) -> Option<u32> {
        self.find(structure, |kind| kind == Kind::Struct).next().map(|(_, record)| record.size_or_type)
    }

    fn walk<'b>(&'b self, mut owner: &'b Btf, mut record: Record, steps: &[Step<'_>]) -> Option<u32> {
        let mut bytes = 0u32;
        for (position, step) in steps.iter().enumerate() {
            let found = self.search(owner, record, step.name.as_bytes())?;
            if found.bitfield || found.bits % 8 != 0 {
                return None;
            }
            bytes = bytes.checked_add(found.bits / 8)?;
            let mut type_id = found.type_id;
            for &index in &step.indices {
                let (element, offset) = self.element(type_id, index)?;
                bytes = bytes.checked_add(offset)?;
                type_id = element;
            }
            if position + 1 == steps.len() {
                return Some(bytes);
            }
            (owner, record) = self.resolve(type_id)?;
        }
        None
    }

    /// A member of a struct or union by name, also within its anonymous members.
    fn search(&self, owner: &Btf, record: Record, name: &[u8]) -> Option<Found> {
        let mut pending = vec![(owner, record, 0u32)];
        for _ in 0..MAX_ANONYMOUS {
            let (owner, record, base) = pending.pop()?;
            if !matches!(record.kind, Kind::Struct | Kind::Union) {
                continue;
            }
            for entry in owner.data[record.trailer.clone()].chunks_exact(12) {
                let (name_at, type_id, raw) = (u32_at(entry, 0)?, u32_at(entry, 4)?, u32_at(entry, 8)?);
                let (size, offset) = if record.flag { (raw >> 24, raw & 0x00ff_ffff) } else { (0, raw) };
                let bits = base.checked_add(offset)?;
                let member = owner.string(name_at)?;
                if member == name {
                    return Some(Found { bits, type_id, bitfield: size != 0 || self.is_bitfield_int(type_id) });
                }
                if member.is_empty()
                    && pending.len() < MAX_ANONYMOUS
                    && let Some((owner, record)) = self.resolve(type_id)
                {
                    pending.push((owner, record, bits));
                }
            }
        }
        None
    }

    /// Strips typedefs and qualifiers.
    fn resolve(&self, mut type_id: u32) -> Option<(&Btf, Record)> {
        for _ in 0..MAX_CHAIN {
            let (owner, record) = self.get(type_id)?;
            match record.kind {
                Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                    type_id = record.size_or_type;
                }
                _ => return Some((owner, record)),
            }
        }
        None
    }

    /// Type and byte offset of an array's element. An index at or past the end is refused, except in a flexible array.
    fn element(&self, array: u32, index: u32) -> Option<(u32, u32)> {
        let (owner, record) = self.resolve(array)?;
        if record.kind != Kind::Array {
            return None;
        }
        let trailer = &owner.data[record.trailer];
        let (element, count) = (u32_at(trailer, 0)?, u32_at(trailer, 8)?);
        if index >= count && count != 0 {
            return None;
        }
        // Element 0 needs no size.
        let offset = if index == 0 { 0 } else { self.size(element)?.checked_mul(index)? };
        Some((element, offset))
    }

    /// Size of a type in bytes.
    fn size(&self, mut type_id: u32) -> Option<u32> {
        let mut factor = 1u32;
        for _ in 0..MAX_CHAIN {
            let (owner, record) = self.resolve(type_id)?;
            match record.kind {
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                    return record.size_or_type.checked_mul(factor);
                }
                Kind::Ptr => return (size_of::<usize>() as u32).checked_mul(factor),
                Kind::Array => {
                    let trailer = &owner.data[record.trailer];
                    type_id = u32_at(trailer, 0)?;
                    factor = factor.checked_mul(u32_at(trailer, 8)?)?;
                }
                _ => return None,
            }
        }
        None
    }

    /// Before `kind_flag` a bitfield's width was in its integer type: fewer bits than its bytes hold, or bits that
    /// start off the byte.
    fn is_bitfield_int(&self, type_id: u32) -> bool {
        let Some((owner, record)) = self.resolve(type_id) else { return false };
        if record.kind != Kind::Int {
            return false;
        }
        let Some(encoding) = u32_at(&owner.data[record.trailer], 0) else { return true };
        let (bits, shift) = (encoding & 0xff, (encoding >> 16) & 0xff);
        shift != 0 || bits != record.size_or_type.saturating_mul(8)
    }
}

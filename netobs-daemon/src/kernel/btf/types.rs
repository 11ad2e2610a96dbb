//! One type record: `struct btf_type` and the extent of what follows it (include/uapi/linux/btf.h).

use std::ops::Range;

use super::header::u32_at;

/// `BTF_KIND_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        use Kind::{
            Array, Const, Datasec, DeclTag, Enum, Enum64, Float, Func, FuncProto, Fwd, Int, Ptr, Restrict, Struct,
            TypeTag, Typedef, Union, Var, Volatile,
        };
        const ALL: [Kind; 19] = [
            Int, Ptr, Array, Struct, Union, Enum, Fwd, Typedef, Volatile, Const, Restrict, Func, FuncProto, Var,
            Datasec, Float, DeclTag, TypeTag, Enum64,
        ];
        ALL.get(number.checked_sub(1)? as usize).copied()
    }

    /// Bytes that follow the 12 of `struct btf_type`, with `count` entries.
    fn trailer(self, count: usize) -> usize {
        match self {
            Kind::Int | Kind::Var | Kind::DeclTag => 4,
            Kind::Array => 12,
            Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => 12 * count,
            Kind::Enum | Kind::FuncProto => 8 * count,
            Kind::Ptr
            | Kind::Fwd
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::Float
            | Kind::TypeTag => 0,
        }
    }
}

/// A type record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Kind.
    pub kind: Kind,
    /// `kind_flag`: of a struct, that member offsets carry bitfield sizes; of an enum, that values are signed.
    pub flag: bool,
    /// Offset of the name in the strings; 0 is the empty name.
    pub name: u32,
    /// Number of members, values, parameters.
    pub count: usize,
    /// Size in bytes or a type id, as the kind has it.
    pub size_or_type: u32,
    /// What follows the record, as a range of the file. At least as long as the kind demands.
    pub trailer: Range<usize>,
}

impl Record {
    /// The record at byte `at` of the file; it must end within `types`.
    pub(super) fn at(data: &[u8], types: &Range<usize>, at: usize) -> Result<Self, &'static str> {
        let word = |index: usize| u32_at(data, at + 4 * index).ok_or("cut short");
        let (name, info, size_or_type) = (word(0)?, word(1)?, word(2)?);
        // A kind of a newer kernel has an unknown length: nothing after it could be read.
        let kind = Kind::from_number((info >> 24) & 0x1f).ok_or("unknown kind")?;
        let count = (info & 0xffff) as usize;
        let start = at + 12;
        let end = start + kind.trailer(count);
        if end > types.end {
            return Err("cut short");
        }
        Ok(Self { kind, flag: info >> 31 == 1, name, count, size_or_type, trailer: start..end })
    }
}

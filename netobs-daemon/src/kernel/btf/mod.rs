//! BTF, the kernel's description of its own types (Documentation/bpf/btf.rst), as far as member offsets and enum values
//! need it.
//!
//! The bytes are treated as hostile: every read is checked and every walk has a budget. A [`Btf`] holds the whole
//! file (5 to 10 MB for vmlinux); extract what is needed and drop it.

mod header;
mod member;
mod path;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
mod types;

use std::path::Path;
use std::sync::Arc;

use header::{Header, u32_at};
use types::{Kind, Record};

/// Where the kernel shows its own BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Largest file that is read. vmlinux's is 5 to 10 MB; with everything built in, below 20.
const MAX_FILE: u64 = 64 << 20;

/// Why BTF could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// File.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// Larger than 64 MiB.
    #[error("{0} is larger than any BTF known (64 MiB)")]
    TooLarge(String),
    /// Not BTF of this machine's byte order, or another version.
    #[error("not BTF of this machine: {0}")]
    Header(&'static str),
    /// A type record does not make sense.
    #[error("BTF type record at byte {at} of the types is malformed: {what}")]
    Record {
        /// Offset within the type section.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A split BTF on top of a split BTF; the kernel has none.
    #[error("the base of a split BTF is itself split")]
    NestedSplit,
}

/// One BTF file, with its base if it is a module's.
pub struct Btf {
    base: Option<Arc<Btf>>,
    data: Vec<u8>,
    header: Header,
    /// Offset in `data` of each type record of this file; the first has id [`Btf::first_id`].
    records: Vec<u32>,
    first_id: u32,
    first_string: u32,
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Btf")
            .field("bytes", &self.data.len())
            .field("types", &self.records.len())
            .field("split", &self.base.is_some())
            .finish_non_exhaustive()
    }
}

impl Btf {
    /// The running kernel's.
    pub fn running() -> Result<Self, BtfError> {
        Self::parse(read(Path::new(VMLINUX))?)
    }

    /// A module's (`/sys/kernel/btf/MODULE`) on top of the kernel's. `Ok(None)` if it is not loaded or is built in.
    pub fn module(base: &Arc<Btf>, name: &str) -> Result<Option<Self>, BtfError> {
        let path = Path::new("/sys/kernel/btf").join(name);
        match read(&path) {
            Ok(data) => Self::parse_split(base, data).map(Some),
            Err(BtfError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From a file with raw BTF.
    pub fn from_file(path: &Path) -> Result<Self, BtfError> {
        Self::parse(read(path)?)
    }

    /// From the bytes of a whole BTF file.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        // Id 0 is `void` and has no record.
        Self::index(None, data, 1, 0)
    }

    /// From the bytes of a split BTF: its ids and string offsets continue those of `base`.
    pub fn parse_split(base: &Arc<Btf>, data: Vec<u8>) -> Result<Self, BtfError> {
        if base.base.is_some() {
            return Err(BtfError::NestedSplit);
        }
        let first_id = u32::try_from(base.records.len()).map_err(|_| BtfError::NestedSplit)? + base.first_id;
        let first_string = base.header.strings.len() as u32;
        Self::index(Some(Arc::clone(base)), data, first_id, first_string)
    }

    fn index(base: Option<Arc<Btf>>, data: Vec<u8>, first_id: u32, first_string: u32) -> Result<Self, BtfError> {
        let header = Header::parse(&data)?;
        let mut records = Vec::new();
        let mut at = header.types.start;
        while at < header.types.end {
            records.push(at as u32);
            let malformed = |what| BtfError::Record { at: at - header.types.start, what };
            let record = Record::at(&data, &header.types, at).map_err(malformed)?;
            at = record.trailer.end;
        }
        records.shrink_to_fit();
        Ok(Self { base, data, header, records, first_id, first_string })
    }

    /// Number of types in this file, without its base.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it describes no type at all.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Values of the enum `name` (`enum` and `enum64` alike, in the order of declaration); `None` if there is none.
    pub fn enum_values(&self, name: &str) -> Option<Vec<(String, i64)>> {
        let (owner, record) = self.find(name, |kind| matches!(kind, Kind::Enum | Kind::Enum64)).next()?;
        let wide = record.kind == Kind::Enum64;
        let mut values = Vec::with_capacity(record.count);
        for entry in owner.data[record.trailer.clone()].chunks_exact(if wide { 12 } else { 8 }) {
            let (name, low) = (u32_at(entry, 0)?, u32_at(entry, 4)?);
            let value = if wide {
                (i64::from(u32_at(entry, 8)?) << 32) | i64::from(low)
            } else if record.flag {
                // The flag of an enum says that its values are signed.
                i64::from(low.cast_signed())
            } else {
                i64::from(low)
            };
            values.push((String::from_utf8_lossy(owner.string(name)?).into_owned(), value));
        }
        Some(values)
    }

    /// Number of parameters of the function that a typedef is a pointer to, as BTF tracepoints have one
    /// (`btf_trace_NAME`, whose first parameter is not one of the tracepoint's).
    pub fn parameters(&self, typedef: &str) -> Option<usize> {
        let (_, typedef) = self.find(typedef, |kind| kind == Kind::Typedef).next()?;
        let (_, pointer) = self.get(typedef.size_or_type)?;
        let (_, function) = self.get(pointer.size_or_type).filter(|_| pointer.kind == Kind::Ptr)?;
        (function.kind == Kind::FuncProto).then_some(function.count)
    }

    /// Named types of a kind, the base's first; each with the file its trailer lies in.
    fn find(&self, name: &str, kind: impl Fn(Kind) -> bool + Copy) -> impl Iterator<Item = (&Btf, Record)> {
        self.base.as_deref().into_iter().chain([self]).flat_map(move |file| {
            file.records.iter().filter_map(move |&at| {
                let record = Record::at(&file.data, &file.header.types, at as usize).ok()?;
                (kind(record.kind) && file.string(record.name)? == name.as_bytes()).then_some((file, record))
            })
        })
    }

    /// A type by id, with the file its trailer lies in.
    fn get(&self, id: u32) -> Option<(&Btf, Record)> {
        if let Some(base) = self.base.as_deref()
            && id < self.first_id
        {
            return base.get(id);
        }
        let at = *self.records.get(id.checked_sub(self.first_id)? as usize)?;
        Some((self, Record::at(&self.data, &self.header.types, at as usize).ok()?))
    }

    /// A string by offset, without its terminating zero.
    fn string(&self, offset: u32) -> Option<&[u8]> {
        if let Some(base) = self.base.as_deref()
            && offset < self.first_string
        {
            return base.string(offset);
        }
        let tail = self.data[self.header.strings.clone()].get((offset - self.first_string) as usize..)?;
        tail.split(|&byte| byte == 0).next()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BtfError> {
    use std::io::Read as _;
    let failed = |source| BtfError::Read { path: path.display().to_string(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut data = Vec::with_capacity(length.min(MAX_FILE) as usize + 1);
    file.take(MAX_FILE + 1).read_to_end(&mut data).map_err(failed)?;
    if data.len() as u64 > MAX_FILE {
        return Err(BtfError::TooLarge(path.display().to_string()));
    }
    Ok(data)
}

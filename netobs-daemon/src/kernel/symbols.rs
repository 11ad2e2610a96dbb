//! From a code address to the function it lies in, from `/proc/kallsyms`.
//!
//! The table is made once and kept: 8 bytes and a name for each function, about 2 MB for the 60,000 of a kernel with
//! everything built in. Modules loaded later are not in it; their addresses resolve to nothing rather than to a
//! neighbour, as far as they lie beyond what is known.

use std::io::{BufRead, BufReader};

/// Where the kernel lists its symbols.
const KALLSYMS: &str = "/proc/kallsyms";
/// Most functions kept; what does not fit is counted in [`Symbols::left_out`].
const MAX_SYMBOLS: usize = 400_000;
/// Bytes of names kept.
const MAX_POOL: usize = 16 << 20;
/// No function is longer: an address further behind the last symbol before it belongs to something unknown.
const MAX_FUNCTION: u64 = 1 << 20;

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum SymbolsError {
    /// The list could not be read.
    #[error("cannot read {KALLSYMS}: {0}")]
    Read(#[from] std::io::Error),
    /// Every address reads as zero.
    #[error(
        "the kernel hides its symbol addresses: give the daemon CAP_SYSLOG, or set the sysctl kernel.kptr_restrict to 0"
    )]
    Hidden,
    /// There is nothing in it.
    #[error("{KALLSYMS} lists no functions (kernel without CONFIG_KALLSYMS)")]
    Empty,
}

/// Functions by address.
pub struct Symbols {
    base: u64,
    /// Start of each function relative to `base`, ascending.
    starts: Box<[u32]>,
    /// Start of each name in `pool`; one more than functions.
    names: Box<[u32]>,
    pool: Box<str>,
    left_out: usize,
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols")
            .field("functions", &self.starts.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Symbols {
    /// The running kernel's.
    pub fn load() -> Result<Self, SymbolsError> {
        Self::parse(BufReader::with_capacity(64 << 10, std::fs::File::open(KALLSYMS)?))
    }

    fn parse(mut lines: impl BufRead) -> Result<Self, SymbolsError> {
        let mut found: Vec<(u64, u32, u32)> = Vec::new();
        let mut raw = String::new();
        let (mut line, mut left_out, mut hidden) = (String::new(), 0, false);
        while {
            line.clear();
            lines.read_line(&mut line)?
        } != 0
        {
            let Some((address, name)) = function(&line) else { continue };
            if address == 0 {
                hidden = true;
            } else if found.len() == MAX_SYMBOLS || raw.len() + name.len() > MAX_POOL {
                left_out += 1;
            } else {
                found.push((address, raw.len() as u32, name.len() as u32));
                raw.push_str(name);
            }
        }
        // Stable: of several names for one address, the first listed stays.
        found.sort_by_key(|&(address, ..)| address);
        found.dedup_by_key(|&mut (address, ..)| address);
        let Some(&(last, ..)) = found.last() else {
            return Err(if hidden { SymbolsError::Hidden } else { SymbolsError::Empty });
        };
        // Kernel and modules lie within 4 GiB of each other (x86 and arm64 branch that far at most).
        let base = found.iter().map(|&(address, ..)| address).find(|&address| u32::try_from(last - address).is_ok());
        let base = base.unwrap_or(last);
        left_out += found.iter().take_while(|&&(address, ..)| address < base).count();
        found.retain(|&(address, ..)| address >= base);

        let mut pool = String::with_capacity(found.iter().map(|&(.., length)| length as usize).sum());
        let mut names = Vec::with_capacity(found.len() + 1);
        for &(_, at, length) in &found {
            names.push(pool.len() as u32);
            pool.push_str(&raw[at as usize..(at + length) as usize]);
        }
        names.push(pool.len() as u32);
        let starts = found.iter().map(|&(address, ..)| (address - base) as u32).collect();
        Ok(Self { base, starts, names: names.into(), pool: pool.into(), left_out })
    }

    /// Name of the function that an address lies in, without the compiler's suffixes (`.isra.0`, `.cold`).
    pub fn name(&self, address: u64) -> Option<&str> {
        let offset = address.checked_sub(self.base)?;
        let after = self.starts.partition_point(|&start| u64::from(start) <= offset);
        let index = after.checked_sub(1)?;
        if offset - u64::from(self.starts[index]) >= MAX_FUNCTION {
            return None;
        }
        Some(&self.pool[self.names[index] as usize..self.names[index + 1] as usize])
    }

    /// An address of kernel code of which only the low half may be known (`BucketKey::location`).
    pub const fn completed(&self, address: u64) -> u64 {
        const HALF: u64 = 1 << 32;
        if address >= HALF || address == 0 {
            return address;
        }
        let whole = self.base & !(HALF - 1) | address;
        if whole < self.base { whole + HALF } else { whole }
    }

    /// Functions in the table.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none; never so for a table that was made.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Memory that the table takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.names) + self.pool.len()
    }

    /// Functions that did not fit.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// Address and name if a line describes a function: `ffffffff81000000 T name [module]`.
fn function(line: &str) -> Option<(u64, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let address = u64::from_str_radix(fields.next()?, 16).ok()?;
    if !matches!(fields.next()?, "t" | "T" | "w" | "W") {
        return None;
    }
    let name = fields.next()?;
    // Padding in front of a function (CONFIG_FUNCTION_PADDING, CFI preambles): no code is executed there.
    if name.starts_with("__pfx_") || name.starts_with("__cfi_") {
        return None;
    }
    let name = name.split('.').next().filter(|stem| !stem.is_empty())?;
    Some((address, name))
}

#[cfg(test)]
mod tests;

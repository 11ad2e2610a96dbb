//! The kernel's names, as the resolver asks for them.

use netobs_common::knobs::NO_REASON;
use netobs_common::record::{BucketKey, kind};
use netobs_common::tcp::segment;

use crate::bpf::netfilter::FirstHooks;
use crate::event::raw::RawDrop;
use crate::kernel::causes::{Causes, Dropped};
use crate::kernel::reasons::{EnumNames, Reasons};
use crate::kernel::symbols::Symbols;
use crate::resolve::Naming;

/// Reasons and functions of the running kernel.
#[derive(Debug)]
pub struct Names {
    reasons: Reasons,
    reset_reasons: EnumNames,
    symbols: Option<Symbols>,
    first_hooks: FirstHooks,
    causes: Causes,
}

impl Names {
    /// With function names where the kernel shows them to us.
    pub fn new(mut reasons: Reasons, reset_reasons: EnumNames, first_hooks: FirstHooks) -> Self {
        let causes = Causes::new(&mut reasons);
        let symbols = match Symbols::load() {
            Ok(symbols) => Some(symbols),
            Err(error) => {
                tracing::warn!("the functions that drop packets have no names: {error}");
                None
            }
        };
        Self { reasons, reset_reasons, symbols, first_hooks, causes }
    }

    /// Number of a drop reason, the kernel's or one that is concluded.
    pub fn reason(&self, name: &str) -> Option<u32> {
        self.reasons.number(name)
    }

    /// Whether functions have names.
    pub const fn has_functions(&self) -> bool {
        self.symbols.is_some()
    }

    /// Concludes a drop's reason where the kernel says none.
    pub fn conclude(&self, drop: &mut RawDrop) {
        let segment = drop.tcp_flags.map_or(segment::OTHER, segment::of);
        drop.reason = self.concluded(drop.reason, drop.location, segment, drop.hop_limit);
    }

    /// The same of drops that were counted.
    pub fn conclude_of_many(&self, key: &mut BucketKey) {
        if key.kind == kind::DROP {
            key.reason = self.concluded(key.reason, key.location.into(), key.segment, None);
        }
    }

    fn function(&self, address: u64) -> Option<&str> {
        let symbols = self.symbols.as_ref()?;
        symbols.name(symbols.completed(address))
    }

    fn concluded(&self, reason: u32, location: u64, segment: u8, hop_limit: Option<u8>) -> u32 {
        if reason != NO_REASON && reason != self.causes.unspecified() {
            return reason;
        }
        let function = self.function(location);
        self.causes.conclude(&Dropped { function, segment, hop_limit })
    }
}

impl Naming for Names {
    fn drop_reason(&self, number: u32) -> String {
        self.reasons.name(number).into_owned()
    }

    fn has_drop_reason(&self, name: &str) -> bool {
        self.reasons.number(name).is_some()
    }

    fn reset_reason(&self, number: u32) -> Option<String> {
        self.reset_reasons.name(number).map(str::to_owned)
    }

    fn is_first_in_hook(&self, ipv6: bool, number: u32) -> bool {
        self.first_hooks[usize::from(ipv6)].get(number as usize).copied().unwrap_or(false)
    }

    fn symbol(&self, address: u64) -> Option<String> {
        self.function(address).map(str::to_owned)
    }
}
